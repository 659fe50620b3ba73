#include "kernel.cuh"

enum { LANES = 32, PIXELS = 8 };

/* A row of lanes a pixel, its words one after the other. Divisions are of 32 bits, since those of 64 would take longer than the copy: there are less than
 * 2^32 pixels, and a side's square is less. */
template <typename Word>
__global__ void upsample_nearest(Word *out, const Word *in, uint32_t pixels, uint32_t in_h, uint32_t in_w, uint32_t out_h, uint32_t out_w, int words) {
    uint32_t pixel = blockIdx.x * PIXELS + threadIdx.y, row = pixel / out_w, x = pixel % out_w, y = row % out_h, n = row / out_h;
    if (pixel >= pixels) return;
    const Word *from = in + ((int64_t)(n * in_h + y * in_h / out_h) * in_w + x * in_w / out_w) * words;
    Word *to = out + (int64_t)pixel * words;
#pragma unroll 4
    for (int at = (int)threadIdx.x; at < words; at += LANES) to[at] = from[at];
}

template <typename Word>
static void upsample(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    int64_t pixels = (int64_t)n * out_h * out_w;
    UDUMP_LAUNCH((upsample_nearest<Word>), udump_blocks(pixels, PIXELS), dim3(LANES, PIXELS), 0, stream, (Word *)out, (const Word *)in, (uint32_t)pixels,
        (uint32_t)in_h, (uint32_t)in_w, (uint32_t)out_h, (uint32_t)out_w, bytes / (int)sizeof(Word));
}

void udump_kernel_upsample_nearest(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    if (bytes % 16 == 0) upsample<uint4>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
    else upsample<uint16_t>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
}
