#include "kernel.cuh"

template <typename T> __global__ void add(T *out, const T *residual, int64_t count) {
    int64_t i = udump_thread_index();
    if (i < count) out[i] = udump_from<T>(udump_f32(out[i]) + udump_f32(residual[i]));
}

void udump_kernel_add(void *out, const void *residual, int dtype, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((add<T>), udump_blocks(count, 256), 256, 0, stream, (T *)out, (const T *)residual, count))
}
