/* Attention by cuDNN's one operation for it: Q, K and V lie as the packed product leaves them, heads inside tokens; strides say so, and nothing is
 * turned. */
#include "backend/cuda/fused_attention.h"

#include <math.h>
#include <stdlib.h>

#include "backend/cuda/dnn.h"
#include "base/status.h"

enum { PLANS_MOST = 64 /* a U-Net has as many shapes as levels with attention */, WORKSPACE_BYTES_MOST = 64 << 20 };
enum { Q = 1, K, V, OUT, SCALE }; /* tensors' identities in the graph */

struct udump_fused_library {
    udump_dnn dnn;
};

typedef struct plan {
    udump_fused_call shape;
    cudnnBackendDescriptor_t execution; /* NULL: there is none */
    size_t workspace_bytes;
} plan;

struct udump_fused {
    udump_dnn_place place;
    plan plans[PLANS_MOST];
    int32_t count;
};

udump_status udump_fused_library_open(const char *folder, udump_fused_library **library, udump_error *error) {
    udump_fused_library *l = *library = calloc(1, sizeof *l);
    if (!l) return udump_fail_memory(error, "cuDNN", sizeof *l);
    udump_status status = udump_dnn_load(folder, &l->dnn, error);
    if (!status) return UDUMP_OK;
    free(l);
    *library = NULL;
    return status;
}

void udump_fused_library_close(udump_fused_library *library) { free(library); }

static udump_status open_at(udump_fused_library *library, const char *json, udump_fused **fused, udump_error *error) {
    udump_fused *f = *fused = calloc(1, sizeof *f);
    if (!f) return udump_fail_memory(error, "attention", sizeof *f);
    udump_status status
        = json ? udump_dnn_place_describe(&f->place, &library->dnn, json, error) : udump_dnn_place_open(&f->place, &library->dnn, error);
    if (!status) return UDUMP_OK;
    udump_fused_close(f);
    *fused = NULL;
    return status;
}

udump_status udump_fused_open(udump_fused_library *library, udump_fused **fused, udump_error *error) { return open_at(library, NULL, fused, error); }

udump_status udump_fused_open_described(udump_fused_library *library, const char *json, udump_fused **fused, udump_error *error) {
    return open_at(library, json, fused, error);
}

void udump_fused_close(udump_fused *f) {
    if (!f) return;
    for (int32_t i = 0; i < f->count; i++)
        if (f->plans[i].execution) f->place.dnn->destroy_descriptor(f->plans[i].execution);
    udump_dnn_place_close(&f->place);
    free(f);
}

/* [n, heads, tokens, d] by name. */
static cudnnBackendDescriptor_t tensor(udump_dnn_build *b, int64_t id, const udump_fused_call *c, int64_t row) {
    const int64_t shape[4] = { c->n, c->heads, c->tokens, c->d }, stride[4] = { c->tokens * row, c->d, row, 1 };
    return udump_dnn_tensor(b, c->dtype == UDUMP_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16, id, shape, stride, false);
}

/* One number, which the host gives at every run. */
static cudnnBackendDescriptor_t scalar(udump_dnn_build *b, int64_t id) {
    int64_t ones[4] = { 1, 1, 1, 1 }, alignment_bytes = 4;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    bool by_value = true;
    cudnnBackendDescriptor_t d = udump_dnn_make(b, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, ones);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, ones);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment_bytes);
    udump_dnn_set(b, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    udump_dnn_finalize(b, d);
    return d;
}

static cudnnBackendDescriptor_t build_graph(udump_dnn_build *b, const udump_dnn_place *place, const udump_fused_call *c) {
    cudnnBackendDescriptor_t q = tensor(b, Q, c, c->row), k = tensor(b, K, c, c->row), v = tensor(b, V, c, c->row), out = tensor(b, OUT, c, c->out_row),
                             scale = scalar(b, SCALE);
    cudnnBackendDescriptor_t operation = udump_dnn_make(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, out);
    udump_dnn_link(b, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    udump_dnn_finalize(b, operation);
    return udump_dnn_graph(b, place, &operation, 1);
}

static const plan *find(const udump_fused *f, const udump_fused_call *c) {
    for (int32_t i = 0; i < f->count; i++) {
        const udump_fused_call *p = &f->plans[i].shape;
        if (p->n == c->n && p->tokens == c->tokens && p->heads == c->heads && p->d == c->d && p->row == c->row && p->out_row == c->out_row && p->dtype == c->dtype)
            return &f->plans[i];
    }
    return NULL;
}

bool udump_fused_plan(udump_fused *f, const udump_fused_call *call, size_t *workspace_bytes) {
    const plan *found = find(f, call);
    if (!found && f->count < PLANS_MOST) {
        plan *p = &f->plans[f->count++];
        *p = (plan){ .shape = *call };
        udump_dnn_build b = { .dnn = f->place.dnn };
        cudnnBackendDescriptor_t graph = build_graph(&b, &f->place, call);
        udump_dnn_candidate first = { 0 };
        const udump_dnn_wish wish = { .rank = -1, .workspace_bytes_most = WORKSPACE_BYTES_MOST, .most = 1 };
        if (!b.status) udump_dnn_candidates(&b, &f->place, graph, &wish, &first);
        p->execution = first.plan;
        p->workspace_bytes = first.workspace_bytes;
        udump_dnn_build_end(&b);
        found = p;
    }
    if (!found || !found->execution) return false;
    *workspace_bytes = found->workspace_bytes;
    return true;
}

udump_status udump_fused_run(udump_fused *f, const udump_fused_call *call, void *workspace, cudaStream_t stream, udump_error *error) {
    const plan *p = find(f, call);
    float scale = 1 / sqrtf((float)call->d);
    const int64_t ids[] = { Q, K, V, OUT, SCALE };
    const void *pointers[] = { call->q, call->k, call->v, call->out, &scale };
    cudnnStatus_t status = p ? udump_dnn_use_stream(&f->place, stream) : CUDNN_STATUS_BAD_PARAM;
    if (!status) status = udump_dnn_run(&f->place, p->execution, 5, ids, pointers, workspace);
    return udump_dnn_status(f->place.dnn, status, "attention", error);
}
