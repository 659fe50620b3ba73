/* A block's output: its features, and how they differ from the twin's without layer prompts, or from the other model's. */
#include <stdlib.h>

#include "pipeline/show.h"

static void show_features(udump_look *look, udump_exec *x, udump_tensor out, const udump_place *tap, int32_t times) {
    for (int32_t row = 0; row < out.n; row++) {
        if (!udump_row_wanted(look, row)) continue;
        udump_place place = udump_place_of_row(look, tap, row);
        udump_shown shown = udump_shown_channels(x, &place, out, row);
        shown.times = times;
        udump_show(look, x, &shown);
    }
}

static void deliver_norms(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data) {
    const udump_difference *d = data;
    udump_diff_norms norms = { .l2 = d->l2,
        .relative_l2 = d->b_l2 > 0 ? d->l2 / d->b_l2 : 0,
        .max = d->max,
        .cosine = d->a_l2 > 0 && d->b_l2 > 0 ? d->dot / (d->a_l2 * d->b_l2) : d->a_l2 == d->b_l2 };
    udump_obey(x, look->sink->diff(look->sink->user, &parcel->place, &norms));
}

/* Under white-black, where negative values are black, the absolute difference is drawn; tensors keep their sign. */
static void show_difference(udump_look *look, udump_exec *x, udump_tensor with, udump_tensor without, const udump_place *place, int32_t times) {
    size_t mark = udump_arena_mark(x);
    udump_tensor difference = udump_tensor_new(x, UDUMP_F32, 1, with.h, with.w, with.c),
                 norms = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, sizeof(udump_difference) / sizeof(float));
    udump_subtract(x, difference, with, without, false, norms);
    udump_parcel parcel = { .deliver = deliver_norms, .place = *place };
    if (look->sink->diff) udump_outbox_send_copy(look, x, &parcel, x->dry ? NULL : udump_tensor_data(x, norms), sizeof(udump_difference));
    udump_shown shown = udump_shown_channels(x, place, difference, 0);
    shown.times = times;
    udump_show_tensor(look, x, &shown);
    if (look->style.colour == UDUMP_COLOUR_WHITE_BLACK) udump_subtract(x, difference, with, without, true, norms);
    udump_show_canvases(look, x, &shown);
    udump_arena_release(x, mark);
}

/* For the other model, which comes to this block later. */
static void keep_output(udump_look *look, udump_exec *x, udump_tensor row_out, const udump_place *place, int32_t row) {
    if (x->dry || udump_exec_stopped(x)) return;
    float *values = udump_kept_add(look->kept, place->block_index, place->step, row, udump_tensor_count(row_out));
    if (values) udump_download(x, values, row_out);
    else udump_exec_fail(x, UDUMP_ERROR_MEMORY, "diff", "out of memory");
}

/* What the first model made here, minus what this one did. */
static void show_models_difference(udump_look *look, udump_exec *x, udump_tensor row_out, udump_place *place, int32_t row, int32_t times) {
    size_t mark = udump_arena_mark(x);
    udump_tensor with = udump_tensor_new(x, UDUMP_F32, 1, row_out.h, row_out.w, row_out.c);
    float *values = x->dry ? NULL : udump_kept_take(look->kept, place->block_index, place->step, row);
    place->kind = UDUMP_KIND_DIFF;
    if (values) udump_upload(x, with, values);
    if (values || x->dry) show_difference(look, x, with, row_out, place, times);
    free(values);
    udump_arena_release(x, mark);
}

static void show_twins_difference(udump_look *look, udump_exec *x, udump_tensor out, udump_place *place, int32_t row, int32_t times) {
    place->kind = UDUMP_KIND_DIFF;
    show_difference(look, x, udump_tensor_rows(out, row, 1), udump_tensor_rows(out, row + look->images, 1), place, times);
}

/* A sweep's batch: minus the first image's. */
static void show_swept_difference(udump_look *look, udump_exec *x, udump_tensor out, udump_place *place, int32_t row, int32_t times) {
    place->kind = UDUMP_KIND_DIFF;
    if (place->image) show_difference(look, x, udump_tensor_rows(out, row, 1), udump_tensor_rows(out, row - place->image, 1), place, times);
}

void udump_look_at_block(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap) {
    int32_t features = udump_look_times(x, &look->features, tap), differences = udump_look_times(x, &look->diff, tap);
    if (features) show_features(look, x, tapped->out, tap, features);
    for (int32_t row = 0; differences && row < tapped->out.n; row++) {
        udump_place place = udump_place_of_row(look, tap, row);
        if (place.variant == UDUMP_VARIANT_ERASED || !udump_row_wanted(look, row)) continue;
        if (look->swept) show_swept_difference(look, x, tapped->out, &place, row, differences);
        else if (!look->kept) show_twins_difference(look, x, tapped->out, &place, row, differences);
        else if (look->is_other) show_models_difference(look, x, udump_tensor_rows(tapped->out, row, 1), &place, row, differences);
        else keep_output(look, x, udump_tensor_rows(tapped->out, row, 1), &place, row);
    }
}
