/* Attention on tiles (kernels_tiles.h) where there are none: each is memory, and multiplied as Intel's manual says of TDPBF16PS. */
#include <stdint.h>
#include <string.h>

#include "kernels_here.h"

#define LANES 16

static _Thread_local union tile {
    unsigned char bytes[16][64];
    uint16_t halves[16][32];
    float sums[16][16];
} tiles[8];

static float widened(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void tile_load(int t, const void *from, size_t stride_bytes) {
    for (size_t r = 0; r < 16; r++) memcpy(tiles[t].bytes[r], (const char *)from + r * stride_bytes, 64);
}

static void tile_store(int t, void *to, size_t stride_bytes) {
    for (size_t r = 0; r < 16; r++) memcpy((char *)to + r * stride_bytes, tiles[t].bytes[r], 64);
}

static void tile_multiply(int t, int a, int b) {
    for (int r = 0; r < 16; r++)
        for (int k = 0; k < 32; k++)
            for (int n = 0; n < 16; n++) tiles[t].sums[r][n] += widened(tiles[a].halves[r][k]) * widened(tiles[b].halves[k / 2][2 * n + k % 2]);
}

#define TILES_OPEN() memset(tiles, 0, sizeof tiles)
#define TILES_CLOSE() memset(tiles, 0xFF, sizeof tiles)
#define TILE_ZERO(t) memset(&tiles[t], 0, sizeof tiles[t])
#define TILE_LOAD tile_load
#define TILE_STORE tile_store
#define TILE_MULTIPLY tile_multiply
#include "backend/cpu/kernels_tiles.h"

const udump_attend_kernels *tiles_plain(void) {
    static const udump_attend_kernels kernels = TILES_KERNELS;
    return &kernels;
}
