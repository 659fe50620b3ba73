/* Every operation of the CPU backend against the reference backend: odd shapes, fp32 and bf16, every instruction set that this machine
 * has, a dry pass and then a real one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef UDUMP_PLAIN_THREADS /* a build without this backend */
int main(void) { return 0; }
#else

#include "backend/cpu/cpu.h"
#include "backend/ops.h"
#include "base/half.h"
#include "kernels_here.h"

/* fp32: both sum in fp32, in different orders, up to 2880 products: the difference is below sqrt(2880) roundings of 2^-24 of the
 * largest partial sum, which is about as large as the largest result. */
static const double F32_TOLERANCE = 1e-5;
/* bf16: the same sums, then one rounding each; where the sums differ by a hair they may be rounded to neighbours, up to 2^-7 apart. */
static const double BF16_TOLERANCE = 0x1p-7;

static uint32_t noise_state;
static float noise(void) { /* in [-1, 1) */
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state * 0x1p-31f;
}
static float *noise_new(size_t count) {
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = noise();
    return values;
}
static float *weights_new(size_t count, udump_dtype stored) {
    float *values = noise_new(count);
    for (size_t i = 0; stored == UDUMP_BF16 && i < count; i += 7) values[i] *= 0x1p-20f; /* too small for fp16 */
    for (size_t i = 0; i < count; i++)
        values[i] = stored == UDUMP_F16 ? udump_f16_to_f32(udump_f32_to_f16(values[i]))
            : stored == UDUMP_BF16      ? udump_bf16_to_f32(udump_f32_to_bf16(values[i]))
                                        : values[i];
    return values;
}

/* ---------------------------------------------------------------- both backends, side by side */

enum { MOST_INPUTS = 4 };

/* One operation to try: its inputs are uploaded from noise, its weights packed from noise. */
struct trial {
    udump_dtype compute;
    int32_t threads;
    const udump_kernels *kernels;
    udump_tensor inputs[MOST_INPUTS]; /* shapes and dtypes; n 0: none */
    float gain, offset;               /* of inputs: noise * gain + offset; gain 0 means 1 */
    float rise;                       /* the gain of a pixel is gain + rise * (pixels before it) */
    udump_packed *(*pack)(const udump_backend *backend, void *device, const struct trial *trial);
    udump_tensor (*apply)(udump_exec *x, const struct trial *trial, const udump_tensor *inputs, const udump_packed *packed);

    udump_conv_shape conv;
    int32_t in, out, rows, heads, groups;
    udump_activation activation;
    enum { RESIDUAL_NONE, RESIDUAL_OTHER, RESIDUAL_IN_PLACE } residual;
    bool biased, silu, causal, with_row, in_place;
    const int32_t *first, *count, *ids;
    double tolerance;   /* 0: the dtype's */
    bool product;       /* is tried by oneDNN too */
    udump_dtype stored; /* of weights: rounded to it */
};

static float *result_of(udump_exec *x, udump_tensor out, size_t *count) {
    *count = udump_tensor_count(out);
    float *values = malloc((*count + 1) * sizeof *values);
    assert_non_null(values);
    memset(values, 0xFF, (*count + 1) * sizeof *values);
    udump_download(x, values, out);
    return values;
}

static udump_tensor pass(udump_exec *x, const struct trial *trial, const udump_packed *packed) {
    udump_tensor inputs[MOST_INPUTS];
    noise_state = 7;
    for (int i = 0; i < MOST_INPUTS; i++) {
        udump_tensor shape = trial->inputs[i];
        if (!shape.n) continue;
        inputs[i] = udump_tensor_new(x, shape.dtype, shape.n, shape.h, shape.w, shape.c);
        float *values = noise_new(udump_tensor_count(shape));
        for (size_t at = 0; at < udump_tensor_count(shape); at++)
            values[at] = values[at] * ((trial->gain != 0 ? trial->gain : 1) + trial->rise * (float)(at / (size_t)shape.c)) + trial->offset;
        udump_upload(x, inputs[i], values);
        free(values);
    }
    return trial->apply(x, trial, inputs, packed);
}

static void assert_fine(const udump_exec *x) {
    if (x->status) fail_msg("%s: %s", x->error.where, x->error.what);
}

static void no_new_plans(const udump_exec *x, size_t before) { assert_int_equal(((const udump_cpu_state *)x->state)->plans.count, before); }

