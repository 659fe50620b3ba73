/* Linear layers and convolutions: both multiply a row of inputs with a matrix; a convolution first gathers the row from a patch. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"
#include "base/parallel.h"

float udump_reference_activate(float value, udump_activation activation) {
    switch (activation) {
    case UDUMP_ACTIVATION_SILU: return value / (1.0f + expf(-value));
    case UDUMP_ACTIVATION_GELU: return 0.5f * value * (1.0f + erff(value * 0.70710678118654752f));
    case UDUMP_ACTIVATION_QUICK_GELU: return value / (1.0f + expf(-1.702f * value));
    case UDUMP_ACTIVATION_NONE: break;
    }
    return value;
}

/* Not looked at by sanitizers, whose tests would spend more than half of their time here: packing has written all of the weight under their eyes, and so has
 * what the sums begin with. */
__attribute__((no_sanitize("address", "undefined"))) static void add_times(float *restrict sums, float value, const float *restrict values, size_t count) {
    for (size_t i = 0; i < count; i++) sums[i] += value * values[i];
}

void udump_reference_row_times(const udump_packed *w, const float *row, float *sums) {
    size_t out = (size_t)w->out;
    memcpy(sums, w->bias, out * sizeof *sums);
    for (size_t i = 0; i < (size_t)w->in; i++) add_times(sums, row[i], w->values + i * out, out);
}

struct product {
    udump_exec *x;
    udump_tensor out, in;
    const udump_packed *w;
    udump_activation activation;
    const udump_tensor *residual;
    bool geglu;
    float *scratch; /* [threads, w->in + w->out] */
};

/* The input row of output position `at`: a token's channels, or a patch of pixels with zeros outside. */
static void gather_row(const struct product *p, size_t at, float *row) {
    const void *in = udump_tensor_data(p->x, p->in);
    size_t c = (size_t)p->in.c;
    const udump_conv_shape *conv = &p->w->conv;
    if (!conv->kernel) {
        for (size_t i = 0; i < c; i++) row[i] = udump_reference_get(in, p->in.dtype, at * c + i);
        return;
    }
    int32_t ox = (int32_t)(at % (size_t)p->out.w), oy = (int32_t)(at / (size_t)p->out.w % (size_t)p->out.h);
    size_t image = at / (size_t)p->out.w / (size_t)p->out.h;
    for (int32_t tap = 0; tap < conv->kernel * conv->kernel; tap++, row += c) {
        int32_t y = oy * conv->stride + tap / conv->kernel - conv->pad_begin, x = ox * conv->stride + tap % conv->kernel - conv->pad_begin;
        bool inside = y >= 0 && y < p->in.h && x >= 0 && x < p->in.w;
        size_t from = inside ? ((image * (size_t)p->in.h + (size_t)y) * (size_t)p->in.w + (size_t)x) * c : 0;
        for (size_t i = 0; i < c; i++) row[i] = inside ? udump_reference_get(in, p->in.dtype, from + i) : 0.0f;
    }
}

static void store_row(const struct product *p, size_t at, const float *sums) {
    void *out = udump_tensor_data(p->x, p->out);
    size_t c = (size_t)p->out.c;
    for (size_t o = 0; o < c; o++) {
        float value = udump_reference_activate(sums[o], p->activation);
        if (p->geglu) value *= udump_reference_activate(sums[c + o], UDUMP_ACTIVATION_GELU);
        if (p->residual) value += udump_reference_get(udump_tensor_data(p->x, *p->residual), p->residual->dtype, at * c + o);
        udump_reference_set(out, p->out.dtype, at * c + o, value);
    }
}

static void product_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct product *p = arg;
    float *row = p->scratch + (size_t)thread * ((size_t)p->w->in + (size_t)p->w->out), *sums = row + p->w->in;
    for (int64_t at = begin; at < end; at++) {
        gather_row(p, (size_t)at, row);
        udump_reference_row_times(p->w, row, sums);
        store_row(p, (size_t)at, sums);
    }
}

static void product_run(struct product *p) {
    size_t mark = udump_arena_mark(p->x);
    p->scratch = udump_reference_scratch(p->x, (size_t)p->w->in + (size_t)p->w->out);
    if (p->scratch) udump_parallel_for(p->x->threads, (int64_t)p->out.n * p->out.h * p->out.w, product_range, p);
    udump_arena_release(p->x, mark);
}

void udump_reference_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    product_run(&(struct product){ .x = x, .out = out, .in = in, .w = w, .residual = residual });
}

void udump_reference_linear(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual) {
    product_run(&(struct product){ .x = x, .out = out, .in = in, .w = w, .activation = activation, .residual = residual });
}

void udump_reference_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    product_run(&(struct product){ .x = x, .out = out, .in = in, .w = w, .geglu = true });
}
