#include "render/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"
#include "render/grid.h"

void udump_render_buffer_free(udump_render_buffer *buffer) {
    udump_aligned_free(buffer->pixels);
    udump_aligned_free(buffer->ranges);
    udump_aligned_free(buffer->average);
    memset(buffer, 0, sizeof *buffer);
}

/* What was there is lost where it grows. */
static udump_status grow(void **memory, size_t *have_bytes, size_t count, size_t each_bytes, udump_error *error) {
    size_t bytes;
    if (!udump_size_mul(count, each_bytes, &bytes)) return udump_fail_memory(error, "canvas", SIZE_MAX);
    if (bytes <= *have_bytes) return UDUMP_OK;
    udump_aligned_free(*memory);
    *have_bytes = 0;
    *memory = udump_aligned_alloc(bytes);
    if (!*memory) return udump_fail_memory(error, "canvas", bytes);
    *have_bytes = bytes;
    return UDUMP_OK;
}

static udump_status grow_pixels(udump_render_buffer *buffer, const udump_grid *grid, udump_error *error) {
    void *memory = buffer->pixels;
    size_t row_bytes = (size_t)udump_grid_width_px(grid) * (size_t)grid->channels;
    udump_status status = grow(&memory, &buffer->pixels_bytes, (size_t)udump_grid_height_px(grid), row_bytes, error);
    buffer->pixels = memory;
    return status;
}

static udump_status grow_ranges(udump_render_buffer *buffer, int32_t count, udump_error *error) {
    void *memory = buffer->ranges;
    udump_status status = grow(&memory, &buffer->ranges_bytes, (size_t)count, sizeof *buffer->ranges, error);
    buffer->ranges = memory;
    return status;
}

static udump_status grow_average(udump_render_buffer *buffer, int32_t h, int32_t w, udump_error *error) {
    void *memory = buffer->average;
    udump_status status = grow(&memory, &buffer->average_bytes, (size_t)h * sizeof *buffer->average, (size_t)w, error);
    buffer->average = memory;
    return status;
}

static udump_image image_of(const udump_grid *grid, const uint8_t *pixels) {
    int32_t width_px = udump_grid_width_px(grid);
    udump_image image = { .columns = grid->columns, .rows = grid->rows, .tile_width_px = grid->tile_w, .tile_height_px = grid->tile_h };
    image.picture = (udump_picture){ pixels, width_px, udump_grid_height_px(grid), grid->channels,
        (size_t)width_px * (size_t)grid->channels };
    return image;
}

udump_status udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, udump_render_buffer *buffer,
    udump_image *canvas, udump_error *error) {
    udump_grid grid;
    udump_status status = udump_grid_make(tiles->w, tiles->h, tiles->count, udump_style_channels(style), &grid, error);
    if (!status) status = grow_pixels(buffer, &grid, error);
    if (!status && udump_style_needs_ranges(style)) status = grow_ranges(buffer, tiles->count, error);
    if (status) return status;
    if (udump_style_needs_ranges(style)) x->backend->tile_reduce(x, tiles, buffer->ranges);
    x->backend->tile_colour(x, tiles, udump_style_needs_ranges(style) ? buffer->ranges : NULL, style, &grid, buffer->pixels);
    *canvas = image_of(&grid, buffer->pixels);
    return UDUMP_OK;
}

udump_status udump_render_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, const udump_style_program *style,
    udump_render_buffer *buffer, udump_image *canvas, udump_error *error) {
    udump_grid grid;
    udump_status status = udump_grid_make(tiles->w, tiles->h, 1, udump_style_channels(style), &grid, error);
    if (!status && tiles->count < 1) status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "nothing to show: no tiles");
    if (!status) status = grow_average(buffer, tiles->h, tiles->w, error);
    if (status) return status;
    x->backend->tile_average(x, tiles, kind, buffer->average);
    udump_tiles one = {
        .data = buffer->average, .dtype = UDUMP_F32, .count = 1, .h = tiles->h, .w = tiles->w, .stride_y = tiles->w, .stride_x = 1
    };
    return udump_render_tiles(x, &one, style, buffer, canvas, error);
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

/* The buffer's pixels become the image's own. */
static void take_pixels(udump_image *image, udump_render_buffer *buffer) {
    image->owner = buffer->pixels;
    buffer->pixels = NULL;
    buffer->pixels_bytes = 0;
}

/* Threads pay from about a quarter of a million values each. */
static int32_t threads_for(const udump_tiles *tiles) {
    double values = (double)tiles->count * tiles->h * tiles->w;
    int cores = udump_core_count();
    return values / 262144 < cores ? (int32_t)(values / 262144) + 1 : cores;
}

udump_status udump_render(
    const udump_view *tensor, const udump_style *style, udump_image *canvas, udump_image *average, udump_error *error) {
    udump_tiles tiles;
    udump_style_program *program = malloc(sizeof *program);
    udump_render_buffer buffer = { 0 };
    udump_image pictures[2] = { { .owner = NULL }, { .owner = NULL } };
    udump_average kind = style ? style->average : UDUMP_AVERAGE_NONE;
    if (!program) return udump_fail_memory(error, "style", sizeof *program);
    udump_status status = canvas ? UDUMP_OK : udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "a null pointer");
    if (!status) status = udump_tiles_of_view(tensor, &tiles, error);
    if (!status) status = udump_style_compile(style, program, error);
    if (!status) {
        udump_exec x = { .backend = udump_backend_reference(), .threads = threads_for(&tiles) };
        status = udump_render_tiles(&x, &tiles, program, &buffer, &pictures[0], error);
        take_pixels(&pictures[0], &buffer);
        if (!status && average && kind) status = udump_render_average(&x, &tiles, kind, program, &buffer, &pictures[1], error);
        take_pixels(&pictures[1], &buffer);
    }
    udump_render_buffer_free(&buffer);
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
