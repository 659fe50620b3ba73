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

udump_status udump_render_plan(
    const udump_tiles *tiles, int32_t columns, const udump_style_program *style, udump_grid *grid, udump_error *error) {
    int32_t channels = udump_style_channels(style);
    return columns ? udump_grid_make_columns(tiles->w, tiles->h, tiles->count, columns, channels, grid, error)
                   : udump_grid_make(tiles->w, tiles->h, tiles->count, channels, grid, error);
}

udump_status udump_render_tiles(udump_exec *x, const udump_tiles *tiles, const udump_grid *grid, const udump_style_program *style,
    udump_render_buffer *buffer, udump_image *canvas, udump_error *error) {
    bool ranges = udump_style_needs_ranges(style);
    udump_status status = grow_pixels(buffer, grid, error);
    if (!status && ranges) status = grow_ranges(buffer, tiles->count, error);
    if (status) return status;
    if (ranges) x->backend->tile_reduce(x, tiles, buffer->ranges);
    x->backend->tile_colour(x, tiles, ranges ? buffer->ranges : NULL, style, grid, buffer->pixels);
    *canvas = image_of(grid, buffer->pixels);
    return UDUMP_OK;
}

udump_status udump_render_average(
    udump_exec *x, udump_tiles *tiles, int32_t count, udump_average kind, udump_render_buffer *buffer, udump_error *error) {
    if (tiles->count < 1 || tiles->count % count)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "canvas", "%d tiles to average into %d", (int)tiles->count, (int)count);
    udump_status status = grow_average(buffer, count * tiles->h, tiles->w, error);
    if (status) return status;
    udump_tiles tall = *tiles; /* `count` tiles, one above the other, are one */
    tall.count /= count;
    tall.h *= count;
    tall.stride_tile *= count;
    x->backend->tile_average(x, &tall, kind, buffer->average);
    *tiles = (udump_tiles){ .data = buffer->average, .dtype = UDUMP_F32, .count = count, .h = tiles->h, .w = tiles->w,
        .stride_tile = (int64_t)tiles->h * tiles->w, .stride_y = tiles->w, .stride_x = 1 };
    return UDUMP_OK;
}

udump_status udump_render_rgb(
    udump_exec *x, const udump_tiles *tiles, udump_render_buffer *buffer, udump_image *canvas, udump_error *error) {
    const udump_grid grid = { 1, 1, tiles->w, tiles->h, 3 };
    udump_status status = grow_pixels(buffer, &grid, error);
    if (!status) status = grow_ranges(buffer, 3, error);
    if (status) return status;
    x->backend->tile_reduce(x, tiles, buffer->ranges);
    for (int32_t c = 0; c < 3; c++) {
        const float *values = (const float *)tiles->data + c * tiles->stride_tile;
        float lo = buffer->ranges[c].lo, span = buffer->ranges[c].hi - lo;
        for (int32_t y = 0; y < tiles->h; y++)
            for (int32_t i = 0; i < tiles->w; i++) {
                float v = span > 0 ? (values[y * tiles->stride_y + i * tiles->stride_x] - lo) / span * 256 : 0;
                buffer->pixels[((size_t)y * (size_t)tiles->w + (size_t)i) * 3 + (size_t)c] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
            }
    }
    *canvas = image_of(&grid, buffer->pixels);
    return UDUMP_OK;
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

/* Into pixels of its own. */
static udump_status render_view(udump_exec *x, const udump_tiles *tiles, const udump_style_program *style, udump_render_buffer *buffer,
    udump_image *image, udump_error *error) {
    udump_grid grid;
    udump_status status = udump_render_plan(tiles, 0, style, &grid, error);
    if (!status) status = udump_render_tiles(x, tiles, &grid, style, buffer, image, error);
    if (!status) take_pixels(image, buffer);
    return status;
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
        status = render_view(&x, &tiles, program, &buffer, &pictures[0], error);
        if (!status && average && kind) status = udump_render_average(&x, &tiles, 1, kind, &buffer, error);
        if (!status && average && kind) status = render_view(&x, &tiles, program, &buffer, &pictures[1], error);
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
