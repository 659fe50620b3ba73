/* Looking at attention and at differences: the reference backend against double precision, the CPU backend against the reference; every
 * instruction set that this machine has, sizes that fill no panel and no vector, memory of exactly the size that was asked for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/exec.h"
#include "base/half.h"
#ifndef UDUMP_PLAIN_THREADS /* else a build without that backend */
#include "backend/cpu/cpu.h"
#include "kernels_here.h"
#endif

/* Of the largest result. Inputs are exact (bf16 too: arithmetic and results are fp32). A score is a sum of up to 160 products of size up
 * to 12, so it is off by some 12 * 2^-24 * a few = 3e-6, and so is a probability, relatively; sums of them add a rounding a term. */
static const double TOLERANCE = 1e-5;

static uint32_t noise_state;
static float noise(void) { /* in [-1, 1) */
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state * 0x1p-31f;
}

static void *owned(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    assert_non_null(memory);
    memset(memory, 0xFF, bytes); /* NaN: what is not written does not pass */
    return memory;
}

static float *floats(size_t count) { return owned(count * sizeof(float)); }

/* Noise as elements of dtype, in memory of exactly that size. */
static void *noise_new(udump_dtype dtype, size_t count, float gain) {
    void *values = owned(count * udump_dtype_bytes(dtype));
    for (size_t i = 0; i < count; i++) {
        float value = noise() * gain;
        if (dtype == UDUMP_F32) ((float *)values)[i] = value;
        else ((uint16_t *)values)[i] = udump_f32_to_bf16(value);
    }
    return values;
}

static double get(const void *values, udump_dtype dtype, size_t at) {
    return dtype == UDUMP_F32 ? (double)((const float *)values)[at] : (double)udump_bf16_to_f32(((const uint16_t *)values)[at]);
}
static void set(void *values, udump_dtype dtype, size_t at, float value) {
    if (dtype == UDUMP_F32) ((float *)values)[at] = value;
    else ((uint16_t *)values)[at] = udump_f32_to_bf16(value);
}

/* NaN where NaN is expected, else near. */
static void compare(const float *found, const float *expected, size_t count, double tolerance) {
    double magnitude = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(expected[i])) magnitude = fmax(magnitude, fabs((double)expected[i]));
    for (size_t i = 0; i < count; i++) {
        if (isnan(expected[i]) && isnan(found[i])) continue;
        if (!(fabs((double)found[i] - (double)expected[i]) <= tolerance * magnitude))
            fail_msg("element %zu of %zu: %.9g, expected %.9g, off by %.3g of %.3g", i, count, (double)found[i], (double)expected[i],
                fabs((double)found[i] - (double)expected[i]) / magnitude, tolerance);
    }
}

/* ---------------------------------------------------------------- one backend at work */

struct bench {
    const udump_backend *backend;
    void *device;
    udump_exec x;
};

static void bench_open(struct bench *b, const udump_backend *backend, const void *kernels, int32_t threads) {
    udump_error error;
    b->backend = backend;
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = threads, .compute = UDUMP_F32 }, &b->device, &error), UDUMP_OK);
#ifndef UDUMP_PLAIN_THREADS
    if (kernels) ((udump_cpu_device *)b->device)->kernels = kernels;
#else
    (void)kernels;
#endif
    assert_int_equal(udump_exec_open(&b->x, backend, b->device, threads, UDUMP_F32, &error), UDUMP_OK);
}

static void bench_close(struct bench *b) {
    udump_exec_close(&b->x);
    b->backend->device_close(b->device);
}

/* What a trial gives, each NULL until it is asked for. */
enum { MAPS, ROWS, RECEIVED, ENTROPY, Y, Z, RESULTS };

struct trial {
    udump_attended a;
    int32_t count;         /* chosen queries, and columns of v */
    const int32_t *chosen;
    const float *v;        /* [keys, count] */
};

static void result_sizes(const struct trial *t, size_t sizes[RESULTS]) {
    size_t heads = (size_t)t->a.heads, queries = (size_t)t->a.queries, keys = (size_t)t->a.keys, count = (size_t)t->count;
    sizes[MAPS] = heads * keys * queries;
    sizes[ROWS] = heads * count * keys;
    sizes[RECEIVED] = heads * keys;
    sizes[ENTROPY] = heads * queries;
    sizes[Y] = queries * count;
    sizes[Z] = keys * count;
}

