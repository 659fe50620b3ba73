/* Self-attention: where chosen positions look, what each receives, how widely each looks, the map's principal components; and, in
 * parts, the map itself. */
#include "capture/components.h"
#include "pipeline/show.h"

enum { PART_BYTES = 16 << 20 }; /* of the whole map at a time */

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
    if (udump_exec_stopped(x)) return;
    x->backend->attention_rows(x, &self->a, look->query_count, chosen, rows);
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
    udump_components(x, &self->a, received, scores);
    show(self, UDUMP_KIND_SELF_PCA, scores, UDUMP_COMPONENTS, 0);
}

static void hand_part(const struct self *self, const float *rows, int32_t first, int32_t count) {
    int64_t tokens = self->a.keys, heads = self->a.heads;
    udump_place place = self->place;
    place.kind = UDUMP_KIND_SELF_MAP;
    udump_view whole = { .dtype = UDUMP_F32, .rank = 3, .shape = { heads, tokens, tokens }, .stride = { tokens * tokens, tokens, 1 } };
    udump_view part = { .data = (void *)rows, .dtype = UDUMP_F32, .rank = 3, .shape = { heads, count, tokens },
        .stride = { count * tokens, tokens, 1 } };
    udump_obey(self->x, self->look->sink->part(self->look->sink->user, &place, &whole, 1, first, &part));
}

static void show_map(const struct self *self) {
    udump_look *look = self->look;
    udump_exec *x = self->x;
    int64_t row_bytes = (int64_t)self->a.heads * self->a.keys * (int64_t)sizeof(float);
    int32_t most = (int32_t)(PART_BYTES / row_bytes), step = most < 1 ? 1 : most < self->a.queries ? most : self->a.queries;
    float *rows = scratch(x, self->a.heads, step, self->a.keys);
    int32_t *chosen = (int32_t *)scratch(x, 1, 1, step);
    if (x->dry) {
        x->backend->attention_rows(x, &self->a, step, NULL, NULL);
        look->totals.tensors += self->times;
        look->totals.tensor_tiles += (int64_t)self->times * self->a.heads;
        look->totals.tensor_bytes += self->times * row_bytes * self->a.queries;
        return;
    }
    for (int32_t first = 0; first < self->a.queries && !udump_exec_stopped(x); first += step) {
        int32_t count = self->a.queries - first < step ? self->a.queries - first : step;
        for (int32_t i = 0; i < count; i++) chosen[i] = first + i;
        x->backend->attention_rows(x, &self->a, count, chosen, rows);
        hand_part(self, rows, first, count);
    }
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
