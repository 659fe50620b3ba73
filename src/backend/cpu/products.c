/* Convolutions and linear layers: by our kernels or by oneDNN's plans, and the conversions around weights that are multiplied in another dtype than
 * the tensors'. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/multiply.h"
#include "base/parallel.h"
#include "base/status.h"

/* Rows of a GEGLU worked on together: the gate is scratch, and of this many rows it mostly stays in the cache. */
static const int32_t GEGLU_ROWS = 1024;

struct product {
    udump_tensor out, in;
    const udump_cpu_weights *weights, *gate; /* gate: GEGLU by our kernels; else NULL */
    udump_conv_shape shape;                  /* with the input's n, h, w */
    udump_activation activation;
    udump_dnn_join join;
    const udump_tensor *other; /* of UDUMP_DNN_ADD, which becomes UDUMP_DNN_ADD_IN_PLACE where other is out, and UDUMP_DNN_MULTIPLY */
};

static udump_tensor like(udump_exec *x, udump_tensor tensor, udump_dtype dtype) {
    return udump_tensor_new(x, dtype, tensor.n, tensor.h, tensor.w, tensor.c);
}

/* tensor itself, or a copy of it in dtype. */
static udump_tensor as_dtype(udump_exec *x, udump_tensor tensor, udump_dtype dtype) {
    if (tensor.dtype == dtype) return tensor;
    udump_tensor copy = like(x, tensor, dtype);
    if (!x->dry && !x->status) udump_cpu_convert(x, copy, tensor);
    return copy;
}

static void run(
    udump_exec *x, udump_dnn_plan *plan, const struct product *p, udump_tensor in, udump_tensor out, const udump_tensor *other) {
    udump_cpu_state *state = x->state;
    size_t floats = (udump_dnn_plan_scratch_bytes(plan) + sizeof(float) - 1) / sizeof(float);
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, (int32_t)floats);
    if (x->dry || x->status) return;
    udump_error error;
    const void *joined = other && p->join != UDUMP_DNN_ALONE ? udump_tensor_data(x, *other) : NULL;
    if (udump_dnn_plan_run(
            state->dnn, plan, udump_tensor_data(x, in), udump_tensor_data(x, out), joined, udump_tensor_data(x, scratch), &error))
        udump_exec_fail(x, error.status, error.where, "%s", error.what);
    if (out.offset_bytes != p->out.offset_bytes) udump_cpu_convert(x, p->out, out);
}

static int64_t multiply_adds(const struct product *p) {
    int64_t taps = p->shape.kernel ? (int64_t)p->shape.kernel * p->shape.kernel : 1;
    return (int64_t)udump_tensor_count(p->out) * p->in.c * taps;
}

static void multiply_by_dnn(udump_exec *x, const struct product *p) {
    udump_cpu_state *state = x->state;
    size_t mark = udump_arena_mark(x);
    udump_dtype dtype = udump_dnn_weights_dtype(p->weights->dnn);
    /* bf16 products may store fp32 and join fp32; fp32 ones know nothing else */
    udump_tensor in = as_dtype(x, p->in, dtype);
    udump_tensor out = dtype == UDUMP_F32 && p->out.dtype != dtype ? like(x, p->out, dtype) : p->out;
    udump_tensor other = !p->other ? out : dtype == UDUMP_F32 ? as_dtype(x, *p->other, dtype) : *p->other;
    udump_dnn_epilogue e = { .activation = p->activation, .join = p->join, .out = out.dtype, .other = other.dtype };
    if (e.join == UDUMP_DNN_ADD && other.offset_bytes == out.offset_bytes) e.join = UDUMP_DNN_ADD_IN_PLACE;
    udump_error error;
    int32_t threads = udump_threads_worth(x->threads, multiply_adds(p));
    udump_dnn_plan *plan = x->status ? NULL : udump_plans_get(&state->plans, state->dnn, p->weights->dnn, &p->shape, &e, threads, &error);
    if (plan) run(x, plan, p, in, out, &other);
    else if (!x->status) udump_exec_fail(x, error.status, error.where, "%s", error.what);
    udump_arena_release(x, mark);
}

