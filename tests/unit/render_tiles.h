/* Rendering of tiles as the tests of colours, expressions and canvases need it. */
#ifndef UDUMP_TEST_RENDER_TILES_H
#define UDUMP_TEST_RENDER_TILES_H

#include <stdlib.h>

#include "render/render.h"

/* A canvas's memory: exactly what it needs, dirty at first. Start with zeros. */
typedef struct render_buffer {
    uint8_t *pixels;
    size_t pixels_bytes;
} render_buffer;

static inline void render_buffer_free(render_buffer *buffer) { free(buffer->pixels); }

/* In the webui extension's grid. */
static inline udump_status render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, render_buffer *buffer,
    udump_image *image) {
    udump_grid grid;
    udump_status status = udump_render_plan(tiles, 0, style, &grid, NULL);
    if (status) return status;
    free(buffer->pixels);
    buffer->pixels_bytes = udump_grid_bytes(&grid);
    buffer->pixels = malloc(buffer->pixels_bytes);
    udump_tile_range *ranges = malloc((size_t)tiles->count * sizeof *ranges);
    if (!buffer->pixels || !ranges) abort();
    memset(buffer->pixels, 0xAA, buffer->pixels_bytes);
    udump_render_tiles(x, tiles, &grid, style, ranges, buffer->pixels);
    *image = udump_image_of_grid(&grid, buffer->pixels);
    free(ranges);
    return UDUMP_OK;
}

#endif