static void call(udump_exec *x, const struct trial *t, int operation, float *const results[RESULTS]) {
    const udump_backend *backend = x->backend;
    if (operation == 0) backend->attention_maps(x, &t->a, results[MAPS]);
    else if (operation == 1) backend->attention_rows(x, &t->a, t->count, t->chosen, results[ROWS]);
    else if (operation == 2) backend->attention_summary(x, &t->a, results[RECEIVED], results[ENTROPY]);
    else backend->attention_covariance(x, &t->a, t->count, t->v, results[Y], results[Z]);
}
enum { OPERATIONS = 4 };

static void call_dry(udump_exec *x, const struct trial *t, int operation) {
    float *const nothing[RESULTS] = { NULL };
    struct trial dry = *t;
    udump_error error;
    dry.a.q = dry.a.k = NULL;
    dry.chosen = NULL;
    dry.v = NULL;
    udump_exec_begin_dry(x);
    call(x, &dry, operation, nothing);
    assert_int_equal(x->low_bytes, 0); /* scratch is given back */
    assert_int_equal(udump_exec_end_dry(x, &error), UDUMP_OK);
}

/* Each operation in an arena of exactly what its own dry pass reserved, twice: the same bytes both times. */
static void run_trial(const udump_backend *backend, const void *kernels, int32_t threads, const struct trial *t, float *results[RESULTS]) {
    size_t sizes[RESULTS];
    float *again[RESULTS];
    result_sizes(t, sizes);
    for (int i = 0; i < RESULTS; i++) {
        results[i] = floats(sizes[i]);
        again[i] = floats(sizes[i]);
    }
    for (int operation = 0; operation < OPERATIONS; operation++) {
        struct bench b;
        bench_open(&b, backend, kernels, threads);
        call_dry(&b.x, t, operation);
        if (b.x.arena) memset(b.x.arena, 0xFF, b.x.arena_bytes);
        call(&b.x, t, operation, results);
        call(&b.x, t, operation, again);
        if (b.x.status) fail_msg("%s: %s", b.x.error.where, b.x.error.what);
        assert_int_equal(b.x.low_bytes, 0);
        assert_true(b.x.peak_bytes <= b.x.arena_bytes);
        bench_close(&b);
    }
    for (int i = 0; i < RESULTS; i++) {
        assert_memory_equal(results[i], again[i], sizes[i] * sizeof(float));
        free(again[i]);
    }
}

static void free_results(float *results[RESULTS]) {
    for (int i = 0; i < RESULTS; i++) free(results[i]);
}

/* ---------------------------------------------------------------- double precision */

/* P, [heads, queries, keys]. */
static double *naive_probabilities(const udump_attended *a) {
    size_t heads = (size_t)a->heads, queries = (size_t)a->queries, keys = (size_t)a->keys, d = (size_t)a->d;
    double *p = owned(heads * queries * keys * sizeof *p), *row = p;
    for (size_t head = 0; head < heads; head++)
        for (size_t q = 0; q < queries; q++, row += keys) {
            double most = -INFINITY, total = 0;
            for (size_t k = 0; k < keys; k++) {
                row[k] = 0;
                for (size_t i = 0; i < d; i++)
                    row[k] += get(a->q, a->dtype, q * (size_t)a->q_stride + head * d + i)
                        * get(a->k, a->dtype, k * (size_t)a->k_stride + head * d + i);
                row[k] /= sqrt((double)d);
                most = fmax(most, row[k]);
            }
            for (size_t k = 0; k < keys; k++) total += row[k] = exp(row[k] - most);
            for (size_t k = 0; k < keys; k++) row[k] /= total;
        }
    return p;
}

