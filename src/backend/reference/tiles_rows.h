/* A run of values to pixels: transform, colour, bytes. */
#ifndef UDUMP_BACKEND_REFERENCE_TILES_ROWS_H
#define UDUMP_BACKEND_REFERENCE_TILES_ROWS_H

#include "backend/backend.h"
#include "backend/reference/tiles_gather.h"

/* Colours one tile's values [UDUMP_BLOCK_PIXELS], which are overwritten, to pixels [UDUMP_BLOCK_PIXELS]: grey in the lowest byte,
 * or red, green, blue from the lowest up. range may be NULL where the style does not need it. */
typedef void (*udump_colour_run_fn)(
    const udump_style_program *style, const udump_tile_range *range, float *values, uint32_t *restrict pixels);

/* The variant for this machine's instructions. All give the same bytes. */
udump_colour_run_fn udump_colour_run(void);

#endif
