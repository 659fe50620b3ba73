/* Convolutions of images, channels last, fp32 sums: out = conv(in, weight) + bias + residual. By cuDNN (convolution.c); in the emulation by plain C. */
#ifndef UDUMP_CUDA_CONVOLUTION_H
#define UDUMP_CUDA_CONVOLUTION_H

#include <cuda_runtime_api.h>

#include "backend/backend.h"
#include "backend/cuda/plans.h"

typedef struct udump_convolution_library udump_convolution_library; /* a device's: loaded once */
typedef struct udump_convolution udump_convolution;                 /* a session's: plans */

typedef struct udump_convolution_call {
    void *out;                                 /* [n, out_h, out_w, shape.out] */
    const void *in;                            /* [n, in_h, in_w, shape.in] */
    const void *weight, *bias, *residual;      /* [out, kernel, kernel, in]; [out]; like out, or NULL */
    const udump_conv_shape *shape;
    int32_t n, in_h, in_w, out_h, out_w;
    udump_dtype dtype; /* of everything */
} udump_convolution_call;

/* folder: where the library is, or NULL. Errors: DEVICE, MEMORY. */
udump_status udump_convolution_library_open(const char *folder, udump_convolution_library **library, udump_error *error);
size_t udump_convolution_library_version(const udump_convolution_library *library);
void udump_convolution_library_close(udump_convolution_library *library);
/* Whether it can do channels like these at all. */
bool udump_convolution_library_fits(const udump_convolution_library *library, const udump_conv_shape *shape);
/* plans: where the fastest engines are kept; NULL: the library's first choice is taken. They outlive the session. */
udump_status udump_convolution_open(udump_convolution_library *library, udump_plans *plans, udump_convolution **convolution, udump_error *error);
/* For planning only, without a device: what cuDNN would do on the one that json describes (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). */
udump_status udump_convolution_open_described(udump_convolution_library *library, const char *json, udump_convolution **convolution, udump_error *error);
void udump_convolution_close(udump_convolution *convolution);

/* Finds the plan for a call of that shape, and how much workspace it needs. In and out of the call are not looked at; weight and bias are, where engines are
 * measured: that waits, in the stream, and for its time takes as much memory as the call's tensors. */
udump_status udump_convolution_plan(
    udump_convolution *convolution, const udump_convolution_call *call, size_t *workspace_bytes, cudaStream_t stream, udump_error *error);
/* How many engines a shape has to choose from, at most some; 0 where there is none. */
int32_t udump_convolution_candidates(udump_convolution *convolution, const udump_convolution_call *call);
/* Begins it. */
udump_status udump_convolution_run(
    udump_convolution *convolution, const udump_convolution_call *call, void *workspace, cudaStream_t stream, udump_error *error);

#endif