static void naive_covariance(const struct trial *t, const double *p, float *y, float *z) {
    size_t heads = (size_t)t->a.heads, queries = (size_t)t->a.queries, keys = (size_t)t->a.keys, count = (size_t)t->count;
    for (size_t c = 0; c < count; c++) {
        double *sums = calloc(keys, sizeof *sums);
        assert_non_null(sums);
        for (size_t q = 0; q < queries; q++) {
            double sum = 0;
            for (size_t h = 0; h < heads; h++)
                for (size_t k = 0; k < keys; k++) sum += p[(h * queries + q) * keys + k] / (double)heads * (double)t->v[k * count + c];
            y[q * count + c] = (float)sum;
            for (size_t h = 0; h < heads; h++)
                for (size_t k = 0; k < keys; k++) sums[k] += p[(h * queries + q) * keys + k] / (double)heads * sum;
        }
        for (size_t k = 0; k < keys; k++) z[k * count + c] = (float)sums[k];
        free(sums);
    }
}

static void naive(const struct trial *t, float *results[RESULTS]) {
    size_t heads = (size_t)t->a.heads, queries = (size_t)t->a.queries, keys = (size_t)t->a.keys, count = (size_t)t->count, sizes[RESULTS];
    double *p = naive_probabilities(&t->a);
    result_sizes(t, sizes);
    for (int i = 0; i < RESULTS; i++) results[i] = floats(sizes[i]);
    for (size_t h = 0; h < heads; h++) {
        const double *head = p + h * queries * keys;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < keys; k++) results[ROWS][(h * count + i) * keys + k] = (float)head[(size_t)t->chosen[i] * keys + k];
        for (size_t k = 0; k < keys; k++) {
            double sum = 0;
            for (size_t q = 0; q < queries; q++) {
                results[MAPS][(h * keys + k) * queries + q] = (float)head[q * keys + k];
                sum += head[q * keys + k];
            }
            results[RECEIVED][h * keys + k] = (float)(sum / (double)queries);
        }
        for (size_t q = 0; q < queries; q++) {
            double sum = 0;
            for (size_t k = 0; k < keys; k++) sum -= head[q * keys + k] > 0 ? head[q * keys + k] * log(head[q * keys + k]) : 0;
            results[ENTROPY][h * queries + q] = (float)sum;
        }
    }
    naive_covariance(t, p, results[Y], results[Z]);
    free(p);
}

/* ---------------------------------------------------------------- trials */

enum { MOST_CHOSEN = 64 };

struct inputs {
    struct trial trial;
    void *q, *k;
    float *v;
    int32_t chosen[MOST_CHOSEN];
};

/* Chosen queries are out of order, and some come twice; memory ends with the last token's last head. */
static void make_inputs(struct inputs *in, udump_attended shape, int32_t count, float gain) {
    size_t c = (size_t)(shape.heads * shape.d);
    noise_state = 7;
    if (!shape.q_stride) shape.q_stride = (int64_t)c;
    if (!shape.k_stride) shape.k_stride = (int64_t)c;
    shape.q = in->q = noise_new(shape.dtype, (size_t)(shape.queries - 1) * (size_t)shape.q_stride + c, gain);
    shape.k = in->k = noise_new(shape.dtype, (size_t)(shape.keys - 1) * (size_t)shape.k_stride + c, gain);
    in->v = noise_new(UDUMP_F32, (size_t)shape.keys * (size_t)count, 1);
    for (int32_t i = 0; i < count; i++) in->chosen[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)shape.queries);
    in->trial = (struct trial){ .a = shape, .count = count, .chosen = in->chosen, .v = in->v };
}

static void free_inputs(struct inputs *in) {
    free(in->q);
    free(in->k);
    free(in->v);
}

static void compare_all(const struct trial *t, float *const found[RESULTS], float *const expected[RESULTS], double tolerance) {
    size_t sizes[RESULTS];
    result_sizes(t, sizes);
    for (int i = 0; i < RESULTS; i++) compare(found[i], expected[i], sizes[i], tolerance);
}

/* The CPU backend with every instruction set, on several numbers of threads, against what is expected. */
static void try_cpu(const struct trial *t, float *const expected[RESULTS], double tolerance) {
#ifndef UDUMP_PLAIN_THREADS
    const udump_kernels *kernels[MOST_KERNELS];
    for (int count = kernels_here(kernels), i = 0; i < count; i++)
        for (int32_t threads = 1; threads <= 5; threads += 2) {
            float *found[RESULTS];
            run_trial(udump_backend_cpu(), kernels[i], threads, t, found);
            compare_all(t, found, expected, tolerance);
            free_results(found);
        }
#else
    (void)t, (void)expected, (void)tolerance;
#endif
}

