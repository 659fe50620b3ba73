/* Whole runs of the demo model through the CUDA module on the emulated device, beside plain C: the same results in the same order. Streams are
 * lists of work that is done when someone waits: what forgets to wait sees what was there before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/session.h"
#include "recording.h"

static udump_model *reference, *emulated, *halves;

/* On a machine with a GPU the real module is tried: see tests/device/run. */
static const char *module_path(void) {
    const char *path = getenv("UDUMP_TEST_MODULE");
    return path ? path : EMULATED_MODULE;
}

static const char *demo_path(void) {
    const char *path = getenv("UDUMP_TEST_DEMO");
    return path ? path : TEST_ROOT "/models/demo";
}

static udump_status load_as(udump_device device, udump_precision precision, int32_t eager, udump_model **model, udump_error *error) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = precision;
    options.cuda_module = module_path();
    options.cuda_eager = eager;
    return udump_model_load(demo_path(), &options, model, error);
}

static udump_status load(udump_device device, udump_precision precision, udump_model **model, udump_error *error) {
    return load_as(device, precision, 0, model, error);
}

static int setup(void **state) {
    (void)state;
    return load(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, &reference, NULL) || load(UDUMP_DEVICE_CUDA, UDUMP_PRECISION_FP32, &emulated, NULL)
        || load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_AUTO, &halves, NULL);
}

static int teardown(void **state) {
    (void)state;
    udump_model_release(reference);
    udump_model_release(emulated);
    udump_model_release(halves);
    return 0;
}

static udump_generate_options small(void) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a red circle (~: OUT03-OUT05: blue square :~)";
    o.negative_prompt = "green";
    o.width_px = o.height_px = 64;
    o.steps = 2;
    o.cfg = 3.5f;
    o.seed = 3;
    return o;
}

/* The largest difference relative to the largest value. */
static double off_by(const float *found, const float *expected, int64_t count) {
    double most = 0, largest = 1e-12;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(found[i]));
        most = fmax(most, fabs((double)found[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    return most / largest;
}

/* Of the first step: fp32 sums in other orders, 1e-6, through 25 blocks; of the second, the same again through a sampler's step with a guidance of 3.5.
 * A difference of two nearly equal things, and components with nearly equal eigenvalues, say nothing of the device; they are checked by the trials. */
static double tolerance_of(const kept_place *place) { return place->at.step == 1 ? 2e-5 : 1e-3; }

static bool is_comparable(const kept_place *place) { return place->at.kind != UDUMP_KIND_DIFF && place->at.kind != UDUMP_KIND_SELF_PCA; }

static void assert_same_place(const kept_place *a, const kept_place *b) {
    const udump_place *p = &a->at, *q = &b->at;
    assert_true(p->kind == q->kind && p->image == q->image && p->variant == q->variant && p->side == q->side && p->block_index == q->block_index);
    assert_true(p->depth == q->depth && p->step == q->step && p->sampler_step == q->sampler_step && p->context == q->context);
    assert_string_equal(a->block, b->block);
    assert_string_equal(a->word, b->word);
}

static void compare_canvases(const kept_canvas *found, const kept_canvas *expected) {
    int64_t bytes = (int64_t)expected->width * expected->height * expected->channels, far = 0;
    assert_same_place(&found->place, &expected->place);
    assert_int_equal(found->width, expected->width);
    assert_int_equal(found->height, expected->height);
    assert_int_equal(found->channels, expected->channels);
    for (int64_t i = 0; i < bytes; i++) far += abs(found->pixels[i] - expected->pixels[i]) > 1;
    if (is_comparable(&expected->place)) assert_true(far * 1000 <= bytes); /* a hue that falls on the other side of a colour's edge */
}

static void test_run(void **state) {
    (void)state;
    static const int32_t queries_px[] = { 0, 0, 63, 40 };
    udump_session *sessions[2] = { recording_session(reference), recording_session(emulated) };
    udump_generate_options o = small();
    o.features = o.diff = "";
    o.attention = "IN01,M00,OUT11";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP;
    o.attention_words = "circle red";
    o.self_queries_px = queries_px;
    o.self_query_count = 2;
    o.side = UDUMP_SIDE_BOTH;
    o.want_tensors = 1;
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_SUM };
    recording runs[2] = { { .pause_us = 0 }, { .pause_us = 0 } };
    for (int i = 0; i < 2; i++) record(sessions[i], &o, &runs[i]);
    assert_int_equal(runs[0].tensor_count, runs[1].tensor_count);
    assert_int_equal(runs[0].canvas_count, runs[1].canvas_count);
    assert_true(runs[0].canvas_count > UDUMP_OUTBOX_PARCELS); /* more than fit in one half */
    assert_int_equal(runs[0].diff_count, runs[1].diff_count);
    for (int32_t i = 0; i < runs[0].tensor_count; i++) {
        const kept_tensor *expected = &runs[0].tensors[i], *found = &runs[1].tensors[i];
        assert_same_place(&found->place, &expected->place);
        assert_int_equal(found->count, expected->count);
        if (is_comparable(&expected->place)) assert_true(off_by(found->values, expected->values, expected->count) <= tolerance_of(&expected->place));
    }
    for (int32_t i = 0; i < runs[0].canvas_count; i++) compare_canvases(&runs[1].canvases[i], &runs[0].canvases[i]);
    for (int32_t i = 0; i < runs[0].diff_count; i++) {
        const kept_diff *expected = &runs[0].diffs[i], *found = &runs[1].diffs[i];
        assert_same_place(&found->place, &expected->place);
        assert_true(fabs(found->norms.relative_l2 - expected->norms.relative_l2) <= tolerance_of(&expected->place));
        assert_true(fabs(found->norms.cosine - expected->norms.cosine) <= tolerance_of(&expected->place));
    }
    for (int i = 0; i < 2; i++) {
        recording_free(&runs[i]);
        udump_session_destroy(sessions[i]);
    }
}

struct last {
    uint8_t pixels[64 * 64 * 3];
    int canvases;
};

static udump_flow keep_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)image, (void)variant, (void)infotext;
    struct last *last = user;
    memcpy(last->pixels, picture->pixels, sizeof last->pixels);
    return UDUMP_CONTINUE;
}

