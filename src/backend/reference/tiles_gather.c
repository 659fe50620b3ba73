#include "backend/reference/tiles_gather.h"

#include <string.h>

#include "base/half.h"

static inline float f32_of(const void *data, int64_t at) {
    float value;
    memcpy(&value, (const float *)data + at, sizeof value);
    return value;
}
static inline float f16_of(const void *data, int64_t at) { return udump_f16_to_f32(((const uint16_t *)data)[at]); }
static inline float bf16_of(const void *data, int64_t at) { return udump_bf16_to_f32(((const uint16_t *)data)[at]); }

/* count pixels of one row, from element `at` on. The loop over what lies side by side in memory is the inner one. */
#define GATHER_ROW(name, read)                                                                                                     \
    static void name(const udump_tiles *t, int64_t at, int tile_count, int count, int x, udump_tile_block *block) {                 \
        if (t->stride_tile == 1)                                                                                                   \
            for (int i = 0; i < count; i++)                                                                                        \
                for (int k = 0; k < tile_count; k++) block->values[k][x + i] = read(t->data, at + i * t->stride_x + k);             \
        else if (t->stride_x == 1)                                                                                                 \
            for (int k = 0; k < tile_count; k++)                                                                                   \
                for (int i = 0; i < count; i++) block->values[k][x + i] = read(t->data, at + k * t->stride_tile + i);               \
        else                                                                                                                       \
            for (int k = 0; k < tile_count; k++)                                                                                   \
                for (int i = 0; i < count; i++) block->values[k][x + i] = read(t->data, at + k * t->stride_tile + i * t->stride_x); \
    }
GATHER_ROW(gather_f32, f32_of)
GATHER_ROW(gather_f16, f16_of)
GATHER_ROW(gather_bf16, bf16_of)

void udump_tiles_gather(const udump_tiles *tiles, int64_t tile, int tile_count, int64_t pixel, int pixel_count, udump_tile_block *block) {
    int64_t y = pixel / tiles->w, x = pixel % tiles->w;
    for (int done = 0; done < pixel_count; y++, x = 0) { /* a row at a time */
        int count = tiles->w - x < pixel_count - done ? (int)(tiles->w - x) : pixel_count - done;
        int64_t at = tile * tiles->stride_tile + y * tiles->stride_y + x * tiles->stride_x;
        if (tiles->dtype == UDUMP_F32) gather_f32(tiles, at, tile_count, count, done, block);
        else if (tiles->dtype == UDUMP_F16) gather_f16(tiles, at, tile_count, count, done, block);
        else gather_bf16(tiles, at, tile_count, count, done, block);
        done += count;
    }
}
