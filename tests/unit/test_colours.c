/* Styles: transforms and colours to bytes, against the vectors and against a plain restatement of the formulas. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "render/render.h"
#include "unit/render_tiles.h"

static float *floats_of(const json_t *array) {
    size_t count = json_array_size(array);
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

static const char *text_at(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }
static double pair_at(const json_t *object, const char *key, size_t i) {
    return json_number_value(json_array_get(json_object_get(object, key), i));
}

/* The vectors' names, as a style's strings. */
static void style_of(const json_t *entry, char *color, char *transform, size_t size_bytes) {
    const char *method = text_at(entry, "method"), *kind = text_at(entry, "transform");
    const json_t *expressions = json_object_get(entry, "expr");
    if (strcmp(method, "White/Black") == 0) snprintf(color, size_bytes, "white-black");
    else if (strcmp(method, "Red/Blue") == 0) snprintf(color, size_bytes, "red-blue");
    else
        snprintf(color, size_bytes, "%s:%s;%s;%s", strcmp(text_at(entry, "space"), "RGB") == 0 ? "rgb" : "hsl",
            json_string_value(json_array_get(expressions, 0)), json_string_value(json_array_get(expressions, 1)),
            json_string_value(json_array_get(expressions, 2)));
    if (strcmp(kind, "Auto [0,1]") == 0) snprintf(transform, size_bytes, "auto01");
    else if (strcmp(kind, "Auto [-1,1]") == 0) snprintf(transform, size_bytes, "auto11");
    else if (strcmp(kind, "Linear") == 0)
        snprintf(transform, size_bytes, "linear:%.17g,%.17g", pair_at(entry, "linear", 0), pair_at(entry, "linear", 1));
    else snprintf(transform, size_bytes, "sigmoid: %.17g , %+.17g", pair_at(entry, "sigmoid", 0), pair_at(entry, "sigmoid", 1));
}

static void vectors_agree(void **state) {
    (void)state;
    json_t *cases = json_load_file(TEST_DATA "/vectors/colours.json", 0, NULL), *entry;
    size_t i;
    assert_int_equal(json_array_size(cases), 60);
    json_array_foreach(cases, i, entry) {
        char color[512], transform[512];
        udump_style style;
        udump_style_init(&style);
        style_of(entry, color, transform, sizeof color);
        style.color = color;
        style.transform = transform;
        float *values = floats_of(json_object_get(entry, "values"));
        const json_t *pixels = json_object_get(entry, "pixels");
        int64_t shape[3] = { 1, json_integer_value(json_array_get(json_object_get(entry, "shape"), 0)),
            json_integer_value(json_array_get(json_object_get(entry, "shape"), 1)) };
        udump_view view = { values, UDUMP_F32, 3, { 1, shape[1], shape[2] }, { 0, shape[2], 1 } };
        udump_image image;
        assert_int_equal(udump_render(&view, &style, &image, NULL, NULL), UDUMP_OK);
        assert_int_equal(image.picture.channels, strcmp(text_at(entry, "format"), "L") == 0 ? 1 : 3);
        assert_int_equal(json_array_size(pixels), shape[1] * shape[2] * image.picture.channels);
        for (size_t k = 0; k < json_array_size(pixels); k++) {
            if (image.picture.pixels[k] != json_integer_value(json_array_get(pixels, k)))
                print_message("%s %s, byte %zu\n", color, transform, k);
            assert_int_equal(image.picture.pixels[k], json_integer_value(json_array_get(pixels, k)));
        }
        udump_image_free(&image);
        free(values);
    }
    json_decref(cases);
}

/* Renders one tile of count pixels. */
static void render_row(const char *color, const char *transform, float *values, int count, uint8_t *bytes) {
    udump_style style;
    udump_style_init(&style);
    style.color = color;
    style.transform = transform;
    udump_view view = { values, UDUMP_F32, 3, { 1, 1, count }, { 0, 0, 1 } };
    udump_image image;
    assert_int_equal(udump_render(&view, &style, &image, NULL, NULL), UDUMP_OK);
    memcpy(bytes, image.picture.pixels, (size_t)count * (size_t)image.picture.channels);
    udump_image_free(&image);
}

static void expect_bytes(const char *color, const char *transform, float *values, int count, const uint8_t *expected, size_t bytes) {
    uint8_t got[256];
    render_row(color, transform, values, count, got);
    assert_memory_equal(got, expected, bytes);
}

