/* The vendors' libraries in plain C: gemm.h, convolution.h and fused_attention.h of src/backend/cuda. They keep to the stream, as the real ones do. Of every shape there are three
 * engines and one that fails; they compute the same and differ in what they take on the device's clock. */
#include <stdio.h>
#include <stdlib.h>

#include <vector>

#include "emulation.h"

extern "C" {
#include "backend/cuda/convolution.h"
#include "backend/cuda/fused_attention.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/plans.h"
#include "base/status.h"
}

static float get(const void *data, udump_dtype dtype, int64_t at) {
    if (dtype == UDUMP_F32) return ((const float *)data)[at];
    uint16_t half = ((const uint16_t *)data)[at];
    return dtype == UDUMP_F16 ? udump_f16_to_f32(half) : udump_bf16_to_f32(half);
}

static void set(void *data, udump_dtype dtype, int64_t at, float value) {
    if (dtype == UDUMP_F32) ((float *)data)[at] = value;
    else ((uint16_t *)data)[at] = dtype == UDUMP_F16 ? udump_f32_to_f16(value) : udump_f32_to_bf16(value);
}

struct udump_gemm_library { int loaded; };
struct udump_gemm { udump_plans *plans; };
struct udump_convolution_library { int loaded; };
struct udump_convolution { udump_plans *plans; };
struct udump_fused_library { int loaded; };
struct udump_fused { int open; };

static void multiply(udump_gemm_call c) {
    for (int64_t row = 0; row < c.rows; row++)
        for (int64_t n = 0; n < c.n; n++) {
            float sum = 0;
            for (int64_t k = 0; k < c.k; k++) sum += get(c.in, c.dtype, row * c.in_row + k) * get(c.weight, c.dtype, c.weight_by_k ? k * c.weight_row + n : n * c.weight_row + k);
            sum *= c.scale;
            if (c.bias) sum += get(c.bias, c.dtype, n);
            if (c.residual) sum += get(c.residual, c.dtype, row * c.out_row + n);
            set(c.out, c.out_dtype, row * c.out_row + n, sum);
        }
}

static void convolve(udump_convolution_call c, udump_conv_shape s) {
    for (int64_t at = 0; at < (int64_t)c.n * c.out_h * c.out_w * s.out; at++) {
        int64_t o = at % s.out, x = at / s.out % c.out_w, y = at / s.out / c.out_w % c.out_h, n = at / s.out / c.out_w / c.out_h;
        float sum = get(c.bias, c.dtype, o);
        for (int64_t tap = 0; tap < s.kernel * s.kernel; tap++) {
            int64_t from_y = y * s.stride + tap / s.kernel - s.pad_begin, from_x = x * s.stride + tap % s.kernel - s.pad_begin;
            if (from_y < 0 || from_y >= c.in_h || from_x < 0 || from_x >= c.in_w) continue;
            for (int64_t i = 0; i < s.in; i++)
                sum += get(c.in, c.dtype, ((n * c.in_h + from_y) * c.in_w + from_x) * s.in + i) * get(c.weight, c.dtype, (o * s.kernel * s.kernel + tap) * s.in + i);
        }
        if (c.residual) sum += get(c.residual, c.dtype, at);
        set(c.out, c.dtype, at, sum);
    }
}

/* The fastest is number `fastest`; of the others the later are the slower. */
enum { ENGINES = 3, CANDIDATES = ENGINES + 1, FIRST_ENGINE = 40 };
struct contest {
    cudaStream_t stream;
    int fastest;
};

static bool begin_engine(void *user, int32_t engine) {
    const contest *c = (const contest *)user;
    if (engine < ENGINES) udump_emulation_spend(c->stream, engine == c->fastest ? 0.5f : 1.0f + (float)engine);
    return engine < ENGINES;
}

/* As gemm.c and convolution.c do. */
static void choose(udump_plans *plans, const char *key, int fastest, cudaStream_t stream) {
    udump_plan_choice kept;
    contest all = { stream, fastest };
    if (!plans || (udump_plans_find(plans, key, &kept) && kept.rank < ENGINES && kept.engine == FIRST_ENGINE + kept.rank)) return;
    int32_t chosen = udump_fastest(stream, CANDIDATES, begin_engine, &all);
    if (chosen >= 0) udump_plans_keep(plans, key, udump_plan_choice{ chosen, FIRST_ENGINE + chosen });
}

