/* Matrix products: out [rows, n] = in [rows, k] * weight [n, k]^T * scale + bias [n] + residual [rows, n], fp32 sums. By cuBLASLt (gemm.c); in the emulation
 * by plain C. */
#ifndef UDUMP_CUDA_GEMM_H
#define UDUMP_CUDA_GEMM_H

#include <cuda_runtime_api.h>

#include "backend/cuda/plans.h"
#include "tensor/view.h"

typedef struct udump_gemm_library udump_gemm_library; /* a device's: loaded once */
typedef struct udump_gemm udump_gemm;                 /* a session's: plans and workspace */

typedef struct udump_gemm_call {
    const char *name; /* a literal: whose plan it is, and where it failed */
    void *out;
    const void *in, *weight, *bias, *residual; /* bias and residual may be NULL; residual may be out. In a dry pass weight may be NULL too: not there yet */
    int64_t rows;
    int32_t n, k;
    int64_t in_row, weight_row, out_row; /* elements from one row to the next; residual's as out's */
    bool weight_by_k;                    /* weight is [k, n] */
    float scale;
    udump_dtype dtype, out_dtype; /* of everything; of out, if not biased and without a residual: dtype or fp32 */
} udump_gemm_call;

/* folder: where the library is, or NULL. Errors: DEVICE, MEMORY. */
udump_status udump_gemm_library_open(const char *folder, udump_gemm_library **library, udump_error *error);
size_t udump_gemm_library_version(const udump_gemm_library *library);
void udump_gemm_library_close(udump_gemm_library *library);
/* plans: as in convolution.h */
udump_status udump_gemm_open(udump_gemm_library *library, udump_plans *plans, udump_gemm **gemm, udump_error *error);
void udump_gemm_close(udump_gemm *gemm);

/* Finds the plan (as in convolution.h), and, unless dry, begins the product. */
udump_status udump_gemm_run(udump_gemm *gemm, const udump_gemm_call *call, bool dry, cudaStream_t stream, udump_error *error);

#endif
