/* The demo model against diffusers: text encodings, every block's output at every step, latents, the decoded picture and its bytes. The goldens
 * (tests/parity/goldens) were computed by diffusers in fp32: see tests/parity/make_goldens.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parity.h"
#include "pipeline/session.h"

/* The promise for bf16: 8 bits of mantissa give each value an error of 2^-9; the direction of a whole block's output hardly turns. */
static const double BF16_COSINE = 0.999;

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
        if (!(value <= PARITY_FP32)) fail_msg("%s: relative error %.3g", name, value);
        p->worst = fmax(p->worst, value);
    }
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *view) {
    parity *p = user;
    char name[64];
    size_t half = (size_t)udump_view_count(view);
    snprintf(name, sizeof name, "step%d/%s", (int)place->step, place->block);
    golden expected = read_golden(&p->g, name); /* [cond and uncond, c, h, w] */
    if (!expected.values) return UDUMP_CONTINUE;
    if (expected.count != 2 * half) fail_msg("%s: %zu values, expected %zu", name, 2 * half, expected.count);
    float *found = values_of(view);
    judge(p, name, found, expected.values + (place->side == UDUMP_SIDE_UNCOND ? half : 0), half);
    free(found);
    free(expected.values);
    return UDUMP_CONTINUE;
}

/* The webui's bytes of a decoded value, in float32 as there: clamp((v + 1) / 2, 0, 1) * 255, cut off. */
static uint8_t byte_of(float v) {
    float unit = (v + 1) / 2;
    return (uint8_t)(255 * (unit < 0 ? 0 : unit > 1 ? 1 : unit));
}

/* decoded: [height, width, 3], what the picture was made of: the same floats and operations, so no tolerance. Some must be beyond the ends, and some must
 * be where rounding gives another byte than cutting off. */
static void check_bytes(const udump_picture *picture, const float *decoded) {
    size_t row = (size_t)picture->width_px * 3, cut_off = 0, clamped = 0;
    assert_int_equal(picture->channels, 3);
    for (size_t i = 0; i < row * (size_t)picture->height_px; i++) {
        uint8_t found = picture->pixels[i / row * picture->row_bytes + i % row], expected = byte_of(decoded[i]);
        if (found != expected) fail_msg("byte %zu: %d, expected %d of %.9g", i, found, expected, (double)decoded[i]);
        clamped += fabsf(decoded[i]) > 1;
        cut_off += fabsf(decoded[i]) <= 1 && lrintf((decoded[i] + 1) / 2 * 255) > expected;
    }
    assert_true(cut_off > 0 && clamped > 0);
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    parity *p = user;
    (void)image, (void)variant, (void)infotext;
    size_t pixels = (size_t)picture->width_px * (size_t)picture->height_px;
    golden expected = need_golden(&p->g, "image");
    float *last = malloc(3 * pixels * sizeof *last);
    assert_true(last && expected.count == 3 * pixels);
    to_channels_last(last, expected.values, 3, pixels);
    judge(p, "image", p->session->run.decoded, last, expected.count);
    check_bytes(picture, p->session->run.decoded);
    free(expected.values);
    free(last);
    return UDUMP_CONTINUE;
}

static void compare_latent(parity *p, int step) {
    udump_view view;
    char name[64];
    snprintf(name, sizeof name, "step%d/latent", step);
    golden expected = need_golden(&p->g, name);
    float *last = malloc(expected.count * sizeof *last);
    assert_non_null(last);
    assert_int_equal(udump_latent_view(p->session, &view, NULL), UDUMP_OK);
    to_channels_last(last, expected.values, 4, expected.count / 4);
    /* bf16 is promised for each evaluation by itself: guidance and a long step multiply its error in the latent, so the next gets fp32's. */
    if (p->bf16) memcpy(view.data, last, expected.count * sizeof *last);
    else judge(p, name, view.data, last, expected.count);
    free(expected.values);
    free(last);
}

static void run_parity(udump_device device, udump_precision precision, int height, int width, int steps, int least_compared) {
    char file[32];
    snprintf(file, sizeof file, "%dx%d", height, width);
    parity p = { .g = open_goldens(file), .bf16 = precision == UDUMP_PRECISION_BF16, .worst = precision == UDUMP_PRECISION_BF16 ? 1 : 0 };
    udump_generate_options o = parity_options(width, height, steps);
    golden noise = need_golden(&p.g, "noise");
    udump_view view = udump_view_make(noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, height / 8, width / 8 });
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.noise = &view;
    o.features = "";
    o.side = UDUMP_SIDE_BOTH;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &p, .tensor = on_tensor, .image = on_image };
    udump_model *model = load_demo(device, precision);
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
    free(noise.values);
    close_goldens(&p.g);
}

/* Both rows of 25 blocks at 3 steps and the picture; for the odd sizes of 8 blocks at the last step. Latents come on top in fp32. */
enum { ALL = 25 * 2 * 3 + 1, SOME = 8 * 2 + 1 };

static void test_text_encodings(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
    } cases[] = { { "cond", PARITY_PROMPT }, { "uncond", PARITY_NEGATIVE } };
    goldens g = open_goldens("text");
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_context *context;
        udump_view view;
        golden expected = need_golden(&g, cases[i].name);
        assert_int_equal(udump_context_encode(session, cases[i].text, &context, NULL), UDUMP_OK);
        udump_context_get_view(context, &view);
        assert_shape(cases[i].name, &view, expected.rank, expected.shape);
        double error = relative_error(view.data, expected.values, expected.count);
        if (!(error <= PARITY_FP32)) fail_msg("%s: relative error %.3g", cases[i].name, error);
        udump_context_release(context);
        free(expected.values);
    }
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

/* What a run with that clip skip attends to, beside the golden of that name. */
static void check_clip_skip(udump_session *session, const goldens *g, const char *name, int32_t clip_skip) {
    udump_generate_options o = parity_options(64, 64, 1);
    udump_view view;
    golden expected = need_golden(g, name);
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.clip_skip = clip_skip;
    assert_int_equal(udump_begin(session, &o, NULL, NULL, NULL), UDUMP_OK);
    const udump_conditioning *conditioning = &session->run.conditioning;
    assert_int_equal(conditioning->context_count, 2); /* the prompt's and the negative prompt's */
    udump_context_get_view(conditioning->contexts[conditioning->which[0]], &view);
    assert_shape(name, &view, expected.rank, expected.shape);
    double error = relative_error(view.data, expected.values, expected.count);
    print_message("clip skip %d: relative error %.3g\n", (int)clip_skip, error);
    if (!(error <= PARITY_FP32)) fail_msg("clip skip %d: relative error %.3g", (int)clip_skip, error);
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
    free(expected.values);
}

/* One session for all: what one skip encoded is not taken for another's. */
static void test_clip_skip(void **state) {
    (void)state;
    goldens unskipped = open_goldens("text"), skipped = open_goldens("clip-skip");
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    check_clip_skip(session, &unskipped, "cond", 0);
    check_clip_skip(session, &skipped, "2", 2);
    check_clip_skip(session, &skipped, "3", 3);
    check_clip_skip(session, &unskipped, "cond", 1);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&unskipped);
    close_goldens(&skipped);
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
        cmocka_unit_test(test_text_encodings), cmocka_unit_test(test_clip_skip), cmocka_unit_test(test_reference_fp32),
        cmocka_unit_test(test_reference_bf16), cmocka_unit_test(test_default_fp32), cmocka_unit_test(test_default_bf16),
        cmocka_unit_test(test_tall), cmocka_unit_test(test_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