static udump_flow count_canvas(void *user, const udump_canvas *canvas) {
    (void)canvas;
    ((struct last *)user)->canvases++;
    return UDUMP_CONTINUE;
}

static void generate(udump_session *session, const udump_generate_options *o, struct last *last) {
    udump_sink sink = { .struct_bytes = sizeof sink, .user = last, .image = keep_image, .canvas = count_canvas };
    udump_error error = { .status = UDUMP_OK };
    if (udump_generate(session, o, &sink, &error)) fail_msg("%s: %s", error.where, error.what);
}

/* Nobody waits between the steps here, and nothing is looked at: to the bit the picture of a run that looks. In fp16, as CUDA chooses. */
static void test_looking_changes_nothing(void **state) {
    (void)state;
    udump_session *session = recording_session(halves);
    udump_generate_options o = small();
    struct last plain = { .canvases = 0 }, looking = { .canvases = 0 };
    o.prompt = "a red circle";
    o.sampler = "Euler a";
    generate(session, &o, &plain);
    o.features = "IN01,M00,OUT11";
    o.attention = "M00";
    generate(session, &o, &looking);
    assert_int_equal(plain.canvases, 0);
    assert_int_equal(looking.canvases, 2 * 4);
    assert_memory_equal(plain.pixels, looking.pixels, sizeof plain.pixels);
    udump_session_destroy(session);
}

/* As graphs, and with what looks within them, to the bit what operations one by one give: fp16 on a device, fp32 where matrix units are emulated. A kernel whose
 * parameters are some kilobytes, an expression's, is in them, and attention in several sizes. */
static void test_graphs(void **state) {
    (void)state;
    udump_precision precision = getenv("UDUMP_TEST_MODULE") ? UDUMP_PRECISION_FP16 : UDUMP_PRECISION_FP32;
    recording runs[2] = { { .pause_us = 0 }, { .pause_us = 0 } };
    udump_generate_options o = small();
    o.steps = 4;
    o.sampler = "Euler a";
    o.features = "IN05,OUT11";
    o.feature_steps = "2,3,4";
    o.batch_size = 2;
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .color = "rgb:v;where(v>0.5,v,1-v);sin(v)" };
    for (int i = 0; i < 2; i++) {
        udump_model *model = NULL;
        assert_int_equal(load_as(UDUMP_DEVICE_CUDA, precision, i == 0, &model, NULL), UDUMP_OK);
        udump_session *session = recording_session(model);
        record(session, &o, &runs[i]);
        udump_session_destroy(session);
        udump_model_release(model);
    }
    assert_same_recording(&runs[0], &runs[1]);
    for (int i = 0; i < 2; i++) recording_free(&runs[i]);
}