static void constant_and_infinite_tiles_are_left_as_they_are(void **state) {
    (void)state;
    float constant[3] = { 0.25f, 0.25f, 0.25f }, infinite[3] = { 0.5f, INFINITY, -2 }, broken[3] = { 0.5f, NAN, 0.75f };
    const char *const transforms[] = { "auto01", "auto11" };
    for (int i = 0; i < 2; i++) {
        expect_bytes("white-black", transforms[i], constant, 3, (const uint8_t[]){ 64, 64, 64 }, 3);
        expect_bytes("white-black", transforms[i], infinite, 3, (const uint8_t[]){ 128, 255, 0 }, 3);
        expect_bytes("white-black", transforms[i], broken, 3, (const uint8_t[]){ 128, 0, 192 }, 3);
        expect_bytes("red-blue", transforms[i], infinite, 3, (const uint8_t[]){ 128, 0, 0, 255, 0, 0, 0, 0, 255 }, 9);
        expect_bytes("red-blue", transforms[i], broken, 3, (const uint8_t[]){ 128, 0, 0, 0, 0, 0, 192, 0, 0 }, 9);
        /* a hue without a value is m1 everywhere, which is 0 for the default colours */
        expect_bytes(NULL, transforms[i], (float[]){ NAN, INFINITY, -INFINITY }, 3, (const uint8_t[]){ 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 9);
    }
    expect_bytes("white-black", "linear", (float[]){ NAN, INFINITY, -INFINITY }, 3, (const uint8_t[]){ 0, 255, 255 }, 3);
    expect_bytes("red-blue", "sigmoid", (float[]){ NAN, INFINITY, -INFINITY }, 3, (const uint8_t[]){ 0, 0, 0, 255, 0, 0, 0, 0, 255 }, 9);
}

static void extremes_of_fp32_stay_defined(void **state) {
    (void)state;
    uint8_t bytes[32];
    float huge[4] = { -3.4e38f, 3.4e38f, 0, 1e38f }; /* hi - lo is infinity: everything finite becomes 0, or NaN */
    render_row("white-black", "auto01", huge, 4, bytes);
    assert_memory_equal(bytes, ((const uint8_t[]){ 0, 0, 0, 0 }), 4);
    render_row("hsl:v;1;0.5", "linear", huge, 4, bytes);
    render_row("hsl:v*1e38;v;v", "auto11", huge, 4, bytes);
    render_row("hsl:1e6;1;0.5", "auto11", (float[]){ 0, 1 }, 2, bytes); /* whole hues are red */
    assert_memory_equal(bytes, ((const uint8_t[]){ 255, 0, 0, 255, 0, 0 }), 6);
    render_row("hsl:1e30;1;0.5", "auto11", (float[]){ 0, 1 }, 2, bytes); /* a third of a turn is lost in rounding */
    assert_memory_equal(bytes, ((const uint8_t[]){ 0, 0, 0, 0, 0, 0 }), 6);
}

static uint8_t expected_byte(float v) {
    float scaled = v * 256;
    return isnan(scaled) || scaled < 0 ? 0 : scaled > 255 ? 255 : (uint8_t)scaled;
}

/* colorsys, as it is written, in fp32 */
static float colorsys_component(float m1, float m2, float hue) {
    float part = fmodf(hue, 1);
    if (part < 0) part += 1;
    if (part < 1.0f / 6) return m1 + (m2 - m1) * part * 6;
    if (part < 0.5f) return m2;
    if (part < 2.0f / 3) return m1 + (m2 - m1) * (2.0f / 3 - part) * 6;
    return m1;
}

static void colorsys_rgb(float h, float s, float l, uint8_t rgb[3]) {
    float m2 = l <= 0.5f ? l * (1 + s) : l + s - l * s, m1 = 2 * l - m2;
    for (int i = 0; i < 3; i++) {
        float third = i == 0 ? 1.0f / 3 : i == 2 ? -1.0f / 3 : 0;
        rgb[i] = expected_byte(s == 0 ? l : colorsys_component(m1, m2, i == 1 ? h : h + third));
    }
}

/* Many values through the special path of the default colours and through the general one. */
static void default_colours_have_the_bytes_of_their_expressions(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    float *values = malloc(COUNT * sizeof *values);
    uint32_t seed = 1;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)((double)(seed >> 8) / (1 << 24) * (i % 3 == 0 ? 1 : i % 3 == 1 ? 40 : 3e7)) * (i % 2 ? -1 : 1);
    }
    memcpy(values, ((float[]){ NAN, INFINITY, -INFINITY, 0, -0.0f, -2, -1, -1e-9f, 1, 1e20f, -3.4e38f, 8388607.5f, 25165822, -25165830 }),
        14 * sizeof *values);
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    assert_int_equal(udump_style_compile(NULL, program, &average, NULL), UDUMP_OK);
    assert_int_equal(program->colour, UDUMP_COLOUR_DEFAULT);
    program->transform.kind = UDUMP_TRANSFORM_NONE;
    udump_tiles tiles = { values, UDUMP_F32, 1, 1, COUNT, 0, 0, 1 };
    udump_exec x = { .backend = udump_backend_reference(), .threads = 1 };
    render_buffer buffers[2] = { { .pixels = NULL }, { .pixels = NULL } };
    udump_image fast, general;
    assert_int_equal(render_tiles(&x, &tiles, program, &buffers[0], &fast), UDUMP_OK);
    program->colour = UDUMP_COLOUR_HSL;
    assert_int_equal(render_tiles(&x, &tiles, program, &buffers[1], &general), UDUMP_OK);
    for (int i = 0; i < COUNT; i++) {
        uint8_t expected[3];
        colorsys_rgb((2 + values[i]) / 3, 1, 0.5f, expected);
        assert_memory_equal(fast.picture.pixels + 3 * i, expected, 3);
        assert_memory_equal(general.picture.pixels + 3 * i, expected, 3);
    }
    render_buffer_free(&buffers[0]);
    render_buffer_free(&buffers[1]);
    free(program);
    free(values);
}

