/* A block's output: its features, and how they differ from the twin's without layer prompts. */
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
    udump_diff_norms norms = { .l2 = d->l2, .relative_l2 = d->b_l2 > 0 ? d->l2 / d->b_l2 : 0, .max = d->max,
        .cosine = d->a_l2 > 0 && d->b_l2 > 0 ? d->dot / (d->a_l2 * d->b_l2) : 1 };
    udump_obey(x, look->sink->diff(look->sink->user, &parcel->place, &norms));
}

/* Under white-black, where negative values are black, the absolute difference is drawn; tensors keep their sign. */
static void show_difference(udump_look *look, udump_exec *x, udump_tensor out, const udump_place *tap, int32_t row, int32_t times) {
    size_t mark = udump_arena_mark(x);
    udump_place place = udump_place_of_row(look, tap, row);
    place.kind = UDUMP_KIND_DIFF;
    udump_tensor difference = udump_tensor_new(x, UDUMP_F32, 1, out.h, out.w, out.c),
                 norms = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, sizeof(udump_difference) / sizeof(float));
    udump_tensor enabled = udump_tensor_rows(out, row, 1), erased = udump_tensor_rows(out, row + look->images, 1);
    udump_subtract(x, difference, enabled, erased, false, norms);
    udump_parcel parcel = { .deliver = deliver_norms, .place = place };
    if (look->sink->diff) udump_outbox_send_copy(look, x, &parcel, x->dry ? NULL : udump_tensor_data(x, norms), sizeof(udump_difference));
    udump_shown shown = udump_shown_channels(x, &place, difference, 0);
    shown.times = times;
    udump_show_tensor(look, x, &shown);
    if (look->style.colour == UDUMP_COLOUR_WHITE_BLACK) udump_subtract(x, difference, enabled, erased, true, norms);
    udump_show_canvases(look, x, &shown);
    udump_arena_release(x, mark);
}

void udump_look_at_block(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap) {
    int32_t features = udump_look_times(x, &look->features, tap), differences = udump_look_times(x, &look->diff, tap);
    if (features) show_features(look, x, tapped->out, tap, features);
    for (int32_t row = 0; differences && row < tapped->out.n; row++) {
        udump_place place = udump_place_of_row(look, tap, row);
        if (place.variant == UDUMP_VARIANT_ENABLED && udump_row_wanted(look, row))
            show_difference(look, x, tapped->out, tap, row, differences);
    }
}
