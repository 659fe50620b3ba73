/* Convolutions by cuDNN's graph interface: conv + bias (+ residual) as one operation graph, the sums between them fp32 and never in memory. Engines
 * whose results are not the same every time are left out. */
#include "backend/cuda/convolution.h"

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/library.h"
#include "base/status.h"

enum { CONFIGS_MOST = 16, CANDIDATES_MOST = 8, WORKSPACE_BYTES_MOST = 512 << 20 };
enum { IN = 1, WEIGHT, BIAS, RESIDUAL, OUT, CONVOLVED, SUM }; /* tensors' identities in a graph */

struct udump_convolution_library {
    cudnnHandle_t handle;
    __typeof__(&cudnnCreate) create;
    __typeof__(&cudnnDestroy) destroy;
    __typeof__(&cudnnSetStream) set_stream;
    __typeof__(&cudnnBackendCreateDescriptor) make;
    __typeof__(&cudnnBackendDestroyDescriptor) destroy_descriptor;
    __typeof__(&cudnnBackendSetAttribute) set;
    __typeof__(&cudnnBackendGetAttribute) get;
    __typeof__(&cudnnBackendFinalize) finalize;
    __typeof__(&cudnnBackendExecute) execute;
    __typeof__(&cudnnGetErrorString) text;
    __typeof__(&cudnnGetVersion) version;
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
    udump_convolution_library *library;
    cudnnHandle_t handle; /* the session's: it keeps its stream; NULL: planning only */
    cudaStream_t stream;  /* the handle's */
    cudnnBackendDescriptor_t described; /* the device, where there is none */
    udump_plans *kept; /* or NULL */
    plan *plans;
    int32_t count, room;
};

udump_status udump_convolution_library_open(const char *folder, udump_convolution_library **library, udump_error *error) {
    static const char *const names[] = { "libcudnn.so.9" };
    udump_convolution_library *l = *library = calloc(1, sizeof *l);
    if (!l) return udump_fail_memory(error, "cuDNN", sizeof *l);
    const udump_symbol symbols[] = { { "cudnnCreate", (void **)&l->create }, { "cudnnDestroy", (void **)&l->destroy },
        { "cudnnSetStream", (void **)&l->set_stream }, { "cudnnBackendCreateDescriptor", (void **)&l->make },
        { "cudnnBackendDestroyDescriptor", (void **)&l->destroy_descriptor }, { "cudnnBackendSetAttribute", (void **)&l->set },
        { "cudnnBackendGetAttribute", (void **)&l->get }, { "cudnnBackendFinalize", (void **)&l->finalize },
        { "cudnnBackendExecute", (void **)&l->execute }, { "cudnnGetErrorString", (void **)&l->text },
        { "cudnnGetVersion", (void **)&l->version } };
    udump_status status = udump_library_load(folder, names, 1, symbols, sizeof symbols / sizeof *symbols, error);
    if (!status) return UDUMP_OK;
    free(l);
    *library = NULL;
    return status;
}

size_t udump_convolution_library_version(const udump_convolution_library *library) { return library->version(); }

void udump_convolution_library_close(udump_convolution_library *library) { free(library); }

/* The matrix units want 16 bytes of channels; one padding for both ends is all that every engine knows. */
bool udump_convolution_library_fits(const udump_convolution_library *library, const udump_conv_shape *shape) {
    (void)library;
    return shape->in % 8 == 0 && shape->out % 8 == 0 && shape->pad_begin == shape->pad_end;
}

udump_status udump_convolution_open(udump_convolution_library *library, udump_plans *plans, udump_convolution **result, udump_error *error) {
    udump_convolution *c = *result = calloc(1, sizeof *c);
    if (!c) return udump_fail_memory(error, "convolutions", sizeof *c);
    c->library = library;
    c->kept = plans;
    cudnnStatus_t made = library->create(&c->handle);
    if (!made) return UDUMP_OK;
    c->handle = NULL;
    udump_convolution_close(c);
    *result = NULL;
    return udump_fail(error, UDUMP_ERROR_DEVICE, "cuDNN", "%s", library->text(made));
}

udump_status udump_convolution_open_described(udump_convolution_library *library, const char *json, udump_convolution **result, udump_error *error) {
    udump_convolution *c = *result = calloc(1, sizeof *c);
    if (!c) return udump_fail_memory(error, "convolutions", sizeof *c);
    c->library = library;
    cudnnStatus_t status = library->make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &c->described);
    if (!status) status = library->set(c->described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    if (!status) status = library->finalize(c->described);
    if (!status) return UDUMP_OK;
    udump_convolution_close(c);
    *result = NULL;
    return udump_fail(error, UDUMP_ERROR_DEVICE, "cuDNN", "device properties: %s", library->text(status));
}

