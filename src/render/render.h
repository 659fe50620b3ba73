/* From tiles to a finished picture, through a backend's tile operations. */
#ifndef UDUMP_RENDER_RENDER_H
#define UDUMP_RENDER_RENDER_H

#include "backend/exec.h"
#include "render/style.h"

/* Where tiles lie in their picture: in `columns` columns, or, with 0, in the grid of the webui extension. Errors: ARGUMENT (no tiles, a
 * picture too large). */
udump_status udump_render_plan(
    const udump_tiles *tiles, int32_t columns, const udump_style_program *style, udump_grid *grid, udump_error *error);

size_t udump_grid_bytes(const udump_grid *grid); /* of the picture */
/* The picture of that grid; its owner is NULL. */
udump_image udump_image_of_grid(const udump_grid *grid, const uint8_t *pixels);

/* Every tile, in the grid that was planned for them. style: from udump_style_compile; ranges: scratch, one a tile. All memory is the
 * backend's. */
void udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_grid *grid, const udump_style_program *style,
    udump_tile_range *ranges, uint8_t *pixels);

/* The average of tiles (kind is not NONE), of which count is a divisor: tile i of `count` is the mean over the tiles i, i + count,
 * i + 2 * count, ... With count above 1 tiles must be whole rows, one after the other (stride_tile is h * stride_y). */
udump_tiles udump_render_average(udump_exec *x, const udump_tiles *tiles, int32_t count, udump_average kind, float *average /* [count, h, w] */);

/* Three F32 tiles as the red, green and blue of one, each from its lowest value to its highest. */
void udump_render_rgb(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges /* [3] */, uint8_t *pixels);

/* The tiles of a [channels, h, w] view. Errors: ARGUMENT: not of rank 3, empty, a side over 2^31 - 1. */
udump_status udump_tiles_of_view(const udump_view *view, udump_tiles *tiles, udump_error *error);

#endif
