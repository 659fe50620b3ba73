/* How the tiles of one block lie in a picture. */
#ifndef UDUMP_RENDER_GRID_H
#define UDUMP_RENDER_GRID_H

#include "backend/backend.h"

/* The longest side of a picture: the limit that libpng's readers and writers have by default. */
enum { UDUMP_PICTURE_SIDE_PX = 1000000 };

/* The grid for `tiles` tiles of tile_w x tile_h pixels, `channels` bytes a pixel: as close to a square as doubling and halving the
 * sides brings it, columns * rows = tiles. One tile gives 1 x 1. Errors: ARGUMENT: nothing to show, or a side over the limit. */
udump_status udump_grid_make(int64_t tile_w, int64_t tile_h, int64_t tiles, int32_t channels, udump_grid *grid, udump_error *error);

/* The same with the number of columns given: rows as needed. Errors: the same. */
udump_status udump_grid_make_columns(
    int64_t tile_w, int64_t tile_h, int64_t tiles, int64_t columns, int32_t channels, udump_grid *grid, udump_error *error);

/* The whole picture: one black pixel between tiles, none outside. */
static inline int32_t udump_grid_width_px(const udump_grid *grid) { return grid->columns * (grid->tile_w + 1) - 1; }
static inline int32_t udump_grid_height_px(const udump_grid *grid) { return grid->rows * (grid->tile_h + 1) - 1; }

#endif