/* With double precision beside the reference where that is not too slow. */
static void try_out(udump_attended shape, int32_t count, float gain, double tolerance) {
    struct inputs in;
    float *reference[RESULTS];
    make_inputs(&in, shape, count, gain);
    run_trial(udump_backend_reference(), NULL, 3, &in.trial, reference);
    if ((int64_t)shape.queries * shape.keys * shape.heads * shape.d < 4 << 20) {
        float *exact[RESULTS];
        naive(&in.trial, exact);
        compare_all(&in.trial, reference, exact, tolerance);
        free_results(exact);
    }
    try_cpu(&in.trial, reference, tolerance);
    free_results(reference);
    free_inputs(&in);
}

static udump_attended shaped(udump_dtype dtype, int32_t heads, int32_t d, int32_t queries, int32_t keys) {
    return (udump_attended){ .dtype = dtype, .heads = heads, .d = d, .queries = queries, .keys = keys };
}

static const udump_dtype DTYPES[] = { UDUMP_F32, UDUMP_BF16 };

static void test_small(void **state) {
    static const int32_t widths[] = { 8, 40, 80, 160, 5 }, queries[] = { 1, 63 }, keys[] = { 1, 77, 154 }, heads[] = { 1, 8 };
    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t q = 0; q < sizeof queries / sizeof *queries; q++)
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
                for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
                    if ((w + k) % 2 == h || widths[w] <= 40) /* wide heads: half of the pairs */
                        try_out(shaped(DTYPES[(w + q + k) % 2], heads[h], widths[w], queries[q], keys[k]), 1 + (int32_t)(w * 7 + k) % 16, 3,
                            TOLERANCE);
}

/* Panels have 12, 24 and 48 queries; tiles have 4 and 8 rows; keys are summed 64 at a time. */
static void test_borders(void **state) {
    static const int32_t queries[] = { 11, 12, 13, 24, 25, 47, 48, 49, 96, 97, 145 }, keys[] = { 2, 4, 5, 8, 9, 63, 64, 65, 72, 128, 129 };
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        try_out(shaped(DTYPES[i % 2], 3, 8, queries[i], keys[i]), 1 + (int32_t)i, 3, TOLERANCE);
        try_out(shaped(DTYPES[i % 2], 2, 9, queries[i], keys[(i + 5) % (sizeof keys / sizeof *keys)]), 1 + (int32_t)i * 5, 3, TOLERANCE);
    }
}

static void test_columns(void **state) {
    (void)state;
    for (int32_t count = 1; count <= 17; count++) try_out(shaped(UDUMP_F32, 2, 8, 30, 37), count, 1, TOLERANCE);
    try_out(shaped(UDUMP_F32, 2, 8, 30, 37), MOST_CHOSEN, 1, TOLERANCE); /* more chosen than there are queries */
}

/* As the network has them: Q, K and V beside one another in self-attention, K beside V in cross-attention. */
static void test_strides(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        udump_attended self = shaped(DTYPES[i], 8, 40, 257, 257), cross = shaped(DTYPES[i], 8, 80, 63, 77);
        self.q_stride = self.k_stride = 3 * 8 * 40;
        cross.k_stride = 2 * 8 * 80;
        try_out(self, 8, 3, TOLERANCE);
        try_out(cross, 5, 3, TOLERANCE);
    }
}

static void test_long(void **state) {
    (void)state;
    try_out(shaped(UDUMP_F32, 4, 40, 577, 300), 16, 3, TOLERANCE);
    try_out(shaped(UDUMP_BF16, 1, 8, 1041, 1041), 8, 3, TOLERANCE);
}

/* Scores of some thousands, whose exponentials would overflow; they have errors of 2^-12, and so have the probabilities. */
static void test_large_scores(void **state) {
    (void)state;
    try_out(shaped(UDUMP_F32, 2, 40, 63, 154), 4, 60, 1e-3);
}

