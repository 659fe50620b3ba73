#include "pipeline/look.h"

#include "base/status.h"

udump_status udump_look_create(
    udump_look *look, const udump_model *model, const udump_generate_options *o, int32_t evaluations, int32_t batch, udump_error *error) {
    look->average = o->style.average;
    look->canvases = !o->no_canvas;
    look->tensors = o->want_tensors;
    look->batch = batch;
    udump_status status = udump_style_compile(&o->style, &look->style, error);
    if (!status) status = udump_selection_create(&look->selection, model, o->features, o->feature_steps, evaluations, o->side, error);
    return status;
}

void udump_look_free(udump_look *look) {
    udump_selection_free(&look->selection);
    udump_render_buffer_free(&look->buffer);
}

/* One row of the batch: average first, then the canvas, then the values. */
struct row {
    udump_look *look;
    udump_exec *x;
    udump_place place;
    udump_tiles tiles; /* channels of an [h, w, c] activation */
    const udump_sink *sink;
    const char *infotext;
};

static void obey(udump_exec *x, udump_flow flow) {
    if (flow == UDUMP_STOP) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "stopped by a callback");
}

static void show_canvas(const struct row *row, udump_canvas_kind kind) {
    if (udump_exec_stopped(row->x)) return;
    udump_image image = { 0 };
    udump_look *look = row->look;
    udump_status status = kind == UDUMP_CANVAS_AVERAGE
        ? udump_render_average(row->x, &row->tiles, look->average, &look->style, &look->buffer, &image, &row->x->error)
        : udump_render_tiles(row->x, &row->tiles, &look->style, &look->buffer, &image, &row->x->error);
    if (status) {
        row->x->status = status;
        return;
    }
    udump_canvas canvas = { image.picture, row->place, kind, image.columns, image.rows, image.tile_width_px, image.tile_height_px,
        row->infotext };
    obey(row->x, row->sink->canvas(row->sink->user, &canvas));
}

static void show_tensor(const struct row *row) {
    if (udump_exec_stopped(row->x)) return;
    const udump_tiles *t = &row->tiles;
    udump_view view = { .data = (void *)t->data,
        .dtype = t->dtype,
        .rank = 3,
        .shape = { t->count, t->h, t->w },
        .stride = { t->stride_tile, t->stride_y, t->stride_x } };
    obey(row->x, row->sink->tensor(row->sink->user, &row->place, &view));
}

static void show_row(const struct row *row) {
    bool canvases = row->look->canvases && row->sink->canvas;
    if (canvases && row->look->average != UDUMP_AVERAGE_NONE) show_canvas(row, UDUMP_CANVAS_AVERAGE);
    if (canvases) show_canvas(row, UDUMP_CANVAS_FEATURES);
    if (row->look->tensors && row->sink->tensor) show_tensor(row);
}

void udump_look_at(
    udump_look *look, udump_exec *x, const udump_place *place, udump_tensor tensor, const udump_sink *sink, char *const *infotexts) {
    if (!udump_selection_has(&look->selection, place->block_index, place->step)) return;
    for (int32_t i = 0; i < tensor.n; i++) {
        udump_side side = i < look->batch ? UDUMP_SIDE_COND : UDUMP_SIDE_UNCOND;
        if (look->selection.side != UDUMP_SIDE_BOTH && look->selection.side != side) continue;
        struct row row = { .look = look, .x = x, .place = *place, .sink = sink, .infotext = infotexts[i % look->batch] };
        row.place.image = i % look->batch;
        row.place.side = side;
        row.tiles = (udump_tiles){ udump_tensor_data(x, udump_tensor_rows(tensor, i, 1)), tensor.dtype, tensor.c, tensor.h, tensor.w, 1,
            (int64_t)tensor.w * tensor.c, tensor.c };
        show_row(&row);
    }
}