/* Runs a trial on one backend: dry, then twice for real; the second run must give the same bytes and need no new plan. */
static float *run_trial(const udump_backend *backend, const struct trial *trial, bool by_dnn, size_t *count) {
    void *device = NULL;
    udump_error error;
    udump_exec x;
    bool cpu = backend == udump_backend_cpu();
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = trial->threads, .compute = trial->compute }, &device, &error), UDUMP_OK);
    if (cpu) ((udump_cpu_device *)device)->kernels = trial->kernels;
    if (cpu) ((udump_cpu_device *)device)->tiles = tiles_beside(trial->kernels);
    if (cpu) ((udump_cpu_device *)device)->by_dnn = by_dnn;
    noise_state = 11;
    udump_packed *packed = trial->pack ? trial->pack(backend, device, trial) : NULL;
    assert_int_equal(udump_exec_open(&x, backend, device, trial->threads, trial->compute, &error), UDUMP_OK);
    udump_exec_begin_dry(&x);
    pass(&x, trial, packed);
    assert_fine(&x);
    size_t plans = cpu ? ((const udump_cpu_state *)x.state)->plans.count : 0;
    assert_int_equal(udump_exec_end_dry(&x, &error), UDUMP_OK);
    float *values = result_of(&x, pass(&x, trial, packed), count);
    assert_fine(&x);
    udump_exec_reset(&x);
    float *again = result_of(&x, pass(&x, trial, packed), count);
    assert_fine(&x);
    assert_memory_equal(values, again, *count * sizeof *values);
    if (cpu) no_new_plans(&x, plans);
    free(again);
    udump_exec_close(&x);
    backend->packed_free(packed);
    backend->device_close(device);
    return values;
}

static void compare(const float *found, const float *expected, size_t count, double tolerance) {
    double magnitude = 0;
    for (size_t i = 0; i < count; i++) magnitude = fmax(magnitude, fabs((double)expected[i]));
    assert_true(count == 0 || magnitude > 0);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - (double)expected[i]) <= tolerance * magnitude))
            fail_msg("element %zu of %zu: %.9g, reference %.9g, off by %.3g of %.3g", i, count, (double)found[i], (double)expected[i],
                fabs((double)found[i] - (double)expected[i]) / magnitude, tolerance);
}

/* With every instruction set if `each`, else with the best, and a product by oneDNN; on two threads, and on three. */
static void try_out(struct trial trial, bool each) {
    const udump_kernels *kernels[MOST_KERNELS];
    int kinds = kernels_here(kernels);
    size_t count, expected_count;
    trial.threads = 2;
    float *expected = run_trial(udump_backend_reference(), &trial, false, &expected_count);
    for (int k = each ? 0 : kinds - 1; k < kinds + trial.product; k++) { /* the last: oneDNN, which bf16 takes where there is AMX */
        bool by_dnn = k == kinds;
        trial.kernels = kernels[by_dnn ? 0 : k];
        trial.threads = 2 + k % 2;
        float *found = run_trial(udump_backend_cpu(), &trial, by_dnn, &count);
        assert_int_equal(count, expected_count);
        compare(found, expected, count,
            trial.tolerance > 0              ? trial.tolerance
                : trial.compute == UDUMP_F32 ? F32_TOLERANCE
                                             : BF16_TOLERANCE);
        free(found);
    }
    free(expected);
}

static udump_tensor shaped(udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c) {
    return (udump_tensor){ .n = n, .h = h, .w = w, .c = c, .dtype = dtype };
}

static const udump_dtype DTYPES[] = { UDUMP_F32, UDUMP_BF16 };
enum { DTYPE_COUNT = 2 };

/* ---------------------------------------------------------------- convolutions */

static udump_packed *pack_conv(const udump_backend *backend, void *device, const struct trial *t) {
    const udump_conv_shape *s = &t->conv;
    float *weight = weights_new((size_t)s->out * (size_t)s->in * (size_t)(s->kernel * s->kernel), t->stored), *bias = noise_new((size_t)s->out);
    udump_error error;
    udump_packed *packed = backend->pack_conv(device, s, weight, t->biased ? bias : NULL, &error);
    assert_non_null(packed);
    assert_true(backend->packed_bytes(packed) >= (size_t)s->out * (size_t)s->in * 2);
    free(weight);
    free(bias);
    return packed;
}

static int32_t conv_size(int32_t in, const udump_conv_shape *s) { return (in + s->pad_begin + s->pad_end - s->kernel) / s->stride + 1; }

static udump_tensor apply_conv(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_conv conv = { .shape = t->conv };
    conv.packed = (udump_packed *)(uintptr_t)packed;
    udump_tensor out = t->residual == RESIDUAL_IN_PLACE
        ? inputs[1]
        : udump_tensor_new(
            x, t->inputs[0].dtype, inputs[0].n, conv_size(inputs[0].h, &t->conv), conv_size(inputs[0].w, &t->conv), t->conv.out);
    udump_into_conv2d(x, out, inputs[0], &conv, t->residual ? inputs + 1 : NULL);
    return out;
}

static void try_conv(udump_conv_shape shape, int32_t n, int32_t h, int32_t w, bool residuals) {
    for (int d = 0; d < DTYPE_COUNT; d++)
        for (int residual = RESIDUAL_NONE; residual <= (residuals ? RESIDUAL_IN_PLACE : RESIDUAL_NONE); residual++) {
            struct trial t = { .compute = DTYPES[d],
                .pack = pack_conv,
                .apply = apply_conv,
                .conv = shape,
                .residual = residual,
                .biased = residual != RESIDUAL_OTHER,
                .product = true };
            t.inputs[0] = shaped(DTYPES[d], n, h, w, shape.in);
            if (residual) t.inputs[1] = shaped(DTYPES[d], n, conv_size(h, &shape), conv_size(w, &shape), shape.out);
            try_out(t, true);
        }
}

