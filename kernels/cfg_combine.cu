/* Classifier-free guidance (Ho and Salimans 2022). */
#include "kernel.cuh"

template <typename Out, typename In> __global__ void cfg_combine(Out *out, const In *in, int64_t count, float scale) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    float cond = udump_f32(in[i]), uncond = udump_f32(in[count + i]);
    out[i] = udump_from<Out>(uncond + (cond - uncond) * scale);
}

template <typename In> static void combine_from(void *out, int out_dtype, const In *in, int64_t count, float scale, udump_stream stream) {
    UDUMP_FOR_DTYPE(out_dtype, Out, UDUMP_LAUNCH((cfg_combine<Out, In>), udump_blocks(count, 256), 256, 0, stream, (Out *)out, in, count, scale))
}

void udump_kernel_cfg_combine(void *out, int out_dtype, const void *in, int in_dtype, int64_t count, float scale, udump_stream stream) {
    UDUMP_FOR_DTYPE(in_dtype, In, combine_from(out, out_dtype, (const In *)in, count, scale, stream))
}
