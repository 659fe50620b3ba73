#include "pipeline/show.h"

#include <string.h>

#include "base/status.h"
#include "render/grid.h"

udump_place udump_place_of_row(const udump_look *look, const udump_place *tap, int32_t row) {
    udump_place place = *tap;
    place.image = look->first_image + row % (look->swept ? look->variants : look->images);
    place.variant = !look->swept && row / look->images % look->variants ? UDUMP_VARIANT_ERASED : UDUMP_VARIANT_ENABLED;
    place.part = row / (look->images * look->variants);
    place.side = place.part < look->parts->most ? UDUMP_SIDE_COND : UDUMP_SIDE_UNCOND;
    if (place.side == UDUMP_SIDE_UNCOND) place.part = 0;
    if (look->is_other) place.variant = UDUMP_VARIANT_OTHER;
    return place;
}

bool udump_row_wanted(const udump_look *look, int32_t row) {
    udump_place place = udump_place_of_row(look, &(udump_place){ 0 }, row);
    return (look->side == UDUMP_SIDE_BOTH || look->side == place.side) && place.part < look->parts->count[place.variant == UDUMP_VARIANT_ERASED];
}

udump_shown udump_shown_maps(const udump_place *place, const float *maps, int32_t heads, int32_t n, int32_t h, int32_t w) {
    int64_t area = (int64_t)h * w, each = n ? n : 1;
    udump_shown shown = { .place = *place, .columns = n, .heads = n ? heads : 0, .rank = n ? 4 : 3,
        .tiles = { maps, UDUMP_F32, heads * (int32_t)each, h, w, area, w, 1 } };
    int64_t shape[4] = { heads, n, h, w }, stride[4] = { each * area, area, w, 1 };
    for (int32_t from = 0, to = 0; from < 4; from++) {
        if (from == 1 && !n) continue;
        shown.shape[to] = shape[from];
        shown.stride[to++] = stride[from];
    }
    return shown;
}

udump_shown udump_shown_channels(const udump_exec *x, const udump_place *place, udump_tensor tensor, int32_t row) {
    int64_t stride_y = (int64_t)tensor.w * tensor.c;
    const void *data = x->dry ? NULL : udump_tensor_data(x, udump_tensor_rows(tensor, row, 1));
    return (udump_shown){ .place = *place, .rank = 3, .tiles = { data, tensor.dtype, tensor.c, tensor.h, tensor.w, 1, stride_y, tensor.c },
        .shape = { tensor.c, tensor.h, tensor.w }, .stride = { 1, stride_y, tensor.c } };
}

void udump_obey(udump_exec *x, udump_flow flow) {
    if (flow == UDUMP_STOP) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "stopped by a callback");
}

static void fail(udump_exec *x, udump_status status) {
    if (status && !x->status) x->status = status; /* the detail is in x->error already */
}

static const char *infotext_of(const udump_look *look, const udump_place *place) {
    return look->infotexts[(place->variant == UDUMP_VARIANT_ERASED ? look->images : 0) + place->image - look->first_image];
}

/* As the sink knows it. */
static udump_place told_place(const udump_look *look, const udump_place *place) {
    udump_place told = *place;
    if (told.context >= 0) told.context += look->first_context;
    return told;
}

static void hand_over(udump_look *look, udump_exec *x, const udump_place *place, const udump_image *image, bool average) {
    udump_canvas canvas = { image->picture, told_place(look, place), average, image->columns, image->rows, image->tile_width_px, image->tile_height_px,
        infotext_of(look, place) };
    udump_obey(x, look->sink->canvas(look->sink->user, &canvas));
}

static void deliver_canvas(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data) {
    udump_image image = parcel->image;
    image.picture.pixels = data;
    hand_over(look, x, &parcel->place, &image, parcel->average);
}

/* The grid of what is drawn: all tiles, or their average. */
static udump_status plan(const udump_look *look, const udump_shown *shown, const udump_tiles *tiles, udump_grid *grid, udump_error *error) {
    if (shown->rgb) return *grid = (udump_grid){ 1, 1, tiles->w, tiles->h, 3 }, UDUMP_OK;
    return udump_render_plan(tiles, shown->columns < tiles->count ? shown->columns : tiles->count, &look->style, grid, error);
}

static void count_picture(udump_look *look, const udump_grid *grid, int64_t times) {
    look->totals.pictures += times;
    look->totals.picture_bytes += times * (int64_t)udump_grid_bytes(grid);
}

int32_t udump_look_times(const udump_exec *x, const udump_selection *selection, const udump_place *tap) {
    return x->dry ? udump_selection_count(selection, tap->block_index) : udump_selection_has(selection, tap->block_index, tap->step);
}

