/* Pictures of attention: their grids, and that every tile is what udump_render makes of the tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recording.h"

enum { ALL_KINDS = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF, STEP = 1 };

static udump_model *fast, *reference;
static const int32_t queries_px[] = { 5, 5, 60, 3, 30, 40 };

static int load(void **state) {
    (void)state;
    return recording_load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, &fast) ||
           recording_load(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, &reference);
}

static int unload(void **state) {
    (void)state;
    udump_model_release(fast);
    udump_model_release(reference);
    return 0;
}

static udump_generate_options options_of(int32_t width, int32_t height) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a red circle on a blue background";
    o.negative_prompt = "blurry";
    o.width_px = width;
    o.height_px = height;
    o.steps = 1;
    o.sampler = "Euler";
    o.seed = 5;
    o.attention = "";
    o.attention_kinds = ALL_KINDS;
    o.attention_words = "red background circle";
    o.features = "IN01,OUT05,OUT11";
    o.self_queries_px = queries_px;
    o.self_query_count = 3;
    o.want_tensors = 1;
    return o;
}

/* The webui extension's grid: columns and rows of `channels` tiles w x h. */
static void extension_grid(int64_t w, int64_t h, int64_t channels, int64_t *columns, int64_t *rows) {
    int64_t n[2] = { w, h };
    for (; channels % 2 == 0; channels /= 2) n[n[1] < n[0]] *= 2;
    n[n[1] < n[0]] *= channels;
    if (n[0] > n[1]) {
        for (; n[0] > 2 * n[1] && n[0] / w % 2 == 0; n[1] *= 2) n[0] /= 2;
    } else {
        for (; 2 * n[0] < n[1] && n[1] / h % 2 == 0; n[0] *= 2) n[1] /= 2;
    }
    *columns = n[0] / w;
    *rows = n[1] / h;
}

/* Whether each tile of the canvas is one of the tensor: in reading order, [h, w] = the last two dimensions, but turned for K. */
static bool is_turned(udump_kind kind) { return kind == UDUMP_KIND_K; }

static bool in_columns(udump_kind kind) {
    return kind == UDUMP_KIND_QK || kind == UDUMP_KIND_WORDS || kind == UDUMP_KIND_SELF_QUERIES || kind == UDUMP_KIND_HEAT;
}

static void check_grid(const kept_canvas *c, const kept_tensor *t) {
    const int64_t *s = t->shape.shape;
    int32_t rank = t->shape.rank;
    udump_kind kind = t->place.at.kind;
    int64_t w = s[rank - 1], h = s[rank - 2], columns = 1, rows = 1;
    if (kind == UDUMP_KIND_K) w = s[1], h = s[2], rows = s[0];
    else if (in_columns(kind)) columns = s[rank - 3], rows = rank == 4 ? s[0] : 1;
    else if (kind != UDUMP_KIND_SELF_PCA) extension_grid(w, h, s[0], &columns, &rows);
    if (c->average) { /* over heads: one row; over channels: one tile */
        rows = 1;
        if (!in_columns(kind)) columns = 1;
    }
    if (c->columns != columns || c->rows != rows || c->tile_width != w || c->tile_height != h)
        fail_msg("kind %d of %s, average %d: grid %d x %d of %d x %d, expected %d x %d of %d x %d", (int)kind, t->place.block,
            (int)c->average, (int)c->columns, (int)c->rows, (int)c->tile_width, (int)c->tile_height, (int)columns, (int)rows, (int)w,
            (int)h);
    assert_int_equal(c->width, columns * (w + 1) - 1); /* one pixel between tiles */
    assert_int_equal(c->height, rows * (h + 1) - 1);
}

/* The rectangle of tile `index` of the canvas against a rendered picture of that tile alone. */
static void check_tile(const kept_canvas *c, const kept_tensor *t, int64_t index, const udump_picture *expected, int most) {
    int64_t left = index % c->columns * (c->tile_width + 1), top = index / c->columns * (c->tile_height + 1);
    assert_int_equal(expected->width_px, c->tile_width);
    assert_int_equal(expected->height_px, c->tile_height);
    assert_int_equal(expected->channels, c->channels);
    for (int64_t y = 0; y < c->tile_height; y++)
        for (int64_t x = 0; x < c->tile_width * c->channels; x++) {
            int found = c->pixels[(size_t)((top + y) * c->width + left) * (size_t)c->channels + (size_t)x];
            int wanted = expected->pixels[(size_t)y * expected->row_bytes + (size_t)x];
            if (abs(found - wanted) > most)
                fail_msg("kind %d of %s, average %d, tile %d, row %d, byte %d: %d, expected %d", (int)t->place.at.kind, t->place.block,
                    (int)c->average, (int)index, (int)y, (int)x, found, wanted);
        }
}

