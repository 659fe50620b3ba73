/* Looking at tiles in plain C: tile_reduce, tile_join, tile_average, tile_colour and tile_rgb of backend.h. They use x->threads and nothing else of x.
 * Results do not depend on the number of threads or the memory order; on the machine only as far as libm does (sin, log, ...). */
#ifndef UDUMP_BACKEND_REFERENCE_TILES_H
#define UDUMP_BACKEND_REFERENCE_TILES_H

#include "backend/exec.h"

void udump_reference_tile_reduce(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges /* [count] */);
/* Sums in double, in the order of the tiles; rounded to fp32 once. */
void udump_reference_tile_join(udump_exec *x, udump_tile_range *ranges, int32_t count);
void udump_reference_tile_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, float *average /* [h, w] */);
void udump_reference_tile_colour(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style,
    const udump_grid *grid, uint8_t *pixels);
void udump_reference_tile_rgb(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, uint8_t *pixels);

#endif
