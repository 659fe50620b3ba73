#include "kernel.cuh"

template <typename T>
__global__ void embed_tokens(T *out, const float *tokens, const float *positions, const int32_t *ids, int64_t count, int length, int c) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    int64_t token = i / c;
    int channel = (int)(i % c);
    out[i] = udump_from<T>(tokens[(int64_t)ids[token] * c + channel] + positions[token % length * c + channel]);
}

void udump_kernel_embed_tokens(void *out, int dtype, const float *tokens, const float *positions, const int32_t *ids, int64_t count, int length,
    int c, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T,
        UDUMP_LAUNCH((embed_tokens<T>), udump_blocks(count * c, 256), 256, 0, stream, (T *)out, tokens, positions, ids, count * c, length, c))
}
