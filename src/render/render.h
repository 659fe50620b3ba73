/* From tiles to a finished picture, through a backend's tile operations. */
#ifndef UDUMP_RENDER_RENDER_H
#define UDUMP_RENDER_RENDER_H

#include "backend/exec.h"
#include "render/style.h"

/* Memory that canvases are rendered into, one after the other: it grows to the largest and stays. Start with zeros. */
typedef struct udump_render_buffer {
    uint8_t *pixels;
    size_t pixels_bytes;
    udump_tile_range *ranges; /* one a tile */
    size_t ranges_bytes;
    float *average; /* [h, w] */
    size_t average_bytes;
} udump_render_buffer;
void udump_render_buffer_free(udump_render_buffer *buffer);

/* The features canvas: every tile, in udump_grid_make's grid. style: from udump_style_compile. canvas is valid until the buffer's
 * next use; its owner is NULL. Uses x's backend and threads. Errors: ARGUMENT (no tiles, a picture too large), MEMORY. */
udump_status udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, udump_render_buffer *buffer,
    udump_image *canvas, udump_error *error);

/* The average over all tiles, drawn as one tile: the picture that is shown before the canvas. kind is not NONE. The same otherwise. */
udump_status udump_render_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, const udump_style_program *style,
    udump_render_buffer *buffer, udump_image *canvas, udump_error *error);

/* The tiles of a [channels, h, w] view. Errors: ARGUMENT: not of rank 3, empty, a side over 2^31 - 1. */
udump_status udump_tiles_of_view(const udump_view *view, udump_tiles *tiles, udump_error *error);

#endif
