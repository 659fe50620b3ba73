#include "activations.cuh"

template <typename T> __global__ void activation(T *out, const T *in, int64_t count, int kind) {
    int64_t i = udump_thread_index();
    if (i < count) out[i] = udump_from<T>(udump_activate(udump_f32(in[i]), kind));
}

void udump_kernel_activation(void *out, const void *in, int dtype, int64_t count, int kind, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((activation<T>), udump_blocks(count, 256), 256, 0, stream, (T *)out, (const T *)in, count, kind))
}
