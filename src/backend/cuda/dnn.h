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
    __typeof__(&cudnnGetLastErrorString) last;
    __typeof__(&cudnnGetVersion) version;
} udump_dnn;

/* Errors: DEVICE. */
udump_status udump_dnn_load(const char *folder, udump_dnn *dnn, udump_error *error);

/* What a call failed with, in the library's own words: "CUDNN_STATUS_...: ..." */
enum { UDUMP_DNN_WHY_BYTES = 200 };
const char *udump_dnn_why(const udump_dnn *dnn, cudnnStatus_t status, char text[UDUMP_DNN_WHY_BYTES]);
/* DEVICE, with that, where status is not success. */
udump_status udump_dnn_status(const udump_dnn *dnn, cudnnStatus_t status, const char *where, udump_error *error);

/* Where plans are to run: on the session's device, or on one that is only described. */
typedef struct udump_dnn_place {
    const udump_dnn *dnn;
    cudnnHandle_t handle; /* NULL: planning only */
    cudaStream_t stream;  /* the handle's */
    cudnnBackendDescriptor_t described; /* or NULL */
} udump_dnn_place;
/* Errors: DEVICE. */
udump_status udump_dnn_place_open(udump_dnn_place *place, const udump_dnn *dnn, udump_error *error);
/* json: CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. Errors: DEVICE. */
udump_status udump_dnn_place_describe(udump_dnn_place *place, const udump_dnn *dnn, const char *json, udump_error *error);
void udump_dnn_place_close(udump_dnn_place *place);

/* A graph in the making. The first failure sticks; later calls do nothing. */
enum { UDUMP_DNN_DESCRIPTORS = 160 };
typedef struct udump_dnn_build {
    const udump_dnn *dnn;
    cudnnStatus_t status, refused; /* refused: why the last config that came to no plan did not */
    cudnnBackendDescriptor_t made[UDUMP_DNN_DESCRIPTORS];
    int32_t count;
} udump_dnn_build;
cudnnBackendDescriptor_t udump_dnn_make(udump_dnn_build *b, cudnnBackendDescriptorType_t kind);
void udump_dnn_set(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
    const void *values);
void udump_dnn_link(udump_dnn_build *b, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value);
void udump_dnn_finalize(udump_dnn_build *b, cudnnBackendDescriptor_t d);
/* A tensor of four dimensions at 16 bytes. between: it is never in memory. */
cudnnBackendDescriptor_t udump_dnn_tensor(
    udump_dnn_build *b, cudnnDataType_t type, int64_t id, const int64_t shape[4], const int64_t stride[4], bool between);
/* The operations as a graph, [count]. */
cudnnBackendDescriptor_t udump_dnn_graph(udump_dnn_build *b, const udump_dnn_place *place, const cudnnBackendDescriptor_t *operations, int64_t count);
/* A plan that works, repeats to the bit, and needs no more workspace than it may. */
typedef struct udump_dnn_candidate {
    cudnnBackendDescriptor_t plan; /* outlives its build */
    size_t workspace_bytes;
    int32_t rank;   /* in the library's own order: of all modes' configs, UDUMP_DNN_CONFIGS each */
    int32_t engine; /* the library's own number */
} udump_dnn_candidate;
enum { UDUMP_DNN_CONFIGS = 64, UDUMP_DNN_MODES = 2 }; /* those that keep fp32 come after all that make TF32 of it */
/* Which are wanted. */
typedef struct udump_dnn_wish {
    int32_t mode;    /* 0: by the library's estimate; 1: its fallback */
    int32_t rank;    /* this one alone; -1: all */
    bool precise;    /* fp32 is fp32: not TF32 or less inside */
    size_t workspace_bytes_most;
    int32_t most;
} udump_dnn_wish;
/* How many there are, in the library's own order; where there are none, b->status or b->refused may say why. candidates: [wish->most]. */
int32_t udump_dnn_candidates(
    udump_dnn_build *b, const udump_dnn_place *place, cudnnBackendDescriptor_t graph, const udump_dnn_wish *wish, udump_dnn_candidate *candidates);
/* Destroys what was made, plans aside. */
void udump_dnn_build_end(udump_dnn_build *b);

/* What follows begins in this stream. */
cudnnStatus_t udump_dnn_use_stream(udump_dnn_place *place, cudaStream_t stream);
/* Begins a plan. pointers, [count], of the tensors that have these ids. */
cudnnStatus_t udump_dnn_run(const udump_dnn_place *place, cudnnBackendDescriptor_t plan, int64_t count, const int64_t *ids, const void *const *pointers,
    void *workspace);

#endif
