/* The ways to attend, of which attention.cu takes the fastest that fits. Arguments as udump_kernel_attention's. */
#ifndef UDUMP_KERNELS_ATTENTION_H
#define UDUMP_KERNELS_ATTENTION_H

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif
/* Any dtype, any d up to UDUMP_KERNEL_HEAD_MOST: a warp a query. */
void udump_kernel_attention_plain(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape,
    udump_stream stream);
/* 16-bit numbers on the matrix units. Whether it can, and what it does. */
int udump_kernel_attention_mma_fits(
    const void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape);
void udump_kernel_attention_mma(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape,
    udump_stream stream);
#ifdef __cplusplus
}
#endif
#endif
