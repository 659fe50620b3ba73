#include "backend/cuda/dnn.h"

#include <stdio.h>
#include <string.h>

#include "backend/cuda/library.h"
#include "base/status.h"

udump_status udump_dnn_load(const char *folder, udump_dnn *d, udump_error *error) {
    static const char *const names[] = { "libcudnn.so.9" };
    const udump_symbol symbols[] = { { "cudnnCreate", (void **)&d->create }, { "cudnnDestroy", (void **)&d->destroy },
        { "cudnnSetStream", (void **)&d->set_stream }, { "cudnnBackendCreateDescriptor", (void **)&d->make },
        { "cudnnBackendDestroyDescriptor", (void **)&d->destroy_descriptor }, { "cudnnBackendSetAttribute", (void **)&d->set },
        { "cudnnBackendGetAttribute", (void **)&d->get }, { "cudnnBackendFinalize", (void **)&d->finalize },
        { "cudnnBackendExecute", (void **)&d->execute }, { "cudnnGetErrorString", (void **)&d->text },
        { "cudnnGetLastErrorString", (void **)&d->last }, { "cudnnGetVersion", (void **)&d->version } };
    return udump_library_load(folder, names, 1, symbols, sizeof symbols / sizeof *symbols, error);
}

const char *udump_dnn_why(const udump_dnn *dnn, cudnnStatus_t status, char text[UDUMP_DNN_WHY_BYTES]) {
    char last[UDUMP_DNN_WHY_BYTES] = "";
    dnn->last(last, sizeof last);
    last[strcspn(last, "\n")] = 0;
    snprintf(text, UDUMP_DNN_WHY_BYTES, "%s%s%s", dnn->text(status), *last ? ": " : "", last);
    return text;
}

udump_status udump_dnn_status(const udump_dnn *dnn, cudnnStatus_t status, const char *where, udump_error *error) {
    char why[UDUMP_DNN_WHY_BYTES];
    return status ? udump_fail(error, UDUMP_ERROR_DEVICE, where, "cuDNN: %s", udump_dnn_why(dnn, status, why)) : UDUMP_OK;
}

udump_status udump_dnn_place_open(udump_dnn_place *place, const udump_dnn *dnn, udump_error *error) {
    *place = (udump_dnn_place){ .dnn = dnn };
    char why[UDUMP_DNN_WHY_BYTES];
    cudnnStatus_t status = dnn->create(&place->handle);
    if (!status) return UDUMP_OK;
    place->handle = NULL;
    return udump_fail(error, UDUMP_ERROR_DEVICE, "cuDNN", "%s", udump_dnn_why(dnn, status, why));
}

udump_status udump_dnn_place_describe(udump_dnn_place *place, const udump_dnn *dnn, const char *json, udump_error *error) {
    *place = (udump_dnn_place){ .dnn = dnn };
    cudnnStatus_t status = dnn->make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &place->described);
    if (!status) status = dnn->set(place->described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    if (!status) status = dnn->finalize(place->described);
    char why[UDUMP_DNN_WHY_BYTES];
    return status ? udump_fail(error, UDUMP_ERROR_DEVICE, "cuDNN", "device properties: %s", udump_dnn_why(dnn, status, why)) : UDUMP_OK;
}

void udump_dnn_place_close(udump_dnn_place *place) {
    if (place->described) place->dnn->destroy_descriptor(place->described);
    if (place->handle) place->dnn->destroy(place->handle);
}

cudnnBackendDescriptor_t udump_dnn_make(udump_dnn_build *b, cudnnBackendDescriptorType_t kind) {
    cudnnBackendDescriptor_t descriptor = NULL;
    if (!b->status && b->count == UDUMP_DNN_DESCRIPTORS) b->status = CUDNN_STATUS_INTERNAL_ERROR;
    if (!b->status) b->status = b->dnn->make(kind, &descriptor);
    if (!b->status) b->made[b->count++] = descriptor;
    return descriptor;
}

void udump_dnn_set(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
    const void *values) {
    if (!b->status) b->status = b->dnn->set(d, name, type, count, values);
}

