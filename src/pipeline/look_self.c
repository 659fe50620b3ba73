/* Self-attention: where chosen positions look, what each receives, how widely each looks, the map's principal components; and, in
 * parts, the map itself. */
#include "pipeline/show.h"

enum { PART_BYTES = 16 << 20, MOST_ROWS = 256 }; /* of the whole map at a time */

static udump_attended attended_of(const udump_exec *x, const udump_tapped *tapped, int32_t row) {
    int32_t c = tapped->out.c, tokens = tapped->out.h * tapped->out.w;
    udump_attended a = { .dtype = tapped->q.dtype, .q_stride = 3 * (int64_t)c, .k_stride = 3 * (int64_t)c, .heads = tapped->heads,
        .d = c / tapped->heads, .queries = tokens, .keys = tokens };
    if (x->dry) return a;
    a.q = udump_tensor_data(x, udump_tensor_rows(tapped->q, row, 1));
    a.k = (const char *)a.q + (size_t)c * udump_dtype_bytes(a.dtype);
    return a;
}

struct self {
    udump_look *look;
    udump_exec *x;
    udump_attended a;
    udump_place place;
    int32_t h, w, times;
};

/* Floats in the arena; NULL in a dry pass. */
static float *scratch(udump_exec *x, int32_t n, int32_t h, int32_t w) {
    udump_tensor tensor = udump_tensor_new(x, UDUMP_F32, 1, n, h, w);
    return x->dry || x->status ? NULL : udump_tensor_data(x, tensor);
}

/* The chosen queries, in the arena. */
static int32_t *choose(udump_exec *x, const int32_t *chosen, int32_t count) {
    int32_t *at = (int32_t *)scratch(x, 1, 1, count);
    if (at) x->backend->write(x, at, chosen, (size_t)count * sizeof *chosen);
    return at;
}

static void show(const struct self *self, udump_kind kind, const float *maps, int32_t heads, int32_t n) {
    udump_shown shown = udump_shown_maps(&self->place, maps, heads, n, self->h, self->w);
    shown.place.kind = kind;
    shown.times = self->times;
    shown.rgb = shown.no_average = kind == UDUMP_KIND_SELF_PCA;
    udump_show(self->look, self->x, &shown);
}

static void show_queries(const struct self *self) {
    const udump_look *look = self->look;
    udump_exec *x = self->x;
    int32_t chosen[UDUMP_QUERIES_MOST];
    for (int32_t i = 0; i < look->query_count; i++) {
        int64_t px = look->queries_px[2 * i], py = look->queries_px[2 * i + 1];
        chosen[i] = (int32_t)(py * self->h / look->height_px) * self->w + (int32_t)(px * self->w / look->width_px);
    }
    float *rows = scratch(x, self->a.heads, look->query_count, self->a.keys);
    int32_t *at = choose(x, chosen, look->query_count);
    if (udump_exec_stopped(x)) return;
    x->backend->attention_rows(x, &self->a, look->query_count, at, rows);
    show(self, UDUMP_KIND_SELF_QUERIES, rows, self->a.heads, look->query_count);
}

static void show_summary(const struct self *self) {
    udump_exec *x = self->x;
    float *received = scratch(x, self->a.heads, self->h, self->w), *entropy = scratch(x, self->a.heads, self->h, self->w),
          *scores = scratch(x, UDUMP_COMPONENTS, self->h, self->w);
    if (udump_exec_stopped(x)) return;
    x->backend->attention_summary(x, &self->a, received, entropy);
    show(self, UDUMP_KIND_SELF_RECEIVED, received, self->a.heads, 0);
    show(self, UDUMP_KIND_SELF_ENTROPY, entropy, self->a.heads, 0);
    if (udump_exec_stopped(x)) return;
    x->backend->attention_components(x, &self->a, received, scores);
    show(self, UDUMP_KIND_SELF_PCA, scores, UDUMP_COMPONENTS, 0);
}

static void deliver_part(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data) {
    udump_view part = parcel->view;
    part.data = (void *)data;
    udump_obey(x, look->sink->part(look->sink->user, &parcel->place, &parcel->whole, 1, parcel->first, &part));
}

static void send_part(const struct self *self, const float *rows, int32_t first, int32_t count) {
    int64_t tokens = self->a.keys, heads = self->a.heads;
    udump_parcel parcel = { .deliver = deliver_part, .place = self->place, .first = first };
    parcel.place.kind = UDUMP_KIND_SELF_MAP;
    parcel.whole = (udump_view){ .dtype = UDUMP_F32, .rank = 3, .shape = { heads, tokens, tokens }, .stride = { tokens * tokens, tokens, 1 } };
    parcel.view = (udump_view){ .dtype = UDUMP_F32, .rank = 3, .shape = { heads, count, tokens }, .stride = { count * tokens, tokens, 1 } };
    udump_outbox_send_copy(self->look, self->x, &parcel, rows, (size_t)(heads * count * tokens) * sizeof(float));
}

static void count_map(const struct self *self, int64_t bytes) {
    udump_look_totals *totals = &self->look->totals;
    totals->tensors += self->times;
    totals->tensor_bytes += self->times * bytes;
}

static void show_map(const struct self *self) {
    udump_exec *x = self->x;
    int64_t row_bytes = (int64_t)self->a.heads * self->a.keys * (int64_t)sizeof(float);
    int32_t most = (int32_t)(PART_BYTES / row_bytes), step = most < 1 ? 1 : most < MOST_ROWS ? most : MOST_ROWS, chosen[MOST_ROWS];
    if (step > self->a.queries) step = self->a.queries;
    size_t mark = udump_arena_mark(x);
    float *rows = scratch(x, self->a.heads, step, self->a.keys);
    if (x->dry) {
        x->backend->attention_rows(x, &self->a, step, choose(x, chosen, step), NULL);
        send_part(self, NULL, 0, step);
        count_map(self, row_bytes * self->a.queries);
    }
    for (int32_t first = 0; !x->dry && first < self->a.queries && !udump_exec_stopped(x); first += step) {
        int32_t count = self->a.queries - first < step ? self->a.queries - first : step;
        size_t inner = udump_arena_mark(x);
        for (int32_t i = 0; i < count; i++) chosen[i] = first + i;
        x->backend->attention_rows(x, &self->a, count, choose(x, chosen, count), rows);
        send_part(self, rows, first, count);
        udump_arena_release(x, inner);
    }
    udump_arena_release(x, mark);
}

void udump_look_at_self(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap) {
    int32_t times = udump_look_times(x, &look->attention, tap);
    for (int32_t row = 0; times && row < tapped->out.n; row++) {
        if (!udump_row_wanted(look, row)) continue;
        struct self self = { look, x, attended_of(x, tapped, row), udump_place_of_row(look, tap, row), tapped->out.h, tapped->out.w, times };
        size_t mark = udump_arena_mark(x);
        if (look->query_count) show_queries(&self);
        udump_arena_release(x, mark);
        if (look->kinds & UDUMP_ATTEND_SELF) show_summary(&self);
        udump_arena_release(x, mark);
        if (look->kinds & UDUMP_ATTEND_SELF_MAP && look->tensors && look->sink->part) show_map(&self);
        udump_arena_release(x, mark);
    }
}