/* One query of one head. */
static void attend_one(const udump_fused_call &c, int64_t n, int64_t head, int64_t query) {
    std::vector<float> p((size_t)c.tokens);
    float most = -INFINITY, total = 0;
    for (int64_t key = 0; key < c.tokens; key++) {
        float score = 0;
        for (int64_t i = head * c.d; i < (head + 1) * c.d; i++)
            score += get(c.q, c.dtype, (n * c.tokens + query) * c.row + i) * get(c.k, c.dtype, (n * c.tokens + key) * c.row + i);
        p[(size_t)key] = score / sqrtf((float)c.d);
        most = p[(size_t)key] > most ? p[(size_t)key] : most;
    }
    for (float &v : p) total += v = expf(v - most);
    for (int64_t i = head * c.d; i < (head + 1) * c.d; i++) {
        float sum = 0;
        for (int64_t key = 0; key < c.tokens; key++) sum += p[(size_t)key] * get(c.v, c.dtype, (n * c.tokens + key) * c.row + i);
        set(c.out, c.dtype, (n * c.tokens + query) * c.out_row + i, sum / total);
    }
}

/* On the device, and aligned as the library is told. */
static bool lies(const void *memory, int64_t count, udump_dtype dtype, size_t alignment_bytes) {
    return (uintptr_t)memory % alignment_bytes == 0 && udump_emulation_on_device(memory, (size_t)count * udump_dtype_bytes(dtype));
}

/* A matrix of gemm.h, which lies as gemm.c promises cuBLASLt. */
static bool lies_in_rows(const void *memory, int64_t rows, int64_t columns, int64_t row, udump_dtype dtype) {
    size_t bytes = (size_t)(row | columns) * udump_dtype_bytes(dtype);
    return lies(memory, (rows - 1) * row + columns, dtype, bytes % 16 ? bytes & -bytes : 16);
}

/* With and without one. */
static size_t workspace_bytes_of(const udump_conv_shape *shape) { return shape->stride == 1 ? (size_t)shape->kernel * 100 : 0; }

static udump_status misplaced(const char *where, udump_error *error) { return udump_fail(error, UDUMP_ERROR_DEVICE, where, "memory that is not the device's, or not aligned"); }

/* UDUMP_EMULATED_CUDNN: 0: it is not there; 2: it is there and does not work. */
enum { ABSENT, WORKS, BROKEN };
static int cudnn(void) {
    const char *text = getenv("UDUMP_EMULATED_CUDNN");
    return text ? atoi(text) : WORKS;
}

