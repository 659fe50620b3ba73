/* A word's map, resized and added to its heat: bicubic with a = -0.75 (Keys 1981), as src/tensor/resize.c. */
#include "kernel.cuh"

struct taps {
    int at[4];
    float weight[4];
};

static __device__ __forceinline__ taps taps_of(int i, int in, int out) {
    const float a = -0.75f;
    float centre = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f, base = floorf(centre), t = centre - base, u = 1 - t;
    taps taps;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int at = (int)base + k - 1;
        taps.at[k] = at < 0 ? 0 : at >= in ? in - 1 : at;
    }
    taps.weight[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    taps.weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    taps.weight[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
    taps.weight[3] = ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a;
    return taps;
}

static __global__ void warm(float *sums, const float *map, int h, int w, int out_h, int out_w) {
    int64_t i = udump_thread_index();
    if (i >= (int64_t)out_h * out_w) return;
    taps down = taps_of((int)(i / out_w), h, out_h), across = taps_of((int)(i % out_w), w, out_w);
    float sum = 0;
#pragma unroll
    for (int r = 0; r < 4; r++) {
        float line = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) line += across.weight[k] * map[(int64_t)down.at[r] * w + across.at[k]];
        sum += down.weight[r] * line;
    }
    sums[i] += sum > 0 ? sum : 0;
}

void udump_kernel_warm(float *sums, int out_h, int out_w, const float *map, int h, int w, udump_stream stream) {
    UDUMP_LAUNCH(warm, udump_blocks((int64_t)out_h * out_w, 128), 128, 0, stream, sums, map, h, w, out_h, out_w);
}