/* No key stands out: each receives as much, and the entropy is the largest there is. Then one key takes all. */
static void test_extremes(void **state) {
    (void)state;
    for (int one_hot = 0; one_hot < 2; one_hot++) {
        struct inputs in;
        float *reference[RESULTS];
        make_inputs(&in, shaped(UDUMP_F32, 2, 8, 50, 77), 2, 1);
        for (size_t i = 0; i < 50 * 16; i++) set(in.q, UDUMP_F32, i, one_hot ? 100.0f : 0.0f);
        for (size_t i = 0; i < 77 * 16; i++) set(in.k, UDUMP_F32, i, i / 16 == 70 ? 100.0f : -100.0f);
        run_trial(udump_backend_reference(), NULL, 2, &in.trial, reference);
        for (size_t i = 0; i < 2 * 50; i++) assert_true(fabs((double)reference[ENTROPY][i] - (one_hot ? 0 : log(77.0))) < 1e-5);
        for (size_t i = 0; i < 2 * 77; i++)
            assert_true(fabs((double)reference[RECEIVED][i] - (one_hot ? i % 77 == 70 : 1 / 77.0)) < 1e-6);
        try_cpu(&in.trial, reference, TOLERANCE);
        free_results(reference);
        free_inputs(&in);
    }
}

/* A query that is NaN spoils its own row and what is summed over rows; a key that is NaN spoils all. The rest is as it was. */
static void test_nan(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct inputs in;
        float *reference[RESULTS];
        udump_attended shape = shaped(DTYPES[i % 2], 2, 8, 50, 77);
        make_inputs(&in, shape, 3, 1);
        if (i < 2) set(in.q, shape.dtype, 17 * 16 + 3, NAN); /* head 0 of query 17 */
        else set(in.k, shape.dtype, 70 * 16 + 9, NAN);       /* head 1 of key 70 */
        run_trial(udump_backend_reference(), NULL, 2, &in.trial, reference);
        for (size_t query = 0; query < 50; query++) {
            assert_int_equal(!!isnan(reference[ENTROPY][query]), i < 2 && query == 17);
            assert_int_equal(!!isnan(reference[ENTROPY][50 + query]), i >= 2);
        }
        assert_int_equal(!!isnan(reference[RECEIVED][0]), i < 2);
        try_cpu(&in.trial, reference, TOLERANCE);
        free_results(reference);
        free_inputs(&in);
    }
}

/* A key whose score is minus infinity is one that nobody looks at: all the rest stays finite. */
static void test_never_looked_at(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct inputs in;
        float *reference[RESULTS];
        make_inputs(&in, shaped(DTYPES[i], 2, 8, 50, 77), 3, 1);
        for (size_t at = 0; at < 50 * 16; at++) set(in.q, DTYPES[i], at, fabsf(noise()) + 0.5f);
        set(in.k, DTYPES[i], 70 * 16 + 3, -INFINITY);
        run_trial(udump_backend_reference(), NULL, 2, &in.trial, reference);
        assert_true(reference[RECEIVED][70] == 0);
        for (size_t query = 0; query < 50; query++)
            assert_true(reference[ENTROPY][query] > 0 && reference[ENTROPY][query] < 4.4f); /* ln 76 */
        try_cpu(&in.trial, reference, TOLERANCE);
        free_results(reference);
        free_inputs(&in);
    }
}

/* Infinities, everywhere and in both signs: any numbers may come out, but nothing breaks. */
static void test_infinite(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct inputs in;
        float *reference[RESULTS];
        make_inputs(&in, shaped(DTYPES[i], 2, 8, 30, 30), 3, 1);
        for (size_t at = 0; at < 30 * 16; at += 7) {
            set(in.q, DTYPES[i], at, at % 2 ? INFINITY : -INFINITY);
            set(in.k, DTYPES[i], at, at % 3 ? INFINITY : 3e38f);
        }
        run_trial(udump_backend_reference(), NULL, 2, &in.trial, reference);
#ifndef UDUMP_PLAIN_THREADS
        float *found[RESULTS];
        run_trial(udump_backend_cpu(), NULL, 2, &in.trial, found);
        free_results(found);
#endif
        free_results(reference);
        free_inputs(&in);
    }
}

/* ---------------------------------------------------------------- memory */

