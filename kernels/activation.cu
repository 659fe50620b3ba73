#include "activations.cuh"
#include "vectors.cuh"

template <typename T, int V> __global__ void activation(T *out, const T *in, int64_t count, int kind) {
    int64_t i = udump_thread_index() * V;
    if (i >= count) return;
    udump_vector<T, V> v = udump_load_vector<V>(in, i, count);
#pragma unroll
    for (int j = 0; j < V; j++) v.at[j] = udump_from<T>(udump_activate(udump_f32(v.at[j]), kind));
    udump_store_vector<V>(out, i, count, v);
}

template <typename T> static void activate(T *out, const T *in, int64_t count, int kind, udump_stream stream) {
    UDUMP_FOR_VECTOR(udump_aligned(out, in, 0), sizeof(T), V, UDUMP_LAUNCH((activation<T, V>), udump_blocks(count, 256 * V), 256, 0, stream, out, in, count, kind))
}

void udump_kernel_activation(void *out, const void *in, int dtype, int64_t count, int kind, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, activate((T *)out, (const T *)in, count, kind, stream))
}
