/* Self-attention by the vendor's fused kernels: softmax(Q K^T / sqrt(d)) V, without a mask. By cuDNN (fused_attention.c); in the emulation by plain C.
 * Not every shape has one: what has none takes our own kernel. */
#ifndef UDUMP_CUDA_FUSED_ATTENTION_H
#define UDUMP_CUDA_FUSED_ATTENTION_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"

typedef struct udump_fused_library udump_fused_library; /* a device's: loaded once */
typedef struct udump_fused udump_fused;                 /* a session's: plans */

typedef struct udump_fused_call {
    void *out;               /* [n, tokens, heads, d]: tokens out_row elements apart */
    const void *q, *k, *v;   /* likewise, row elements apart */
    int32_t n, tokens, heads, d;
    int64_t row, out_row;
    udump_dtype dtype; /* of everything; F16 or BF16 */
} udump_fused_call;

/* folder: where the library is, or NULL. Errors: DEVICE, MEMORY. */
udump_status udump_fused_library_open(const char *folder, udump_fused_library **library, udump_error *error);
void udump_fused_library_close(udump_fused_library *library);
udump_status udump_fused_open(udump_fused_library *library, udump_fused **fused, udump_error *error);
/* For planning only, without a device: as udump_convolution_open_described. */
udump_status udump_fused_open_described(udump_fused_library *library, const char *json, udump_fused **fused, udump_error *error);
void udump_fused_close(udump_fused *fused);

/* Whether there is a plan for a call of that shape, and how much workspace it needs. Pointers of the call are not looked at. */
bool udump_fused_plan(udump_fused *fused, const udump_fused_call *call, size_t *workspace_bytes);
/* Begins it, where there is a plan. */
udump_status udump_fused_run(udump_fused *fused, const udump_fused_call *call, void *workspace, cudaStream_t stream, udump_error *error);

#endif
