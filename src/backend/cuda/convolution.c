/* Convolutions by cuDNN's graph interface: conv + bias (+ residual) as one operation graph, the sums between them fp32 and never in memory. Engines
 * whose results are not the same every time are left out. */
#include "backend/cuda/convolution.h"

#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/dnn.h"
#include "base/status.h"

enum { WORKSPACE_BYTES_MOST = 512 << 20 };
enum { IN = 1, WEIGHT, BIAS, RESIDUAL, OUT, CONVOLVED, SUM }; /* tensors' identities in a graph */

struct udump_convolution_library {
    udump_dnn dnn;
};

typedef struct plan {
    udump_conv_shape shape;
    int32_t n, in_h, in_w;
    udump_dtype dtype;
    bool added; /* a residual */
    cudnnBackendDescriptor_t execution;
    size_t workspace_bytes;
} plan;

struct udump_convolution {
    udump_dnn_place place;
    udump_plans *kept; /* or NULL */
    plan *plans;
    int32_t count, room;
};

udump_status udump_convolution_library_open(const char *folder, udump_convolution_library **library, udump_error *error) {
    udump_convolution_library *l = *library = calloc(1, sizeof *l);
    if (!l) return udump_fail_memory(error, "cuDNN", sizeof *l);
    udump_status status = udump_dnn_load(folder, &l->dnn, error);
    if (!status) return UDUMP_OK;
    free(l);
    *library = NULL;
    return status;
}

size_t udump_convolution_library_version(const udump_convolution_library *library) { return library->dnn.version(); }

void udump_convolution_library_close(udump_convolution_library *library) { free(library); }

/* The matrix units want 16 bytes of channels; one padding for both ends is all that every engine knows. */
bool udump_convolution_library_fits(const udump_convolution_library *library, const udump_conv_shape *shape) {
    (void)library;
    return shape->in % 8 == 0 && shape->out % 8 == 0 && shape->pad_begin == shape->pad_end;
}

static udump_status open_at(udump_convolution_library *library, const char *json, udump_convolution **result, udump_error *error) {
    udump_convolution *c = *result = calloc(1, sizeof *c);
    if (!c) return udump_fail_memory(error, "convolutions", sizeof *c);
    udump_status status
        = json ? udump_dnn_place_describe(&c->place, &library->dnn, json, error) : udump_dnn_place_open(&c->place, &library->dnn, error);
    if (!status) return UDUMP_OK;
    udump_convolution_close(c);
    *result = NULL;
    return status;
}

udump_status udump_convolution_open(udump_convolution_library *library, udump_plans *plans, udump_convolution **result, udump_error *error) {
    udump_status status = open_at(library, NULL, result, error);
    if (!status) (*result)->kept = plans;
    return status;
}

udump_status udump_convolution_open_described(udump_convolution_library *library, const char *json, udump_convolution **result, udump_error *error) {
    return open_at(library, json, result, error);
}

void udump_convolution_close(udump_convolution *c) {
    if (!c) return;
    for (int32_t i = 0; i < c->count; i++) c->place.dnn->destroy_descriptor(c->plans[i].execution);
    udump_dnn_place_close(&c->place);
    free(c->plans);
    free(c);
}

/* ---- the graph */

static const cudnnDataType_t types[] = { [UDUMP_F32] = CUDNN_DATA_FLOAT, [UDUMP_F16] = CUDNN_DATA_HALF, [UDUMP_BF16] = CUDNN_DATA_BFLOAT16 };

/* [n, c, h, w] by name, channels last in memory. */
static cudnnBackendDescriptor_t tensor(
    udump_dnn_build *b, cudnnDataType_t type, int64_t id, int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t shape[4] = { n, c, h, w }, stride[4] = { c * h * w, 1, c * w, c };
    return udump_dnn_tensor(b, type, id, shape, stride, id >= CONVOLVED);
}