/* Weights are packed for 2 x 16 x 16 and used at other sizes. */
static udump_conv_shape conv_shape(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad_begin, int32_t pad_end) {
    return (udump_conv_shape){
        .in = in, .out = out, .kernel = kernel, .stride = stride, .pad_begin = pad_begin, .pad_end = pad_end, .n = 2, .h = 16, .w = 16
    };
}

static void test_conv(void **state) {
    (void)state;
    try_conv(conv_shape(4, 320, 3, 1, 1, 1), 2, 15, 17, false);
    try_conv(conv_shape(320, 4, 3, 1, 1, 1), 1, 5, 7, false);
    try_conv(conv_shape(96, 96, 3, 1, 1, 1), 3, 5, 7, true);
    try_conv(conv_shape(3, 128, 3, 1, 1, 1), 1, 15, 17, true);
    try_conv(conv_shape(64, 3, 3, 1, 1, 1), 2, 15, 17, true);
    try_conv(conv_shape(64, 160, 1, 1, 0, 0), 3, 15, 17, true);
    try_conv(conv_shape(320, 64, 3, 1, 1, 1), 2, 1, 1, true);
    try_conv(conv_shape(12, 20, 3, 1, 1, 1), 2, 16, 16, true);
    /* Winograd: several parts of tiles, and of the last group of panels one panel; by tiles of 2 x 2, then of 4 x 4 */
    try_conv(conv_shape(48, 80, 3, 1, 1, 1), 2, 31, 33, true);
    try_conv(conv_shape(48, 80, 3, 1, 1, 1), 2, 33, 35, true);
    try_conv(conv_shape(16, 24, 3, 1, 1, 1), 1, 3, 400, true);
}

/* Larger than any block: of tiles, of rows, of columns, of the depth. */
static void test_blocks(void **state) {
    (void)state;
    struct trial t = { .compute = UDUMP_F32, .pack = pack_conv, .apply = apply_conv, .conv = conv_shape(1296, 16, 3, 1, 1, 1), .tolerance = 2e-5 };
    t.inputs[0] = shaped(UDUMP_F32, 1, 41, 41, 1296); /* sums of 11,664: twice the tolerance of 2,880 */
    try_out(t, false);
    t.conv = conv_shape(336, 24, 3, 2, 1, 1);
    t.inputs[0] = shaped(UDUMP_F32, 2, 30, 31, 336);
    try_out(t, false);
}

static void test_conv_stride(void **state) {
    (void)state;
    try_conv(conv_shape(32, 64, 3, 2, 1, 1), 2, 15, 17, true);
    try_conv(conv_shape(64, 64, 3, 2, 1, 1), 1, 16, 16, false);
    try_conv(conv_shape(64, 32, 3, 2, 0, 1), 2, 16, 14, true); /* the VAE's encoder pads below and right only */
    try_conv(conv_shape(32, 32, 3, 2, 0, 1), 1, 15, 17, false);
    try_conv(conv_shape(3, 96, 14, 14, 0, 0), 1, 28, 42, false);
}

/* trial.rows, trial.out: the size that it is upsampled to. */
static udump_tensor apply_conv_upsampled(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_conv conv = { .shape = t->conv };
    conv.packed = (udump_packed *)(uintptr_t)packed;
    udump_tensor out = udump_tensor_new(x, t->compute, inputs[0].n, t->rows, t->out, t->conv.out);
    udump_into_conv2d_upsampled(x, out, inputs[0], &conv);
    return out;
}
static udump_tensor apply_upsample_and_conv(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_conv conv = { .shape = t->conv };
    conv.packed = (udump_packed *)(uintptr_t)packed;
    return udump_conv2d(x, udump_upsample_nearest(x, inputs[0], t->rows, t->out), &conv);
}

/* As the reference has it, and to the bit what the two operations give one after the other. */
static void try_conv_upsampled(udump_conv_shape conv, int32_t h, int32_t w, int32_t to_h, int32_t to_w) {
    for (int k = 0; k < DTYPE_COUNT; k++) {
        struct trial t = { .compute = DTYPES[k], .pack = pack_conv, .apply = apply_conv_upsampled, .conv = conv, .rows = to_h, .out = to_w, .biased = true };
        t.inputs[0] = shaped(DTYPES[k], 2, h, w, conv.in);
        t.product = true;
        try_out(t, true);
        size_t count;
        t.threads = 2;
        t.kernels = udump_kernels_best();
        float *once = run_trial(udump_backend_cpu(), &t, false, &count);
        t.apply = apply_upsample_and_conv;
        float *twice = run_trial(udump_backend_cpu(), &t, false, &count);
        assert_memory_equal(once, twice, count * sizeof *once);
        free(once);
        free(twice);
    }
}

