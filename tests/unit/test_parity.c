/* The demo model against diffusers: text encodings, every block's output at every step, latents, the decoded picture. The goldens
 * (tests/parity/goldens) were computed by diffusers in fp32: see tests/parity/make_goldens.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/session.h"
#include "weights/safetensors.h"

/* The project's promise for fp32: largest error over the tensor's largest magnitude. What is seen is about 5e-6, from sums in another order. */
static const double FP32_RELATIVE = 1e-4;
/* The promise for bf16: 8 bits of mantissa give each value an error of 2^-9; the direction of a whole block's output hardly turns. */
static const double BF16_COSINE = 0.999;

static const char prompt[] = "a red circle on a blue background", negative[] = "blurry";

/* A golden file, held open. */
typedef struct goldens {
    udump_weight_file file;
    udump_safetensors header;
} goldens;

static goldens open_goldens(const char *name) {
    goldens g;
    char path[1024];
    udump_error error;
    snprintf(path, sizeof path, "%s/tests/parity/goldens/%s.safetensors", TEST_ROOT, name);
    if (udump_weight_file_open(path, &g.file, &error) || udump_safetensors_read(&g.file, &g.header, &error))
        fail_msg("%s: %s", error.where, error.what);
    return g;
}

static void close_goldens(goldens *g) {
    udump_safetensors_free(&g->header);
    udump_weight_file_close(&g->file);
}

static const udump_safetensors_entry *find_golden(const goldens *g, const char *name) {
    for (int64_t i = 0; i < g->header.count; i++)
        if (strcmp(g->header.entries[i].name, name) == 0) return &g->header.entries[i];
    return NULL;
}

/* fp32, to be freed; *count its elements. NULL if the file has no such tensor. */
static float *read_golden(const goldens *g, const char *name, size_t *count) {
    const udump_safetensors_entry *entry = find_golden(g, name);
    if (!entry) return NULL;
    float *values = malloc(entry->size_bytes);
    assert_non_null(values);
    assert_int_equal(entry->dtype, UDUMP_F32);
    assert_int_equal(udump_weight_file_read(&g->file, entry->offset_bytes, values, entry->size_bytes, name, NULL), UDUMP_OK);
    *count = entry->size_bytes / sizeof *values;
    return values;
}

static double relative_error(const float *found, const float *expected, size_t count) {
    double most = 0, error = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(found[i])) return INFINITY;
        most = fmax(most, fabs((double)expected[i]));
        error = fmax(error, fabs((double)found[i] - (double)expected[i]));
    }
    return error / most;
}

static double cosine(const float *a, const float *b, size_t count) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) dot += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
    return dot / sqrt(aa * bb);
}

/* One parity run, and what its callbacks compare with. */
typedef struct parity {
    goldens g;
    udump_session *session;
    bool bf16;
    int compared;
    double worst; /* the largest error; for bf16 the least cosine */
} parity;

static void judge(parity *p, const char *name, const float *found, const float *expected, size_t count) {
    p->compared++;
    if (p->bf16) {
        double value = cosine(found, expected, count);
        if (!(value >= BF16_COSINE)) fail_msg("%s: cosine %.6f", name, value);
        p->worst = fmin(p->worst, value);
    } else {
        double value = relative_error(found, expected, count);
        if (!(value <= FP32_RELATIVE)) fail_msg("%s: relative error %.3g", name, value);
        p->worst = fmax(p->worst, value);
    }
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *view) {
    parity *p = user;
    char name[64];
    size_t count, half = (size_t)udump_view_count(view);
    snprintf(name, sizeof name, "step%d/%s", (int)place->step, place->block);
    float *expected = read_golden(&p->g, name, &count); /* [cond and uncond, c, h, w] */
    if (!expected) return UDUMP_CONTINUE;
    if (count != 2 * half) fail_msg("%s: %zu values, expected %zu", name, 2 * half, count);
    float *found = malloc(half * sizeof *found);
    assert_non_null(found);
    udump_view_read_f32(view, found);
    judge(p, name, found, expected + (place->side == UDUMP_SIDE_UNCOND ? half : 0), half);
    free(found);
    free(expected);
    return UDUMP_CONTINUE;
}

/* [c, h, w] to [h, w, c] */
static void to_channels_last(float *out, const float *in, size_t c, size_t pixels) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < c; k++) out[i * c + k] = in[k * pixels + i];
}

static udump_flow on_image(void *user, int32_t image, const udump_picture *picture, const char *infotext) {
    parity *p = user;
    (void)image, (void)infotext;
    size_t count, pixels = (size_t)picture->width_px * (size_t)picture->height_px;
    float *expected = read_golden(&p->g, "image", &count), *last = malloc(3 * pixels * sizeof *last);
    assert_true(expected && last && count == 3 * pixels);
    to_channels_last(last, expected, 3, pixels);
    judge(p, "image", p->session->run.decoded, last, count);
    free(expected);
    free(last);
    return UDUMP_CONTINUE;
}