void udump_dnn_link(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    udump_dnn_set(b, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void udump_dnn_finalize(udump_dnn_build *b, cudnnBackendDescriptor_t d) {
    if (!b->status) b->status = b->dnn->finalize(d);
}

cudnnBackendDescriptor_t udump_dnn_tensor(
    udump_dnn_build *b, cudnnDataType_t type, int64_t id, const int64_t shape[4], const int64_t stride[4], bool between) {
    int64_t alignment_bytes = 16;
    cudnnBackendDescriptor_t d = udump_dnn_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment_bytes);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
    udump_dnn_finalize(b, d);
    return d;
}

cudnnBackendDescriptor_t udump_dnn_graph(udump_dnn_build *b, const udump_dnn_place *place, const cudnnBackendDescriptor_t *operations, int64_t count) {
    cudnnBackendDescriptor_t graph = udump_dnn_make(b, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    udump_dnn_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations);
    if (place->handle) udump_dnn_set(b, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &place->handle);
    udump_dnn_finalize(b, graph);
    return graph;
}

/* Whether an engine of that note repeats to the bit, sums in fp32 and, if it should, multiplies in fp32: matrix units make TF32 of it. */
static bool is_wanted(cudnnBackendNumericalNote_t note, bool precise) {
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) return false;
    return !precise || (note != CUDNN_NUMERICAL_NOTE_TENSOR_CORE && note != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
}

/* The config's engine, by the library's number; -1 where it is not wanted. */
static int32_t wanted_engine(udump_dnn_build *b, cudnnBackendDescriptor_t config, bool precise) {
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0, engines = 0, index = -1;
    cudnnBackendDescriptor_t engine = udump_dnn_make(b, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    if (b->status || b->dnn->get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engines, &engine)) return -1;
    if (b->dnn->get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes)) return -1;
    for (int64_t i = 0; i < count; i++)
        if (!is_wanted(notes[i], precise)) return -1;
    return b->dnn->get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, &index) ? -1 : (int32_t)index;
}

/* Only described, a device has no driver to compile for or to load kernels with: there it is enough that nothing else is missing. */
static bool lacks_driver(const udump_dnn_place *place, cudnnStatus_t status) {
    return place->described && (status == CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING || status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER);
}

/* NULL where the config does not come to one. */
static cudnnBackendDescriptor_t plan_of(
    udump_dnn_build *b, const udump_dnn_place *place, cudnnBackendDescriptor_t config, size_t most_bytes, size_t *workspace_bytes) {
    const udump_dnn *dnn = place->dnn;
    cudnnBackendDescriptor_t plan = NULL;
    int64_t count = 0, bytes = 0;
    cudnnStatus_t status = dnn->make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan);
    if (status) return NULL;
    if (place->described) status = dnn->set(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &place->described);
    else status = dnn->set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &place->handle);
    if (!status) status = dnn->set(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    if (!status) status = dnn->finalize(plan);
    bool driverless = lacks_driver(place, status);
    if (!status) status = dnn->get(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes);
    *workspace_bytes = (size_t)bytes;
    if (driverless || (!status && (size_t)bytes <= most_bytes)) return plan;
    if (status) b->refused = status;
    dnn->destroy_descriptor(plan);
    return NULL;
}

int32_t udump_dnn_candidates(
    udump_dnn_build *b, const udump_dnn_place *place, cudnnBackendDescriptor_t graph, const udump_dnn_wish *wish, udump_dnn_candidate *candidates) {
    static const cudnnBackendHeurMode_t modes[UDUMP_DNN_MODES] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
    cudnnBackendDescriptor_t configs[UDUMP_DNN_CONFIGS], heuristics = udump_dnn_make(b, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t found = 0;
    int32_t count = 0;
    udump_dnn_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    udump_dnn_set(b, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &modes[wish->mode]);
    if (place->described) udump_dnn_link(b, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, place->described);
    udump_dnn_finalize(b, heuristics);
    for (int i = 0; i < UDUMP_DNN_CONFIGS; i++) configs[i] = udump_dnn_make(b, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (!b->status) b->status = b->dnn->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, UDUMP_DNN_CONFIGS, &found, configs);
    if (b->status) return 0;
    for (int32_t i = 0; i < found && count < wish->most; i++) {
        udump_dnn_candidate *next = &candidates[count];
        int32_t rank = wish->mode * UDUMP_DNN_CONFIGS + i, engine = wish->rank < 0 || wish->rank == rank ? wanted_engine(b, configs[i], wish->precise) : -1;
        if (engine < 0 || !(next->plan = plan_of(b, place, configs[i], wish->workspace_bytes_most, &next->workspace_bytes))) continue;
        next->rank = rank;
        next->engine = engine;
        count++;
    }
    return count;
}

void udump_dnn_build_end(udump_dnn_build *b) {
    while (b->count) b->dnn->destroy_descriptor(b->made[--b->count]);
}

cudnnStatus_t udump_dnn_use_stream(udump_dnn_place *place, cudaStream_t stream) {
    cudnnStatus_t status = stream == place->stream ? CUDNN_STATUS_SUCCESS : place->dnn->set_stream(place->handle, stream);
    if (!status) place->stream = stream;
    return status;
}

cudnnStatus_t udump_dnn_run(const udump_dnn_place *place, cudnnBackendDescriptor_t plan, int64_t count, const int64_t *ids, const void *const *pointers,
    void *workspace) {
    const udump_dnn *dnn = place->dnn;
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status = dnn->make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (!status) status = dnn->set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
    if (!status) status = dnn->set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
    if (!status) status = dnn->set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (!status) status = dnn->finalize(pack);
    if (!status) status = dnn->execute(place->handle, plan, pack);
    if (pack) dnn->destroy_descriptor(pack);
    return status;
}
