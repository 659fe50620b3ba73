#include "attention.h"

void udump_kernel_attention(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape,
    udump_stream stream) {
    if (udump_kernel_attention_mma_fits(out, q, k, v, dtype, shape)) udump_kernel_attention_mma(out, q, k, v, dtype, shape, stream);
    else udump_kernel_attention_plain(out, q, k, v, dtype, shape, stream);
}
