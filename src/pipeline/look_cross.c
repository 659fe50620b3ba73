/* Cross-attention: K, softmax(Q K^T), what it gives, and the words' maps. */
#include "pipeline/show.h"

/* entry: of the conditioning. */
static udump_attended attended_of(
    const udump_look *look, const udump_exec *x, const udump_tapped *tapped, int32_t row, int32_t entry) {
    const udump_conditioning *conditioning = look->conditioning;
    int32_t c = tapped->out.c;
    udump_attended a = { .dtype = tapped->q.dtype, .q_stride = c, .k_stride = 2 * c, .heads = tapped->heads, .d = c / tapped->heads,
        .queries = tapped->out.h * tapped->out.w, .keys = conditioning->count[entry] };
    if (x->dry) return a;
    size_t first = (size_t)conditioning->first[entry] * 2 * (size_t)c * udump_dtype_bytes(tapped->kv->kv.dtype);
    a.q = udump_tensor_data(x, udump_tensor_rows(tapped->q, row, 1));
    a.k = (const char *)udump_tensor_data(x, tapped->kv->kv) + first;
    return a;
}

/* A row for each head; tiles tokens wide and head_dim high; the tensor is [heads, tokens, head_dim]. */
static udump_shown shown_keys(const udump_place *place, const udump_attended *a) {
    return (udump_shown){ .place = *place, .tiles = { a->k, a->dtype, a->heads, a->d, a->keys, a->d, 1, a->k_stride }, .columns = 1,
        .rank = 3, .shape = { a->heads, a->keys, a->d }, .stride = { a->d, a->k_stride, 1 } };
}

static void show_maps(
    udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_attended *a, const udump_place *place, int32_t row, int32_t times) {
    size_t mark = udump_arena_mark(x);
    udump_tensor tensor = udump_tensor_new(x, UDUMP_F32, 1, a->heads, a->keys, a->queries);
    float *maps = x->dry || x->status ? NULL : udump_tensor_data(x, tensor);
    if (!x->status && !x->replaying) x->backend->attention_maps(x, a, maps);
    udump_shown shown = udump_shown_maps(place, maps, a->heads, a->keys, tapped->out.h, tapped->out.w);
    shown.place.kind = UDUMP_KIND_QK;
    shown.times = times;
    if (look->kinds & UDUMP_ATTEND_QK) udump_show(look, x, &shown);
    if (udump_row_words(look, place->block_index, row)) udump_look_at_words(look, x, &shown, row);
    udump_arena_release(x, mark);
}

static void show_row(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *place, int32_t row, int32_t table, int32_t times) {
    int32_t entry = udump_conditioning_entry(look->conditioning, table, place->block_index, row);
    udump_attended a = attended_of(look, x, tapped, row, entry);
    udump_place here = *place;
    here.context = look->conditioning->which[entry];
    if (look->kinds & UDUMP_ATTEND_QK || udump_row_words(look, place->block_index, row)) show_maps(look, x, tapped, &a, &here, row, times);
    if (look->kinds & UDUMP_ATTEND_K) {
        here.kind = UDUMP_KIND_K;
        udump_shown keys = shown_keys(&here, &a);
        keys.times = times;
        udump_show(look, x, &keys);
    }
    if (look->kinds & UDUMP_ATTEND_VQK) {
        here.kind = UDUMP_KIND_VQK;
        udump_shown values = udump_shown_channels(x, &here, tapped->out, row);
        values.times = times;
        udump_show(look, x, &values);
    }
}

static void show_rows(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap, int32_t table, int32_t times) {
    for (int32_t row = 0; times && row < tapped->out.n; row++) {
        if (!udump_row_wanted(look, row)) continue;
        udump_place place = udump_place_of_row(look, tap, row);
        show_row(look, x, tapped, &place, row, table, times);
    }
}

/* At how many evaluations the block is wanted while a table holds. */
static int32_t times_under(const udump_look *look, int32_t block, int32_t table) {
    int32_t times = 0;
    for (int32_t i = 0; i < look->sampling->evaluation_count; i++)
        times += udump_selection_has(&look->attention, block, i + 1) && udump_conditioning_table(look->conditioning, i + 1) == table;
    return times;
}

/* Contexts, and so the maps' sizes, may be others under another table: the dry pass looks under each. */
void udump_look_at_cross(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap) {
    if (!x->dry)
        show_rows(
            look, x, tapped, tap, udump_conditioning_table(look->conditioning, tap->step), udump_look_times(x, &look->attention, tap));
    const udump_outbox_need before = look->outbox.all;
    udump_outbox_need most = before;
    for (int32_t table = 0; x->dry && table < look->conditioning->table_count; table++) {
        look->outbox.all = before; /* an evaluation sees one of them */
        show_rows(look, x, tapped, tap, table, times_under(look, tap->block_index, table));
        if (look->outbox.all.bytes > most.bytes) most.bytes = look->outbox.all.bytes;
        if (look->outbox.all.count > most.count) most.count = look->outbox.all.count;
    }
    if (x->dry) look->outbox.all = most;
}
