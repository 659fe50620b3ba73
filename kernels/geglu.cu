/* GEGLU (Shazeer 2020): the projection's halves are the value and the gate. */
#include "activations.cuh"
#include "vectors.cuh"

/* A vector lies in one row. */
template <typename T, int V> __global__ void geglu(T *out, const T *in, int64_t count, int c) {
    int64_t i = udump_thread_index() * V;
    if (i >= count) return;
    int64_t from = i / c * 2 * c + i % c;
    udump_vector<T, V> value = udump_load_vector<V>(in, from, 2 * count), gate = udump_load_vector<V>(in, from + c, 2 * count);
#pragma unroll
    for (int j = 0; j < V; j++) value.at[j] = udump_from<T>(udump_f32(value.at[j]) * udump_gelu(udump_f32(gate.at[j])));
    udump_store_vector<V>(out, i, count, value);
}

template <typename T> static void geglu_typed(T *out, const T *in, int64_t rows, int c, udump_stream stream) {
    int64_t count = rows * c;
    UDUMP_FOR_VECTOR(udump_aligned(out, in, c * (int64_t)sizeof(T)), sizeof(T), V,
        UDUMP_LAUNCH((geglu<T, V>), udump_blocks(count, 256 * V), 256, 0, stream, out, in, count, c))
}

void udump_kernel_geglu(void *out, const void *in, int dtype, int64_t rows, int c, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, geglu_typed((T *)out, (const T *)in, rows, c, stream))
}