static void test_conv_upsampled(void **state) {
    (void)state;
    try_conv_upsampled(conv_shape(48, 80, 3, 1, 1, 1), 9, 7, 18, 14);   /* by tiles of 2 x 2 */
    try_conv_upsampled(conv_shape(48, 80, 3, 1, 1, 1), 16, 17, 32, 34); /* of 4 x 4 */
    try_conv_upsampled(conv_shape(48, 80, 3, 1, 1, 1), 8, 5, 15, 9);    /* one less than twice */
    try_conv_upsampled(conv_shape(12, 20, 3, 1, 1, 1), 5, 6, 10, 12);   /* by sums over taps */
    try_conv_upsampled(conv_shape(32, 16, 1, 1, 0, 0), 4, 3, 8, 6);
}

/* ---------------------------------------------------------------- linear layers */

enum { PARTS = 3 };

static udump_packed *pack_linear(const udump_backend *backend, void *device, const struct trial *t) {
    udump_linear_part parts[PARTS];
    float *owned[2 * PARTS];
    int32_t count = t->out % PARTS == 0 ? PARTS : 1; /* Q, K and V, or one */
    udump_error error;
    for (int32_t p = 0; p < count; p++) {
        owned[2 * p] = weights_new((size_t)(t->out / count) * (size_t)t->in, t->stored);
        owned[2 * p + 1] = noise_new((size_t)(t->out / count));
        parts[p] =
            (udump_linear_part){ .weight = owned[2 * p], .bias = t->biased && p != 1 ? owned[2 * p + 1] : NULL, .out = t->out / count };
    }
    udump_packed *packed = backend->pack_linear(device, t->in, t->rows, count, parts, &error);
    assert_non_null(packed);
    for (int32_t i = 0; i < 2 * count; i++) free(owned[i]);
    return packed;
}

static udump_tensor apply_linear(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_linear linear = { .in = t->in, .out = t->out };
    linear.packed = (udump_packed *)(uintptr_t)packed;
    if (t->activation) return udump_apply_linear(x, inputs[0], &linear, t->activation);
    udump_tensor out = t->residual == RESIDUAL_IN_PLACE
        ? inputs[1]
        : udump_tensor_new(x, t->inputs[0].dtype, inputs[0].n, inputs[0].h, inputs[0].w, t->out);
    udump_into_linear(x, out, inputs[0], &linear, t->residual ? inputs + 1 : NULL);
    return out;
}

static void try_linear(int32_t in, int32_t out, int32_t n, int32_t h, int32_t w) {
    for (int d = 0; d < DTYPE_COUNT; d++) {
        struct trial t = {
            .compute = DTYPES[d], .pack = pack_linear, .apply = apply_linear, .in = in, .out = out, .rows = 512, .biased = true, .product = true
        };
        t.inputs[0] = shaped(DTYPES[d], n, h, w, in);
        for (int a = UDUMP_ACTIVATION_SILU; a <= UDUMP_ACTIVATION_QUICK_GELU; a++) {
            t.activation = (udump_activation)a;
            try_out(t, true);
        }
        t.activation = UDUMP_ACTIVATION_NONE;
        t.inputs[1] = shaped(DTYPES[d], n, h, w, out);
        for (int residual = RESIDUAL_NONE; residual <= RESIDUAL_IN_PLACE; residual++) {
            t.residual = residual;
            t.biased = residual != RESIDUAL_NONE;
            try_out(t, true);
        }
    }
}

static void test_linear(void **state) {
    (void)state;
    try_linear(320, 960, 2, 15, 17);
    try_linear(64, 64, 3, 1, 1);
    try_linear(768, 96, 1, 77, 1);
    try_linear(7, 5, 2, 5, 7);
    try_linear(96, 4, 1, 512, 1);
}

static void test_blocks_linear(void **state) {
    (void)state;
    struct trial t = { .compute = UDUMP_F32, .pack = pack_linear, .apply = apply_linear, .in = 700, .out = 1004, .rows = 512, .biased = true };
    t.inputs[0] = shaped(UDUMP_F32, 1, 401, 1, 700);
    try_out(t, false);
}

/* Weights are kept in the narrowest dtype that keeps every value: nothing is lost, and no more memory is taken. */
static void test_stored(void **state) {
    (void)state;
    static const udump_dtype stored[] = { UDUMP_F16, UDUMP_BF16, UDUMP_F32 };
    for (int i = 0; i < 3; i++) {
        struct trial t = { .compute = UDUMP_F32, .pack = pack_linear, .apply = apply_linear, .in = 96, .out = 64, .rows = 64, .biased = true,
            .stored = stored[i] };
        t.inputs[0] = shaped(UDUMP_F32, 1, 9, 1, 96);
        try_out(t, true);
        struct trial c = { .compute = UDUMP_F32, .pack = pack_conv, .apply = apply_conv, .conv = conv_shape(64, 32, 3, 1, 1, 1), .stored = stored[i] };
        c.inputs[0] = shaped(UDUMP_F32, 1, 9, 8, 64);
        try_out(c, true);
        udump_error error;
        float *values = weights_new(96 * 64, stored[i]);
        udump_panels *panels = udump_panels_new(udump_kernels_best(), 64, 96, 1, values, NULL, false, 2, &error);
        assert_int_equal(panels->dtype, stored[i]);
        assert_int_equal(panels->bytes, 96 * 64 * udump_dtype_bytes(stored[i]));
        udump_panels_free(panels);
        free(values);
    }
}

