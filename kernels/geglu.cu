/* GEGLU (Shazeer 2020): the projection's halves are the value and the gate. */
#include "activations.cuh"
#include "vectors.cuh"

/* In vectors, of which a row has `c`; there are less than 2^32. */
template <typename T, int V> __global__ void geglu(udump_vector<T, V> *out, const udump_vector<T, V> *in, uint32_t count, uint32_t c) {
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; /* a division of 64 bits would take as long as all the rest */
    if (i >= count) return;
    const udump_vector<T, V> *from = in + (int64_t)(i / c) * 2 * c + i % c;
    udump_vector<T, V> value = from[0], gate = from[c];
#pragma unroll
    for (int j = 0; j < V; j++) value.at[j] = udump_from<T>(udump_f32(value.at[j]) * udump_gelu(udump_f32(gate.at[j])));
    out[i] = value;
}

template <typename T> static void geglu_typed(T *out, const T *in, int64_t rows, int c, udump_stream stream) {
    UDUMP_FOR_VECTOR(udump_aligned(out, in, c * (int64_t)sizeof(T)), sizeof(T), V,
        UDUMP_LAUNCH((geglu<T, V>), udump_blocks(rows * c / V, 256), 256, 0, stream, (udump_vector<T, V> *)out, (const udump_vector<T, V> *)in,
            (uint32_t)(rows * c / V), (uint32_t)c / V))
}

void udump_kernel_geglu(void *out, const void *in, int dtype, int64_t rows, int c, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, geglu_typed((T *)out, (const T *)in, rows, c, stream))
}
