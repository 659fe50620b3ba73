/* Pictures as input: PNGs as Pillow opens and resizes them, the encoder against diffusers, variations against torch, img2img runs against
 * the webui's steps on diffusers' U-Net, tiles against the whole. The goldens: tests/parity/make_picture_goldens.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "output/png_read.h"
#include "parity.h"
#include "pipeline/session.h"

enum { SIDE = 64 };

/* make_picture_goldens.py: picture. */
static udump_picture make_picture(int32_t width, int32_t height) {
    uint8_t *pixels = malloc((size_t)width * (size_t)height * 3), *to = pixels;
    assert_non_null(pixels);
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < 3; c++) *to++ = (uint8_t)((x * 7 + y * 3 + c * 50 + x * y % 31) % 256);
    return (udump_picture){ pixels, width, height, 3, (size_t)width * 3 };
}

static void check_pixels(const goldens *g, const char *name, const udump_picture *picture) {
    golden expected = need_golden(g, name);
    assert_int_equal(expected.shape[0], picture->height_px);
    assert_int_equal(expected.shape[1], picture->width_px);
    for (size_t i = 0; i < expected.count; i++)
        if ((float)picture->pixels[i] != expected.values[i])
            fail_msg("%s: byte %zu is %d, not %g", name, i, picture->pixels[i], (double)expected.values[i]);
    free(expected.values);
}

static void pngs_open_as_in_pillow(void **state) {
    (void)state;
    static const char *const names[]
        = { "rgb-text", "rgba", "grey", "grey-alpha", "palette", "palette-transparent", "one-bit", "interlaced", "itxt", "text-behind" };
    goldens g = open_goldens("pictures");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024], name[64];
        udump_image image;
        udump_error error;
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/png/%s", TEST_ROOT, names[i]);
        snprintf(name, sizeof name, "png/%s", names[i]);
        if (udump_png_read(path, &image, &error)) fail_msg("%s: %s", names[i], error.what);
        check_pixels(&g, name, &image.picture);
        udump_image_free(&image);
    }
    close_goldens(&g);
}