/* An fp32 tensor through bf16 weights and the other way round: the latent's ends of the network. */
static void test_mixed_dtypes(void **state) {
    (void)state;
    struct trial t = { .compute = UDUMP_BF16, .pack = pack_linear, .apply = apply_linear, .in = 96, .out = 64, .rows = 64, .biased = true,
        .residual = RESIDUAL_OTHER, .tolerance = BF16_TOLERANCE };
    t.inputs[0] = shaped(UDUMP_F32, 2, 5, 7, 96);
    t.inputs[1] = shaped(UDUMP_BF16, 2, 5, 7, 64);
    try_out(t, true);
}

static udump_packed *pack_geglu(const udump_backend *backend, void *device, const struct trial *t) {
    float *weights = noise_new(2 * (size_t)t->in * (size_t)t->out), *biases = noise_new(2 * (size_t)t->out);
    udump_linear_part parts[2] = { { weights, biases, t->out }, { weights + (size_t)t->in * (size_t)t->out, biases + t->out, t->out } };
    udump_error error;
    udump_packed *packed = backend->pack_geglu(device, t->in, t->rows, parts, &error);
    assert_non_null(packed);
    free(weights);
    free(biases);
    return packed;
}

static udump_tensor apply_geglu(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_linear linear = { .in = t->in, .out = t->out };
    linear.packed = (udump_packed *)(uintptr_t)packed;
    return udump_linear_geglu(x, inputs[0], &linear);
}

static void try_geglu(int32_t in, int32_t out, int32_t n, int32_t h, int32_t w) {
    for (int d = 0; d < DTYPE_COUNT; d++) {
        struct trial t = { .compute = DTYPES[d], .pack = pack_geglu, .apply = apply_geglu, .in = in, .out = out, .rows = 512, .product = true };
        t.inputs[0] = shaped(DTYPES[d], n, h, w, in);
        try_out(t, true);
    }
}

static void test_geglu(void **state) {
    (void)state;
    try_geglu(320, 1280, 1, 5, 7);
    try_geglu(64, 256, 2, 1, 1);
    try_geglu(32, 40, 3, 31, 33); /* more rows than one chunk, and not a multiple of it */
    try_geglu(5, 7, 1, 3, 3);
}

/* ---------------------------------------------------------------- norms */

static udump_packed *pack_norm(const udump_backend *backend, void *device, const struct trial *t) {
    float *values = noise_new(2 * (size_t)t->inputs[0].c);
    udump_error error;
    udump_packed *packed = backend->pack_vectors(device, 2, t->inputs[0].c, values, &error);
    assert_non_null(packed);
    assert_int_equal(backend->packed_bytes(packed), 2 * (size_t)t->inputs[0].c * sizeof(float));
    free(values);
    return packed;
}

static udump_tensor apply_group_norm(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_tensor out = t->in_place ? inputs[0] : udump_tensor_new(x, t->compute, inputs[0].n, inputs[0].h, inputs[0].w, inputs[0].c);
    if (!x->dry) x->backend->group_norm(x, out, inputs[0], packed, t->groups, 1e-5f, t->silu, t->with_row ? inputs + 1 : NULL);
    return out;
}

static void try_group_norm(int32_t n, int32_t h, int32_t w, int32_t c, int32_t groups) {
    for (int d = 0; d < DTYPE_COUNT; d++)
        for (int variant = 0; variant < 4; variant++) { /* plain; a vector for all rows, one for each; in place */
            struct trial t = { .compute = DTYPES[d], .pack = pack_norm, .apply = apply_group_norm, .groups = groups, .silu = variant != 1,
                .with_row = variant == 1 || variant == 2, .in_place = variant == 3 };
            t.inputs[0] = shaped(DTYPES[d], n, h, w, c);
            t.inputs[1] = shaped(DTYPES[d], variant == 1 ? 1 : n, 1, 1, c);
            try_out(t, true);
        }
}

static void test_group_norm(void **state) {
    (void)state;
    try_group_norm(2, 15, 17, 320, 32);
    try_group_norm(1, 64, 65, 96, 32);
    try_group_norm(3, 5, 7, 1344, 32); /* groups of 42 across tables of 512 channels */
    try_group_norm(2, 2, 1, 12, 4);
    try_group_norm(1, 5, 7, 9, 3);
    try_group_norm(1, 7, 5, 70, 1);
}