/* Tiles, drawn where the outbox has room for them, and sent. In a dry pass only reserves and counts. */
static void draw(udump_look *look, udump_exec *x, const udump_shown *shown, const udump_tiles *tiles, bool average) {
    udump_grid grid;
    udump_status status = plan(look, shown, tiles, &grid, &x->error);
    if (status) {
        fail(x, status);
        return;
    }
    udump_tensor ranges_tensor = udump_tensor_new(x, UDUMP_F32, 1, 1, tiles->count, sizeof(udump_tile_range) / sizeof(float));
    uint8_t *pixels = udump_outbox_reserve(look, x, udump_grid_bytes(&grid));
    if (x->dry) count_picture(look, &grid, shown->times);
    if (x->dry || udump_exec_stopped(x)) return;
    udump_tile_range *ranges = udump_tensor_data(x, ranges_tensor);
    if (shown->rgb) udump_render_rgb(x, tiles, ranges, pixels);
    else udump_render_tiles(x, tiles, &grid, &look->style, ranges, pixels);
    udump_parcel parcel = { .deliver = deliver_canvas, .place = shown->place, .image = udump_image_of_grid(&grid, NULL), .average = average };
    udump_outbox_send(look, x, &parcel, udump_grid_bytes(&grid));
}

static void draw_average(udump_look *look, udump_exec *x, const udump_shown *shown) {
    udump_tiles tiles = shown->tiles;
    int32_t averages = shown->heads ? tiles.count / shown->heads : 1;
    udump_tensor tensor = udump_tensor_new(x, UDUMP_F32, 1, averages, tiles.h, tiles.w);
    if (x->dry) tiles.count = averages;
    else if (!udump_exec_stopped(x)) tiles = udump_render_average(x, &tiles, averages, look->average, udump_tensor_data(x, tensor));
    draw(look, x, shown, &tiles, true);
}

void udump_show_canvases(udump_look *look, udump_exec *x, const udump_shown *shown) {
    if (!look->canvases || !look->sink->canvas) return;
    size_t mark = udump_arena_mark(x);
    if (look->average != UDUMP_AVERAGE_NONE && !shown->no_average && !udump_exec_stopped(x)) draw_average(look, x, shown);
    if (!udump_exec_stopped(x)) draw(look, x, shown, &shown->tiles, false);
    udump_arena_release(x, mark);
}

static void deliver_tensor(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data) {
    udump_view view = parcel->view;
    view.data = (void *)data;
    udump_place place = told_place(look, &parcel->place);
    udump_obey(x, look->sink->tensor(look->sink->user, &place, &view));
}

/* From the first to the last element, whatever lies between them. */
static size_t span_bytes(const udump_view *view) {
    int64_t last = 0;
    for (int i = 0; i < view->rank; i++) last += (view->shape[i] - 1) * view->stride[i];
    return (size_t)(last + 1) * udump_dtype_bytes(view->dtype);
}

static bool is_in_bin(udump_kind kind) { return kind == UDUMP_KIND_FEATURES || kind == UDUMP_KIND_DIFF || kind == UDUMP_KIND_QK; }

void udump_show_tensor(udump_look *look, udump_exec *x, const udump_shown *shown) {
    const udump_tiles *tiles = &shown->tiles;
    if (!look->tensors || !look->sink->tensor || udump_exec_stopped(x)) return;
    if (x->dry) {
        look->totals.tensors += shown->times;
        if (is_in_bin(shown->place.kind)) look->totals.tensor_tiles += (int64_t)shown->times * tiles->count;
        look->totals.tensor_bytes += (int64_t)shown->times * tiles->count * tiles->h * tiles->w * (int64_t)sizeof(float);
    }
    udump_parcel parcel = { .deliver = deliver_tensor, .place = shown->place, .view = { .dtype = tiles->dtype, .rank = shown->rank } };
    memcpy(parcel.view.shape, shown->shape, sizeof parcel.view.shape);
    memcpy(parcel.view.stride, shown->stride, sizeof parcel.view.stride);
    udump_outbox_send_copy(look, x, &parcel, tiles->data, span_bytes(&parcel.view));
}

void udump_show(udump_look *look, udump_exec *x, const udump_shown *shown) {
    udump_show_canvases(look, x, shown);
    udump_show_tensor(look, x, shown);
}

void udump_show_picture(udump_look *look, udump_exec *x, const udump_place *place, const udump_picture *picture) {
    if (!look->canvases || !look->sink->canvas || udump_exec_stopped(x)) return;
    const udump_grid grid = { 1, 1, picture->width_px, picture->height_px, picture->channels };
    if (x->dry) {
        count_picture(look, &grid, 1);
        return;
    }
    udump_outbox_flush(look, x); /* what came before it is handed over before it */
    if (!udump_exec_stopped(x)) hand_over(look, x, place, &(udump_image){ *picture, 1, 1, picture->width_px, picture->height_px, NULL }, false);
}
