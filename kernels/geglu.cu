/* GEGLU (Shazeer 2020): the projection's halves are the value and the gate. */
#include "activations.cuh"

template <typename T> __global__ void geglu(T *out, const T *in, int64_t count, int c) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    const T *row = in + i / c * 2 * c + i % c;
    out[i] = udump_from<T>(udump_f32(row[0]) * udump_gelu(udump_f32(row[c])));
}

void udump_kernel_geglu(void *out, const void *in, int dtype, int64_t rows, int c, udump_stream stream) {
    int64_t count = rows * c;
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((geglu<T>), udump_blocks(count, 256), 256, 0, stream, (T *)out, (const T *)in, count, c))
}