static void each_backend(void (*test)(const udump_backend *backend, const void *kernels)) {
    test(udump_backend_reference(), NULL);
#ifndef UDUMP_PLAIN_THREADS
    const udump_kernels *kernels[MOST_KERNELS];
    for (int count = kernels_here(kernels), i = 0; i < count; i++) test(udump_backend_cpu(), kernels[i]);
#endif
}

/* A dry pass sees the longest context there may be; the real one may be shorter. */
static void shorter(const udump_backend *backend, const void *kernels) {
    for (int operation = 0; operation < OPERATIONS; operation++) {
        struct inputs in;
        struct bench b;
        size_t sizes[RESULTS];
        float *results[RESULTS];
        make_inputs(&in, shaped(UDUMP_F32, 2, 8, 60, 231), 4, 1);
        result_sizes(&in.trial, sizes);
        for (int i = 0; i < RESULTS; i++) results[i] = floats(sizes[i]);
        bench_open(&b, backend, kernels, 3);
        call_dry(&b.x, &in.trial, operation);
        for (in.trial.a.keys = 231; in.trial.a.keys > 0; in.trial.a.keys -= 11) call(&b.x, &in.trial, operation, results);
        assert_int_equal(b.x.status, UDUMP_OK);
        bench_close(&b);
        free_results(results);
        free_inputs(&in);
    }
}
static void test_shorter(void **state) {
    (void)state;
    each_backend(shorter);
}

/* An arena without room is an error that sticks; no result is written. */
static void no_room(const udump_backend *backend, const void *kernels) {
    for (int operation = 0; operation < OPERATIONS; operation++) {
        struct inputs in;
        struct bench b;
        udump_error error;
        float *const nothing[RESULTS] = { NULL };
        if (operation == 1 && backend == udump_backend_reference()) continue; /* needs none */
        make_inputs(&in, shaped(UDUMP_F32, 2, 8, 60, 231), 4, 1);
        bench_open(&b, backend, kernels, 2);
        call(&b.x, &in.trial, operation, nothing);
        assert_int_equal(udump_exec_status(&b.x, &error), UDUMP_ERROR_INTERNAL);
        call(&b.x, &in.trial, operation, nothing);
        assert_int_equal(b.x.low_bytes, 0);
        bench_close(&b);
        free_inputs(&in);
    }
}
static void test_no_room(void **state) {
    (void)state;
    each_backend(no_room);
}

/* No [queries, keys] matrix: four times the queries need no more scratch, where they change nothing but how many panels there are. */
static void scratch(const udump_backend *backend, const void *kernels) {
    for (int operation = 0; operation < OPERATIONS; operation++) {
        size_t bytes[2];
        for (int i = 0; i < 2; i++) {
            struct bench b;
            struct trial t = { .a = shaped(UDUMP_F32, 8, 40, i ? 4096 : 1024, 1024), .count = 16 };
            bench_open(&b, backend, kernels, 2);
            call_dry(&b.x, &t, operation);
            bytes[i] = b.x.arena_bytes;
            bench_close(&b);
        }
        assert_int_equal(bytes[0], bytes[1]);
    }
}
static void test_scratch(void **state) {
    (void)state;
    each_backend(scratch);
}

/* ---------------------------------------------------------------- differences */

struct two {
    udump_dtype a, b;
    int32_t count;
    bool absolute, in_place; /* in_place: over a, which is F32 */
    float strange;           /* somewhere in a; 0: nothing strange */
    int32_t at;
};

/* out: [count]. */
static udump_difference subtract(
    const udump_backend *backend, const void *kernels, int32_t threads, const struct two *two, float *out, float *a, float *b) {
    struct bench bench;
    udump_tensor tensors[3];
    udump_error error;
    udump_difference difference;
    udump_exec *x = &bench.x;
    bench_open(&bench, backend, kernels, threads);
    for (int dry = 1; dry >= 0; dry--) {
        if (dry) udump_exec_begin_dry(x);
        tensors[0] = udump_tensor_new(x, two->a, 1, 1, 1, two->count);
        tensors[1] = udump_tensor_new(x, two->b, 1, 1, 1, two->count);
        tensors[2] = two->in_place ? tensors[0] : udump_tensor_new(x, UDUMP_F32, 1, 1, 1, two->count);
        if (dry) assert_int_equal(udump_exec_end_dry(x, &error), UDUMP_OK);
    }
    noise_state = 5;
    for (int32_t i = 0; i < 2 * two->count; i++) {
        float value = i % two->count == two->at && i < two->count && two->strange != 0 ? two->strange : noise() * 3 + 1;
        udump_tensor to = tensors[i / two->count];
        size_t at = (size_t)(i % two->count);
        set(udump_tensor_data(x, to), to.dtype, at, value);
        (i < two->count ? a : b)[at] = (float)get(udump_tensor_data(x, to), to.dtype, at);
    }
    backend->subtract(x, tensors[2], tensors[0], tensors[1], two->absolute, &difference);
    backend->download(x, out, tensors[2]);
    assert_int_equal(x->status, UDUMP_OK);
    bench_close(&bench);
    return difference;
}

