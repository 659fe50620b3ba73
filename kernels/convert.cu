#include "vectors.cuh"

template <typename Out, typename In, int V> __global__ void convert(Out *out, const In *in, int64_t count) {
    int64_t i = udump_thread_index() * V;
    if (i >= count) return;
    udump_vector<In, V> from = udump_load_vector<V>(in, i, count);
    udump_vector<Out, V> to;
#pragma unroll
    for (int j = 0; j < V; j++) to.at[j] = udump_from<Out>(udump_f32(from.at[j]));
    udump_store_vector<V>(out, i, count, to);
}

template <typename Out, typename In> static void convert_typed(Out *out, const In *in, int64_t count, udump_stream stream) {
    UDUMP_FOR_VECTOR(udump_aligned(out, in, 0), sizeof(Out) > sizeof(In) ? sizeof(Out) : sizeof(In), V,
        UDUMP_LAUNCH((convert<Out, In, V>), udump_blocks(count, 256 * V), 256, 0, stream, out, in, count))
}

template <typename In> static void convert_from(void *out, int out_dtype, const In *in, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(out_dtype, Out, convert_typed((Out *)out, in, count, stream))
}

void udump_kernel_convert(void *out, int out_dtype, const void *in, int in_dtype, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(in_dtype, In, convert_from(out, out_dtype, (const In *)in, count, stream))
}
