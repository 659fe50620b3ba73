/* Looking at attention: panels of queries, spread over threads. Inside, kernels_look.h. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/parallel.h"

enum { TOGETHER = 2 };

struct looking {
    udump_exec *x;
    const udump_kernels *kernels;
    const udump_attended *a;
    size_t heads, d, keys, tiled_keys;
    size_t queries, width, panels;    /* width: of a panel */
    float *k;                         /* [heads, tiled_keys, d] */
    float *scratch;                   /* [threads, scratch_floats] */
    size_t scratch_floats;            /* the kernel's, then what is the operation's own */
    const int32_t *chosen;            /* rows: [queries] */
    float *maps;                      /* [heads, keys, queries] */
    float *rows;                      /* [heads, queries, keys] */
    float *received, *entropy;        /* [heads, keys], [heads, queries] */
    size_t count, tiled_count, padded_count; /* covariance: columns of v, in whole tiles, in whole vectors */
    float *v;                         /* [tiled_count, keys]: transposed */
    float *y, *z;                     /* [queries, count], [keys, count] */
};

static struct looking looking_at(udump_exec *x, const udump_attended *a, int32_t queries) {
    struct looking l = { .x = x,
        .kernels = udump_cpu_kernels(x),
        .a = a,
        .heads = (size_t)a->heads,
        .d = (size_t)a->d,
        .keys = (size_t)a->keys,
        .queries = (size_t)queries };
    l.tiled_keys = udump_tiled(l.kernels, l.keys);
    l.width = udump_look_queries(l.kernels);
    l.panels = (l.queries + l.width - 1) / l.width;
    return l;
}

static const char *element_at(const void *data, udump_dtype dtype, size_t index) {
    return (const char *)data + index * udump_dtype_bytes(dtype);
}

/* In whole cache lines, so that what follows is aligned to one. */
static size_t in_lines(size_t floats) { return (floats + 15) / 16 * 16; }

static float *thread_scratch(const struct looking *l, size_t thread) { return l->scratch + thread * l->scratch_floats; }
/* What is the operation's own of a thread's scratch. */
static float *own_scratch(const struct looking *l, size_t thread) {
    return thread_scratch(l, thread) + in_lines(udump_look_scratch(l->kernels, l->d, l->keys));
}

static void pack_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    (void)thread;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t head = at / l->tiled_keys, key = at % l->tiled_keys;
        float *k = l->k + at * l->d;
        if (key < l->keys)
            l->kernels->convert(
                k, UDUMP_F32, element_at(l->a->k, l->a->dtype, key * (size_t)l->a->k_stride + head * l->d), l->a->dtype, l->d);
        else memset(k, 0, l->d * sizeof *k);
    }
}

/* Q K^T and the softmax's exponentials. */
static int looking_threads(const struct looking *l) {
    return udump_threads_worth(l->x->threads, (int64_t)(l->heads * l->queries * l->keys * (l->d + 16)));
}

/* Takes scratch, of which own_floats a thread are the operation's, and packs K. False in a dry pass and after a failure. */
static bool looking_prepare(struct looking *l, size_t own_floats) {
    udump_exec *x = l->x;
    l->scratch_floats = in_lines(udump_look_scratch(l->kernels, l->d, l->keys)) + in_lines(own_floats);
    udump_tensor k = udump_tensor_new(x, UDUMP_F32, (int32_t)l->heads, (int32_t)l->tiled_keys, 1, (int32_t)l->d);
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, x->threads, 1, 1, (int32_t)l->scratch_floats);
    if (x->dry || x->status) return false;
    l->k = udump_tensor_data(x, k);
    l->scratch = udump_tensor_data(x, scratch);
    udump_parallel_for(looking_threads(l), (int64_t)(l->heads * l->tiled_keys), pack_range, l);
    return true;
}

/* One panel of one head; the caller names the results. */
static udump_look look_job(const struct looking *l, size_t head, size_t panel, size_t thread) {
    size_t first = panel * l->width, q = (l->chosen ? 0 : first) * (size_t)l->a->q_stride + head * l->d;
    return (udump_look){ .q = element_at(l->a->q, l->a->dtype, q),
        .dtype = l->a->dtype,
        .q_stride = (size_t)l->a->q_stride,
        .chosen = l->chosen ? l->chosen + first : NULL,
        .queries = l->queries - first < l->width ? l->queries - first : l->width,
        .d = l->d,
        .keys = l->keys,
        .k = l->k + head * l->tiled_keys * l->d,
        .scratch = thread_scratch(l, thread) };
}

/* Maps, rows and summaries: of each panel of each head what is wanted. All heads look at TOGETHER panels before the next ones: a head's
 * part of a query is short and far from the next query's, and so it comes from the cache (cross-attention is twice as fast by it). */
static void look_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct looking *l = arg;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t group = at / (l->heads * TOGETHER), within = at % (l->heads * TOGETHER), left = l->panels - group * TOGETHER;
        size_t turn = left < TOGETHER ? left : TOGETHER, head = within / turn, panel = group * TOGETHER + within % turn,
               first = panel * l->width;
        udump_look job = look_job(l, head, panel, (size_t)thread);
        job.maps_stride = l->queries;
        if (l->maps) job.maps = l->maps + head * l->keys * l->queries + first;
        if (l->rows) job.rows = l->rows + (head * l->queries + first) * l->keys;
        if (l->received) job.received = own_scratch(l, (size_t)thread) + head * l->keys;
        if (l->entropy) job.entropy = l->entropy + head * l->queries + first;
        l->kernels->look(&job);
    }
}

