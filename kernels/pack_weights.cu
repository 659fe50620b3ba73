/* Weights from fp32 as checkpoints have them, [rows, c, taps], to what products read: each row [taps, c], or, for our own convolution, all of them
 * [taps, c, all rows]. */
#include "kernel.cuh"

template <typename T> __global__ void pack_weights(T *out, const float *in, int count, int c, int taps, int all_rows) {
    int at = (int)udump_thread_index(), row = at / (c * taps), tap = at / c % taps, i = at % c;
    if (at >= count) return;
    int64_t to = all_rows ? (int64_t)(tap * c + i) * all_rows + row : at;
    out[to] = udump_from<T>(in[(row * c + i) * taps + tap]);
}

void udump_kernel_pack_weights(void *out, int dtype, const float *in, int rows, int c, int taps, int all_rows, udump_stream stream) {
    int count = rows * c * taps;
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((pack_weights<T>), udump_blocks(count, 256), 256, 0, stream, (T *)out, in, count, c, taps, all_rows))
}
