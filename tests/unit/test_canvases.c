/* Whole pictures: the vectors, every layout and dtype, threads, batches of styles, and views that cannot be shown. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/half.h"
#include "render/grid.h"
#include "render/render.h"
#include "unit/render_tiles.h"

static float *floats_of(const json_t *array) {
    size_t count = json_array_size(array);
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

static const char *text_at(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }
static int64_t number_at(const json_t *array, size_t i) { return json_integer_value(json_array_get(array, i)); }

static udump_style style_of(const json_t *entry) {
    static const char *const names[][2] = { { "White/Black", "white-black" }, { "Red/Blue", "red-blue" }, { "Custom", NULL },
        { "Auto [0,1]", "auto01" }, { "Auto [-1,1]", "auto11" }, { "Linear", "linear" }, { "Sigmoid", "sigmoid" } };
    static const char *const averages[] = { "", "sum", "1-norm", "2-norm" };
    udump_style style;
    udump_style_init(&style);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text_at(entry, "method"), names[i][0]) == 0) style.color = names[i][1];
        if (strcmp(text_at(entry, "transform"), names[i][0]) == 0) style.transform = names[i][1];
    }
    for (int i = 0; i < 4; i++)
        if (strcmp(text_at(entry, "average"), averages[i]) == 0) style.average = (udump_average)i;
    return style;
}

static void expect_picture(const udump_picture *picture, const json_t *expected) {
    const json_t *pixels = json_object_get(expected, "pixels"), *size = json_object_get(expected, "size");
    assert_int_equal(picture->width_px, number_at(size, 0));
    assert_int_equal(picture->height_px, number_at(size, 1));
    assert_int_equal(picture->channels, strcmp(text_at(expected, "mode"), "L") == 0 ? 1 : 3);
    assert_int_equal(picture->row_bytes, picture->width_px * picture->channels);
    assert_int_equal(json_array_size(pixels), picture->row_bytes * (size_t)picture->height_px);
    for (size_t i = 0; i < json_array_size(pixels); i++) assert_int_equal(picture->pixels[i], number_at(pixels, i));
}

static void vectors_agree(void **state) {
    (void)state;
    json_t *cases = json_load_file(TEST_DATA "/vectors/canvases.json", 0, NULL), *entry;
    size_t i;
    assert_int_equal(json_array_size(cases), 12);
    json_array_foreach(cases, i, entry) {
        udump_style style = style_of(entry);
        const json_t *tile = json_object_get(entry, "tile"), *canvases = json_object_get(entry, "canvases");
        float *values = floats_of(json_object_get(entry, "values"));
        int64_t w = number_at(tile, 0), h = number_at(tile, 1);
        udump_view view = { values, UDUMP_F32, 3, { json_integer_value(json_object_get(entry, "channels")), h, w }, { h * w, w, 1 } };
        udump_image canvas, average;
        assert_int_equal(udump_render(&view, &style, &canvas, &average, NULL), UDUMP_OK);
        assert_int_equal(json_array_size(canvases), style.average ? 2 : 1);
        if (style.average) expect_picture(&average.picture, json_array_get(canvases, 0));
        else assert_null(average.picture.pixels);
        expect_picture(&canvas.picture, json_array_get(canvases, json_array_size(canvases) - 1));
        assert_int_equal(canvas.tile_width_px, w);
        assert_int_equal(canvas.tile_height_px, h);
        assert_int_equal(canvas.columns * canvas.rows, view.shape[0]);
        udump_image_free(&canvas);
        udump_image_free(&average);
        free(values);
    }
    json_decref(cases);
}

/* ---- values, shapes and styles for the comparisons below */

static float random_value(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed * 0x1p-30f;
}

typedef struct shape {
    int c, h, w;
} shape;