/* All tiles, each rendered by itself from its part of the tensor. */
static void check_tiles(const kept_canvas *c, const kept_tensor *t, const udump_style *style) {
    const int64_t *s = t->shape.shape;
    int32_t rank = t->shape.rank;
    int64_t count = 1, size = s[rank - 1] * s[rank - 2];
    for (int32_t i = 0; i < rank - 2; i++) count *= s[i];
    assert_true(count <= c->columns * c->rows);
    for (int64_t i = 0; i < count; i++) {
        bool turned = is_turned(t->place.at.kind);
        udump_view tile = { t->values + i * size, UDUMP_F32, 3, { 1, s[rank - 2], s[rank - 1] }, { size, s[rank - 1], 1 } };
        if (turned) tile = (udump_view){ t->values + i * size, UDUMP_F32, 3, { 1, s[2], s[1] }, { size, 1, s[2] } };
        udump_image image = { 0 };
        assert_int_equal(udump_render(&tile, style, &image, NULL, NULL), UDUMP_OK);
        check_tile(c, t, i, &image.picture, 0);
        udump_image_free(&image);
    }
}

/* The average over heads, a tile a column, as udump_render's average over channels of the heads. Sums may round otherwise: a step of colour. */
static void check_average(const kept_canvas *c, const kept_tensor *t, const udump_style *style) {
    const int64_t *s = t->shape.shape;
    int64_t columns = t->shape.rank == 4 ? s[1] : 1, h = s[t->shape.rank - 2], w = s[t->shape.rank - 1];
    for (int64_t i = 0; i < columns; i++) {
        udump_view heads = { t->values + i * h * w, UDUMP_F32, 3, { s[0], h, w }, { columns * h * w, w, 1 } };
        if (is_turned(t->place.at.kind)) heads = (udump_view){ t->values, UDUMP_F32, 3, { s[0], w, h }, { h * w, 1, w } };
        udump_image all = { 0 }, average = { 0 };
        assert_int_equal(udump_render(&heads, style, &all, &average, NULL), UDUMP_OK);
        check_tile(c, t, i, &average.picture, 2);
        udump_image_free(&all);
        udump_image_free(&average);
    }
}

/* One call for the whole tensor gives the canvas of what is drawn like features, byte for byte. */
static void check_whole(const kept_canvas *c, const kept_tensor *t, const udump_style *style) {
    udump_view view = { t->values, UDUMP_F32, 3, { t->shape.shape[0], t->shape.shape[1], t->shape.shape[2] },
        { t->shape.shape[1] * t->shape.shape[2], t->shape.shape[2], 1 } };
    udump_image image = { 0 }, average = { 0 };
    assert_int_equal(udump_render(&view, style, &image, style && style->average ? &average : NULL, NULL), UDUMP_OK);
    const udump_picture *expected = c->average ? &average.picture : &image.picture;
    assert_int_equal(c->width, expected->width_px);
    assert_int_equal(c->height, expected->height_px);
    assert_int_equal(c->channels, expected->channels);
    for (int32_t y = 0; y < c->height; y++) {
        size_t row = (size_t)c->width * (size_t)c->channels;
        if (memcmp(c->pixels + (size_t)y * row, expected->pixels + (size_t)y * expected->row_bytes, row) != 0)
            fail_msg("kind %d of %s, average %d: row %d differs from udump_render's", (int)t->place.at.kind, t->place.block,
                (int)c->average, (int)y);
    }
    udump_image_free(&image);
    udump_image_free(&average);
}

static const kept_tensor *tensor_of(const recording *r, const kept_canvas *c) {
    const udump_place *at = &c->place.at;
    const kept_tensor *t = find_tensor(r, at->kind, c->place.block, at->step, at->side, at->image, at->variant);
    if (!t) fail_msg("kind %d of %s has a picture and no tensor", (int)at->kind, c->place.block);
    return t;
}