/* fp16 beside fp32, by block: cosine of the first evaluation's features. */
static void test_halves(void **state) {
    (void)state;
    udump_model_info info;
    udump_model_get_info(halves, &info);
    assert_string_equal(info.device, "cuda");
    assert_string_equal(info.precision, "fp16");
    udump_session *sessions[2] = { recording_session(reference), recording_session(halves) };
    udump_generate_options o = small();
    recording runs[2] = { { .pause_us = 0 }, { .pause_us = 0 } };
    o.prompt = "a red circle";
    o.steps = 1;
    o.features = "";
    o.no_canvas = o.want_tensors = 1;
    for (int i = 0; i < 2; i++) record(sessions[i], &o, &runs[i]);
    assert_int_equal(runs[0].tensor_count, 25);
    for (int32_t i = 0; i < 25; i++) {
        double dot = 0, a = 0, b = 0;
        for (int64_t k = 0; k < runs[0].tensors[i].count; k++) {
            double left = (double)runs[0].tensors[i].values[k], right = (double)runs[1].tensors[i].values[k];
            dot += left * right;
            a += left * left;
            b += right * right;
        }
        assert_true(dot / sqrt(a * b) >= 0.99999);
    }
    for (int i = 0; i < 2; i++) {
        recording_free(&runs[i]);
        udump_session_destroy(sessions[i]);
    }
}

static udump_flow halve(void *user, const udump_place *place, const udump_view *view) {
    (*(int *)user)++;
    assert_string_equal(place->block, "OUT11");
    assert_int_equal(view->dtype, UDUMP_F32);
    for (int64_t i = 0; i < udump_view_count(view); i++) ((float *)view->data)[i] /= 2;
    return UDUMP_CONTINUE;
}

/* A hook reads and rewrites a block's output: on the host, and so on the device. */
static void test_hook(void **state) {
    (void)state;
    int calls = 0;
    udump_model *models[2] = { reference, emulated };
    udump_generate_options o = small();
    recording runs[2] = { { .pause_us = 0 }, { .pause_us = 0 } };
    o.prompt = "a red circle";
    for (int i = 0; i < 2; i++) {
        udump_session *session = recording_session(models[i]);
        assert_int_equal(udump_session_set_hook(session, 24, halve, &calls, NULL), UDUMP_OK);
        record(session, &o, &runs[i]);
        udump_session_destroy(session);
    }
    assert_int_equal(calls, 4);
    assert_true(off_by(runs[1].latents[1], runs[0].latents[1], runs[0].latent_count) <= 1e-4);
    for (int i = 0; i < 2; i++) recording_free(&runs[i]);
}

/* The latent, read and rewritten between the steps. */
static void test_latent(void **state) {
    (void)state;
    udump_model *models[2] = { reference, emulated };
    struct last pictures[2];
    for (int i = 0; i < 2; i++) {
        udump_session *session = recording_session(models[i]);
        udump_generate_options o = small();
        udump_sink sink = { .struct_bytes = sizeof sink, .user = &pictures[i], .image = keep_image };
        int32_t remaining = 1;
        o.prompt = "a red circle";
        assert_int_equal(udump_begin(session, &o, NULL, &sink, NULL), UDUMP_OK);
        for (int step = 0; remaining; step++) {
            udump_view view;
            assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
            assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
            float *values = view.data, first = values[0];
            for (int64_t k = 0; k < udump_view_count(&view); k++) values[k] *= 0.5f;
            assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK); /* again: with what was written */
            assert_true(((float *)view.data)[0] == first * 0.5f);
        }
        assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
        udump_session_destroy(session);
    }
    for (size_t i = 0; i < sizeof pictures[0].pixels; i++) assert_in_range(pictures[0].pixels[i] - pictures[1].pixels[i] + 1, 0, 2);
}

/* A run up to its end, with a latent that fp16's autoencoder cannot bear. */
static void begin_overflow(udump_session *session, const udump_sink *sink) {
    udump_generate_options o = small();
    udump_view view;
    o.prompt = "a red circle";
    o.steps = 1;
    assert_int_equal(udump_begin(session, &o, NULL, sink, NULL), UDUMP_OK);
    assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    for (int64_t k = 0; k < udump_view_count(&view); k++) ((float *)view.data)[k] = (float)(k * 7919 % 1000 - 500) * 200;
}

