#include "kernel.cuh"

template <typename Out, typename In> __global__ void convert(Out *out, const In *in, int64_t count) {
    int64_t i = udump_thread_index();
    if (i < count) out[i] = udump_from<Out>(udump_f32(in[i]));
}

template <typename In> static void convert_from(void *out, int out_dtype, const In *in, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(out_dtype, Out, UDUMP_LAUNCH((convert<Out, In>), udump_blocks(count, 256), 256, 0, stream, (Out *)out, in, count))
}

void udump_kernel_convert(void *out, int out_dtype, const void *in, int in_dtype, int64_t count, udump_stream stream) {
    UDUMP_FOR_DTYPE(in_dtype, In, convert_from(out, out_dtype, (const In *)in, count, stream))
}