static void compare_latent(parity *p, int step) {
    udump_view view;
    char name[64];
    size_t count;
    snprintf(name, sizeof name, "step%d/latent", step);
    float *expected = read_golden(&p->g, name, &count), *last = malloc(count * sizeof *last);
    assert_true(expected && last);
    assert_int_equal(udump_latent_view(p->session, &view, NULL), UDUMP_OK);
    to_channels_last(last, expected, 4, count / 4);
    /* bf16 is promised for each evaluation by itself: guidance and a long step multiply its error in the latent, so the next gets fp32's. */
    if (p->bf16) memcpy(view.data, last, count * sizeof *last);
    else judge(p, name, view.data, last, count);
    free(expected);
    free(last);
}

static void run_parity(udump_device device, udump_precision precision, int height, int width, int steps, int least_compared) {
    char file[32];
    snprintf(file, sizeof file, "%dx%d", height, width);
    parity p = { .g = open_goldens(file), .bf16 = precision == UDUMP_PRECISION_BF16, .worst = precision == UDUMP_PRECISION_BF16 ? 1 : 0 };
    udump_model_options model_options;
    udump_generate_options o;
    udump_model_options_init(&model_options);
    udump_generate_options_init(&o);
    model_options.device = device;
    model_options.precision = precision;
    size_t count;
    float *noise = read_golden(&p.g, "noise", &count);
    assert_non_null(noise);
    udump_view view = udump_view_make(noise, UDUMP_F32, 4, (int64_t[]){ 1, 4, height / 8, width / 8 });
    o.prompt = prompt;
    o.negative_prompt = negative;
    o.width_px = width;
    o.height_px = height;
    o.steps = steps;
    o.sampler = "Euler";
    o.schedule = "Uniform";
    o.cfg = 7;
    o.noise = &view;
    o.features = "";
    o.side = UDUMP_SIDE_BOTH;
    o.want_tensors = o.no_canvas = 1;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &p, .tensor = on_tensor, .image = on_image };
    udump_model *model;
    udump_error error;
    if (udump_model_load(TEST_ROOT "/models/demo", &model_options, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_int_equal(udump_session_create(model, &p.session, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(p.session, &o, NULL, &sink, NULL), UDUMP_OK);
    for (int step = 1; step <= steps; step++) {
        assert_int_equal(udump_step(p.session, NULL, NULL), UDUMP_OK);
        compare_latent(&p, step);
    }
    assert_int_equal(udump_end(p.session, 1, NULL), UDUMP_OK);
    print_message("%s %s: %d tensors, %s %.6g\n", file, p.bf16 ? "bf16" : "fp32", p.compared,
        p.bf16 ? "least cosine" : "largest relative error", p.worst);
    assert_true(p.compared >= least_compared);
    udump_session_destroy(p.session);
    udump_model_release(model);
    free(noise);
    close_goldens(&p.g);
}

/* Both rows of 25 blocks at 3 steps and the picture; for the odd sizes of 8 blocks at the last step. Latents come on top in fp32. */
enum { ALL = 25 * 2 * 3 + 1, SOME = 8 * 2 + 1 };

static void test_text_encodings(void **state) {
    (void)state;
    static const struct { const char *name, *text; } cases[] = { { "cond", prompt }, { "uncond", negative } };
    goldens g = open_goldens("text");
    udump_model *model;
    udump_session *session;
    assert_int_equal(
        udump_model_load(TEST_ROOT "/models/demo",
            &(udump_model_options){ .struct_bytes = sizeof(udump_model_options), .precision = UDUMP_PRECISION_FP32 }, &model, NULL),
        UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (size_t i = 0; i < 2; i++) {
        udump_context *context;
        udump_view view;
        size_t count;
        float *expected = read_golden(&g, cases[i].name, &count);
        assert_int_equal(udump_context_encode(session, cases[i].text, &context, NULL), UDUMP_OK);
        udump_context_get_view(context, &view);
        assert_int_equal(udump_view_count(&view), count);
        assert_true(relative_error(view.data, expected, count) <= FP32_RELATIVE);
        udump_context_release(context);
        free(expected);
    }
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

static void test_reference_fp32(void **state) {
    (void)state;
    run_parity(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, 128, 128, 3, ALL + 3);
}
static void test_reference_bf16(void **state) { (void)state; run_parity(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_BF16, 128, 128, 3, ALL); }
static void test_default_fp32(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, 128, 128, 3, ALL + 3); }
static void test_default_bf16(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_BF16, 128, 128, 3, ALL); }
static void test_tall(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, 192, 128, 2, SOME + 2); }
static void test_odd(void **state) {
    (void)state;
    run_parity(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, 120, 136, 2, SOME + 2);
} /* latent 15 x 17: every skip is odd */

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_encodings), cmocka_unit_test(test_reference_fp32), cmocka_unit_test(test_reference_bf16),
        cmocka_unit_test(test_default_fp32), cmocka_unit_test(test_default_bf16), cmocka_unit_test(test_tall), cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