static void texts_of_every_kind(void **state) {
    (void)state;
    char many[512] = "";
    for (int i = 0; i < 50; i++) strcat(many, "a ");
    char cats[512] = "";
    for (int i = 0; i < 50; i++) strcat(cats, "\xE7\x8C\xAB ");
    const struct {
        const char *name, *text;
    } cases[] = { { "rgb-text", "x\nSteps: 1, Seed: 2, Size: 8x8" }, { "itxt", "\xE7\x8C\xAB\nSteps: 1, Seed: 2, Size: 8x8" }, { "ztxt", many },
        { "itxt-zip", cats }, { "latin1", "\xC3\xA9" }, { "text-behind", "behind" }, { "interlaced", "laced" }, { "rgb", NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[1024], *text = NULL, *with_pixels = NULL;
        udump_image image;
        udump_error error;
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/png/%s", TEST_ROOT, cases[i].name);
        if (udump_png_load(path, NULL, &text, &error)) fail_msg("%s: %s", cases[i].name, error.what);
        assert_int_equal(udump_png_load(path, &image, &with_pixels, NULL), UDUMP_OK);
        if (!cases[i].text) assert_true(!text && !with_pixels);
        else {
            assert_string_equal(text, cases[i].text);
            assert_string_equal(with_pixels, text);
        }
        udump_image_free(&image);
        free(text);
        free(with_pixels);
    }
}

static void bad_pngs(void **state) {
    (void)state;
    static const struct {
        const char *name;
        udump_status status;
        const char *what;
    } cases[] = { { "cut", UDUMP_ERROR_FORMAT, "a damaged PNG: the file ends too early" },
        { "cut-header", UDUMP_ERROR_FORMAT, "a damaged PNG: the file ends too early" },
        { "signature", UDUMP_ERROR_FORMAT, "a damaged PNG: the file ends too early" },
        { "crc", UDUMP_ERROR_FORMAT, "a damaged PNG: " },
        { "no-pixels", UDUMP_ERROR_FORMAT, "a damaged PNG: " },
        { "zero-width", UDUMP_ERROR_FORMAT, "a damaged PNG: " },
        { "too-wide", UDUMP_ERROR_UNSUPPORTED, "a picture too large" },
        { "../infotext/webui", UDUMP_ERROR_UNSUPPORTED, "not a PNG file" },
        { "missing", UDUMP_ERROR_FILE, "cannot be opened: No such file or directory" },
        { ".", UDUMP_ERROR_UNSUPPORTED, "not a regular file" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[1024];
        udump_image image;
        udump_error error = { .what = "nothing" };
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/png/%s", TEST_ROOT, cases[i].name);
        udump_status status = udump_png_read(path, &image, &error);
        if (status != cases[i].status || strncmp(error.what, cases[i].what, strlen(cases[i].what)) != 0)
            fail_msg("%s: status %d, %s", cases[i].name, (int)status, error.what);
        assert_string_equal(error.where, path);
    }
    udump_parameters *parameters = NULL;
    udump_error error;
    assert_int_equal(udump_parameters_read(TEST_ROOT "/tests/fuzz/corpus/png/rgb", &parameters, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "a picture without parameters: its PNG file has no text of that name");
    assert_int_equal(udump_parameters_read(TEST_ROOT "/tests/fuzz/corpus/png/itxt", &parameters, &error), UDUMP_OK);
    assert_string_equal(udump_parameters_get(parameters, "Prompt"), "\xE7\x8C\xAB");
    udump_parameters_free(parameters);
}

static void resizing_is_pillows(void **state) {
    (void)state;
    static const int32_t sizes[][2] = { { 45, 37 }, { 64, 64 }, { 16, 24 }, { 45, 8 }, { 200, 37 }, { 7, 5 } };
    goldens g = open_goldens("pictures");
    udump_picture picture = make_picture(45, 37);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[64];
        udump_image image;
        snprintf(name, sizeof name, "resize/%dx%d", (int)sizes[i][0], (int)sizes[i][1]);
        assert_int_equal(udump_picture_resize(&picture, sizes[i][0], sizes[i][1], &image, NULL), UDUMP_OK);
        check_pixels(&g, name, &image.picture);
        udump_image_free(&image);
    }
    udump_image image;
    udump_error error;
    assert_int_equal(udump_picture_resize(&picture, 0, 8, &image, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "0 x 8: 1 to 16384 pixels are possible");
    picture.channels = 1;
    assert_int_equal(udump_picture_resize(&picture, 8, 8, &image, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "not an RGB picture");
    free((void *)picture.pixels);
    close_goldens(&g);
}

static void check_turn(const goldens *g, const char *name, const char *other_name, double amount) {
    golden noise = need_golden(g, "turn/noise"), other = need_golden(g, other_name), expected = need_golden(g, name);
    udump_noise_turn(noise.values, other.values, 4, 5, 3, amount);
    double error = relative_error(noise.values, expected.values, expected.count);
    if (!(error < 2e-6)) fail_msg("%s: relative error %.3g", name, error);
    free(noise.values);
    free(other.values);
    free(expected.values);
}

static void variations_are_torchs(void **state) {
    (void)state;
    goldens g = open_goldens("pictures");
    check_turn(&g, "turn/0.05", "turn/other", 0.05);
    check_turn(&g, "turn/0.5", "turn/other", 0.5);
    check_turn(&g, "turn/1.0", "turn/other", 1.0);
    check_turn(&g, "turn/same", "turn/near", 0.25);
    float one[] = { 1, -2 }, other[] = { 3, 4 }; /* columns of one value have no angle: a straight line */
    udump_noise_turn(one, other, 1, 1, 2, 0.5);
    assert_true(one[0] == 2 && one[1] == 1);
    close_goldens(&g);
}

static void check_encoding(const goldens *g, udump_session *session, int32_t height, int32_t width) {
    char name[64];
    udump_error error;
    udump_picture picture = make_picture(width, height);
    udump_generate_options o = parity_options(width, height, 1);
    o.init = &picture;
    if (udump_begin(session, &o, NULL, NULL, &error)) fail_msg("%s: %s", error.where, error.what);
    snprintf(name, sizeof name, "encode/%dx%d", (int)height, (int)width);
    golden moments = need_golden(g, name);
    size_t pixels = moments.count / 8;
    float *expected = malloc(4 * pixels * sizeof *expected);
    assert_non_null(expected);
    to_channels_last(expected, moments.values, 4, pixels);
    for (size_t i = 0; i < 4 * pixels; i++) expected[i] *= (float)session->model->vae.scaling_factor;
    double off = relative_error(session->run.init, expected, 4 * pixels);
    print_message("%s: relative error %.3g\n", name, off);
    assert_true(off <= PARITY_FP32);
    udump_end(session, 0, NULL);
    free(expected);
    free(moments.values);
    free((void *)picture.pixels);
}

static void check_encodings(udump_device device) {
    goldens g = open_goldens("pictures");
    udump_model *model = load_demo(device, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    check_encoding(&g, session, 64, 64);
    check_encoding(&g, session, 120, 136);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

static void encodings_are_diffusers(void **state) {
    (void)state;
    check_encodings(UDUMP_DEVICE_AUTO);
}

static void encodings_on_the_reference(void **state) {
    (void)state;
    check_encodings(UDUMP_DEVICE_REFERENCE);
}

/* Runs all steps and leaves the run open. */
static void run_from(udump_session *session, const udump_generate_options *o) {
    udump_error error;
    int32_t remaining = 1;
    if (udump_begin(session, o, NULL, NULL, &error)) fail_msg("%s: %s", error.where, error.what);
    while (remaining > 0) assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
}

static void check_run(const goldens *g, udump_session *session, const char *sampler, int32_t steps) {
    char name[64];
    udump_view view;
    udump_picture picture = make_picture(SIDE, SIDE);
    golden noise = need_golden(g, "img2img/noise");
    udump_view given = udump_view_make(noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, 8, 8 });
    udump_generate_options o = parity_options(SIDE, SIDE, 5);
    double strength = 0.7;
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.init = &picture;
    o.strength = &strength;
    o.noise = &given;
    o.sampler = sampler;
    run_from(session, &o);
    assert_int_equal(session->run.sampling.steps, steps);
    snprintf(name, sizeof name, "img2img/%s", sampler);
    golden expected = need_golden(g, name);
    float last[256];
    to_channels_last(last, expected.values, 4, 64);
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    double off = relative_error(view.data, last, 256);
    print_message("%s: relative error %.3g\n", name, off);
    assert_true(off <= PARITY_FP32);
    udump_end(session, 0, NULL);
    free(expected.values);
    free(noise.values);
    free((void *)picture.pixels);
}

static void runs_from_a_picture(void **state) {
    (void)state;
    goldens g = open_goldens("pictures");
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    check_run(&g, session, "Euler", 4);
    check_run(&g, session, "DDIM", 2);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

static void check_refused(udump_session *session, const udump_generate_options *o, const char *where, const char *what) {
    udump_error error = { .what = "nothing" };
    udump_status status = udump_generate(session, o, NULL, &error);
    assert_int_equal(status, UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, where);
    assert_string_equal(error.what, what);
}

static void what_cannot_be(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    udump_session *session;
    udump_picture picture = make_picture(SIDE, SIDE);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    udump_generate_options o = parity_options(SIDE, SIDE, 5);
    double strength = 1.5;
    o.strength = &strength;
    check_refused(session, &o, "strength", "there is no picture to begin from");
    o.init = &picture;
    check_refused(session, &o, "strength", "1.5 is not from 0 to 1");
    strength = -0.1;
    check_refused(session, &o, "strength", "-0.1 is not from 0 to 1");
    strength = NAN;
    check_refused(session, &o, "strength", "nan is not from 0 to 1");
    o.strength = NULL;
    o.width_px = 72;
    check_refused(session, &o, "init", "the picture to begin from has another size");
    o.width_px = SIDE;
    picture.row_bytes = 1;
    check_refused(session, &o, "init", "a picture without pixels, or whose rows overlap");
    picture.row_bytes = SIDE * 3;
    session->model->vae.encoder.present = false;
    udump_error error;
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "the checkpoint's autoencoder has no encoder: it cannot begin from a picture");
    o.init = NULL;
    o.variation_strength = 1.01;
    check_refused(session, &o, "variation strength", "1.01 is not from 0 to 1");
    o.variation_strength = 0;
    o.vae_tile_px = 120;
    check_refused(session, &o, "vae tile", "not a size for a tile");
    o.vae_tile_px = 132;
    check_refused(session, &o, "vae tile", "not a size for a tile");
    o.vae_tile_px = 0;
    o.batch_count = -1;
    check_refused(session, &o, "batch count", "-1 batches of 1 images: 1000 images are possible");
    o.batch_count = 501;
    o.batch_size = 2;
    check_refused(session, &o, "batch count", "501 batches of 2 images: 1000 images are possible");
    free((void *)picture.pixels);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* What the tiles are compared with: a picture as a whole. */
typedef struct decoded {
    float *values;
    size_t count;
} decoded;

static decoded decode_with(udump_session *session, int32_t tile_px, int32_t width, int32_t height) {
    udump_generate_options o = parity_options(width, height, 2);
    o.prompt = PARITY_PROMPT;
    o.seed = 3;
    o.vae_tile_px = tile_px;
    run_from(session, &o);
    udump_decode_latent(session, 0);
    assert_int_equal(udump_exec_status(&session->x, NULL), UDUMP_OK);
    decoded d = { .count = (size_t)width * (size_t)height * 3 };
    d.values = malloc(d.count * sizeof *d.values);
    assert_non_null(d.values);
    memcpy(d.values, session->run.decoded, d.count * sizeof *d.values);
    udump_end(session, 0, NULL);
    return d;
}

static double mean_difference(const decoded *a, const decoded *b) {
    double sum = 0;
    for (size_t i = 0; i < a->count; i++) sum += fabs((double)a->values[i] - (double)b->values[i]);
    return sum / (double)a->count;
}

/* Mean difference of the values to both sides of a line between columns x - 1 and x. */
static double step_at(const decoded *d, int32_t width, int32_t x) {
    double sum = 0;
    size_t row = (size_t)width * 3, rows = d->count / row;
    for (size_t y = 0; y < rows; y++)
        for (size_t c = 0; c < 3; c++) {
            const float *at = d->values + y * row + (size_t)x * 3 + c;
            sum += fabs((double)at[0] - (double)at[-3]);
        }
    return sum / (double)(rows * 3);
}

/* Group norms see a tile alone, so that tiles are near the whole and not equal to it. What they change is smooth: where a tile begins or
 * ends (tiles of 128 every 96 pixels) it has no step beyond what it has from pixel to pixel elsewhere. */
static void tiles_are_near_the_whole(void **state) {
    (void)state;
    enum { WIDTH = 320, HEIGHT = 192 };
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    decoded whole = decode_with(session, 0, WIDTH, HEIGHT), tiled = decode_with(session, 128, WIDTH, HEIGHT),
            one = decode_with(session, 512, WIDTH, HEIGHT);
    assert_memory_equal(whole.values, one.values, whole.count * sizeof *whole.values); /* a tile as large as the picture */
    double difference = mean_difference(&whole, &tiled), contrast = 0, mean = 0;
    for (size_t i = 0; i < whole.count; i++) mean += (double)whole.values[i] / (double)whole.count;
    for (size_t i = 0; i < whole.count; i++) contrast += fabs((double)whole.values[i] - mean) / (double)whole.count;
    print_message("tiles: mean difference %.4f of contrast %.4f\n", difference, contrast);
    assert_true(difference > 0 && difference < 0.25 * contrast);
    for (size_t i = 0; i < whole.count; i++) tiled.values[i] -= whole.values[i];
    double usual = 0;
    for (int32_t x = 1; x < WIDTH; x++) usual = fmax(usual, x % 32 ? step_at(&tiled, WIDTH, x) : 0);
    static const int32_t borders[] = { 96, 128, 192, 224 };
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++) {
        double step = step_at(&tiled, WIDTH, borders[i]);
        print_message("tiles: step at %d %.5f, elsewhere at most %.5f\n", (int)borders[i], step, usual);
        assert_true(step <= usual);
    }
    free(whole.values);
    free(tiled.values);
    free(one.values);
    udump_session_destroy(session);
    udump_model_release(model);
}

static size_t arena_of(udump_model *model, int32_t tile_px, const udump_picture *picture) {
    udump_session *session;
    udump_generate_options o = parity_options(picture->width_px, picture->height_px, 1);
    o.init = picture;
    o.vae_tile_px = tile_px;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(session, &o, NULL, NULL, NULL), UDUMP_OK);
    size_t bytes = session->x.arena_bytes;
    udump_session_destroy(session);
    return bytes;
}

/* What the autoencoder takes is bounded by the tile; what grows on is the U-Net's. */
static void tiles_bound_memory(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_picture picture = make_picture(768, 512);
    size_t whole = arena_of(model, 0, &picture), tiled = arena_of(model, 128, &picture);
    print_message("arena of 768x512: whole %zu, in tiles %zu bytes\n", whole, tiled);
    assert_true(tiled < whole / 2);
    free((void *)picture.pixels);
    udump_model_release(model);
}

/* Encoding in tiles: near the whole too. */
static void encodings_in_tiles(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    udump_picture picture = make_picture(320, 192);
    float *latents[2];
    size_t count = 40 * 24 * 4;
    for (int i = 0; i < 2; i++) {
        udump_generate_options o = parity_options(320, 192, 1);
        o.init = &picture;
        o.vae_tile_px = i ? 128 : 0;
        assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
        assert_int_equal(udump_begin(session, &o, NULL, NULL, NULL), UDUMP_OK);
        latents[i] = malloc(count * sizeof(float));
        assert_non_null(latents[i]);
        memcpy(latents[i], session->run.init, count * sizeof(float));
        udump_session_destroy(session);
    }
    double difference = 0, magnitude = 0;
    for (size_t i = 0; i < count; i++) {
        difference += fabs((double)latents[0][i] - (double)latents[1][i]);
        magnitude += fabs((double)latents[0][i]);
    }
    print_message("encoded in tiles: mean difference %.4f of the mean magnitude\n", difference / magnitude);
    assert_true(difference > 0 && difference < 0.25 * magnitude);
    free(latents[0]);
    free(latents[1]);
    free((void *)picture.pixels);
    udump_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pngs_open_as_in_pillow), cmocka_unit_test(texts_of_every_kind), cmocka_unit_test(bad_pngs),
        cmocka_unit_test(resizing_is_pillows), cmocka_unit_test(variations_are_torchs), cmocka_unit_test(encodings_are_diffusers),
        cmocka_unit_test(encodings_on_the_reference), cmocka_unit_test(runs_from_a_picture), cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(tiles_are_near_the_whole), cmocka_unit_test(tiles_bound_memory), cmocka_unit_test(encodings_in_tiles),
    };
    return cmocka_run_group_tests_name("pictures", tests, NULL, NULL);
}
