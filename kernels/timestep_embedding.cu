/* The sinusoids of a timestep, in fp32 throughout, as the original: the angle's rounding is part of the model. */
#include "kernel.cuh"

template <typename T> __global__ void timestep_embedding(T *out, const float *timesteps, int count, int half) {
    int64_t i = udump_thread_index();
    if (i >= (int64_t)count * half) return;
    int t = (int)(i / half), at = (int)(i % half);
    float angle = timesteps[t] * expf(-logf(10000.0f) * (float)at / (float)half);
    out[(int64_t)t * 2 * half + at] = udump_from<T>(cosf(angle));
    out[(int64_t)t * 2 * half + half + at] = udump_from<T>(sinf(angle));
}

void udump_kernel_timestep_embedding(void *out, int dtype, const float *timesteps, int count, int c, udump_stream stream) {
    int64_t threads = (int64_t)count * (c / 2);
    UDUMP_FOR_DTYPE(dtype, T, UDUMP_LAUNCH((timestep_embedding<T>), udump_blocks(threads, 128), 128, 0, stream, (T *)out, timesteps, count, c / 2))
}
