#include "render/grid.h"

#include "base/status.h"

/* The rule of the webui extension. side[0], side[1]: width and height of the picture without its lines, in pixels. */
static void feature_sides(int64_t tile_w, int64_t tile_h, int64_t tiles, int64_t side[2]) {
    side[0] = tile_w;
    side[1] = tile_h;
    for (; tiles % 2 == 0; tiles /= 2) side[side[0] <= side[1] ? 0 : 1] *= 2;
    side[side[0] <= side[1] ? 0 : 1] *= tiles;
    if (side[0] > side[1]) {
        while (side[0] > 2 * side[1] && side[0] / tile_w % 2 == 0) {
            side[0] /= 2;
            side[1] *= 2;
        }
    } else {
        while (2 * side[0] < side[1] && side[1] / tile_h % 2 == 0) {
            side[0] *= 2;
            side[1] /= 2;
        }
    }
}

/* Whether nothing below overflows. */
static bool bounded(int64_t tile_w, int64_t tile_h, int64_t tiles) {
    int64_t most = UDUMP_PICTURE_SIDE_PX, pixels;
    bool small = tile_w >= 1 && tile_h >= 1 && tiles >= 1 && tile_w <= most && tile_h <= most && tiles <= most * most;
    return small && !__builtin_mul_overflow(tile_w > tile_h ? tile_w : tile_h, 4 * tiles, &pixels);
}

static udump_status refuse(int64_t tile_w, int64_t tile_h, int64_t tiles, udump_error *error) {
    if (tile_w < 1 || tile_h < 1 || tiles < 1)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "nothing to show: %lld tiles of %lld x %lld pixels", (long long)tiles,
            (long long)tile_w, (long long)tile_h);
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "%lld tiles of %lld x %lld pixels make a picture with a side over %d pixels",
        (long long)tiles, (long long)tile_w, (long long)tile_h, UDUMP_PICTURE_SIDE_PX);
}

udump_status udump_grid_make(int64_t tile_w, int64_t tile_h, int64_t tiles, int32_t channels, udump_grid *grid, udump_error *error) {
    if (!bounded(tile_w, tile_h, tiles)) return refuse(tile_w, tile_h, tiles, error);
    int64_t side[2];
    feature_sides(tile_w, tile_h, tiles, side);
    return udump_grid_make_columns(tile_w, tile_h, tiles, side[0] / tile_w, channels, grid, error);
}

udump_status udump_grid_make_columns(
    int64_t tile_w, int64_t tile_h, int64_t tiles, int64_t columns, int32_t channels, udump_grid *grid, udump_error *error) {
    if (!bounded(tile_w, tile_h, tiles) || columns < 1 || columns > tiles) return refuse(tile_w, tile_h, tiles, error);
    int64_t rows = (tiles + columns - 1) / columns, most = UDUMP_PICTURE_SIDE_PX;
    if (columns * (tile_w + 1) - 1 > most || rows * (tile_h + 1) - 1 > most) return refuse(tile_w, tile_h, tiles, error);
    *grid = (udump_grid){ (int32_t)columns, (int32_t)rows, (int32_t)tile_w, (int32_t)tile_h, channels };
    return UDUMP_OK;
}