/* The mean is a thousand deviations: one-pass sums of squares would have no digit left. */
static void test_group_norm_far_from_zero(void **state) {
    (void)state;
    struct trial t = {
        .compute = UDUMP_F32, .pack = pack_norm, .apply = apply_group_norm, .groups = 8, .gain = 1, .offset = 577, .tolerance = 2e-4
    };
    t.inputs[0] = shaped(UDUMP_F32, 2, 33, 31, 64);
    try_out(t, true);
}

static void test_group_norm_too_many_groups(void **state) {
    (void)state;
    void *device;
    udump_error error;
    udump_exec x;
    const udump_backend *backend = udump_backend_cpu();
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = 1, .compute = UDUMP_F32 }, &device, &error), UDUMP_OK);
    assert_int_equal(udump_exec_open(&x, backend, device, 1, UDUMP_F32, &error), UDUMP_OK);
    udump_tensor in = shaped(UDUMP_F32, 1, 1, 1, UDUMP_MOST_GROUPS + 1);
    backend->group_norm(&x, in, in, NULL, UDUMP_MOST_GROUPS + 1, 1e-5f, false, NULL);
    assert_int_equal(udump_exec_status(&x, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "257 groups");
    udump_exec_close(&x);
    backend->device_close(device);
}

static udump_tensor apply_layer_norm(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    udump_tensor out = t->in_place ? inputs[0] : udump_tensor_new(x, t->compute, inputs[0].n, inputs[0].h, inputs[0].w, inputs[0].c);
    if (!x->dry) x->backend->layer_norm(x, out, inputs[0], packed, 1e-5f);
    return out;
}

static void test_layer_norm(void **state) {
    (void)state;
    static const int32_t widths[] = { 320, 768, 1280, 96, 9, 3, 37 };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int variant = 0; variant < 4; variant++) {
            struct trial t = { .compute = DTYPES[variant & 1],
                .pack = pack_norm,
                .apply = apply_layer_norm,
                .in_place = variant >= 2,
                .gain = 3,
                .offset = 2 };
            t.inputs[0] = shaped(t.compute, 2, 5, 7, widths[i]);
            try_out(t, true);
        }
}

/* ---------------------------------------------------------------- attention */

static udump_tensor apply_attention(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed;
    return udump_attention(x, inputs[0], t->heads, t->causal);
}

static void try_attention(int32_t n, int32_t h, int32_t w, int32_t heads, int32_t d, bool causal) {
    for (int k = 0; k < DTYPE_COUNT; k++) {
        struct trial t = { .compute = DTYPES[k], .apply = apply_attention, .heads = heads, .causal = causal, .gain = 3 };
        t.inputs[0] = shaped(DTYPES[k], n, h, w, 3 * heads * d);
        try_out(t, true);
    }
}

static void test_attention(void **state) {
    (void)state;
    static const int32_t widths[] = { 8, 16, 24, 32, 40, 64, 80, 160, 512, 5, 13 };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        try_attention(2, 5, 7, 2, widths[i], false);
        try_attention(1, 15, 17, 1, widths[i], true);
    }
    try_attention(3, 1, 1, 8, 40, false);
    try_attention(1, 16, 12, 2, 40, false); /* as many tokens as a block has keys */
    try_attention(1, 8, 8, 2, 40, false);   /* as many as it has queries */
    try_attention(2, 77, 1, 12, 64, true);
    try_attention(1, 1, 1, 2, 64, true);
    try_attention(1, 23, 19, 3, 40, true);
}

static udump_tensor apply_cross(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed;
    udump_kv kv = { .kv = inputs[1], .first = x->dry ? NULL : t->first, .count = x->dry ? NULL : t->count };
    return udump_attention_cross(x, inputs[0], &kv, t->heads);
}

static void test_attention_cross(void **state) {
    (void)state;
    static const int32_t first[] = { 77, 0, 231 }, count[] = { 154, 77, 1 }, all_first[] = { 0 }, all_count[] = { 385 };
    static const int32_t widths[] = { 8, 40, 64, 80, 160, 7 };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int k = 0; k < DTYPE_COUNT; k++) {
            struct trial t = { .compute = DTYPES[k], .apply = apply_cross, .heads = 3, .first = first, .count = count, .gain = 3 };
            t.inputs[0] = shaped(DTYPES[k], 3, 15, 17, 3 * widths[i]);
            t.inputs[1] = shaped(DTYPES[k], 1, 232, 1, 6 * widths[i]);
            try_out(t, true);
            t.first = all_first; /* more keys than a block has, three blocks */
            t.count = all_count;
            t.inputs[0].n = 1;
            t.inputs[1].h = 385;
            try_out(t, true);
        }
}

/* Scores so large that exp would overflow: the largest is subtracted first. */
static void test_attention_large_scores(void **state) {
    (void)state;
    struct trial t = {
        .compute = UDUMP_F32, .apply = apply_attention, .heads = 2, .gain = 20, .tolerance = 1e-4
    }; /* scores of 1000 have errors of 2^-14, in both backends */
    t.inputs[0] = shaped(UDUMP_F32, 1, 17, 19, 3 * 2 * 40);
    try_out(t, true);
}