static void near(double found, double expected) { /* sums in double, in another order; the root halves the error */
    if (isnan(expected)) assert_true(isnan(found));
    else if (isinf(expected)) assert_true(found == expected);
    else assert_true(fabs(found - expected) <= 1e-12 * (1 + fabs(expected)));
}

static void check_difference(const udump_backend *backend, const void *kernels, int32_t threads, const struct two *two) {
    size_t count = (size_t)two->count;
    float *out = floats(count), *a = floats(count), *b = floats(count);
    udump_difference found = subtract(backend, kernels, threads, two, out, a, b);
    double squares = 0, a_squares = 0, b_squares = 0, products = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        float off = a[i] - b[i], expected = two->absolute ? fabsf(off) : off;
        assert_memory_equal(out + i, &expected, isnan(expected) ? 0 : sizeof expected);
        assert_int_equal(!!isnan(out[i]), !!isnan(expected));
        squares += (double)off * (double)off;
        a_squares += (double)a[i] * (double)a[i];
        b_squares += (double)b[i] * (double)b[i];
        products += (double)a[i] * (double)b[i];
        most = isnan(most) || isnan(off) ? (double)NAN : fmax(most, fabs((double)off));
    }
    near(found.l2, sqrt(squares));
    near(found.a_l2, sqrt(a_squares));
    near(found.b_l2, sqrt(b_squares));
    near(found.dot, products);
    near(found.max, most);
    free(out);
    free(a);
    free(b);
}

static void differences(const udump_backend *backend, const void *kernels) {
    static const int32_t counts[] = { 1, 3, 8, 17, 63, 64, 65, 1000, 1025, 300007 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int kind = 0; kind < 8; kind++) {
            struct two two = { .a = DTYPES[kind & 1], .b = DTYPES[kind >> 1 & 1], .count = counts[i], .absolute = kind & 4 };
            check_difference(backend, kernels, 1 + (int32_t)i % 3, &two);
            two.in_place = two.a == UDUMP_F32;
            if (two.in_place) check_difference(backend, kernels, 2, &two);
        }
    for (int32_t at = 0; at < 700; at += 23)
        for (int kind = 0; kind < 4; kind++) {
            const float strange[] = { NAN, INFINITY, -INFINITY, -1e20f };
            struct two two = { .a = DTYPES[at % 2], .b = UDUMP_F32, .count = 700, .absolute = at % 3, .at = at, .strange = strange[kind] };
            check_difference(backend, kernels, 2, &two);
        }
}
static void test_differences(void **state) {
    (void)state;
    each_backend(differences);
}

/* The sums are the same bits on any number of threads. */
static void same_on_all_threads(const udump_backend *backend, const void *kernels) {
    struct two two = { .a = UDUMP_F32, .b = UDUMP_BF16, .count = 600011 };
    size_t count = (size_t)two.count;
    float *out = floats(count), *a = floats(count), *b = floats(count);
    udump_difference first = subtract(backend, kernels, 1, &two, out, a, b);
    for (int32_t threads = 2; threads <= 5; threads++) {
        udump_difference other = subtract(backend, kernels, threads, &two, out, a, b);
        assert_memory_equal(&first, &other, sizeof first);
    }
    free(out);
    free(a);
    free(b);
}
static void test_same_on_all_threads(void **state) {
    (void)state;
    each_backend(same_on_all_threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_never_looked_at),
        cmocka_unit_test(test_infinite),
        cmocka_unit_test(test_shorter),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_same_on_all_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
