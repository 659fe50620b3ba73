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

/* Where tiles lie in their picture: in `columns` columns, or, with 0, in the grid of the webui extension. Errors: ARGUMENT (no tiles, a
 * picture too large). */
udump_status udump_render_plan(
    const udump_tiles *tiles, int32_t columns, const udump_style_program *style, udump_grid *grid, udump_error *error);

/* Every tile, in the grid that was planned for them. style: from udump_style_compile. canvas is valid until the buffer's next use;
 * its owner is NULL. Uses x's backend and threads. Errors: MEMORY. */
udump_status udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_grid *grid, const udump_style_program *style,
    udump_render_buffer *buffer, udump_image *canvas, udump_error *error);

/* Replaces tiles by their average (kind is not NONE): tile i of `count` is the mean over the tiles i, i + count, i + 2 * count, ... Valid
 * until the buffer's next average. With count above 1 tiles must be whole rows, one after the other (stride_tile is h * stride_y).
 * Errors: ARGUMENT (no tiles, or not a multiple of count), MEMORY. */
udump_status udump_render_average(
    udump_exec *x, udump_tiles *tiles, int32_t count, udump_average kind, udump_render_buffer *buffer, udump_error *error);

/* Three tiles as the red, green and blue of one, each from its lowest value to its highest. The same otherwise. */
udump_status udump_render_rgb(
    udump_exec *x, const udump_tiles *tiles, udump_render_buffer *buffer, udump_image *canvas, udump_error *error);

/* The tiles of a [channels, h, w] view. Errors: ARGUMENT: not of rank 3, empty, a side over 2^31 - 1. */
udump_status udump_tiles_of_view(const udump_view *view, udump_tiles *tiles, udump_error *error);

#endif