static void hsl_is_colorsys(void **state) {
    (void)state;
    udump_style style;
    udump_style_init(&style);
    style.color = "hsl:v*7.5-2;v*3-1;2-v*2.5";
    style.transform = "auto01";
    enum { COUNT = 4097 };
    float values[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = (float)i / (COUNT - 1);
    udump_view view = { values, UDUMP_F32, 3, { 1, 1, COUNT }, { 0, 0, 1 } };
    udump_image image;
    assert_int_equal(udump_render(&view, &style, &image, NULL, NULL), UDUMP_OK);
    for (int i = 0; i < COUNT; i++) {
        uint8_t expected[3];
        colorsys_rgb(values[i] * 7.5f - 2, values[i] * 3 - 1, 2 - values[i] * 2.5f, expected);
        assert_memory_equal(image.picture.pixels + 3 * i, expected, 3);
    }
    udump_image_free(&image);
}

static void written_out_defaults_are_recognised(void **state) {
    (void)state;
    udump_style style;
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    udump_style_init(&style);
    style.color = "hsl: (2 + v) / 3 ; 1 ; 1/2";
    assert_int_equal(udump_style_compile(&style, program, &average, NULL), UDUMP_OK);
    assert_int_equal(program->colour, UDUMP_COLOUR_DEFAULT);
    style.color = "hsl:(2+v)/3;1.0;0.25";
    assert_int_equal(udump_style_compile(&style, program, &average, NULL), UDUMP_OK);
    assert_int_equal(program->colour, UDUMP_COLOUR_HSL);
    style.color = "rgb:(2+v)/3;1.0;0.5";
    assert_int_equal(udump_style_compile(&style, program, &average, NULL), UDUMP_OK);
    assert_int_equal(program->colour, UDUMP_COLOUR_RGB);
    free(program);
}

static void expect_failure(const char *color, const char *transform, udump_status status, int64_t column, const char *word) {
    udump_style style;
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    udump_error error = { .status = UDUMP_OK };
    udump_style_init(&style);
    style.color = color;
    style.transform = transform;
    assert_int_equal(udump_style_compile(&style, program, &average, &error), status);
    if (error.column != column) print_message("%s %s\n", color ? color : "", transform ? transform : "");
    assert_int_equal(error.column, column);
    assert_string_equal(error.where, color ? "color" : "transform");
    assert_true(strstr(error.what, word) || strstr(error.expected, word));
    assert_int_equal(udump_style_compile(&style, program, &average, NULL), status);
    free(program);
}

static void bad_styles_fail_with_their_place(void **state) {
    (void)state;
    expect_failure("", NULL, UDUMP_ERROR_ARGUMENT, 0, "red-blue");
    expect_failure("White-Black", NULL, UDUMP_ERROR_ARGUMENT, 0, "white-black");
    expect_failure("custom", NULL, UDUMP_ERROR_ARGUMENT, 0, "rgb:R;G;B");
    expect_failure("rgb", NULL, UDUMP_ERROR_ARGUMENT, 0, "rgb:R;G;B");
    expect_failure("rgb:v;v", NULL, UDUMP_ERROR_SYNTAX, 8, "blue");
    expect_failure("hsl:v", NULL, UDUMP_ERROR_SYNTAX, 6, "saturation");
    expect_failure("rgb:v;v;v;v", NULL, UDUMP_ERROR_SYNTAX, 10, "the end");
    expect_failure("rgb:v;;v", NULL, UDUMP_ERROR_SYNTAX, 7, "empty");
    expect_failure("rgb:v;v+;v", NULL, UDUMP_ERROR_SYNTAX, 9, "a value is missing");
    expect_failure("hsl:v;v;v foo", NULL, UDUMP_ERROR_SYNTAX, 11, "an operator");
    expect_failure(NULL, "", UDUMP_ERROR_ARGUMENT, 0, "auto01");
    expect_failure(NULL, "auto", UDUMP_ERROR_ARGUMENT, 0, "auto11");
    expect_failure(NULL, "auto01:1", UDUMP_ERROR_ARGUMENT, 0, "linear:MIN,MAX");
    expect_failure(NULL, "linear:1,1", UDUMP_ERROR_ARGUMENT, 0, "below the maximum");
    expect_failure(NULL, "linear:1,0", UDUMP_ERROR_ARGUMENT, 0, "below the maximum");
    expect_failure(NULL, "linear:1,1.00000000001", UDUMP_ERROR_ARGUMENT, 0, "fp32");
    expect_failure(NULL, "linear:-3e38,3e38", UDUMP_ERROR_ARGUMENT, 0, "fp32");
    expect_failure(NULL, "linear:", UDUMP_ERROR_SYNTAX, 8, "a number");
    expect_failure(NULL, "linear:1", UDUMP_ERROR_SYNTAX, 9, "two numbers");
    expect_failure(NULL, "linear:1,", UDUMP_ERROR_SYNTAX, 10, "a number");
    expect_failure(NULL, "linear:1,2,3", UDUMP_ERROR_SYNTAX, 11, "the end");
    expect_failure(NULL, "linear:nan,2", UDUMP_ERROR_SYNTAX, 8, "a number");
    expect_failure(NULL, "linear:0x1,2", UDUMP_ERROR_SYNTAX, 9, "two numbers");
    expect_failure(NULL, "sigmoid:1e99,0", UDUMP_ERROR_ARGUMENT, 0, "fp32");
    expect_failure(NULL, "sigmoid:--1,0", UDUMP_ERROR_SYNTAX, 10, "a number");
}

static void bad_structs_fail(void **state) {
    (void)state;
    udump_style style;
    udump_style_program *program = malloc(sizeof *program);
    udump_average average;
    udump_error error;
    udump_style_init(&style);
    style.struct_bytes = 0;
    assert_int_equal(udump_style_compile(&style, program, &average, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.what, "not initialised: struct_bytes is 0"));
    udump_style_init(&style);
    style.average = (udump_average)9;
    assert_int_equal(udump_style_compile(&style, program, &average, &error), UDUMP_ERROR_ARGUMENT);
    free(program);
}

static void transforms_have_their_defaults(void **state) {
    (void)state;
    float values[5] = { -2, -0.5f, 0, 0.25f, 3 };
    uint8_t given[15], plain[15];
    const char *const pairs[][2] = { { "linear", "linear:-1,1" }, { "sigmoid", "sigmoid:1,0" }, { NULL, "auto01" } };
    for (int i = 0; i < 3; i++) {
        render_row("red-blue", pairs[i][0], values, 5, plain);
        render_row("red-blue", pairs[i][1], values, 5, given);
        assert_memory_equal(plain, given, 15);
    }
    expect_bytes("red-blue", "linear", values, 5, (const uint8_t[]){ 0, 0, 255, 0, 0, 128, 0, 0, 0, 64, 0, 0, 255, 0, 0 }, 15);
    expect_bytes("white-black", "linear:-4,-2", values, 5, (const uint8_t[]){ 0, 0, 0, 0, 0 }, 5);
    expect_bytes("white-black", "linear:0.25,4.25", values, 5, (const uint8_t[]){ 0, 0, 0, 0, 176 }, 5);
    expect_bytes("white-black", "linear:-4,1", values, 5, (const uint8_t[]){ 128, 32, 0, 16, 64 }, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),
        cmocka_unit_test(constant_and_infinite_tiles_are_left_as_they_are),
        cmocka_unit_test(extremes_of_fp32_stay_defined),
        cmocka_unit_test(default_colours_have_the_bytes_of_their_expressions),
        cmocka_unit_test(hsl_is_colorsys),
        cmocka_unit_test(written_out_defaults_are_recognised),
        cmocka_unit_test(bad_styles_fail_with_their_place),
        cmocka_unit_test(bad_structs_fail),
        cmocka_unit_test(transforms_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
