#include "vectors.cuh"

template <typename T, int V> __global__ void add(T *out, const T *residual, int64_t count) {
    int64_t i = udump_thread_index() * V;
    if (i >= count) return;
    udump_vector<T, V> sum = udump_load_vector<V>(out, i, count), more = udump_load_vector<V>(residual, i, count);
#pragma unroll
    for (int j = 0; j < V; j++) sum.at[j] = udump_from<T>(udump_f32(sum.at[j]) + udump_f32(more.at[j]));
    udump_store_vector<V>(out, i, count, sum);
}

template <typename T> static void add_typed(T *out, const T *residual, int64_t count, udump_stream stream) {
    UDUMP_FOR_VECTOR(udump_aligned(out, residual, 0), sizeof(T), V, UDUMP_LAUNCH((add<T, V>), udump_blocks(count, 256 * V), 256, 0, stream, out, residual, count))
}

void udump_kernel_add(void *out, const void *residual, int dtype, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, add_typed((T *)out, (const T *)residual, count, stream))
}
