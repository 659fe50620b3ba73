#include "kernel.cuh"

enum { LANES = 32, PIXELS = 8 };

/* A row of lanes a pixel, its words one after the other: no division. */
template <typename Word> __global__ void concat_channels(Word *out, const Word *a, int a_words, const Word *b, int b_words, int64_t pixels) {
    int64_t pixel = (int64_t)blockIdx.x * PIXELS + threadIdx.y;
    int words = a_words + b_words;
    if (pixel >= pixels) return;
#pragma unroll 4
    for (int at = (int)threadIdx.x; at < words; at += LANES)
        out[pixel * words + at] = at < a_words ? a[pixel * a_words + at] : b[pixel * b_words + at - a_words];
}

template <typename Word>
static void concat(void *out, const void *a, int a_bytes, const void *b, int b_bytes, int64_t pixels, udump_stream stream) {
    int size = (int)sizeof(Word);
    UDUMP_LAUNCH((concat_channels<Word>), udump_blocks(pixels, PIXELS), dim3(LANES, PIXELS), 0, stream, (Word *)out, (const Word *)a, a_bytes / size,
        (const Word *)b, b_bytes / size, pixels);
}

void udump_kernel_concat_channels(void *out, const void *a, int a_bytes, const void *b, int b_bytes, int64_t pixels, udump_stream stream) {
    if (a_bytes % 16 == 0 && b_bytes % 16 == 0) concat<uint4>(out, a, a_bytes, b, b_bytes, pixels, stream);
    else concat<uint16_t>(out, a, a_bytes, b, b_bytes, pixels, stream);
}