static const shape shapes[] = { { 1, 1, 1 }, { 3, 5, 7 }, { 33, 9, 8 }, { 64, 8, 8 }, { 70, 3, 130 }, { 160, 11, 17 }, { 5, 1, 65 },
    { 300, 2, 1 }, { 2, 70, 1 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const char *const colors[] = { NULL, "white-black", "red-blue", "rgb:v;v*v;1-v", "hsl:v;0.5+v/2;abs(v)" };
static const char *const transforms[] = { NULL, "auto11", "linear:-0.5,1.5", "sigmoid:2,-0.25" };

/* values [c, h, w], laid out in memory as `order` says: order[0] is the slowest of the dimensions 0, 1, 2. */
static udump_view laid_out(const float *values, shape s, const int order[3], int64_t gap, float *memory) {
    int64_t size[3] = { s.c, s.h, s.w }, stride = gap;
    udump_view view = { memory, UDUMP_F32, 3, { s.c, s.h, s.w }, { 0 } };
    for (int k = 2; k >= 0; k--) {
        view.stride[order[k]] = stride;
        stride *= size[order[k]];
    }
    for (int c = 0; c < s.c; c++)
        for (int y = 0; y < s.h; y++)
            for (int x = 0; x < s.w; x++) memory[c * view.stride[0] + y * view.stride[1] + x * view.stride[2]] = *values++;
    return view;
}

static void expect_same(const udump_image *a, const udump_image *b) {
    assert_int_equal(a->picture.width_px, b->picture.width_px);
    assert_int_equal(a->picture.height_px, b->picture.height_px);
    assert_memory_equal(a->picture.pixels, b->picture.pixels, a->picture.row_bytes * (size_t)a->picture.height_px);
}

static void memory_order_changes_nothing(void **state) {
    (void)state;
    static const int orders[][3] = { { 0, 1, 2 }, { 1, 2, 0 }, { 0, 2, 1 }, { 2, 1, 0 }, { 1, 0, 2 }, { 2, 0, 1 } };
    uint32_t seed = 7;
    for (int i = 0; i < SHAPES; i++) {
        int count = shapes[i].c * shapes[i].h * shapes[i].w;
        float *values = malloc((size_t)count * sizeof *values), *memory = calloc((size_t)count * 3, sizeof *memory);
        for (int k = 0; k < count; k++) values[k] = random_value(&seed);
        for (int k = 0; k < 20; k++) {
            udump_style style;
            udump_style_init(&style);
            style.color = colors[k % 5];
            style.transform = transforms[k / 5];
            style.average = (udump_average)(1 + k % 3);
            udump_view plain = { values, UDUMP_F32, 3, { shapes[i].c, shapes[i].h, shapes[i].w },
                { shapes[i].h * shapes[i].w, shapes[i].w, 1 } };
            udump_image canvas, average;
            assert_int_equal(udump_render(&plain, &style, &canvas, &average, NULL), UDUMP_OK);
            for (int o = 0; o < 12; o++) {
                udump_view other = laid_out(values, shapes[i], orders[o / 2], 1 + o % 2 * 2, memory);
                udump_image canvas_2, average_2;
                assert_int_equal(udump_render(&other, &style, &canvas_2, &average_2, NULL), UDUMP_OK);
                expect_same(&canvas, &canvas_2);
                expect_same(&average, &average_2);
                udump_image_free(&canvas_2);
                udump_image_free(&average_2);
            }
            udump_image_free(&canvas);
            udump_image_free(&average);
        }
        free(values);
        free(memory);
    }
}

static void strides_may_run_backwards(void **state) {
    (void)state;
    float values[24], mirrored[24];
    for (int i = 0; i < 24; i++) values[i] = mirrored[23 - i] = (float)(i * i % 17);
    udump_view plain = { values, UDUMP_F32, 3, { 2, 3, 4 }, { 12, 4, 1 } },
               backwards = { mirrored + 23, UDUMP_F32, 3, { 2, 3, 4 }, { -12, -4, -1 } };
    udump_image a, b;
    assert_int_equal(udump_render(&plain, NULL, &a, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_render(&backwards, NULL, &b, NULL, NULL), UDUMP_OK);
    expect_same(&a, &b);
    udump_image_free(&a);
    udump_image_free(&b);
}

static void halves_are_what_they_hold(void **state) {
    (void)state;
    shape s = { 40, 6, 11 };
    enum { COUNT = 40 * 6 * 11 };
    static const int last[3] = { 1, 2, 0 }, first[3] = { 0, 1, 2 };
    float *values = malloc(COUNT * sizeof *values), *memory = malloc(COUNT * sizeof *memory);
    uint16_t *halves = malloc(COUNT * sizeof *halves);
    uint32_t seed = 3;
    for (int dtype = UDUMP_F16; dtype <= UDUMP_BF16; dtype++)
        for (int o = 0; o < 4; o++) {
            for (int i = 0; i < COUNT; i++) {
                uint16_t bits = (uint16_t)(((uint32_t)(random_value(&seed) * 0x1p14f) & 0x8FFFu) | 0x3000u); /* finite in both */
                values[i] = dtype == UDUMP_F16 ? udump_f16_to_f32(bits) : udump_bf16_to_f32(bits);
                if (dtype == UDUMP_F16) assert_true(isfinite(values[i]));
            }
            udump_view full = laid_out(values, s, o % 2 ? last : first, 1, memory), view = full;
            for (int i = 0; i < COUNT; i++) {
                uint32_t bits = udump_f32_to_bits(memory[i]);
                halves[i] = (uint16_t)(bits >> 16);
                if (dtype == UDUMP_F16) halves[i] = (uint16_t)((bits >> 16 & 0x8000u) | ((bits & 0x7FFFFFFFu) - (112u << 23)) >> 13);
            }
            view.data = halves;
            view.dtype = (udump_dtype)dtype;
            udump_style style;
            udump_style_init(&style);
            style.average = UDUMP_AVERAGE_L1;
            style.color = colors[o];
            udump_image images[4];
            assert_int_equal(udump_render(&full, &style, &images[0], &images[1], NULL), UDUMP_OK);
            assert_int_equal(udump_render(&view, &style, &images[2], &images[3], NULL), UDUMP_OK);
            expect_same(&images[0], &images[2]);
            expect_same(&images[1], &images[3]);
            for (int i = 0; i < 4; i++) udump_image_free(&images[i]);
        }
    free(values);
    free(memory);
    free(halves);
}

static void ranges_are_the_extremes(void **state) {
    (void)state;
    enum { C = 150, H = 7, W = 141 };
    float *values = malloc((size_t)C * H * W * sizeof *values), *memory = malloc((size_t)C * H * W * sizeof *memory);
    uint32_t seed = 11;
    for (int i = 0; i < C * H * W; i++) values[i] = random_value(&seed);
    for (int c = 0; c < C; c++) { /* extremes in every place, among them the last; now and then something not finite */
        values[c * H * W + c * 7 % (H * W)] = 100.0f + (float)c;
        values[c * H * W + H * W - 1 - c % 5] = -100.0f - (float)c;
        if (c % 10 == 3) values[c * H * W + 500 + c] = NAN;
        if (c % 10 == 4) values[c * H * W + 500 + c] = INFINITY;
        if (c % 10 == 5) values[c * H * W + 500 + c] = -INFINITY;
    }
    static const int orders[3][3] = { { 0, 1, 2 }, { 1, 2, 0 }, { 0, 2, 1 } };
    for (int o = 0; o < 9; o++) {
        udump_view view = laid_out(values, (shape){ C, H, W }, orders[o % 3], 1, memory);
        udump_tiles tiles;
        udump_tile_range ranges[C];
        assert_int_equal(udump_tiles_of_view(&view, &tiles, NULL), UDUMP_OK);
        udump_exec x = { .backend = udump_backend_reference(), .threads = 1 + o / 3 };
        x.backend->tile_reduce(&x, &tiles, ranges);
        for (int c = 0; c < C; c++) {
            assert_int_equal(ranges[c].finite, c % 10 < 3 || c % 10 > 5);
            if (!ranges[c].finite) continue;
            assert_true(ranges[c].hi == 100.0f + (float)c);
            assert_true(ranges[c].lo == -100.0f - (float)c);
        }
    }
    free(values);
    free(memory);
}

static void averages_are_rounded_once(void **state) {
    (void)state;
    enum { C = 1283, H = 3, W = 29 };
    float *values = malloc((size_t)C * H * W * sizeof *values), average[H * W];
    uint32_t seed = 5;
    for (int i = 0; i < C * H * W; i++) values[i] = random_value(&seed);
    udump_tiles tiles = { values, UDUMP_F32, C, H, W, H * W, W, 1 };
    for (int kind = UDUMP_AVERAGE_SUM; kind <= UDUMP_AVERAGE_L2; kind++)
        for (int threads = 1; threads <= 3; threads++) {
            udump_exec x = { .backend = udump_backend_reference(), .threads = threads };
            x.backend->tile_average(&x, &tiles, (udump_average)kind, average);
            for (int i = 0; i < H * W; i++) {
                double sum = 0;
                for (int c = 0; c < C; c++) {
                    double v = values[c * H * W + i];
                    sum += kind == UDUMP_AVERAGE_SUM ? v : kind == UDUMP_AVERAGE_L1 ? fabs(v) : v * v;
                }
                if (kind == UDUMP_AVERAGE_L2) sum = sqrt(sum);
                assert_true(average[i] == (float)(sum / C));
            }
        }
    free(values);
}

static void threads_change_nothing(void **state) {
    (void)state;
    uint32_t seed = 9;
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    for (int round = 0; round < SHAPES; round++) {
        shape s = shapes[round];
        int count = s.c * s.h * s.w;
        float *values = malloc((size_t)count * sizeof *values);
        for (int k = 0; k < count; k++) values[k] = random_value(&seed);
        udump_tiles tiles = { values, UDUMP_F32, s.c, s.h, s.w, 1, s.w * s.c, s.c };
        for (int k = 0; k < 20; k++) {
            udump_style style;
            udump_style_init(&style);
            style.color = colors[k % 5];
            style.transform = transforms[k / 5];
            render_buffer first = { .pixels = NULL }, second = { .pixels = NULL };
            udump_image a, b;
            udump_exec one = { .backend = udump_backend_reference(), .threads = 1 },
                       many = { .backend = udump_backend_reference(), .threads = 2 + k % 3 };
            assert_int_equal(udump_style_compile(&style, program, &average, NULL), UDUMP_OK);
            assert_int_equal(render_tiles(&one, &tiles, program, &first, &a), UDUMP_OK);
            assert_int_equal(render_tiles(&many, &tiles, program, &second, &b), UDUMP_OK);
            expect_same(&a, &b);
            assert_null(b.owner);
            render_buffer_free(&first);
            render_buffer_free(&second);
        }
        free(values);
    }
    free(program);
}

/* A grid may have more cells than tiles: what no tile covers is black. */
static void empty_cells_are_black(void **state) {
    (void)state;
    float values[5 * 6] = { 0 };
    for (int i = 0; i < 30; i++) values[i] = 1 + (float)(i % 6);
    udump_tiles tiles = { values, UDUMP_F32, 5, 2, 3, 6, 3, 1 };
    for (int channels = 1; channels <= 3; channels += 2) {
        udump_grid grid = { .columns = 4, .rows = 2, .tile_w = 3, .tile_h = 2, .channels = channels };
        udump_style style;
        udump_style_program *program = malloc(sizeof *program);
        udump_average average;
        udump_style_init(&style);
        style.color = channels == 1 ? "white-black" : "rgb:1;1;1";
        style.transform = "linear";
        assert_int_equal(udump_style_compile(&style, program, &average, NULL), UDUMP_OK);
        uint8_t *pixels = malloc((size_t)(15 * 5 * channels));
        memset(pixels, 0x55, (size_t)(15 * 5 * channels));
        udump_exec x = { .backend = udump_backend_reference(), .threads = 1 };
        x.backend->tile_colour(&x, &tiles, NULL, program, &grid, pixels);
        for (int y = 0; y < 5; y++)
            for (int i = 0; i < 15; i++) {
                bool line = y == 2 || i % 4 == 3, tile = y < 2 || i < 3;
                for (int c = 0; c < channels; c++) assert_int_equal(pixels[(y * 15 + i) * channels + c], tile && !line ? 255 : 0);
            }
        free(pixels);
        free(program);
    }
}

static void bad_views_fail(void **state) {
    (void)state;
    float values[8] = { 0 };
    udump_image canvas = { .owner = NULL };
    udump_error error;
    udump_style style;
    const udump_view bad[] = { { values, UDUMP_F32, 2, { 2, 2 }, { 2, 1 } }, { values, UDUMP_F32, 4, { 1, 2, 2, 2 }, { 8, 4, 2, 1 } },
        { values, UDUMP_F32, 3, { 0, 2, 2 }, { 4, 2, 1 } }, { values, UDUMP_F32, 3, { 2, 0, 2 }, { 0, 2, 1 } },
        { values, UDUMP_F32, 3, { -1, 2, 2 }, { 4, 2, 1 } }, { NULL, UDUMP_F32, 3, { 2, 2, 2 }, { 4, 2, 1 } },
        { values, (udump_dtype)7, 3, { 2, 2, 2 }, { 4, 2, 1 } }, { values, UDUMP_F32, 3, { INT64_MAX / 8, 1, 1 }, { 0, 0, 0 } },
        { values, UDUMP_F32, 3, { 1, 1, 2000000 }, { 0, 0, 0 } } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(udump_render(&bad[i], NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_render(&bad[0], NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.found, "[2, 2]");
    assert_int_equal(udump_render(NULL, NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    udump_view good = { values, UDUMP_F32, 3, { 2, 2, 2 }, { 4, 2, 1 } };
    assert_int_equal(udump_render(&good, NULL, NULL, NULL, &error), UDUMP_ERROR_ARGUMENT);
    udump_style_init(&style);
    style.color = "rgb:v;v;w";
    assert_int_equal(udump_render(&good, &style, &canvas, NULL, &error), UDUMP_ERROR_SYNTAX);
    assert_int_equal(error.column, 9);
    assert_null(canvas.picture.pixels);
    udump_image_free(&canvas);
    udump_image_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),
        cmocka_unit_test(memory_order_changes_nothing),
        cmocka_unit_test(strides_may_run_backwards),
        cmocka_unit_test(halves_are_what_they_hold),
        cmocka_unit_test(ranges_are_the_extremes),
        cmocka_unit_test(averages_are_rounded_once),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(empty_cells_are_black),
        cmocka_unit_test(bad_views_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
