/* Small SD 2 and SDXL models with random weights against diffusers: text encodings, pooled vectors, every block's output, latents and the
 * picture, in both layouts. See tests/parity/make_family_goldens.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "folders.h"
#include "model/prediction.h"
#include "parity.h"
#include "pipeline/session.h"
#include "recipe.h"

enum { HEIGHT = 40, WIDTH = 64, STEPS = 2 };

/* Makes the recipe's checkpoint below the test's folder, unless it is there; returns its path. */
static const char *checkpoint(const char *name) {
    char path[512];
    const char *folder = below(name);
    if (!exists(folder)) {
        assert_int_equal(mkdir(folder, 0777), 0);
        snprintf(path, sizeof path, "%s/tests/parity/models/%s.txt", TEST_ROOT, name);
        assert_true(recipe_make(path, folder));
    }
    char file[64];
    snprintf(file, sizeof file, "%s/model.safetensors", name);
    return strstr(name, "-ldm") ? below(file) : folder;
}

static udump_model *load(const char *path, udump_device device, udump_prediction prediction) {
    udump_model_options options;
    udump_model *model = NULL;
    udump_error error;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = UDUMP_PRECISION_FP32;
    options.prediction = prediction;
    if (udump_model_load(path, &options, &model, &error)) fail_msg("%s: %s; %s; %s", error.where, error.what, error.expected, error.found);
    return model;
}

/* One run and what its callbacks compare with. */
typedef struct family_run {
    goldens g;
    udump_session *session;
    const char *prefix; /* of the blocks' goldens */
    int compared;
    double worst;
} family_run;

static void judge(family_run *run, const char *name, const float *found, const float *expected, size_t count) {
    double error = relative_error(found, expected, count);
    run->compared++;
    if (!(error <= PARITY_FP32)) fail_msg("%s: relative error %.3g", name, error);
    run->worst = fmax(run->worst, error);
}

/* Of the layers that have a golden. */
static udump_flow on_attention(family_run *run, const udump_place *place, const udump_view *view) {
    char name[64];
    snprintf(name, sizeof name, "attention/%s-d%d", place->block, (int)place->depth);
    golden expected = read_golden(&run->g, name);
    if (expected.values && place->side == UDUMP_SIDE_COND) {
        float *found = values_of(view);
        assert_int_equal(udump_view_count(view), expected.count);
        judge(run, name, found, expected.values, expected.count);
        free(found);
    }
    free(expected.values);
    return UDUMP_CONTINUE;
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *view) {
    family_run *run = user;
    char name[64];
    size_t half = (size_t)udump_view_count(view);
    if (place->step != STEPS) return UDUMP_CONTINUE;
    if (place->kind == UDUMP_KIND_QK) return on_attention(run, place, view);
    snprintf(name, sizeof name, "%s/%s", run->prefix, place->block);
    golden expected = need_golden(&run->g, name); /* [cond and uncond, c, h, w] */
    if (expected.count != 2 * half) fail_msg("%s: %zu values, expected %zu", name, 2 * half, expected.count);
    float *found = values_of(view);
    judge(run, name, found, expected.values + (place->side == UDUMP_SIDE_UNCOND ? half : 0), half);
    free(found);
    free(expected.values);
    return UDUMP_CONTINUE;
}

/* A golden [c, h, w] beside values [h, w, c]. */
static void judge_channels_last(family_run *run, const char *name, const float *found, size_t channels) {
    golden expected = need_golden(&run->g, name);
    float *last = malloc(expected.count * sizeof *last);
    assert_non_null(last);
    to_channels_last(last, expected.values, channels, expected.count / channels);
    judge(run, name, found, last, expected.count);
    free(expected.values);
    free(last);
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    family_run *run = user;
    (void)image, (void)variant, (void)picture, (void)infotext;
    judge_channels_last(run, "image", run->session->run.decoded, 3);
    return UDUMP_CONTINUE;
}

static void compare_text(family_run *run) {
    static const char *const names[] = { "cond", "uncond" }, *const texts[] = { PARITY_PROMPT, PARITY_NEGATIVE };
    for (int i = 0; i < 2; i++) {
        udump_context *context;
        udump_view view;
        char name[32];
        golden expected = need_golden(&run->g, names[i]);
        assert_int_equal(udump_context_encode(run->session, texts[i], &context, NULL), UDUMP_OK);
        udump_context_get_view(context, &view);
        assert_shape(names[i], &view, expected.rank, expected.shape);
        judge(run, names[i], view.data, expected.values, expected.count);
        free(expected.values);
        snprintf(name, sizeof name, "pooled/%s", names[i]);
        expected = read_golden(&run->g, name);
        assert_int_equal(udump_context_get_pooled(context, &view), expected.values != NULL);
        if (expected.values) {
            assert_shape(name, &view, expected.rank, expected.shape);
            judge(run, name, view.data, expected.values, expected.count);
        }
        free(expected.values);
        udump_context_release(context);
    }
}

/* One picture's options; the noise is to be freed. */
static udump_generate_options run_options(const family_run *run, golden *noise, udump_view *view) {
    udump_generate_options o = parity_options(WIDTH, HEIGHT, STEPS);
    *noise = need_golden(&run->g, "noise");
    *view = udump_view_make(noise->values, UDUMP_F32, 4, (int64_t[]){ 1, 4, HEIGHT / 8, WIDTH / 8 });
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.noise = view;
    o.side = UDUMP_SIDE_BOTH;
    return o;
}

