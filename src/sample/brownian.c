#include "sample/brownian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"

/* An interval of the tree. */
typedef struct interval {
    double start, end;
    uint64_t place; /* from the left among those of its depth */
    int32_t depth;
} interval;

/* A stretch of the path of seed that is being summed up. */
typedef struct query {
    udump_brownian *brownian;
    uint64_t seed;
    float *sum;
    bool begun;
} query;

/* Python's round(time, 6), exactly: the nearest multiple of 1e-6, ties to even, as the nearest double. fma gives what the product's
 * rounding left out, which decides where the product seems to be a tie. */
static double round_time(double time) {
    double scaled = time * 1e6, rest = fma(time, 1e6, -scaled), whole = floor(scaled), above = scaled - whole - 0.5;
    bool up = above > 0 || (above == 0 && (rest > 0 || (rest == 0 && fmod(whole, 2) != 0)));
    return (whole + up) / 1e6;
}

udump_status udump_brownian_init(udump_brownian *brownian, udump_rng rng, size_t count, float smallest, float largest, udump_error *error) {
    *brownian = (udump_brownian){ .rng = rng,
        .count = count,
        .smallest = (double)smallest,
        .largest = (double)largest,
        .start = round_time((double)smallest),
        .end = round_time((double)largest) };
    double times = (brownian->end - brownian->start) * 1e6;
    brownian->depth_most = times > 1 ? (int32_t)ceil(log2(times)) + 1 : 1; /* one more than halving takes, for log2's rounding */
    size_t bytes;
    if (!udump_size_mul((size_t)brownian->depth_most + 2, count, &bytes) || !udump_size_mul(bytes, sizeof(float), &bytes)) bytes = SIZE_MAX;
    brownian->scratch = bytes < SIZE_MAX ? malloc(bytes) : NULL;
    if (brownian->scratch) return UDUMP_OK;
    udump_brownian_free(brownian);
    return udump_fail_memory(error, "Brownian noise", bytes);
}

void udump_brownian_free(udump_brownian *brownian) {
    free(brownian->scratch);
    *brownian = (udump_brownian){ 0 };
}

static float *increment_of(const udump_brownian *brownian, int32_t depth) {
    return brownian->scratch + ((size_t)depth + 1) * brownian->count;
}

/* The first draw of a generator with this seed, into the first row of the scratch. */
static const float *draw(udump_brownian *brownian, uint32_t seed) {
    udump_random random;
    udump_random_init(&random, brownian->rng, seed);
    udump_random_normal(&random, brownian->scratch, brownian->count);
    return brownian->scratch;
}

static void draw_whole(const query *q) {
    udump_brownian *brownian = q->brownian;
    const float *noise = draw(brownian, udump_seed_sequence(q->seed, NULL, 0));
    float scale = (float)sqrt(brownian->largest - brownian->smallest), *whole = increment_of(brownian, 0);
    for (size_t i = 0; i < brownian->count; i++) whole[i] = noise[i] * scale;
}

/* The bridge: the left half's increment is normal around its share of the whole, with variance left * right / (left + right). Each
 * product is rounded to float32, in torchsde's order. */
static void draw_left(const query *q, const interval *whole, double middle) {
    udump_brownian *brownian = q->brownian;
    const float *noise = draw(brownian, udump_seed_sequence(q->seed, (uint64_t[]){ whole->place, (uint64_t)whole->depth }, 2));
    const float *all = increment_of(brownian, whole->depth);
    float *left = increment_of(brownian, whole->depth + 1);
    double left_time = middle - whole->start, right_time = whole->end - middle, per_time = 1 / (whole->end - whole->start);
    float share = (float)left_time, scale = (float)per_time, spread = (float)sqrt(left_time * right_time * per_time);
    for (size_t i = 0; i < brownian->count; i++) {
        float mean = share * all[i], random = spread * noise[i];
        mean *= scale;
        left[i] = mean + random;
    }
}

static void subtract_left(const query *q, int32_t depth) {
    const float *all = increment_of(q->brownian, depth);
    float *half = increment_of(q->brownian, depth + 1);
    for (size_t i = 0; i < q->brownian->count; i++) half[i] = all[i] - half[i];
}

static void add(query *q, int32_t depth) {
    const float *increment = increment_of(q->brownian, depth);
    for (size_t i = 0; i < q->brownian->count; i++) q->sum[i] = q->begun ? q->sum[i] + increment[i] : increment[i];
    q->begun = true;
}

/* Sums up [from, to], which lies in `whole`, whose increment is known; the parts from left to right. */
static void descend(query *q, const interval *whole, double from, double to) {
    if ((from == whole->start && to == whole->end) || whole->depth == q->brownian->depth_most) {
        add(q, whole->depth);
        return;
    }
    double middle = round_time(0.5 * (whole->end + whole->start));
    draw_left(q, whole, middle);
    if (from < middle) descend(q, &(interval){ whole->start, middle, 2 * whole->place, whole->depth + 1 }, from, fmin(to, middle));
    if (to <= middle) return;
    subtract_left(q, whole->depth);
    descend(q, &(interval){ middle, whole->end, 2 * whole->place + 1, whole->depth + 1 }, fmax(from, middle), to);
}

static double inside(const udump_brownian *brownian, float time) {
    return round_time(fmin(fmax((double)time, brownian->start), brownian->end));
}

void udump_brownian_noise(udump_brownian *brownian, uint64_t seed, float from, float to, float *values) {
    double low = inside(brownian, fminf(from, to)), high = inside(brownian, fmaxf(from, to));
    if (low == high) {
        memset(values, 0, brownian->count * sizeof *values);
        return;
    }
    query q = { brownian, seed, values, false };
    draw_whole(&q);
    descend(&q, &(interval){ brownian->start, brownian->end, 0, 0 }, low, high);
    float length = sqrtf(fabsf(to - from)), sign = from < to ? 1 : -1;
    for (size_t i = 0; i < brownian->count; i++) values[i] = values[i] * sign / length;
}
