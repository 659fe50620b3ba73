#include "kernel.cuh"

static __global__ void tile_rgb(uint8_t *pixels, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, const udump_kernel_range *ranges) {
    int64_t i = udump_thread_index();
    if (i >= (int64_t)t.h * t.w * 3) return;
    int c = (int)(i % 3);
    int64_t pixel = i / 3;
    float lo = ranges[c].lo, span = ranges[c].hi - lo;
    float v = udump_load(t.data, t.dtype, c * t.stride_tile + pixel / t.w * t.stride_y + pixel % t.w * t.stride_x);
    v = span > 0 ? (v - lo) / span * 256 : 0;
    pixels[i] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
}

void udump_kernel_tile_rgb(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    UDUMP_LAUNCH(tile_rgb, udump_blocks((int64_t)t.h * t.w * 3, 256), 256, 0, stream, pixels, t, ranges);
}
