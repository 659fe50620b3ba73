#include "kernel.cuh"

enum { LANES = 32, PIXELS = 8 };

/* A row of lanes a pixel, its words one after the other. */
template <typename Word> __global__ void upsample_nearest(Word *out, const Word *in, int64_t pixels, int in_h, int in_w, int out_h, int out_w, int words) {
    int64_t pixel = (int64_t)blockIdx.x * PIXELS + threadIdx.y, row = pixel / out_w;
    if (pixel >= pixels) return;
    int64_t x = pixel % out_w, y = row % out_h, n = row / out_h, from = (n * in_h + y * in_h / out_h) * in_w + x * in_w / out_w;
#pragma unroll 4
    for (int at = (int)threadIdx.x; at < words; at += LANES) out[pixel * words + at] = in[from * words + at];
}

template <typename Word>
static void upsample(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    int64_t pixels = (int64_t)n * out_h * out_w;
    UDUMP_LAUNCH((upsample_nearest<Word>), udump_blocks(pixels, PIXELS), dim3(LANES, PIXELS), 0, stream, (Word *)out, (const Word *)in, pixels, in_h, in_w,
        out_h, out_w, bytes / (int)sizeof(Word));
}

void udump_kernel_upsample_nearest(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    if (bytes % 16 == 0) upsample<uint4>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
    else upsample<uint16_t>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
}