/* Scores that grow from one block of keys to the next, so that the sums so far are scaled down: for some queries and blocks, not for all. */
static void test_attention_rising_scores(void **state) {
    (void)state;
    for (int k = 0; k < DTYPE_COUNT; k++)
        for (int causal = 0; causal < 2; causal++) {
            struct trial t = { .compute = DTYPES[k], .apply = apply_attention, .heads = 2, .causal = causal, .gain = 0.1f, .rise = 0.0035f };
            t.inputs[0] = shaped(DTYPES[k], 2, 19, 41, 3 * 2 * 40);
            try_out(t, true);
        }
}

/* ---------------------------------------------------------------- element by element */

static udump_tensor apply_upsample(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed;
    return udump_upsample_nearest(x, inputs[0], t->rows, t->out);
}
static udump_tensor apply_concat(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed, (void)t;
    return udump_concat_channels(x, inputs[0], inputs[1]);
}

static void test_moving(void **state) {
    (void)state;
    for (int k = 0; k < DTYPE_COUNT; k++) {
        struct trial up = { .compute = DTYPES[k], .apply = apply_upsample, .rows = 9, .out = 14 };
        up.inputs[0] = shaped(DTYPES[k], 2, 5, 7, 13);
        try_out(up, false);
        struct trial concat = { .compute = DTYPES[k], .apply = apply_concat };
        concat.inputs[0] = shaped(DTYPES[k], 3, 5, 7, 13);
        concat.inputs[1] = shaped(DTYPES[k], 3, 5, 7, 320);
        try_out(concat, false);
    }
}

static udump_tensor apply_activation(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed;
    udump_tensor out = t->in_place ? inputs[0] : udump_tensor_new(x, t->compute, inputs[0].n, inputs[0].h, inputs[0].w, inputs[0].c);
    if (!x->dry) x->backend->activation(x, out, inputs[0], t->activation);
    return out;
}

static void test_activation(void **state) {
    (void)state;
    for (int a = UDUMP_ACTIVATION_NONE; a <= UDUMP_ACTIVATION_QUICK_GELU; a++)
        for (int variant = 0; variant < 8; variant++) {
            struct trial t = { .compute = DTYPES[variant & 1], .apply = apply_activation, .activation = (udump_activation)a,
                .gain = variant & 4 ? 200 : 4, .in_place = variant & 2 };
            t.inputs[0] = shaped(t.compute, 3, 5, 7, 37);
            try_out(t, true);
        }
}

static udump_tensor apply_convert(udump_exec *x, const struct trial *t, const udump_tensor *inputs, const udump_packed *packed) {
    (void)packed;
    udump_tensor out = udump_tensor_new(x, t->residual ? UDUMP_F32 : UDUMP_BF16, inputs[0].n, inputs[0].h, inputs[0].w, inputs[0].c);
    udump_into_convert(x, out, inputs[0]);
    return out;
}

static void test_convert(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct trial t = {
            .compute = UDUMP_F32, .apply = apply_convert, .residual = variant & 1, .tolerance = 0x1p-40
        }; /* exactly the same */
        t.inputs[0] = shaped(DTYPES[variant >> 1], 2, 5, 7, 13);
        try_out(t, true);
    }
}

/* Bit for bit as base/half.h, for numbers of every size, ties, infinities and NaN. */
static void test_bf16_rounding(void **state) {
    (void)state;
    enum { COUNT = 4099 };
    const udump_kernels *kernels[MOST_KERNELS];
    float *values = noise_new(COUNT);
    uint16_t *halves = malloc(COUNT * sizeof *halves);
    assert_non_null(halves);
    for (int k = kernels_here(kernels) - 1; k >= 0; k--) {
        for (uint32_t i = 0; i < COUNT; i++) values[i] = udump_bits_to_f32(i * 0x9E3779B1u & (i % 3 ? 0xFFFFFFFFu : 0xFFFF8000u));
        values[0] = INFINITY, values[1] = -INFINITY, values[2] = NAN, values[3] = udump_bits_to_f32(0x7F800001u),
        values[4] = udump_bits_to_f32(0xFFFFFFFFu), values[5] = -0.0f;
        kernels[k]->convert(halves, UDUMP_BF16, values, UDUMP_F32, COUNT);
        for (size_t i = 0; i < COUNT; i++) assert_int_equal(halves[i], udump_f32_to_bf16(values[i]));
    }
    free(halves);
    free(values);
}