void udump_convolution_close(udump_convolution *c) {
    if (!c) return;
    if (c->described) c->library->destroy_descriptor(c->described);
    for (int32_t i = 0; i < c->count; i++) c->library->destroy_descriptor(c->plans[i].execution);
    if (c->handle) c->library->destroy(c->handle);
    free(c->plans);
    free(c);
}

/* ---- building a graph. The first failure sticks; later calls do nothing. */

enum { DESCRIPTORS_MOST = 64 };

struct build {
    const udump_convolution_library *l;
    cudnnStatus_t status;
    cudnnDataType_t type;
    cudnnBackendDescriptor_t made[DESCRIPTORS_MOST]; /* freed when the graph is no longer needed */
    int32_t count;
};

static cudnnBackendDescriptor_t make(struct build *b, cudnnBackendDescriptorType_t kind) {
    cudnnBackendDescriptor_t descriptor = NULL;
    if (!b->status && b->count == DESCRIPTORS_MOST) b->status = CUDNN_STATUS_INTERNAL_ERROR;
    if (!b->status) b->status = b->l->make(kind, &descriptor);
    if (!b->status) b->made[b->count++] = descriptor;
    return descriptor;
}

static void set(struct build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (!b->status) b->status = b->l->set(d, name, type, count, values);
}

static void set_descriptor(struct build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(struct build *b, cudnnBackendDescriptor_t d) {
    if (!b->status) b->status = b->l->finalize(d);
}

/* [n, c, h, w] by name, channels last in memory. */
static cudnnBackendDescriptor_t tensor(struct build *b, int64_t id, int64_t n, int64_t c, int64_t h, int64_t w, bool between) {
    int64_t shape[4] = { n, c, h, w }, stride[4] = { c * h * w, 1, c * w, c }, alignment_bytes = 16;
    cudnnDataType_t type = between ? CUDNN_DATA_FLOAT : b->type;
    cudnnBackendDescriptor_t d = make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape);
    set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment_bytes);
    set(b, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
    finalize(b, d);
    return d;
}

