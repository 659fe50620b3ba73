/* Rendering where the tensor is: the same operations as while sampling, in an execution context of their own. */
#include <stdlib.h>
#include <string.h>

#include "backend/current.h"
#include "backend/module.h"
#include "backend/ops.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/status.h"
#include "render/grid.h"
#include "render/render.h"

struct udump_renderer {
    void *device;
    udump_exec x;
};

udump_status udump_renderer_create(const udump_renderer_options *given, udump_renderer **result, udump_error *error) {
    udump_renderer_options options;
    const udump_module *module = NULL;
    char note[160];
    if (!result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "renderer", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "renderer options", error);
    if (!status) status = udump_module_load("cuda", options.cuda_module, &module, error);
    if (!status) status = module->probe(options.device_index, note, sizeof note, error);
    if (status) return status;
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(module->backend, NULL);
    udump_renderer *renderer = calloc(1, sizeof *renderer);
    if (!renderer) return udump_fail_memory(error, "renderer", sizeof *renderer);
    const udump_device_request request = { .threads = 1, .compute = UDUMP_F32, .ordinal = options.device_index };
    status = module->backend->device_open(&request, &renderer->device, error);
    if (!status) status = udump_exec_open(&renderer->x, module->backend, renderer->device, 1, UDUMP_F32, error);
    if (!status) return *result = renderer, UDUMP_OK;
    if (renderer->device) module->backend->device_close(renderer->device);
    free(renderer);
    return status;
}

void udump_renderer_destroy(udump_renderer *renderer) {
    if (!renderer) return;
    const udump_backend *backend = renderer->x.backend;
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(backend, renderer->device);
    udump_exec_close(&renderer->x);
    backend->device_close(renderer->device);
    free(renderer);
}

/* A picture: where its tiles come from, and where its pixels go. */
struct job {
    udump_tiles tiles;
    udump_grid grid;
    udump_image *image; /* NULL: not wanted */
};

static udump_status allocate(struct job *job, const udump_style_program *style, udump_error *error) {
    udump_status status = udump_render_plan(&job->tiles, 0, style, &job->grid, error);
    if (status) return status;
    uint8_t *pixels = udump_aligned_alloc(udump_grid_bytes(&job->grid));
    if (!pixels) return udump_fail_memory(error, "canvas", udump_grid_bytes(&job->grid));
    *job->image = udump_image_of_grid(&job->grid, pixels);
    job->image->owner = pixels;
    return UDUMP_OK;
}

/* Into the arena, and to the host. */
static void draw(udump_exec *x, const struct job *job, const udump_style_program *style) {
    size_t mark = udump_arena_mark(x), bytes = udump_grid_bytes(&job->grid);
    udump_tensor ranges = udump_tensor_new(x, UDUMP_F32, 1, 1, job->tiles.count, sizeof(udump_tile_range) / sizeof(float)),
                 pixels = udump_tensor_new(x, UDUMP_F32, 1, 1, udump_grid_height_px(&job->grid), (udump_grid_width_px(&job->grid) * job->grid.channels + 3) / 4);
    if (!x->dry && !udump_exec_stopped(x)) {
        udump_render_tiles(x, &job->tiles, &job->grid, style, udump_tensor_data(x, ranges), udump_tensor_data(x, pixels));
        x->backend->read(x, job->image->owner, udump_tensor_data(x, pixels), bytes);
    }
    udump_arena_release(x, mark);
}

static void draw_all(udump_exec *x, const struct job *canvas, const struct job *average, const udump_style_program *style, udump_average kind) {
    draw(x, canvas, style);
    if (!average->image) return;
    struct job job = *average;
    udump_tensor mean = udump_tensor_new(x, UDUMP_F32, 1, 1, job.tiles.h, job.tiles.w);
    if (!x->dry && !udump_exec_stopped(x)) job.tiles = udump_render_average(x, &canvas->tiles, 1, kind, udump_tensor_data(x, mean));
    draw(x, &job, style);
}

static udump_status render(
    udump_renderer *renderer, struct job *canvas, struct job *average, void *stream, const udump_style_program *style, udump_average kind, udump_error *error) {
    udump_exec *x = &renderer->x;
    udump_status status = allocate(canvas, style, error);
    if (!status && average->image) status = allocate(average, style, error);
    if (status) return status;
    udump_exec_reset(x);
    x->backend->follow(x, stream);
    status = udump_exec_status(x, error);
    if (status) return status;
    udump_exec_begin_dry(x);
    draw_all(x, canvas, average, style, kind);
    status = udump_exec_end_dry(x, error);
    if (status) return status;
    draw_all(x, canvas, average, style, kind);
    return udump_exec_status(x, error);
}

udump_status udump_renderer_render(udump_renderer *renderer, const udump_view *tensor, void *stream, const udump_style *style, udump_image *canvas,
    udump_image *average, udump_error *error) {
    udump_image pictures[2] = { { .owner = NULL }, { .owner = NULL } };
    udump_average kind;
    struct job jobs[2] = { { .image = &pictures[0] }, { .image = NULL } };
    if (!renderer || !canvas) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "renderer", "a null pointer");
    udump_style_program *program = malloc(sizeof *program);
    if (!program) return udump_fail_memory(error, "style", sizeof *program);
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(renderer->x.backend, renderer->device);
    udump_status status = udump_tiles_of_view(tensor, &jobs[0].tiles, error);
    if (!status) status = udump_style_compile(style, program, &kind, error);
    if (!status) {
        jobs[1].tiles = jobs[0].tiles;
        jobs[1].tiles.count = 1;
        if (average && kind) jobs[1].image = &pictures[1];
        status = render(renderer, &jobs[0], &jobs[1], stream, program, kind, error);
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
