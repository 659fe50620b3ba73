/* Looking at attention: P = softmax(Q K^T / sqrt(d)), one row of it at a time. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"
#include "base/parallel.h"
#include "tensor/resize.h"

struct looking {
    const udump_attended *a;
    size_t heads, d, queries, keys;
    float *scratch;        /* [threads, scratch_floats] */
    size_t scratch_floats;
    const int32_t *chosen; /* rows: [count] */
    size_t count;          /* rows: queries chosen; covariance: columns of v */
    float *result;         /* maps: [heads, keys, queries]; rows: [heads, count, keys]; summary: received, [heads, keys] */
    float *entropy;        /* summary: [heads, queries] */
    const float *v;        /* covariance: [keys, count] */
    float *y;              /* covariance: [queries, count] */
};

static struct looking looking_at(const udump_attended *a) {
    return (struct looking){ .a = a, .heads = (size_t)a->heads, .d = (size_t)a->d, .queries = (size_t)a->queries, .keys = (size_t)a->keys };
}

/* One row of one head's P. */
static void probabilities(const struct looking *l, size_t head, size_t query, float *p /* [keys] */) {
    const udump_attended *a = l->a;
    float most = -INFINITY, total = 0;
    for (size_t k = 0; k < l->keys; k++) {
        size_t q_at = query * (size_t)a->q_stride + head * l->d, k_at = k * (size_t)a->k_stride + head * l->d;
        float sum = 0;
        for (size_t i = 0; i < l->d; i++)
            sum += udump_reference_get(a->q, a->dtype, q_at + i) * udump_reference_get(a->k, a->dtype, k_at + i);
        p[k] = sum / sqrtf((float)l->d);
        most = p[k] > most ? p[k] : most;
    }
    for (size_t k = 0; k < l->keys; k++) total += p[k] = expf(p[k] - most);
    for (size_t k = 0; k < l->keys; k++) p[k] /= total;
}

/* Runs body over `items` with scratch_floats of zeros for each thread; then finish, if there is one, while the scratch still stands. */
static void looking_run(udump_exec *x, struct looking *l, size_t scratch_floats, size_t items, udump_parallel_fn body,
    void (*finish)(const struct looking *l, size_t threads)) {
    size_t mark = udump_arena_mark(x);
    l->scratch_floats = scratch_floats;
    l->scratch = udump_reference_scratch(x, scratch_floats);
    if (l->scratch) {
        memset(l->scratch, 0, (size_t)x->threads * scratch_floats * sizeof *l->scratch);
        udump_parallel_for(x->threads, (int64_t)items, body, l);
        if (finish) finish(l, (size_t)x->threads);
    }
    udump_arena_release(x, mark);
}

static float *scratch_of(const struct looking *l, size_t thread) { return l->scratch + thread * l->scratch_floats; }

static void maps_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    float *p = scratch_of(l, (size_t)thread);
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t head = at / l->queries, query = at % l->queries;
        probabilities(l, head, query, p);
        for (size_t k = 0; k < l->keys; k++) l->result[(head * l->keys + k) * l->queries + query] = p[k];
    }
}

void udump_reference_attention_maps(udump_exec *x, const udump_attended *a, float *maps) {
    struct looking l = looking_at(a);
    l.result = maps;
    looking_run(x, &l, l.keys, l.heads * l.queries, maps_range, NULL);
}

static void rows_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    (void)thread;
    for (size_t at = (size_t)begin; at < (size_t)end; at++)
        probabilities(l, at / l->count, (size_t)l->chosen[at % l->count], l->result + at * l->keys);
}

void udump_reference_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows) {
    struct looking l = looking_at(a);
    l.result = rows;
    l.chosen = chosen;
    l.count = (size_t)count;
    if (!x->dry) udump_parallel_for(x->threads, (int64_t)a->heads * count, rows_range, &l);
}