static void compare_run(family_run *run) {
    golden noise;
    udump_view view, latent;
    udump_generate_options o = run_options(run, &noise, &view);
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = run, .tensor = on_tensor, .image = on_image };
    o.features = "";
    o.attention = "";
    run->prefix = "step2";
    assert_int_equal(udump_begin(run->session, &o, NULL, &sink, NULL), UDUMP_OK);
    for (int step = 1; step <= STEPS; step++) {
        char name[32];
        snprintf(name, sizeof name, "step%d/latent", step);
        assert_int_equal(udump_step(run->session, NULL, NULL), UDUMP_OK);
        assert_int_equal(udump_latent_view(run->session, &latent, NULL), UDUMP_OK);
        judge_channels_last(run, name, latent.data, 4);
    }
    assert_int_equal(udump_end(run->session, 1, NULL), UDUMP_OK);
    free(noise.values);
}

/* more: how many encodings and attention maps; blocks of both rows, latents, picture. */
static void compare(const char *name, const char *golden_name, udump_device device, udump_prediction prediction, int more, int blocks) {
    family_run run = { .g = open_goldens(golden_name) };
    udump_model *model = load(checkpoint(name), device, prediction);
    assert_int_equal(udump_session_create(model, &run.session, NULL), UDUMP_OK);
    compare_text(&run);
    compare_run(&run);
    print_message("%s: %d tensors, largest relative error %.3g\n", name, run.compared, run.worst);
    assert_int_equal(run.compared, more + 2 * blocks + STEPS + 1);
    udump_session_destroy(run.session);
    udump_model_release(model);
    close_goldens(&run.g);
}

/* A run of both steps, whose last latent is a golden of that name. */
static void compare_last(family_run *run, const udump_generate_options *o, const char *latent_name) {
    udump_view latent;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = run, .tensor = on_tensor };
    assert_int_equal(udump_begin(run->session, o, NULL, &sink, NULL), UDUMP_OK);
    for (int step = 0; step < STEPS; step++) assert_int_equal(udump_step(run->session, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_latent_view(run->session, &latent, NULL), UDUMP_OK);
    judge_channels_last(run, latent_name, latent.data, 4);
    assert_int_equal(udump_end(run->session, 0, NULL), UDUMP_OK);
}

/* An empty negative prompt is zeros; a block's own prompt gives its attention the context, and its residual blocks the pooled vector. */
static void sdxl_prompts(void **state) {
    (void)state;
    family_run run = { .g = open_goldens("sdxl"), .prefix = "layers" };
    udump_model *model = load(checkpoint("sdxl"), UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_AUTO);
    golden noise;
    udump_view view;
    assert_int_equal(udump_session_create(model, &run.session, NULL), UDUMP_OK);
    udump_generate_options o = run_options(&run, &noise, &view);
    o.negative_prompt = "";
    compare_last(&run, &o, "empty/latent");
    o.prompt = PARITY_PROMPT "(~: IN01, IN04, M00, OUT03, OUT08: , cute :~)";
    o.negative_prompt = PARITY_NEGATIVE;
    o.features = "IN05,M00,OUT08";
    compare_last(&run, &o, "layers/latent");
    assert_int_equal(run.compared, 2 + 2 * 3);
    udump_session_destroy(run.session);
    udump_model_release(model);
    free(noise.values);
    close_goldens(&run.g);
}

/* What an SD 2 file is asked: the same number as in torch. */
static void sd2_measured(void **state) {
    (void)state;
    goldens g = open_goldens("sd2");
    golden expected = need_golden(&g, "drop");
    udump_model *model = load(checkpoint("sd2"), UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_AUTO);
    double mean;
    assert_int_equal(udump_prediction_measure(model, &mean, NULL), UDUMP_OK);
    assert_true(fabs(mean - (double)expected.values[0]) <= 1e-5);
    udump_model_release(model);
    free(expected.values);
    close_goldens(&g);
}

static void sd2_folder(void **state) { (void)state; compare("sd2", "sd2", UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_AUTO, 2 + 1, 25); }
static void sd2_reference(void **state) { (void)state; compare("sd2", "sd2", UDUMP_DEVICE_REFERENCE, UDUMP_PREDICTION_AUTO, 2 + 1, 25); }
static void sd2_single_file(void **state) { (void)state; compare("sd2-ldm", "sd2", UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_V, 2 + 1, 25); }
static void sdxl_folder(void **state) { (void)state; compare("sdxl", "sdxl", UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_AUTO, 4 + 3, 19); }
static void sdxl_reference(void **state) { (void)state; compare("sdxl", "sdxl", UDUMP_DEVICE_REFERENCE, UDUMP_PREDICTION_AUTO, 4 + 3, 19); }
static void sdxl_single_file(void **state) { (void)state; compare("sdxl-ldm", "sdxl", UDUMP_DEVICE_AUTO, UDUMP_PREDICTION_AUTO, 4 + 3, 19); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd2_folder), cmocka_unit_test(sd2_reference), cmocka_unit_test(sd2_single_file),
        cmocka_unit_test(sdxl_folder), cmocka_unit_test(sdxl_reference), cmocka_unit_test(sdxl_single_file),
        cmocka_unit_test(sdxl_prompts), cmocka_unit_test(sd2_measured),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