extern "C" {

size_t udump_gemm_library_version(const udump_gemm_library *) { return 130100; }
size_t udump_convolution_library_version(const udump_convolution_library *) { return 91900; }
udump_status udump_gemm_library_open(const char *, udump_gemm_library **library, udump_error *) { return *library = new udump_gemm_library(), UDUMP_OK; }
void udump_gemm_library_close(udump_gemm_library *library) { delete library; }
udump_status udump_gemm_open(udump_gemm_library *, udump_plans *plans, udump_gemm **gemm, udump_error *) { return udump_emulation_bind(), *gemm = new udump_gemm{ plans }, UDUMP_OK; }
void udump_gemm_close(udump_gemm *gemm) { delete gemm; }
udump_status udump_gemm_run(udump_gemm *gemm, const udump_gemm_call *call, bool dry, cudaStream_t stream, udump_error *error) {
    if (!gemm) abort(); /* a session from before the weights */
    udump_gemm_call copy = *call;
    char key[UDUMP_PLANS_KEY_MOST];
    snprintf(key, sizeof key, "%s %d [%lld, %d] to %d", call->name, (int)call->dtype, (long long)call->rows, (int)call->k, (int)call->n);
    if (dry) return choose(gemm->plans, key, call->n % ENGINES, stream), UDUMP_OK;
    int64_t weights = call->weight_by_k ? call->k : call->n, weight_columns = call->weight_by_k ? call->n : call->k;
    if (!lies_in_rows(call->in, call->rows, call->k, call->in_row, call->dtype) || !lies_in_rows(call->out, call->rows, call->n, call->out_row, call->out_dtype)
        || !lies_in_rows(call->weight, weights, weight_columns, call->weight_row, call->dtype) || (call->bias && !lies(call->bias, call->n, call->dtype, 256))
        || (call->residual && !lies_in_rows(call->residual, call->rows, call->n, call->out_row, call->dtype)))
        return misplaced(call->name, error);
    udump_emulation_append(stream, [copy]() { multiply(copy); });
    return UDUMP_OK;
}

udump_status udump_convolution_library_open(const char *, udump_convolution_library **library, udump_error *error) {
    if (cudnn() == ABSENT) return udump_fail(error, UDUMP_ERROR_DEVICE, "convolution", "no library");
    return *library = new udump_convolution_library(), UDUMP_OK;
}
void udump_convolution_library_close(udump_convolution_library *library) { delete library; }
bool udump_convolution_library_fits(const udump_convolution_library *, const udump_conv_shape *shape) { return shape->in % 8 == 0 && shape->out % 8 == 0; }
udump_status udump_convolution_open(udump_convolution_library *, udump_plans *plans, udump_convolution **convolution, udump_error *error) {
    if (cudnn() == BROKEN) return *convolution = NULL, udump_fail(error, UDUMP_ERROR_DEVICE, "cuDNN", "a part is missing");
    return udump_emulation_bind(), *convolution = new udump_convolution{ plans }, UDUMP_OK;
}
void udump_convolution_close(udump_convolution *convolution) { delete convolution; }
udump_status udump_convolution_plan(
    udump_convolution *convolution, const udump_convolution_call *call, size_t *workspace_bytes, cudaStream_t stream, udump_error *) {
    if (!convolution) abort();
    char key[UDUMP_PLANS_KEY_MOST];
    snprintf(key, sizeof key, "conv2d %d [%d, %d, %d, %d] to %d, stride %d%s", (int)call->dtype, (int)call->n, (int)call->in_h, (int)call->in_w,
        (int)call->shape->in, (int)call->shape->out, (int)call->shape->stride, call->residual ? ", residual" : "");
    choose(convolution->plans, key, call->shape->out % ENGINES, stream);
    *workspace_bytes = workspace_bytes_of(call->shape);
    return UDUMP_OK;
}
udump_status udump_convolution_run(udump_convolution *, const udump_convolution_call *call, void *workspace, cudaStream_t stream, udump_error *error) {
    udump_convolution_call copy = *call;
    udump_conv_shape shape = *call->shape;
    int64_t in = (int64_t)call->n * call->in_h * call->in_w * shape.in, out = (int64_t)call->n * call->out_h * call->out_w * shape.out;
    if (!lies(call->in, in, call->dtype, 16) || !lies(call->out, out, call->dtype, 16) || !lies(call->bias, shape.out, call->dtype, 16)
        || !lies(call->weight, (int64_t)shape.out * shape.kernel * shape.kernel * shape.in, call->dtype, 16) || !lies(workspace, (int64_t)workspace_bytes_of(&shape) / 4, UDUMP_F32, 16)
        || (call->residual && (call->residual == call->out || !lies(call->residual, out, call->dtype, 16))))
        return misplaced("conv2d", error);
    udump_emulation_append(stream, [copy, shape, workspace]() {
        memset(workspace, 0xFF, workspace_bytes_of(&shape)); /* its end is seen */
        convolve(copy, shape);
    });
    return UDUMP_OK;
}

udump_status udump_fused_library_open(const char *, udump_fused_library **library, udump_error *error) {
    if (cudnn() == ABSENT) return udump_fail(error, UDUMP_ERROR_DEVICE, "attention", "no library");
    return *library = new udump_fused_library(), UDUMP_OK;
}
void udump_fused_library_close(udump_fused_library *library) { delete library; }
udump_status udump_fused_open(udump_fused_library *, udump_fused **fused, udump_error *) { return udump_emulation_bind(), *fused = new udump_fused(), UDUMP_OK; }
void udump_fused_close(udump_fused *fused) { delete fused; }
bool udump_fused_plan(udump_fused *, const udump_fused_call *call, size_t *workspace_bytes) {
    udump_emulation_bind();
    *workspace_bytes = 100;
    return call->d % 8 == 0;
}
udump_status udump_fused_run(udump_fused *, const udump_fused_call *call, void *workspace, cudaStream_t stream, udump_error *error) {
    udump_fused_call copy = *call;
    int64_t width = (int64_t)call->heads * call->d, before = (int64_t)call->n * call->tokens - 1;
    for (const void *each : { call->q, call->k, call->v })
        if (!lies(each, before * call->row + width, call->dtype, 16)) return misplaced("attention", error);
    if (!lies(call->out, before * call->out_row + width, call->dtype, 16) || !lies(workspace, 25, UDUMP_F32, 16)) return misplaced("attention", error);
    if (call->heads % 2) udump_emulation_spend(stream, 1); /* slower than a kernel of ours, which takes no time */
    udump_emulation_append(stream, [copy, workspace]() {
        memset(workspace, 0xFF, 100);
        for (int64_t i = 0; i < (int64_t)copy.n * copy.heads * copy.tokens; i++) attend_one(copy, i / copy.tokens / copy.heads, i / copy.tokens % copy.heads, i % copy.tokens);
    });
    return UDUMP_OK;
}

} /* extern "C" */