static cudnnBackendDescriptor_t convolve(udump_dnn_build *b, const udump_conv_shape *s, cudnnBackendDescriptor_t in, cudnnBackendDescriptor_t weight, cudnnBackendDescriptor_t out) {
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t dims = 2, pads[2] = { s->pad_begin, s->pad_begin }, strides[2] = { s->stride, s->stride }, dilations[2] = { 1, 1 };
    float one = 1, zero = 0;
    cudnnBackendDescriptor_t d = udump_dnn_make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    udump_dnn_set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
    udump_dnn_finalize(b, d);
    cudnnBackendDescriptor_t operation = udump_dnn_make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, d);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, in);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, out);
    udump_dnn_set(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    udump_dnn_set(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    udump_dnn_finalize(b, operation);
    return operation;
}

static cudnnBackendDescriptor_t add(udump_dnn_build *b, cudnnBackendDescriptor_t left, cudnnBackendDescriptor_t right, cudnnBackendDescriptor_t out) {
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = udump_dnn_make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    udump_dnn_set(b, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    udump_dnn_set(b, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    udump_dnn_finalize(b, d);
    cudnnBackendDescriptor_t operation = udump_dnn_make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, left);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, right);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
    udump_dnn_finalize(b, operation);
    return operation;
}

static cudnnBackendDescriptor_t build_graph(udump_dnn_build *b, const udump_dnn_place *place, const udump_convolution_call *c) {
    const udump_conv_shape *s = c->shape;
    cudnnDataType_t type = types[c->dtype], sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t operations[3];
    cudnnBackendDescriptor_t in = tensor(b, type, IN, c->n, s->in, c->in_h, c->in_w), weight = tensor(b, type, WEIGHT, s->out, s->in, s->kernel, s->kernel),
                             bias = tensor(b, type, BIAS, 1, s->out, 1, 1), convolved = tensor(b, sums, CONVOLVED, c->n, s->out, c->out_h, c->out_w),
                             out = tensor(b, type, OUT, c->n, s->out, c->out_h, c->out_w);
    operations[0] = convolve(b, s, in, weight, convolved);
    if (!c->residual) {
        operations[1] = add(b, convolved, bias, out);
        return udump_dnn_graph(b, place, operations, 2);
    }
    /* before the bias: in this order the library has engines that are compiled already */
    cudnnBackendDescriptor_t sum = tensor(b, sums, SUM, c->n, s->out, c->out_h, c->out_w);
    operations[1] = add(b, convolved, tensor(b, type, RESIDUAL, c->n, s->out, c->out_h, c->out_w), sum);
    operations[2] = add(b, sum, bias, out);
    return udump_dnn_graph(b, place, operations, 3);
}

/* ---- choosing an engine */

/* The first mode's, or where it has none the second's; with rank not -1 that one alone. candidates: [most]. Where there are none, status says why. */
static int32_t list_candidates(
    const udump_convolution *c, const udump_convolution_call *call, int32_t rank, int32_t most, udump_dnn_candidate *candidates, cudnnStatus_t *status) {
    udump_dnn_wish wish = { .rank = rank, .precise = call->dtype == UDUMP_F32, .workspace_bytes_most = WORKSPACE_BYTES_MOST, .most = most };
    int32_t count = 0;
    *status = CUDNN_STATUS_NOT_SUPPORTED;
    for (; wish.mode < UDUMP_DNN_MODES && !count; wish.mode++) {
        udump_dnn_build b = { .dnn = c->place.dnn };
        cudnnBackendDescriptor_t graph = build_graph(&b, &c->place, call);
        if (!b.status) count = udump_dnn_candidates(&b, &c->place, graph, &wish, candidates);
        if (b.status || b.refused) *status = b.status ? b.status : b.refused;
        udump_dnn_build_end(&b);
    }
    return count;
}

static void destroy_candidates(const udump_convolution *c, const udump_dnn_candidate *candidates, int32_t count, int32_t but) {
    for (int32_t i = 0; i < count; i++)
        if (i != but) c->place.dnn->destroy_descriptor(candidates[i].plan);
}

static cudnnStatus_t execute(const udump_convolution *c, cudnnBackendDescriptor_t execution, const udump_convolution_call *call, void *workspace) {
    const int64_t ids[] = { IN, WEIGHT, BIAS, OUT, RESIDUAL };
    const void *const pointers[] = { call->in, call->weight, call->bias, call->out, call->residual };
    return udump_dnn_run(&c->place, execution, call->residual ? 5 : 4, ids, pointers, workspace);
}

/* ---- measuring */

struct contest {
    const udump_convolution *c;
    const udump_dnn_candidate *candidates;
    udump_convolution_call call;
    void *workspace;
};

static bool begin_candidate(void *user, int32_t i) {
    const struct contest *contest = user;
    return execute(contest->c, contest->candidates[i].plan, &contest->call, contest->workspace) == CUDNN_STATUS_SUCCESS;
}

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

/* On tensors of zeros. -1 where it cannot be measured: then the library's first choice is taken, and not kept. */
static int32_t measure(udump_convolution *c, const udump_convolution_call *call, const udump_dnn_candidate *candidates, int32_t count, cudaStream_t stream) {
    struct contest contest = { c, candidates, *call, NULL };
    size_t value_bytes = udump_dtype_bytes(call->dtype), workspace_bytes = 0,
           in_bytes = aligned((size_t)call->n * (size_t)call->in_h * (size_t)call->in_w * (size_t)call->shape->in * value_bytes),
           out_bytes = aligned((size_t)call->n * (size_t)call->out_h * (size_t)call->out_w * (size_t)call->shape->out * value_bytes);
    for (int32_t i = 0; i < count; i++)
        if (candidates[i].workspace_bytes > workspace_bytes) workspace_bytes = candidates[i].workspace_bytes;
    size_t bytes = in_bytes + 2 * out_bytes + workspace_bytes;
    char *memory = NULL;
    if (udump_dnn_use_stream(&c->place, stream)) return -1;
    if (cudaMalloc((void **)&memory, bytes) != cudaSuccess || cudaMemsetAsync(memory, 0, bytes, stream) != cudaSuccess) return cudaGetLastError(), cudaFree(memory), -1;
    contest.call.in = memory;
    contest.call.out = memory + in_bytes;
    if (call->residual) contest.call.residual = memory + in_bytes + out_bytes;
    contest.workspace = memory + in_bytes + 2 * out_bytes;
    int32_t fastest = udump_fastest(stream, count, begin_candidate, &contest);
    cudaFree(memory);
    return fastest;
}

/* All that engines are chosen by. */
static void write_key(char *key, const udump_convolution_call *call) {
    const udump_conv_shape *s = call->shape;
    snprintf(key, UDUMP_PLANS_KEY_MOST, "conv2d %s [%d, %d, %d, %d] to %d, kernel %d, stride %d, padding %d%s", udump_dtype_name(call->dtype), (int)call->n,
        (int)call->in_h, (int)call->in_w, (int)s->in, (int)s->out, (int)s->kernel, (int)s->stride, (int)s->pad_begin, call->residual ? ", residual" : "");
}

static udump_status make_plan(udump_convolution *c, const udump_convolution_call *call, plan *p, cudaStream_t stream, udump_error *error) {
    const udump_conv_shape *s = call->shape;
    udump_dnn_candidate candidates[UDUMP_CANDIDATES_MOST];
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    udump_plan_choice kept;
    char key[UDUMP_PLANS_KEY_MOST], why[UDUMP_DNN_WHY_BYTES];
    write_key(key, call);
    int32_t count = 0, chosen = 0;
    bool known = udump_plans_find(c->kept, key, &kept);
    if (known) count = list_candidates(c, call, kept.rank, 1, candidates, &status);
    if (count && candidates[0].engine != kept.engine) destroy_candidates(c, candidates, count, -1), count = 0;
    known = count > 0;
    if (!known) count = list_candidates(c, call, -1, c->kept ? UDUMP_CANDIDATES_MOST : 1, candidates, &status);
    if (!count)
        return udump_fail(error, UDUMP_ERROR_DEVICE, "conv2d", "cuDNN: %s, for %d to %d channels, kernel %d, stride %d, [%d, %d, %d]",
            udump_dnn_why(c->place.dnn, status, why), (int)s->in, (int)s->out, (int)s->kernel, (int)s->stride, (int)call->n, (int)call->in_h, (int)call->in_w);
    if (!known && c->kept) chosen = measure(c, call, candidates, count, stream);
    if (!known && chosen >= 0) udump_plans_keep(c->kept, key, (udump_plan_choice){ candidates[chosen].rank, candidates[chosen].engine });
    if (chosen < 0) chosen = 0;
    *p = (plan){ .shape = *s, .n = call->n, .in_h = call->in_h, .in_w = call->in_w, .dtype = call->dtype, .added = call->residual != NULL,
        .execution = candidates[chosen].plan, .workspace_bytes = candidates[chosen].workspace_bytes };
    destroy_candidates(c, candidates, count, chosen);
    return UDUMP_OK;
}

int32_t udump_convolution_candidates(udump_convolution *c, const udump_convolution_call *call) {
    udump_dnn_candidate candidates[UDUMP_CANDIDATES_MOST];
    cudnnStatus_t status;
    int32_t count = list_candidates(c, call, -1, UDUMP_CANDIDATES_MOST, candidates, &status);
    destroy_candidates(c, candidates, count, -1);
    return count;
}

static plan *find(const udump_convolution *c, const udump_convolution_call *call) {
    const udump_conv_shape *s = call->shape;
    for (int32_t i = 0; i < c->count; i++) {
        plan *p = &c->plans[i];
        if (p->shape.in == s->in && p->shape.out == s->out && p->shape.kernel == s->kernel && p->shape.stride == s->stride && p->shape.pad_begin == s->pad_begin
            && p->n == call->n && p->in_h == call->in_h && p->in_w == call->in_w && p->dtype == call->dtype && p->added == (call->residual != NULL))
            return p;
    }
    return NULL;
}

udump_status udump_convolution_plan(
    udump_convolution *c, const udump_convolution_call *call, size_t *workspace_bytes, cudaStream_t stream, udump_error *error) {
    plan *p = find(c, call);
    if (!p && c->count == c->room) {
        int32_t room = 2 * c->room + 32;
        plan *grown = realloc(c->plans, (size_t)room * sizeof *grown);
        if (!grown) return udump_fail_memory(error, "convolutions", (size_t)room * sizeof *grown);
        c->plans = grown;
        c->room = room;
    }
    if (!p) {
        p = &c->plans[c->count];
        udump_status status = make_plan(c, call, p, stream, error);
        if (status) return status;
        c->count++;
    }
    *workspace_bytes = p->workspace_bytes;
    return UDUMP_OK;
}

udump_status udump_convolution_run(
    udump_convolution *c, const udump_convolution_call *call, void *workspace, cudaStream_t stream, udump_error *error) {
    const plan *p = find(c, call);
    cudnnStatus_t status = udump_dnn_use_stream(&c->place, stream);
    if (!status) status = execute(c, p->execution, call, workspace);
    return udump_dnn_status(c->place.dnn, status, "conv2d", error);
}
