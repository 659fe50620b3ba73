/* Products in fp32 by our own kernels: linear layers, and convolutions as sums over their taps or by Winograd's transform. A result's sums
 * are in the same order whatever the threads and the rest of the batch. */
#ifndef UDUMP_CPU_MULTIPLY_H
#define UDUMP_CPU_MULTIPLY_H

#include "backend/cpu/panels.h"
#include "backend/exec.h"

/* All tensors are F32. */
typedef struct udump_product {
    udump_tensor out, in;
    const udump_panels *weights;
    const udump_panels *gate; /* GEGLU: out = value * gelu(gate); NULL: none */
    udump_conv_shape shape; /* kernel 0: a linear layer; where h and w are not in's, in is upsampled to them while it is read */
    udump_activation activation;
    const udump_tensor *residual; /* added at the end; may be out; NULL: none */
} udump_product;

/* In a dry pass: reserves scratch. */
void udump_cpu_multiply(udump_exec *x, const udump_product *product);
/* Whether a convolution can be made by udump_cpu_winograd: 3 x 3, stride 1, as large as before, whole vectors of channels. */
bool udump_cpu_is_winograd(const udump_kernels *kernels, const udump_conv_shape *shape);
void udump_cpu_winograd(udump_exec *x, const udump_product *product);

/* Where a pixel of the convolution's input stands in `in`, in pixels: nearest, where it is upsampled. */
static inline size_t udump_product_pixel(const udump_product *p, size_t image, int32_t y, int32_t column) {
    if (p->in.h != p->shape.h) y = y * p->in.h / p->shape.h;
    if (p->in.w != p->shape.w) column = column * p->in.w / p->shape.w;
    return (image * (size_t)p->in.h + (size_t)y) * (size_t)p->in.w + (size_t)column;
}

/* Depth is summed in pieces for which a panel and the rows beside it fit the L1 cache; even ones. */
enum {
    UDUMP_DEPTH_PIECE = 320
};
static inline size_t udump_depth_piece(size_t depth) {
    size_t pieces = (depth + UDUMP_DEPTH_PIECE - 1) / UDUMP_DEPTH_PIECE;
    return (depth + pieces - 1) / pieces;
}

#endif