/* In fp32, whatever the tensors are. */
static void multiply_by_panels(udump_exec *x, const struct product *p) {
    size_t mark = udump_arena_mark(x);
    udump_tensor residual = p->other ? as_dtype(x, *p->other, UDUMP_F32) : p->out;
    udump_product product = { .out = p->out.dtype == UDUMP_F32 ? p->out : like(x, p->out, UDUMP_F32),
        .in = as_dtype(x, p->in, UDUMP_F32),
        .weights = p->weights->panels,
        .gate = p->gate ? p->gate->panels : NULL,
        .shape = p->shape,
        .activation = p->activation,
        .residual = p->other ? &residual : NULL };
    if (udump_cpu_is_winograd(udump_cpu_kernels(x), &p->shape)) udump_cpu_winograd(x, &product);
    else udump_cpu_multiply(x, &product);
    if (p->out.dtype != UDUMP_F32 && !x->dry && !x->status) udump_cpu_convert(x, p->out, product.out);
    udump_arena_release(x, mark);
}

static void multiply(udump_exec *x, const struct product *p) {
    if (p->weights->dnn) multiply_by_dnn(x, p);
    else multiply_by_panels(x, p);
}

void udump_cpu_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    struct product p = { .out = out,
        .in = in,
        .weights = &w->weights,
        .shape = w->shape,
        .join = residual ? UDUMP_DNN_ADD : UDUMP_DNN_ALONE,
        .other = residual };
    p.shape.n = in.n;
    p.shape.h = in.h;
    p.shape.w = in.w;
    multiply(x, &p);
}

void udump_cpu_conv2d_upsampled(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    size_t mark = udump_arena_mark(x);
    struct product p = { .out = out, .in = in, .weights = &w->weights, .shape = w->shape };
    p.shape.n = in.n;
    p.shape.h = out.h;
    p.shape.w = out.w;
    if (w->weights.dnn) { /* which knows no such thing */
        p.in = udump_tensor_new(x, in.dtype, in.n, out.h, out.w, in.c);
        if (!x->dry && !x->status) udump_cpu_upsample_nearest(x, p.in, in);
    }
    multiply(x, &p);
    udump_arena_release(x, mark);
}

/* All positions as rows: [n * h * w, 1, 1, c]. */
static udump_tensor flat(udump_tensor tensor) {
    tensor.n *= tensor.h * tensor.w;
    tensor.h = tensor.w = 1;
    return tensor;
}

static void linear_rows(udump_exec *x, struct product *p, const udump_packed *w) {
    p->shape = w->shape;
    p->shape.n = p->in.n;
    multiply(x, p);
}

void udump_cpu_linear(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual) {
    udump_tensor other = residual ? flat(*residual) : out;
    struct product p = { .out = flat(out),
        .in = flat(in),
        .weights = &w->weights,
        .activation = activation,
        .join = residual ? UDUMP_DNN_ADD : UDUMP_DNN_ALONE,
        .other = residual ? &other : NULL };
    linear_rows(x, &p, w);
}

/* The gate, of some rows at a time, and the value times it. */
static void geglu_by_dnn(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    size_t mark = udump_arena_mark(x);
    udump_tensor rows_in = flat(in), rows_out = flat(out);
    udump_tensor gates = udump_tensor_new(x, UDUMP_F32, rows_in.n < GEGLU_ROWS ? rows_in.n : GEGLU_ROWS, 1, 1, out.c);
    for (int32_t first = 0; first < rows_in.n && !x->status; first += GEGLU_ROWS) {
        int32_t count = rows_in.n - first < GEGLU_ROWS ? rows_in.n - first : GEGLU_ROWS;
        udump_tensor part_in = udump_tensor_rows(rows_in, first, count), gate = udump_tensor_rows(gates, 0, count);
        struct product activated = { .out = gate, .in = part_in, .weights = &w->gate, .activation = UDUMP_ACTIVATION_GELU };
        struct product value = { .out = udump_tensor_rows(rows_out, first, count),
            .in = part_in,
            .weights = &w->weights,
            .join = UDUMP_DNN_MULTIPLY,
            .other = &gate };
        linear_rows(x, &activated, w);
        linear_rows(x, &value, w);
    }
    udump_arena_release(x, mark);
}

void udump_cpu_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    struct product p = { .out = flat(out), .in = flat(in), .weights = &w->weights, .gate = &w->gate };
    if (w->weights.dnn) geglu_by_dnn(x, out, in, w);
    else linear_rows(x, &p, w);
}
