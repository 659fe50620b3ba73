/* Convolutions and linear layers: by the vendor's libraries, what they do not fuse by our kernels after them. */
#include "backend/cuda/cuda.h"
#include "backend/ops.h"

static int64_t pixels_of(udump_tensor tensor) { return (int64_t)tensor.n * tensor.h * tensor.w; }

static void *data_of(const udump_exec *x, udump_tensor tensor) { return x->dry ? NULL : udump_tensor_data(x, tensor); }

/* The inputs in the compute type: the latent and the text's ends are fp32. */
static udump_tensor as_computed(udump_exec *x, udump_tensor in) {
    if (in.dtype == x->compute) return in;
    udump_tensor converted = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c);
    udump_into_convert(x, converted, in);
    return converted;
}

static void product(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    udump_error error;
    udump_gemm_call call = { .name = "linear", .out = data_of(x, out), .in = data_of(x, in), .weight = w->values, .bias = w->bias,
        .residual = residual ? data_of(x, *residual) : NULL, .rows = pixels_of(in), .n = w->out, .k = w->in, .in_row = w->in, .weight_row = w->in,
        .out_row = w->out, .scale = 1, .dtype = x->compute, .out_dtype = x->compute };
    udump_cuda_stick(x, udump_cuda_products_open(x, &error), &error);
    if (x->status) return;
    udump_cuda_stick(x, udump_gemm_run(udump_cuda_state_of(x)->gemm, &call, x->dry, udump_cuda_stream(x), &error), &error);
}

/* `make` writes the compute type; where out has another, by way of a tensor of that type. */
static udump_tensor target(udump_exec *x, udump_tensor out) {
    return out.dtype == x->compute ? out : udump_tensor_new(x, x->compute, out.n, out.h, out.w, out.c);
}

static void finish(udump_exec *x, udump_tensor out, udump_tensor made) {
    if (out.dtype != made.dtype) udump_into_convert(x, out, made);
}

void udump_cuda_linear(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual) {
    size_t mark = udump_arena_mark(x);
    udump_tensor made = target(x, out), from = as_computed(x, in), added;
    if (residual) added = as_computed(x, *residual);
    bool fused = !residual || activation == UDUMP_ACTIVATION_NONE;
    if (!x->status) product(x, made, from, w, residual && fused ? &added : NULL);
    if (!x->dry && !x->status) {
        int64_t count = pixels_of(made) * made.c;
        int dtype = udump_cuda_dtype(made.dtype);
        void *data = udump_tensor_data(x, made);
        if (activation != UDUMP_ACTIVATION_NONE) udump_kernel_activation(data, data, dtype, count, (int)activation, udump_cuda_stream(x));
        if (residual && !fused) udump_kernel_add(data, udump_tensor_data(x, added), dtype, count, udump_cuda_stream(x));
        udump_cuda_check(x, "linear");
    }
    finish(x, out, made);
    udump_arena_release(x, mark);
}

void udump_cuda_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    size_t mark = udump_arena_mark(x);
    udump_tensor both = udump_tensor_new(x, x->compute, in.n, in.h, in.w, w->out); /* value, gate */
    if (!x->status) product(x, both, in, w, NULL);
    if (!x->dry && !x->status) {
        udump_kernel_geglu(udump_tensor_data(x, out), udump_tensor_data(x, both), udump_cuda_dtype(x->compute), pixels_of(in), out.c, udump_cuda_stream(x));
        udump_cuda_check(x, "linear_geglu");
    }
    udump_arena_release(x, mark);
}

static void convolve_directly(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    const udump_conv_shape *s = &w->conv;
    udump_kernel_conv conv = { in.n, in.h, in.w, in.c, out.h, out.w, out.c, s->kernel, s->stride, s->pad_begin };
    if (x->dry || x->status) return;
    udump_kernel_convolution(udump_tensor_data(x, out), udump_tensor_data(x, in), udump_cuda_dtype(x->compute), w->values, w->bias,
        residual ? udump_tensor_data(x, *residual) : NULL, &conv, udump_cuda_stream(x));
    udump_cuda_check(x, "conv2d");
}

static void convolve(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    udump_error error;
    size_t workspace_bytes = 0;
    udump_cuda_stick(x, udump_cuda_products_open(x, &error), &error);
    udump_convolution *convolution = udump_cuda_state_of(x)->convolution;
    udump_convolution_call call = { .out = data_of(x, out), .in = data_of(x, in), .weight = w->values, .bias = w->bias,
        .residual = residual ? data_of(x, *residual) : NULL, .shape = &w->conv, .n = in.n, .in_h = in.h, .in_w = in.w, .out_h = out.h, .out_w = out.w,
        .dtype = x->compute };
    if (residual && !call.residual) call.residual = call.weight; /* dry: that there is one is part of the plan */
    if (x->status) return;
    udump_cuda_stick(x, udump_convolution_plan(convolution, &call, &workspace_bytes, udump_cuda_stream(x), &error), &error);
    udump_tensor workspace = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, (int32_t)((workspace_bytes + 3) / 4));
    if (x->dry || x->status) return;
    udump_cuda_stick(x, udump_convolution_run(convolution, &call, udump_tensor_data(x, workspace), udump_cuda_stream(x), &error), &error);
}

void udump_cuda_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    size_t mark = udump_arena_mark(x);
    udump_tensor made = target(x, out), from = as_computed(x, in), added;
    if (residual) added = as_computed(x, *residual);
    const udump_tensor *more = residual ? &added : NULL;
    if (!w->conv.kernel) {
        if (!x->status) product(x, made, from, w, more);
    } else if (w->direct) convolve_directly(x, made, from, w, more);
    else convolve(x, made, from, w, more);
    finish(x, out, made);
    udump_arena_release(x, mark);
}
