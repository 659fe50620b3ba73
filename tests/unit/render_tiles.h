/* Rendering of tiles as the tests of colours, expressions and canvases need it. */
#ifndef UDUMP_TEST_RENDER_TILES_H
#define UDUMP_TEST_RENDER_TILES_H

#include "render/render.h"

/* In the webui extension's grid. */
static inline udump_status render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, udump_render_buffer *buffer,
    udump_image *image) {
    udump_grid grid;
    udump_status status = udump_render_plan(tiles, 0, style, &grid, NULL);
    return status ? status : udump_render_tiles(x, tiles, &grid, style, buffer, image, NULL);
}

#endif
