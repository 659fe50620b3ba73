#include "kernel.cuh"

/* A thread moves one word of a pixel. */
template <typename Word> __global__ void concat_channels(Word *out, const Word *a, int a_words, const Word *b, int b_words, int64_t count) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    int words = a_words + b_words, at = (int)(i % words);
    int64_t pixel = i / words;
    out[i] = at < a_words ? a[pixel * a_words + at] : b[pixel * b_words + at - a_words];
}

template <typename Word>
static void concat(void *out, const void *a, int a_bytes, const void *b, int b_bytes, int64_t pixels, udump_stream stream) {
    int size = (int)sizeof(Word);
    int64_t count = pixels * ((a_bytes + b_bytes) / size);
    UDUMP_LAUNCH((concat_channels<Word>), udump_blocks(count, 256), 256, 0, stream, (Word *)out, (const Word *)a, a_bytes / size, (const Word *)b,
        b_bytes / size, count);
}

void udump_kernel_concat_channels(void *out, const void *a, int a_bytes, const void *b, int b_bytes, int64_t pixels, udump_stream stream) {
    if (a_bytes % 16 == 0 && b_bytes % 16 == 0) concat<uint4>(out, a, a_bytes, b, b_bytes, pixels, stream);
    else concat<uint16_t>(out, a, a_bytes, b, b_bytes, pixels, stream);
}
