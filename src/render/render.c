#include "render/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"
#include "render/grid.h"

size_t udump_grid_bytes(const udump_grid *grid) {
    return (size_t)udump_grid_width_px(grid) * (size_t)udump_grid_height_px(grid) * (size_t)grid->channels;
}

udump_image udump_image_of_grid(const udump_grid *grid, const uint8_t *pixels) {
    int32_t width_px = udump_grid_width_px(grid);
    udump_image image = { .columns = grid->columns, .rows = grid->rows, .tile_width_px = grid->tile_w, .tile_height_px = grid->tile_h };
    image.picture = (udump_picture){ pixels, width_px, udump_grid_height_px(grid), grid->channels,
        (size_t)width_px * (size_t)grid->channels };
    return image;
}

udump_status udump_render_plan(
    const udump_tiles *tiles, int32_t columns, const udump_style_program *style, udump_grid *grid, udump_error *error) {
    int32_t channels = udump_style_channels(style);
    return columns ? udump_grid_make_columns(tiles->w, tiles->h, tiles->count, columns, channels, grid, error)
                   : udump_grid_make(tiles->w, tiles->h, tiles->count, channels, grid, error);
}

void udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_grid *grid, const udump_style_program *style,
    udump_tile_range *ranges, uint8_t *pixels) {
    bool ranged = udump_style_needs_ranges(style);
    if (x->replaying) return;
    if (ranged) x->backend->tile_reduce(x, tiles, ranges);
    if (ranged && style->transform.whole) x->backend->tile_join(x, ranges, tiles->count);
    x->backend->tile_colour(x, tiles, ranged ? ranges : NULL, style, grid, pixels);
}

udump_tiles udump_render_average(udump_exec *x, const udump_tiles *tiles, int32_t count, udump_average kind, float *average) {
    udump_tiles tall = *tiles; /* `count` tiles, one above the other, are one */
    tall.count /= count;
    tall.h *= count;
    tall.stride_tile *= count;
    if (!x->replaying) x->backend->tile_average(x, &tall, kind, average);
    return (udump_tiles){ .data = average, .dtype = UDUMP_F32, .count = count, .h = tiles->h, .w = tiles->w,
        .stride_tile = (int64_t)tiles->h * tiles->w, .stride_y = tiles->w, .stride_x = 1 };
}

void udump_render_rgb(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges, uint8_t *pixels) {
    x->backend->tile_reduce(x, tiles, ranges);
    x->backend->tile_rgb(x, tiles, ranges, pixels);
}

udump_status udump_tiles_of_view(const udump_view *view, udump_tiles *tiles, udump_error *error) {
    char found[128];
    if (!view || !udump_view_valid(view)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tensor", "not a valid view");
    udump_shape_format(found, sizeof found, view->rank, view->shape);
    bool shown = view->rank == 3;
    for (int i = 0; i < view->rank; i++) shown = shown && view->shape[i] >= 1 && view->shape[i] <= INT32_MAX;
    if (!shown)
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "tensor", "bad shape", "[channels, height, width], none of them 0", found);
    *tiles = (udump_tiles){ view->data, view->dtype, (int32_t)view->shape[0], (int32_t)view->shape[1], (int32_t)view->shape[2],
        view->stride[0], view->stride[1], view->stride[2] };
    return UDUMP_OK;
}

/* ---- the public function */

void udump_image_free(udump_image *image) {
    if (!image) return;
    udump_aligned_free(image->owner);
    memset(image, 0, sizeof *image);
}

/* Threads pay from about a quarter of a million values each. */
static int32_t threads_for(const udump_tiles *tiles) {
    double values = (double)tiles->count * tiles->h * tiles->w;
    int cores = udump_core_count();
    return values / 262144 < cores ? (int32_t)(values / 262144) + 1 : cores;
}

/* Host memory for `count` of each_bytes. */
static void *reserve(size_t count, size_t each_bytes, udump_status *status, udump_error *error) {
    size_t bytes = SIZE_MAX;
    void *memory = udump_size_mul(count, each_bytes, &bytes) ? udump_aligned_alloc(bytes) : NULL;
    if (!memory) *status = udump_fail_memory(error, "canvas", bytes);
    return memory;
}

/* Into pixels of its own. */
static udump_status render_view(
    udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, udump_image *image, udump_error *error) {
    udump_grid grid;
    udump_status status = udump_render_plan(tiles, 0, style, &grid, error);
    if (status) return status;
    udump_tile_range *ranges = reserve((size_t)tiles->count, sizeof *ranges, &status, error);
    uint8_t *pixels = status ? NULL : reserve(1, udump_grid_bytes(&grid), &status, error);
    if (!status) {
        udump_render_tiles(x, tiles, &grid, style, ranges, pixels);
        *image = udump_image_of_grid(&grid, pixels);
        image->owner = pixels;
    }
    udump_aligned_free(ranges);
    return status;
}

static udump_status render_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, const udump_style_program *style,
    udump_image *image, udump_error *error) {
    udump_status status = UDUMP_OK;
    float *values = reserve((size_t)tiles->h * (size_t)tiles->w, sizeof *values, &status, error);
    if (status) return status;
    udump_tiles average = udump_render_average(x, tiles, 1, kind, values);
    status = render_view(x, &average, style, image, error);
    udump_aligned_free(values);
    return status;
}

udump_status udump_render(
    const udump_view *tensor, const udump_style *style, udump_image *canvas, udump_image *average, udump_error *error) {
    udump_tiles tiles;
    udump_style_program *program = malloc(sizeof *program);
    udump_image pictures[2] = { { .owner = NULL }, { .owner = NULL } };
    udump_average kind;
    if (!program) return udump_fail_memory(error, "style", sizeof *program);
    udump_status status = canvas ? UDUMP_OK : udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "a null pointer");
    if (!status) status = udump_tiles_of_view(tensor, &tiles, error);
    if (!status) status = udump_style_compile(style, program, &kind, error);
    if (!status) {
        udump_exec x = { .backend = udump_backend_reference(), .threads = threads_for(&tiles) };
        status = render_view(&x, &tiles, program, &pictures[0], error);
        if (!status && average && kind) status = render_average(&x, &tiles, kind, program, &pictures[1], error);
    }
    free(program);
    if (status) {
        udump_image_free(&pictures[0]);
        udump_image_free(&pictures[1]);
        return status;
    }
    *canvas = pictures[0];
    if (average) *average = pictures[1];
    return UDUMP_OK;
}