/* Its picture is fp32's. */
static void test_overflow(void **state) {
    (void)state;
    udump_model *models[2] = { reference, halves };
    struct last pictures[2];
    for (int i = 0; i < 2; i++) {
        udump_session *session = recording_session(models[i]);
        udump_sink sink = { .struct_bytes = sizeof sink, .user = &pictures[i], .image = keep_image };
        begin_overflow(session, &sink);
        assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
        udump_session_destroy(session);
    }
    for (size_t i = 0; i < sizeof pictures[0].pixels; i++) assert_in_range(pictures[0].pixels[i] - pictures[1].pixels[i] + 1, 0, 2);
}

/* Without memory for what fp32 needs besides: an error each time, and the picture once there is memory. */
static void test_overflow_without_memory(void **state) {
    (void)state;
    static const udump_status expected[] = { UDUMP_ERROR_MEMORY, UDUMP_ERROR_MEMORY, UDUMP_OK };
    udump_session *session = recording_session(halves);
    if (getenv("UDUMP_TEST_MODULE")) skip();
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        begin_overflow(session, NULL);
        if (expected[i]) setenv("UDUMP_EMULATED_MEMORY_BYTES", "1", 1);
        assert_int_equal(udump_end(session, 1, NULL), expected[i]);
        unsetenv("UDUMP_EMULATED_MEMORY_BYTES");
    }
    udump_session_destroy(session);
}

static udump_flow stop_soon(void *user, const udump_canvas *canvas) {
    (void)canvas;
    return ++*(int *)user == 3 ? UDUMP_STOP : UDUMP_CONTINUE;
}

/* A sink that says stop, with canvases on their way; the session can go on. */
static void test_stop(void **state) {
    (void)state;
    int canvases = 0;
    udump_session *session = recording_session(emulated);
    udump_generate_options o = small();
    udump_error error;
    o.prompt = "a red circle";
    o.features = "";
    udump_sink sink = { .struct_bytes = sizeof sink, .user = &canvases, .canvas = stop_soon };
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_ERROR_CANCELLED);
    assert_int_equal(canvases, 3);
    struct last last = { .canvases = 0 };
    o.steps = 1;
    generate(session, &o, &last);
    assert_int_equal(last.canvases, 25);
    udump_session_destroy(session);
}

/* Without a device AUTO takes the CPU and says why; CUDA is an error. */
static void test_no_device(void **state) {
    (void)state;
    udump_model *model;
    udump_error error;
    udump_model_info info;
    if (getenv("UDUMP_TEST_MODULE")) skip();
    setenv("UDUMP_EMULATED_DEVICES", "0", 1);
    assert_int_equal(load(UDUMP_DEVICE_CUDA, UDUMP_PRECISION_AUTO, &model, &error), UDUMP_ERROR_DEVICE);
    assert_string_equal(error.what, "there is no GPU that it can use");
    assert_int_equal(load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_AUTO, &model, &error), UDUMP_OK);
    udump_model_get_info(model, &info);
    assert_string_not_equal(info.device, "cuda");
    assert_non_null(strstr(info.device_note, "no CUDA: there is no GPU that it can use"));
    udump_model_release(model);
    unsetenv("UDUMP_EMULATED_DEVICES");
}

/* A device that is full: a clear error, and the session can still do what fits. */
static void test_no_memory(void **state) {
    (void)state;
    udump_session *session = recording_session(halves);
    udump_generate_options o = small();
    udump_error error;
    if (getenv("UDUMP_TEST_MODULE")) skip();
    o.prompt = "a red circle";
    o.steps = 1;
    setenv("UDUMP_EMULATED_MEMORY_BYTES", "1", 1);
    assert_int_equal(udump_generate(session, &o, NULL, &error), UDUMP_ERROR_MEMORY);
    assert_string_equal(error.where, "device memory");
    unsetenv("UDUMP_EMULATED_MEMORY_BYTES");
    struct last last = { .canvases = 0 };
    generate(session, &o, &last);
    udump_session_destroy(session);
}

/* One test alone, if it is named. */
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* what hangs has said what it is */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_run), cmocka_unit_test(test_looking_changes_nothing), cmocka_unit_test(test_graphs), cmocka_unit_test(test_halves),
        cmocka_unit_test(test_hook), cmocka_unit_test(test_latent), cmocka_unit_test(test_overflow), cmocka_unit_test(test_overflow_without_memory), cmocka_unit_test(test_stop), cmocka_unit_test(test_no_device), cmocka_unit_test(test_no_memory) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
