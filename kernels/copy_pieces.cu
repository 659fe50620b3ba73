#include "kernel.cuh"

/* A block a piece, two bytes a thread: the pieces are short. */
static __global__ void copy_pieces(UDUMP_CONSTANT_PARAM udump_kernel_pieces p) {
    int piece = (int)blockIdx.x;
    uint16_t *to = (uint16_t *)p.to[piece];
    const uint16_t *from = (const uint16_t *)p.from[piece];
    for (int i = (int)threadIdx.x; i < p.bytes[piece] / 2; i += (int)blockDim.x) to[i] = from[i];
}

void udump_kernel_copy_pieces(const udump_kernel_pieces *pieces, udump_stream stream) {
    udump_kernel_pieces p = *pieces;
    UDUMP_LAUNCH(copy_pieces, (unsigned)p.count, 256, 0, stream, p);
}