static cudnnBackendDescriptor_t convolve(struct build *b, const udump_conv_shape *s, cudnnBackendDescriptor_t in, cudnnBackendDescriptor_t weight, cudnnBackendDescriptor_t out) {
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t dims = 2, pads[2] = { s->pad_begin, s->pad_begin }, strides[2] = { s->stride, s->stride }, dilations[2] = { 1, 1 };
    float one = 1, zero = 0;
    cudnnBackendDescriptor_t d = make(b, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(b, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(b, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    set(b, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    set(b, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    set(b, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(b, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
    finalize(b, d);
    cudnnBackendDescriptor_t operation = make(b, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, d);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, in);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, out);
    set(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    set(b, operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(b, operation);
    return operation;
}

static cudnnBackendDescriptor_t add(struct build *b, cudnnBackendDescriptor_t left, cudnnBackendDescriptor_t right, cudnnBackendDescriptor_t out) {
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t d = make(b, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(b, d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(b, d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finalize(b, d);
    cudnnBackendDescriptor_t operation = make(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, d);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, left);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, right);
    set_descriptor(b, operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
    finalize(b, operation);
    return operation;
}

static cudnnBackendDescriptor_t build_graph(struct build *b, cudnnHandle_t handle, const udump_convolution_call *c) {
    const udump_conv_shape *s = c->shape;
    bool added = c->residual != NULL;
    cudnnBackendDescriptor_t operations[3];
    cudnnBackendDescriptor_t in = tensor(b, IN, c->n, s->in, c->in_h, c->in_w, false), weight = tensor(b, WEIGHT, s->out, s->in, s->kernel, s->kernel, false),
                             bias = tensor(b, BIAS, 1, s->out, 1, 1, false), convolved = tensor(b, CONVOLVED, c->n, s->out, c->out_h, c->out_w, true),
                             out = tensor(b, OUT, c->n, s->out, c->out_h, c->out_w, false);
    operations[0] = convolve(b, s, in, weight, convolved);
    if (added) { /* before the bias: in this order the library has engines that are compiled already */
        cudnnBackendDescriptor_t sum = tensor(b, SUM, c->n, s->out, c->out_h, c->out_w, true);
        operations[1] = add(b, convolved, tensor(b, RESIDUAL, c->n, s->out, c->out_h, c->out_w, false), sum);
        operations[2] = add(b, sum, bias, out);
    } else operations[1] = add(b, convolved, bias, out);
    cudnnBackendDescriptor_t graph = make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, added ? 3 : 2, operations);
    if (handle) set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    finalize(b, graph);
    return graph;
}

/* ---- choosing an engine */

/* The config's engine, by the library's number; -1 where it does not repeat or keeps less of fp32. */
static int32_t wanted_engine(struct build *b, cudnnBackendDescriptor_t config) {
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0, engines = 0, index = -1;
    cudnnBackendDescriptor_t engine = make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (b->status || b->l->get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engines, &engine)) return -1;
    if (b->l->get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes)) return -1;
    for (int64_t i = 0; i < count; i++) /* fp32 is fp32: not TF32 or less inside */
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || (b->type == CUDNN_DATA_FLOAT && notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return -1;
    return b->l->get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, &index) ? -1 : (int32_t)index;
}

/* An execution plan of the config, or NULL where it does not come to one. Only described, a device has no driver to compile for: there it is enough that
 * nothing else is missing. */
static cudnnBackendDescriptor_t plan_of(const udump_convolution *c, cudnnBackendDescriptor_t config, size_t *workspace_bytes) {
    const udump_convolution_library *l = c->library;
    cudnnBackendDescriptor_t execution = NULL;
    int64_t count = 0, bytes = 0;
    cudnnStatus_t status = l->make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &execution);
    if (status) return NULL;
    if (c->described) status = l->set(execution, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->described);
    else status = l->set(execution, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle);
    if (!status) status = l->set(execution, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    if (!status) status = l->finalize(execution);
    if (c->described && status == CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING) return execution;
    if (!status) status = l->get(execution, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes);
    *workspace_bytes = (size_t)bytes;
    if (!status && bytes <= WORKSPACE_BYTES_MOST) return execution;
    l->destroy_descriptor(execution);
    return NULL;
}

/* A config that works, repeats and keeps the precision. */
typedef struct candidate {
    cudnnBackendDescriptor_t execution;
    size_t workspace_bytes;
    udump_plan_choice choice; /* rank: of all modes' configs, CONFIGS_MOST each */
} candidate;

/* Those of one of the library's modes, in its own order, CANDIDATES_MOST at most; with only not -1 that of this rank. */
static int32_t list_mode(struct build *b, const udump_convolution *c, cudnnBackendDescriptor_t graph, int32_t mode_index, int32_t only, candidate *candidates) {
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
    cudnnBackendDescriptor_t configs[CONFIGS_MOST], heuristics = make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t found = 0;
    int32_t count = 0;
    set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &modes[mode_index]);
    if (c->described) set_descriptor(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, c->described);
    finalize(b, heuristics);
    for (int i = 0; i < CONFIGS_MOST; i++) configs[i] = make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (b->status || b->l->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS_MOST, &found, configs)) return 0;
    for (int32_t i = 0; i < found && count < CANDIDATES_MOST; i++) {
        candidate *next = &candidates[count];
        int32_t rank = mode_index * CONFIGS_MOST + i, engine = only < 0 || only == rank ? wanted_engine(b, configs[i]) : -1;
        if (engine < 0 || !(next->execution = plan_of(c, configs[i], &next->workspace_bytes))) continue;
        next->choice = (udump_plan_choice){ rank, engine };
        count++;
    }
    return count;
}

/* The first mode's, or where it has none the second's. */
static int32_t list_candidates(const udump_convolution *c, const udump_convolution_call *call, int32_t only, candidate *candidates, cudnnStatus_t *status) {
    static const cudnnDataType_t types[] = { [UDUMP_F32] = CUDNN_DATA_FLOAT, [UDUMP_F16] = CUDNN_DATA_HALF, [UDUMP_BF16] = CUDNN_DATA_BFLOAT16 };
    int32_t count = 0;
    for (int32_t mode = 0; mode < 2 && !count; mode++) {
        struct build b = { .l = c->library, .type = types[call->dtype] };
        cudnnBackendDescriptor_t graph = build_graph(&b, c->handle, call);
        if (!b.status) count = list_mode(&b, c, graph, mode, only, candidates);
        if (b.status) *status = b.status;
        while (b.count) b.l->destroy_descriptor(b.made[--b.count]);
    }
    return count;
}

static cudnnStatus_t use_stream(udump_convolution *c, cudaStream_t stream) {
    cudnnStatus_t status = stream == c->stream ? CUDNN_STATUS_SUCCESS : c->library->set_stream(c->handle, stream);
    if (!status) c->stream = stream;
    return status;
}

static void destroy_candidates(const udump_convolution *c, const candidate *candidates, int32_t count, int32_t but) {
    for (int32_t i = 0; i < count; i++)
        if (i != but) c->library->destroy_descriptor(candidates[i].execution);
}

static cudnnStatus_t execute(const udump_convolution *c, cudnnBackendDescriptor_t execution, const udump_convolution_call *call, void *workspace) {
    const udump_convolution_library *l = c->library;
    int64_t ids[] = { IN, WEIGHT, BIAS, OUT, RESIDUAL }, count = call->residual ? 5 : 4;
    const void *pointers[] = { call->in, call->weight, call->bias, call->out, call->residual };
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status = l->make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (!status) status = l->set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    if (!status) status = l->set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
    if (!status) status = l->set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (!status) status = l->finalize(pack);
    if (!status) status = l->execute(c->handle, execution, pack);
    if (pack) l->destroy_descriptor(pack);
    return status;
}

/* ---- measuring */

struct contest {
    const udump_convolution *c;
    const candidate *candidates;
    udump_convolution_call call;
    void *workspace;
};

static bool begin_candidate(void *user, int32_t i) {
    const struct contest *contest = user;
    return execute(contest->c, contest->candidates[i].execution, &contest->call, contest->workspace) == CUDNN_STATUS_SUCCESS;
}

static size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

/* On tensors of zeros. -1 where it cannot be measured: then the library's first choice is taken, and not kept. */
static int32_t measure(udump_convolution *c, const udump_convolution_call *call, const candidate *candidates, int32_t count, cudaStream_t stream) {
    struct contest contest = { c, candidates, *call, NULL };
    size_t value_bytes = udump_dtype_bytes(call->dtype), workspace_bytes = 0,
           in_bytes = aligned((size_t)call->n * (size_t)call->in_h * (size_t)call->in_w * (size_t)call->shape->in * value_bytes),
           out_bytes = aligned((size_t)call->n * (size_t)call->out_h * (size_t)call->out_w * (size_t)call->shape->out * value_bytes);
    for (int32_t i = 0; i < count; i++)
        if (candidates[i].workspace_bytes > workspace_bytes) workspace_bytes = candidates[i].workspace_bytes;
    size_t bytes = in_bytes + 2 * out_bytes + workspace_bytes;
    char *memory = NULL;
    if (use_stream(c, stream)) return -1;
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
    candidate candidates[CANDIDATES_MOST];
    cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;
    udump_plan_choice kept;
    char key[UDUMP_PLANS_KEY_MOST];
    write_key(key, call);
    int32_t count = 0, chosen = 0;
    bool known = udump_plans_find(c->kept, key, &kept);
    if (known) count = list_candidates(c, call, kept.rank, candidates, &status);
    if (count && candidates[0].choice.engine != kept.engine) destroy_candidates(c, candidates, count, -1), count = 0;
    known = count > 0;
    if (!known) count = list_candidates(c, call, -1, candidates, &status);
    if (!count)
        return udump_fail(error, UDUMP_ERROR_DEVICE, "conv2d", "cuDNN: %s, for %d to %d channels, kernel %d, stride %d, [%d, %d, %d]", c->library->text(status),
            (int)s->in, (int)s->out, (int)s->kernel, (int)s->stride, (int)call->n, (int)call->in_h, (int)call->in_w);
    if (!known && c->kept) chosen = measure(c, call, candidates, count, stream);
    if (!known && chosen >= 0) udump_plans_keep(c->kept, key, candidates[chosen].choice);
    if (chosen < 0) chosen = 0;
    *p = (plan){ .shape = *s, .n = call->n, .in_h = call->in_h, .in_w = call->in_w, .dtype = call->dtype, .added = call->residual != NULL,
        .execution = candidates[chosen].execution, .workspace_bytes = candidates[chosen].workspace_bytes };
    destroy_candidates(c, candidates, count, chosen);
    return UDUMP_OK;
}

int32_t udump_convolution_candidates(udump_convolution *c, const udump_convolution_call *call) {
    candidate candidates[CANDIDATES_MOST];
    cudnnStatus_t status;
    int32_t count = list_candidates(c, call, -1, candidates, &status);
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
    cudnnStatus_t status = use_stream(c, stream);
    if (!status) status = execute(c, p->execution, call, workspace);
    return status ? udump_fail(error, UDUMP_ERROR_DEVICE, "conv2d", "cuDNN: %s", c->library->text(status)) : UDUMP_OK;
}
