#include "pipeline/show.h"

#include "base/status.h"
#include "render/grid.h"

udump_place udump_place_of_row(const udump_look *look, const udump_place *tap, int32_t row) {
    udump_place place = *tap;
    place.image = look->first_image + row % look->images;
    place.variant = row / look->images % look->variants ? UDUMP_VARIANT_ERASED : UDUMP_VARIANT_ENABLED;
    place.side = row / (look->images * look->variants) ? UDUMP_SIDE_UNCOND : UDUMP_SIDE_COND;
    return place;
}

bool udump_row_wanted(const udump_look *look, int32_t row) {
    udump_side side = row / (look->images * look->variants) ? UDUMP_SIDE_UNCOND : UDUMP_SIDE_COND;
    return look->side == UDUMP_SIDE_BOTH || look->side == side;
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
    return look->infotexts[(int32_t)place->variant * look->images + place->image - look->first_image];
}

static void hand_over(udump_look *look, udump_exec *x, const udump_place *place, const udump_image *image, bool average) {
    udump_canvas canvas = { image->picture, *place, average, image->columns, image->rows, image->tile_width_px, image->tile_height_px,
        infotext_of(look, place) };
    udump_obey(x, look->sink->canvas(look->sink->user, &canvas));
}

/* The grid of what is drawn: all tiles, or their average. */
static udump_status plan(const udump_look *look, const udump_shown *shown, const udump_tiles *tiles, udump_grid *grid, udump_error *error) {
    if (shown->rgb) return *grid = (udump_grid){ 1, 1, tiles->w, tiles->h, 3 }, UDUMP_OK;
    return udump_render_plan(tiles, shown->columns < tiles->count ? shown->columns : tiles->count, &look->style, grid, error);
}

static void count_picture(udump_look *look, const udump_grid *grid, int64_t times) {
    look->totals.pictures += times;
    look->totals.picture_bytes += times * udump_grid_width_px(grid) * udump_grid_height_px(grid) * grid->channels;
}

int32_t udump_look_times(const udump_exec *x, const udump_selection *selection, const udump_place *tap) {
    return x->dry ? udump_selection_count(selection, tap->block_index) : udump_selection_has(selection, tap->block_index, tap->step);
}

static void show_canvas(udump_look *look, udump_exec *x, const udump_shown *shown, bool average) {
    udump_tiles tiles = shown->tiles;
    udump_grid grid;
    udump_image image;
    int32_t averages = shown->heads ? tiles.count / shown->heads : 1;
    udump_status status = UDUMP_OK;
    if (average && x->dry) tiles.count = averages;
    else if (average) status = udump_render_average(x, &tiles, averages, look->average, &look->buffer, &x->error);
    if (!status) status = plan(look, shown, &tiles, &grid, &x->error);
    if (!status && x->dry) {
        count_picture(look, &grid, shown->times);
        return;
    }
    if (!status)
        status = shown->rgb ? udump_render_rgb(x, &tiles, &look->buffer, &image, &x->error)
                            : udump_render_tiles(x, &tiles, &grid, &look->style, &look->buffer, &image, &x->error);
    if (status) fail(x, status);
    else hand_over(look, x, &shown->place, &image, average);
}

void udump_show_canvases(udump_look *look, udump_exec *x, const udump_shown *shown) {
    if (!look->canvases || !look->sink->canvas) return;
    if (look->average != UDUMP_AVERAGE_NONE && !shown->no_average && !udump_exec_stopped(x)) show_canvas(look, x, shown, true);
    if (!udump_exec_stopped(x)) show_canvas(look, x, shown, false);
}

void udump_show_tensor(udump_look *look, udump_exec *x, const udump_shown *shown) {
    const udump_tiles *tiles = &shown->tiles;
    if (!look->tensors || !look->sink->tensor || udump_exec_stopped(x)) return;
    if (x->dry) {
        look->totals.tensors += shown->times;
        look->totals.tensor_tiles += (int64_t)shown->times * tiles->count;
        look->totals.tensor_bytes += (int64_t)shown->times * tiles->count * tiles->h * tiles->w * (int64_t)sizeof(float);
        return;
    }
    udump_view view = { .data = (void *)tiles->data, .dtype = tiles->dtype, .rank = shown->rank };
    for (int i = 0; i < shown->rank; i++) {
        view.shape[i] = shown->shape[i];
        view.stride[i] = shown->stride[i];
    }
    udump_obey(x, look->sink->tensor(look->sink->user, &shown->place, &view));
}

void udump_show(udump_look *look, udump_exec *x, const udump_shown *shown) {
    udump_show_canvases(look, x, shown);
    udump_show_tensor(look, x, shown);
}

void udump_show_picture(udump_look *look, udump_exec *x, const udump_place *place, const udump_picture *picture) {
    if (!look->canvases || !look->sink->canvas || udump_exec_stopped(x)) return;
    const udump_grid grid = { 1, 1, picture->width_px, picture->height_px, picture->channels };
    if (x->dry) count_picture(look, &grid, 1);
    else hand_over(look, x, place, &(udump_image){ *picture, 1, 1, picture->width_px, picture->height_px, NULL }, false);
}