/* exp's error, seen through x * sigmoid(x) = x / (1 + exp(-x)); with the division and the product: 4e-7. */
static void test_silu_accuracy(void **state) {
    (void)state;
    enum { COUNT = 20001 };
    const udump_kernels *kernels[MOST_KERNELS];
    float *in = noise_new(COUNT), *out = noise_new(COUNT);
    for (int k = kernels_here(kernels) - 1; k >= 0; k--) {
        for (int i = 0; i < COUNT; i++) in[i] = (float)(i - COUNT / 2) * (80.0f / (float)(COUNT / 2));
        kernels[k]->activate(out, UDUMP_F32, in, UDUMP_F32, COUNT, UDUMP_ACTIVATION_SILU);
        for (int i = 0; i < COUNT; i++) {
            double exact = (double)in[i] / (1 + exp(-(double)in[i]));
            assert_true(fabs((double)out[i] - exact) <= 4e-7 * fabs(exact));
        }
        float strange[3] = { NAN, INFINITY, -1e30f };
        kernels[k]->activate(strange, UDUMP_F32, strange, UDUMP_F32, 3, UDUMP_ACTIVATION_SILU);
        assert_true(isnan(strange[0]) && isinf(strange[1]) && fabsf(strange[2]) < 1e-7f);
    }
    free(in);
    free(out);
}


static void embed(const udump_backend *backend, udump_dtype compute, float *values) {
    static const int32_t ids[] = { 3, 0, 10, 3, 7, 1 };
    void *device;
    udump_error error;
    udump_exec x;
    noise_state = 3;
    float *table = noise_new(11 * 13), *places = noise_new(3 * 13);
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = 1, .compute = compute }, &device, &error), UDUMP_OK);
    udump_packed *tokens = backend->pack_vectors(device, 11, 13, table, &error),
                 *positions = backend->pack_vectors(device, 3, 13, places, &error);
    assert_int_equal(udump_exec_open(&x, backend, device, 1, compute, &error), UDUMP_OK);
    udump_exec_begin_dry(&x);
    udump_embed_tokens(&x, 2, 3, 13, tokens, positions, ids);
    assert_int_equal(udump_exec_end_dry(&x, &error), UDUMP_OK);
    udump_download(&x, values, udump_embed_tokens(&x, 2, 3, 13, tokens, positions, ids));
    udump_exec_close(&x);
    backend->packed_free(tokens);
    backend->packed_free(positions);
    backend->device_close(device);
    free(table);
    free(places);
}

static void test_embed_tokens(void **state) {
    (void)state;
    float found[2 * 3 * 13], expected[2 * 3 * 13];
    for (int k = 0; k < DTYPE_COUNT; k++) {
        embed(udump_backend_cpu(), DTYPES[k], found);
        embed(udump_backend_reference(), DTYPES[k], expected);
        assert_memory_equal(found, expected, sizeof found);
    }
}

/* ---------------------------------------------------------------- the device */

static void test_device(void **state) {
    (void)state;
    void *device = NULL;
    udump_error error;
    const udump_backend *backend = udump_backend_cpu();
    assert_ptr_equal(backend, udump_backend_cpu());
    assert_string_equal(backend->name, "cpu");
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = 2, .compute = UDUMP_F16 }, &device, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "the CPU computes in fp32 or bf16, not in fp16");
    assert_null(device);
    const void *const *theirs = (const void *const *)udump_backend_reference(), *const *ours = (const void *const *)backend;
    for (size_t i = 0; i < sizeof *backend / sizeof *ours; i++) assert_true(!theirs[i] || ours[i]); /* the table has no hole */
    backend->packed_free(NULL);
}

/* An arena without room for scratch is an error that sticks, not a write past its end. */
static void test_no_room(void **state) {
    (void)state;
    void *device;
    udump_error error;
    udump_exec x;
    const udump_backend *backend = udump_backend_cpu();
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = 2, .compute = UDUMP_F32 }, &device, &error), UDUMP_OK);
    assert_int_equal(udump_exec_open(&x, backend, device, 2, UDUMP_F32, &error), UDUMP_OK);
    udump_exec_begin_dry(&x);
    udump_tensor_new(&x, UDUMP_F32, 1, 8, 8, 96);
    udump_tensor_new(&x, UDUMP_F32, 1, 8, 8, 32);
    assert_int_equal(udump_exec_end_dry(&x, &error), UDUMP_OK);
    udump_tensor qkv = udump_tensor_new(&x, UDUMP_F32, 1, 8, 8, 96);
    udump_attention(&x, qkv, 4, false);
    assert_int_equal(udump_exec_status(&x, &error), UDUMP_ERROR_INTERNAL);
    udump_exec_close(&x);
    backend->device_close(device);
}

/* test_cpu_ops [WHICH]: those whose names match. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_conv_stride),
        cmocka_unit_test(test_conv_upsampled),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_blocks_linear),
        cmocka_unit_test(test_stored),
        cmocka_unit_test(test_mixed_dtypes),
        cmocka_unit_test(test_geglu),
        cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_group_norm_far_from_zero),
        cmocka_unit_test(test_group_norm_too_many_groups),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_cross),
        cmocka_unit_test(test_attention_large_scores),
        cmocka_unit_test(test_attention_rising_scores),
        cmocka_unit_test(test_moving),
        cmocka_unit_test(test_activation),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_silu_accuracy),
        cmocka_unit_test(test_embed_tokens),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
