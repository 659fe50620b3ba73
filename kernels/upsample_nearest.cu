#include "kernel.cuh"

/* A thread moves one word of a pixel. */
template <typename Word> __global__ void upsample_nearest(Word *out, const Word *in, int64_t count, int in_h, int in_w, int out_h, int out_w, int words) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    int64_t pixel = i / words;
    int x = (int)(pixel % out_w), y = (int)(pixel / out_w % out_h);
    int64_t n = pixel / out_w / out_h, from = (n * in_h + (int64_t)y * in_h / out_h) * in_w + (int64_t)x * in_w / out_w;
    out[i] = in[from * words + i % words];
}

template <typename Word>
static void upsample(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    int words = bytes / (int)sizeof(Word);
    int64_t count = (int64_t)n * out_h * out_w * words;
    UDUMP_LAUNCH((upsample_nearest<Word>), udump_blocks(count, 256), 256, 0, stream, (Word *)out, (const Word *)in, count, in_h, in_w, out_h, out_w, words);
}

void udump_kernel_upsample_nearest(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream) {
    if (bytes % 16 == 0) upsample<uint4>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
    else upsample<uint16_t>(out, in, n, in_h, in_w, out_h, out_w, bytes, stream);
}