static void look_run(struct looking *l) { udump_parallel_for(looking_threads(l), (int64_t)(l->heads * l->panels), look_range, l); }

void udump_cpu_attention_maps(udump_exec *x, const udump_attended *a, float *maps) {
    size_t mark = udump_arena_mark(x);
    struct looking l = looking_at(x, a, a->queries);
    l.maps = maps;
    if (looking_prepare(&l, 0)) look_run(&l);
    udump_arena_release(x, mark);
}

void udump_cpu_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows) {
    size_t mark = udump_arena_mark(x);
    struct looking l = looking_at(x, a, count);
    l.chosen = chosen;
    l.rows = rows;
    if (looking_prepare(&l, 0)) look_run(&l);
    udump_arena_release(x, mark);
}

/* The threads' own scratch starts at zero: a sum that each adds to. */
static void clear_own(const struct looking *l, size_t own_floats) {
    for (size_t thread = 0; thread < (size_t)l->x->threads; thread++) memset(own_scratch(l, thread), 0, own_floats * sizeof(float));
}

/* To add the threads' sums, in the order of the threads. */
static int sum_threads(const struct looking *l, size_t sums) {
    return udump_threads_worth(l->x->threads, (int64_t)sums * l->x->threads);
}

static void received_range(void *arg, int64_t begin, int64_t end, int thread) { /* of all heads' keys */
    const struct looking *l = arg;
    (void)thread;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        float sum = 0;
        for (size_t t = 0; t < (size_t)l->x->threads; t++) sum += own_scratch(l, t)[at];
        l->received[at] = sum / (float)l->queries;
    }
}

void udump_cpu_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy) {
    size_t mark = udump_arena_mark(x), own_floats = (size_t)a->heads * (size_t)a->keys;
    struct looking l = looking_at(x, a, a->queries);
    l.received = received;
    l.entropy = entropy;
    if (looking_prepare(&l, own_floats)) {
        clear_own(&l, own_floats);
        look_run(&l);
        udump_parallel_for(sum_threads(&l, own_floats), (int64_t)own_floats, received_range, &l);
    }
    udump_arena_release(x, mark);
}

/* A thread's own scratch: z, [tiled_keys, padded_count]; a panel of M, [tiled_keys, width]; the kernel's. */
static size_t z_floats(const struct looking *l) { return in_lines(l->tiled_keys * l->padded_count); }
static size_t mean_floats(const struct looking *l) { return in_lines(l->tiled_keys * l->width); }

static void covariance_range(void *arg, int64_t begin, int64_t end, int thread) { /* of panels */
    const struct looking *l = arg;
    float *z = own_scratch(l, (size_t)thread), *mean = z + z_floats(l);
    for (size_t panel = (size_t)begin; panel < (size_t)end; panel++) {
        udump_look job = { 0 };
        memset(mean, 0, mean_floats(l) * sizeof *mean);
        for (size_t head = 0; head < l->heads; head++) {
            job = look_job(l, head, panel, (size_t)thread);
            job.mean = mean;
            job.share = 1.0f / (float)l->heads;
            l->kernels->look(&job);
        }
        l->kernels->look_covariance(&(udump_look_covariance){ .mean = mean,
            .v = l->v,
            .queries = job.queries,
            .keys = l->keys,
            .count = l->count,
            .y = l->y + panel * l->width * l->count,
            .z = z,
            .scratch = mean + mean_floats(l) });
    }
}

static void z_range(void *arg, int64_t begin, int64_t end, int thread) { /* of keys */
    const struct looking *l = arg;
    (void)thread;
    for (size_t key = (size_t)begin; key < (size_t)end; key++)
        for (size_t c = 0; c < l->count; c++) {
            float sum = 0;
            for (size_t t = 0; t < (size_t)l->x->threads; t++) sum += own_scratch(l, t)[key * l->padded_count + c];
            l->z[key * l->count + c] = sum;
        }
}

static void covariance_run(struct looking *l, const float *v) {
    memset(l->v, 0, l->tiled_count * l->keys * sizeof *l->v);
    for (size_t key = 0; key < l->keys; key++)
        for (size_t c = 0; c < l->count; c++) l->v[c * l->keys + key] = v[key * l->count + c];
    clear_own(l, z_floats(l));
    udump_parallel_for(looking_threads(l), (int64_t)l->panels, covariance_range, l);
    udump_parallel_for(sum_threads(l, l->keys * l->count), (int64_t)l->keys, z_range, l);
}

void udump_cpu_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z) {
    size_t mark = udump_arena_mark(x);
    struct looking l = looking_at(x, a, a->queries);
    l.count = (size_t)count;
    l.tiled_count = udump_tiled(l.kernels, l.count);
    l.padded_count = udump_in_vectors(l.kernels, l.count);
    l.y = y;
    l.z = z;
    udump_tensor across = udump_tensor_new(x, UDUMP_F32, 1, (int32_t)l.tiled_count, 1, (int32_t)l.keys);
    if (looking_prepare(&l, z_floats(&l) + mean_floats(&l) + udump_look_covariance_scratch(l.kernels, l.count))) {
        l.v = udump_tensor_data(x, across);
        covariance_run(&l, v);
    }
    udump_arena_release(x, mark);
}
