/* cuDNN's graph interface from C: loading it, making descriptors, choosing a plan. */
#ifndef UDUMP_CUDA_DNN_H
#define UDUMP_CUDA_DNN_H

#include <cudnn.h>

#include "backend/backend.h"

typedef struct udump_dnn {
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
} udump_dnn;

/* Errors: DEVICE. */
udump_status udump_dnn_load(const char *folder, udump_dnn *dnn, udump_error *error);

/* Where plans are to run: on a handle's device, or on one that is only described. */
typedef struct udump_dnn_place {
    const udump_dnn *dnn;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t described; /* or NULL */
} udump_dnn_place;
/* json: CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. Errors: DEVICE. */
udump_status udump_dnn_describe(udump_dnn_place *place, const char *json, udump_error *error);
void udump_dnn_place_close(udump_dnn_place *place);

/* A graph in the making. The first failure sticks; later calls do nothing. */
enum { UDUMP_DNN_DESCRIPTORS = 64 };
typedef struct udump_dnn_build {
    const udump_dnn *dnn;
    cudnnStatus_t status;
    cudnnBackendDescriptor_t made[UDUMP_DNN_DESCRIPTORS];
    int32_t count;
} udump_dnn_build;
cudnnBackendDescriptor_t udump_dnn_make(udump_dnn_build *b, cudnnBackendDescriptorType_t kind);
void udump_dnn_set(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
    const void *values);
void udump_dnn_link(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value);
void udump_dnn_finalize(udump_dnn_build *b, cudnnBackendDescriptor_t d);
/* The operations as a graph, [count]. */
cudnnBackendDescriptor_t udump_dnn_graph(udump_dnn_build *b, const udump_dnn_place *place, const cudnnBackendDescriptor_t *operations, int64_t count);
/* The first plan of the library's own order that works, repeats to the bit and needs no more workspace than that; NULL where there is none. Outlives b. */
cudnnBackendDescriptor_t udump_dnn_plan(
    udump_dnn_build *b, const udump_dnn_place *place, cudnnBackendDescriptor_t graph, size_t workspace_bytes_most, size_t *workspace_bytes);
/* Destroys what was made, the plan aside. */
void udump_dnn_build_end(udump_dnn_build *b);

/* Begins a plan. pointers, [count], of the tensors that have these ids. */
cudnnStatus_t udump_dnn_run(const udump_dnn_place *place, cudnnBackendDescriptor_t plan, int64_t count, const int64_t *ids, const void *const *pointers,
    void *workspace, cudaStream_t stream);

#endif