static void check_canvases(udump_model *model, const udump_generate_options *o) {
    udump_session *session = recording_session(model);
    recording r = { 0 };
    int seen[UDUMP_KIND_OVERLAY + 1] = { 0 }, averages[UDUMP_KIND_OVERLAY + 1] = { 0 };
    record(session, o, &r);
    for (int32_t i = 0; i < r.canvas_count; i++) {
        const kept_canvas *c = &r.canvases[i];
        udump_kind kind = c->place.at.kind;
        if (kind == UDUMP_KIND_OVERLAY) continue;
        const kept_tensor *t = tensor_of(&r, c);
        check_grid(c, t);
        (c->average ? averages : seen)[kind]++;
        if (kind == UDUMP_KIND_SELF_PCA) continue; /* its colours are the components */
        if (kind == UDUMP_KIND_FEATURES || kind == UDUMP_KIND_VQK) check_whole(c, t, o->style);
        else if (!c->average) check_tiles(c, t, o->style);
        else if (t->shape.rank == 4 || kind == UDUMP_KIND_K) check_average(c, t, o->style);
    }
    assert_int_equal(seen[UDUMP_KIND_FEATURES], 3);
    for (int kind = UDUMP_KIND_K; kind <= UDUMP_KIND_SELF_PCA; kind++) assert_int_equal(seen[kind], 16);
    assert_int_equal(seen[UDUMP_KIND_HEAT], 1);
    static const udump_kind averaged[] = { UDUMP_KIND_K, UDUMP_KIND_QK, UDUMP_KIND_VQK };
    for (size_t i = 0; i < sizeof averaged / sizeof *averaged; i++) assert_int_equal(averages[averaged[i]], o->style && o->style->average ? 16 : 0);
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_default_colours(void **state) {
    (void)state;
    udump_generate_options o = options_of(64, 64);
    check_canvases(reference, &o);
}

static void test_averages_and_white_black(void **state) {
    (void)state;
    udump_generate_options o = options_of(64, 80);
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_SUM, .color = "white-black" };
    check_canvases(reference, &o);
}

static void test_fixed_scale_on_the_fast_device(void **state) {
    (void)state;
    udump_generate_options o = options_of(104, 72);
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_L2, .color = "red-blue", .transform = "linear:-0.5,0.5" };
    check_canvases(fast, &o);
}

/* The three components are the picture's three colours: one RGB tile, and nothing of it is grey where the components differ. */
static void test_components_are_colours(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = options_of(64, 64);
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .color = "white-black" };
    recording r = { 0 };
    record(session, &o, &r);
    const kept_canvas *c = need_canvas(&r, UDUMP_KIND_SELF_PCA, "IN01", STEP, 0);
    const kept_tensor *t = need_tensor(&r, UDUMP_KIND_SELF_PCA, "IN01", STEP);
    assert_int_equal(c->channels, 3);
    size_t n = (size_t)c->width * (size_t)c->height;
    assert_int_equal(t->count, 3 * n);
    for (size_t k = 0; k < 3; k++) /* a colour grows with its component */
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                if (t->values[k * n + i] > t->values[k * n + j]) assert_true(c->pixels[3 * i + k] >= c->pixels[3 * j + k]);
    int colourful = 0;
    for (size_t i = 0; i < n; i++) colourful += c->pixels[3 * i] != c->pixels[3 * i + 1] || c->pixels[3 * i] != c->pixels[3 * i + 2];
    assert_true(colourful > (int)n / 2);
    recording_free(&r);
    udump_session_destroy(session);
}

/* Asking for a picture only gives the same pictures as asking for the tensors too. */
static void test_pictures_alone(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = options_of(64, 64);
    recording both = { 0 }, pictures = { 0 }, tensors = { 0 };
    record(session, &o, &both);
    o.want_tensors = 0;
    record(session, &o, &pictures);
    o.want_tensors = o.no_canvas = 1;
    record(session, &o, &tensors);
    assert_int_equal(pictures.canvas_count, both.canvas_count);
    assert_int_equal(tensors.tensor_count, both.tensor_count);
    for (int32_t i = 0; i < both.canvas_count; i++) assert_same_canvas(&both.canvases[i], &pictures.canvases[i]);
    for (int32_t i = 0; i < both.tensor_count; i++) assert_same_tensor(&both.tensors[i], &tensors.tensors[i]);
    recording_free(&both);
    recording_free(&pictures);
    recording_free(&tensors);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_colours),
        cmocka_unit_test(test_averages_and_white_black),
        cmocka_unit_test(test_fixed_scale_on_the_fast_device),
        cmocka_unit_test(test_components_are_colours),
        cmocka_unit_test(test_pictures_alone),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
