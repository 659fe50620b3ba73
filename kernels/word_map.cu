/* A word's map: its tokens' maps added up, the mean over the heads (DAAM: Tang et al. 2022). */
#include "kernel.cuh"

static __global__ void word_map(float *map, const float *maps, int heads, int tokens, int64_t area, const int32_t *columns, int count) {
    int64_t i = udump_thread_index();
    if (i >= area) return;
    float sum = 0;
    for (int head = 0; head < heads; head++)
        for (int c = 0; c < count; c++) sum += maps[((int64_t)head * tokens + columns[c]) * area + i] / (float)heads;
    map[i] = sum;
}

void udump_kernel_word_map(float *map, const float *maps, int heads, int tokens, int64_t area, const int32_t *columns, int count, udump_stream stream) {
    UDUMP_LAUNCH(word_map, udump_blocks(area, 256), 256, 0, stream, map, maps, heads, tokens, area, columns, count);
}