/* Whole heads, so that nothing is summed across threads. */
static void summary_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    float *p = scratch_of(l, (size_t)thread);
    for (size_t head = (size_t)begin; head < (size_t)end; head++) {
        float *received = l->result + head * l->keys;
        memset(received, 0, l->keys * sizeof *received);
        for (size_t query = 0; query < l->queries; query++) {
            float entropy = 0;
            probabilities(l, head, query, p);
            for (size_t k = 0; k < l->keys; k++) {
                received[k] += p[k];
                entropy -= p[k] == 0 ? 0 : p[k] * logf(p[k]);
            }
            l->entropy[head * l->queries + query] = entropy;
        }
        for (size_t k = 0; k < l->keys; k++) received[k] /= (float)l->queries;
    }
}

void udump_reference_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy) {
    struct looking l = looking_at(a);
    l.result = received;
    l.entropy = entropy;
    looking_run(x, &l, l.keys, l.heads, summary_range, NULL);
}

/* A thread's scratch: z, [keys, count]; one row of M, [keys]; one row of a head's P, [keys]. */
static void covariance_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    float *z = scratch_of(l, (size_t)thread), *m = z + l->keys * l->count, *p = m + l->keys;
    for (size_t query = (size_t)begin; query < (size_t)end; query++) {
        float *y = l->y + query * l->count;
        memset(m, 0, l->keys * sizeof *m);
        for (size_t head = 0; head < l->heads; head++) {
            probabilities(l, head, query, p);
            for (size_t k = 0; k < l->keys; k++) m[k] += p[k];
        }
        memset(y, 0, l->count * sizeof *y);
        for (size_t k = 0; k < l->keys; k++) m[k] /= (float)l->heads;
        for (size_t k = 0; k < l->keys; k++)
            for (size_t c = 0; c < l->count; c++) y[c] += m[k] * l->v[k * l->count + c];
        for (size_t k = 0; k < l->keys; k++)
            for (size_t c = 0; c < l->count; c++) z[k * l->count + c] += m[k] * y[c];
    }
}

/* The threads' z, in the order of the threads. */
static void covariance_finish(const struct looking *l, size_t threads) {
    memset(l->result, 0, l->keys * l->count * sizeof *l->result);
    for (size_t thread = 0; thread < threads; thread++)
        for (size_t i = 0; i < l->keys * l->count; i++) l->result[i] += scratch_of(l, thread)[i];
}

void udump_reference_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z) {
    struct looking l = looking_at(a);
    l.count = (size_t)count;
    l.v = v;
    l.y = y;
    l.result = z;
    looking_run(x, &l, l.keys * (l.count + 2), l.queries, covariance_range, covariance_finish);
}

void udump_reference_word_map(udump_exec *x, const float *maps, int32_t heads, int32_t tokens, int64_t area, const int32_t *columns,
    int32_t count, float *map) {
    (void)x;
    memset(map, 0, (size_t)area * sizeof *map);
    for (int64_t head = 0; head < heads; head++)
        for (int32_t c = 0; c < count; c++) {
            const float *from = maps + (head * tokens + columns[c]) * area;
            for (int64_t i = 0; i < area; i++) map[i] += from[i] / (float)heads;
        }
}

void udump_reference_warm(udump_exec *x, const float *map, int32_t h, int32_t w, float *sums, int32_t out_h, int32_t out_w) {
    size_t mark = udump_arena_mark(x), area = (size_t)out_h * (size_t)out_w;
    udump_tensor resized_tensor = udump_tensor_new(x, UDUMP_F32, 1, out_h, out_w, 1);
    if (!x->dry && !x->status) {
        float *resized = udump_tensor_data(x, resized_tensor);
        udump_resize_bicubic(map, h, w, resized, out_h, out_w);
        for (size_t i = 0; i < area; i++) sums[i] += resized[i] > 0 ? resized[i] : 0;
    }
    udump_arena_release(x, mark);
}
