/* Reading tiles: a block of up to 32 tiles by up to 64 pixels, as fp32, pixels side by side. */
#ifndef UDUMP_BACKEND_REFERENCE_TILES_GATHER_H
#define UDUMP_BACKEND_REFERENCE_TILES_GATHER_H

#include "backend/backend.h"

enum {
    UDUMP_BLOCK_TILES = 32,  /* channels-last: so many channels are neighbours in memory, two cache lines of fp32 */
    UDUMP_BLOCK_PIXELS = 64, /* of a tile in C order; may go on over the end of a row */
    UDUMP_BLOCK_PITCH = 80   /* floats from tile to tile: off the powers of two, which would share a few cache sets */
};

typedef struct udump_tile_block {
    _Alignas(64) float values[UDUMP_BLOCK_TILES][UDUMP_BLOCK_PITCH];
} udump_tile_block;

/* Tiles [tile, tile + tile_count), pixels [pixel, pixel + pixel_count) of each. */
void udump_tiles_gather(const udump_tiles *tiles, int64_t tile, int tile_count, int64_t pixel, int pixel_count, udump_tile_block *block);

#endif
