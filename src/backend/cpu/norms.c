/* Group norm and layer norm, spread over threads. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "base/parallel.h"

enum { NORM_WORK = 16 }; /* an element's cost, in multiply-adds (parallel.h) */

struct group_norm {
    udump_exec *x;
    const udump_kernels *kernels;
    udump_tensor out, in; /* one image */
    const void *row;      /* [c] or NULL */
    udump_dtype row_dtype;
    size_t groups, pixels, c;
    int64_t runs;
    const float *scale, *shift;       /* [c] */
    double *means, *squares;          /* [runs, groups] */
    float mean[UDUMP_MOST_GROUPS];    /* [groups] */
    float inverse[UDUMP_MOST_GROUPS]; /* [groups]: 1 / sqrt(variance + eps) */
    bool silu;
};

static size_t run_begin(const struct group_norm *g, int64_t run) { return g->pixels * (size_t)run / (size_t)g->runs; }

static const char *pixel_at(const struct group_norm *g, udump_tensor tensor, size_t pixel) {
    return (const char *)udump_tensor_data(g->x, tensor) + pixel * g->c * udump_dtype_bytes(tensor.dtype);
}

static void moments_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct group_norm *g = arg;
    (void)thread;
    for (int64_t run = begin; run < end; run++) {
        size_t first = run_begin(g, run), at = (size_t)run * g->groups;
        g->kernels->group_moments(pixel_at(g, g->in, first), g->in.dtype, g->row, g->row_dtype, run_begin(g, run + 1) - first, g->c,
            g->groups, g->means + at, g->squares + at);
    }
}

/* The runs' moments to each group's mean and inverse deviation (Chan, Golub and LeVeque 1979, for any sizes). */
static void merge_runs(struct group_norm *g, float eps) {
    double width = (double)(g->c / g->groups), total = (double)g->pixels * width;
    for (size_t group = 0; group < g->groups; group++) {
        double mean = 0, squares = 0;
        for (int64_t run = 0; run < g->runs; run++)
            mean += g->means[(size_t)run * g->groups + group] * (double)(run_begin(g, run + 1) - run_begin(g, run)) * width / total;
        for (int64_t run = 0; run < g->runs; run++) {
            double off = g->means[(size_t)run * g->groups + group] - mean,
                   count = (double)(run_begin(g, run + 1) - run_begin(g, run)) * width;
            squares += g->squares[(size_t)run * g->groups + group] + off * off * count;
        }
        g->mean[group] = (float)mean;
        g->inverse[group] = (float)(1.0 / sqrt(squares / total + (double)eps));
    }
}

static void apply_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct group_norm *g = arg;
    char *out = (char *)udump_tensor_data(g->x, g->out) + (size_t)begin * g->c * udump_dtype_bytes(g->out.dtype);
    (void)thread;
    g->kernels->group_apply(out, g->out.dtype, pixel_at(g, g->in, (size_t)begin), g->in.dtype, g->row, g->row_dtype, (size_t)(end - begin),
        g->c, g->groups, g->mean, g->inverse, g->scale, g->shift, g->silu);
}

void udump_cpu_group_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu,
    const udump_tensor *row) {
    if (groups > UDUMP_MOST_GROUPS) {
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "group_norm", "%d groups", (int)groups);
        return;
    }
    udump_cpu_state *state = x->state;
    struct group_norm g = { .x = x,
        .kernels = udump_cpu_kernels(x),
        .groups = (size_t)groups,
        .pixels = (size_t)in.h * (size_t)in.w,
        .c = (size_t)in.c,
        .scale = w->values,
        .shift = w->values + in.c,
        .means = state->moments,
        .squares = state->moments + UDUMP_NORM_RUNS * UDUMP_MOST_GROUPS,
        .silu = silu };
    g.runs = g.pixels < UDUMP_NORM_RUNS ? (int64_t)g.pixels : UDUMP_NORM_RUNS;
    if (row) g.row_dtype = row->dtype;
    int threads = udump_threads_worth(x->threads, NORM_WORK * (int64_t)(g.pixels * g.c));
    for (int32_t image = 0; image < in.n; image++) {
        g.in = udump_tensor_rows(in, image, 1);
        g.out = udump_tensor_rows(out, image, 1);
        if (row) g.row = udump_tensor_data(x, udump_tensor_rows(*row, row->n > 1 ? image : 0, 1));
        udump_parallel_for(threads, g.runs, moments_range, &g);
        merge_runs(&g, eps);
        udump_parallel_for(threads, (int64_t)g.pixels, apply_range, &g);
    }
}

struct layer_norm {
    udump_exec *x;
    udump_tensor out, in;
    const udump_packed *w;
    float eps;
};

static void layer_norm_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct layer_norm *l = arg;
    size_t c = (size_t)l->in.c;
    char *out = (char *)udump_tensor_data(l->x, l->out) + (size_t)begin * c * udump_dtype_bytes(l->out.dtype);
    const char *in = (const char *)udump_tensor_data(l->x, l->in) + (size_t)begin * c * udump_dtype_bytes(l->in.dtype);
    (void)thread;
    udump_cpu_kernels(l->x)->layer_norm(
        out, l->out.dtype, in, l->in.dtype, (size_t)(end - begin), c, l->w->values, l->w->values + c, l->eps);
}

void udump_cpu_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps) {
    int threads = udump_threads_worth(x->threads, NORM_WORK * (int64_t)udump_tensor_count(in));
    udump_parallel_for(
        threads, (int64_t)in.n * in.h * in.w, layer_norm_range, &(struct layer_norm){ .x = x, .out = out, .in = in, .w = w, .eps = eps });
}
