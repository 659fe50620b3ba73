/* A run with and without layer prompts as one batch: both images, differences and their norms, pictures of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "demo_runs.h"

static const char prompt[] = "a (~: IN00-IN08: red; OUT03-OUT11: green; _: blue :~) circle", erased[] = "a  circle";
static const char negative[] = "blurry(~: M00: dark :~)";

/* Each twin, exactly, is the run that it would be by itself. */
static void test_twins_are_the_runs_by_themselves(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = demo_run(prompt, negative, ""), with = demo_run(prompt, negative, NULL),
                           without = demo_run(erased, "blurry", NULL);
    recording twins = { 0 }, enabled = { 0 }, plain = { 0 };
    record(session, &o, &twins);
    record(session, &with, &enabled);
    record(session, &without, &plain);
    assert_int_equal(twins.latent_count, 2 * enabled.latent_count);
    size_t each = (size_t)enabled.latent_count;
    for (int step = 0; step < STEPS; step++) {
        assert_memory_equal(twins.latents[step], enabled.latents[step], each * sizeof(float));
        assert_memory_equal(twins.latents[step] + each, plain.latents[step], each * sizeof(float));
    }
    const size_t bytes = SIDE_PX * SIDE_PX * 3;
    const uint8_t *on = need_image(&twins, 0, UDUMP_VARIANT_ENABLED)->pixels, *off = need_image(&twins, 0, UDUMP_VARIANT_ERASED)->pixels;
    assert_memory_equal(on, need_image(&enabled, 0, UDUMP_VARIANT_ENABLED)->pixels, bytes);
    assert_memory_equal(off, need_image(&plain, 0, UDUMP_VARIANT_ENABLED)->pixels, bytes);
    assert_memory_not_equal(on, off, bytes);
    assert_int_equal(enabled.run.variants, 1);
    recording_free(&twins);
    recording_free(&enabled);
    recording_free(&plain);
    udump_session_destroy(session);
}

/* A batch twice as large is rounded otherwise on the fast device: in fp32 by no more than the promise against diffusers. */
static void test_enabled_image_hardly_changes_on_the_fast_device(void **state) {
    (void)state;
    udump_model *model;
    assert_int_equal(recording_load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, &model), 0);
    udump_session *session = recording_session(model);
    udump_generate_options o = demo_run(prompt, negative, ""), with = demo_run(prompt, negative, NULL);
    recording twins = { 0 }, enabled = { 0 };
    record(session, &o, &twins);
    record(session, &with, &enabled);
    double most = 0, error = 0;
    for (int64_t i = 0; i < enabled.latent_count; i++) {
        most = fmax(most, fabs((double)enabled.latents[STEPS - 1][i]));
        error = fmax(error, fabs((double)enabled.latents[STEPS - 1][i] - (double)twins.latents[STEPS - 1][i]));
    }
    assert_true(most > 0 && error <= 1e-4 * most);
    recording_free(&twins);
    recording_free(&enabled);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* Looking at differences, features and attention of twins leaves the twins as they are. */
static void test_capture_changes_nothing(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, "M00"), more = demo_run(prompt, negative, "");
    more.features = more.attention = "";
    more.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP;
    more.attention_words = "circle";
    more.side = UDUMP_SIDE_BOTH;
    recording one = { 0 }, all = { 0 };
    record(session, &o, &one);
    record(session, &more, &all);
    assert_same_image(&one, &all, one.latent_count);
    assert_memory_equal(
        need_image(&one, 0, UDUMP_VARIANT_ERASED)->pixels, need_image(&all, 0, UDUMP_VARIANT_ERASED)->pixels, SIDE_PX * SIDE_PX * 3);
    recording_free(&one);
    recording_free(&all);
    udump_session_destroy(session);
}

static void near(const char *what, const kept_diff *d, double found, double expected) {
    if (!(fabs(found - expected) <= 1e-6 * fmax(1, fabs(expected))))
        fail_msg("%s of %s, step %d: %.9g, expected %.9g", what, d->place.block, (int)d->place.at.step, found, expected);
}

/* The tensor is the twins' features' difference, value by value; the norms are theirs. */
static void check_difference(const recording *r, const kept_diff *d, bool exact) {
    const udump_place *at = &d->place.at;
    const kept_tensor *b = find_tensor(r, UDUMP_KIND_FEATURES, d->place.block, at->step, at->side, at->image, UDUMP_VARIANT_ENABLED);
    const kept_tensor *a = find_tensor(r, UDUMP_KIND_FEATURES, d->place.block, at->step, at->side, at->image, UDUMP_VARIANT_ERASED);
    const kept_tensor *t = find_tensor(r, UDUMP_KIND_DIFF, d->place.block, at->step, at->side, at->image, UDUMP_VARIANT_ENABLED);
    assert_true(a && b && t);
    assert_int_equal(at->kind, UDUMP_KIND_DIFF);
    assert_int_equal(t->count, b->count);
    assert_memory_equal(t->shape.shape, b->shape.shape, 3 * sizeof *t->shape.shape);
    double aa = 0, bb = 0, ab = 0, dd = 0, max = 0;
    for (int64_t i = 0; i < t->count; i++) {
        double x = (double)a->values[i], y = (double)b->values[i];
        if (exact) assert_true(t->values[i] == b->values[i] - a->values[i]);
        aa += x * x, bb += y * y, ab += x * y, dd += (y - x) * (y - x), max = fmax(max, fabs(y - x));
    }
    near("l2", d, d->norms.l2, sqrt(dd));
    near("relative l2", d, d->norms.relative_l2, sqrt(dd / aa));
    near("max", d, d->norms.max, max);
    near("cosine", d, d->norms.cosine, ab / sqrt(aa * bb));
}

static void differences(udump_model *model) {
    udump_session *session = recording_session(model);
    udump_generate_options o = demo_run(prompt, negative, "");
    o.features = "";
    o.side = UDUMP_SIDE_BOTH;
    o.no_canvas = 1;
    recording r = { 0 };
    record(session, &o, &r);
    assert_int_equal(r.diff_count, BLOCKS * STEPS * 2);
    assert_int_equal(count_tensors(&r, UDUMP_KIND_DIFF), BLOCKS * STEPS * 2);
    assert_int_equal(count_tensors(&r, UDUMP_KIND_FEATURES), BLOCKS * STEPS * 2 * 2);
    int moved = 0;
    for (int32_t i = 0; i < r.diff_count; i++) {
        check_difference(&r, &r.diffs[i], model == reference);
        moved += r.diffs[i].norms.l2 > 0;
    }
    assert_true(moved >= BLOCKS * (STEPS - 1) * 2 + BLOCKS - 1);
    for (int32_t i = 0; i < r.diff_count; i++) { /* no prompt reaches IN00, and the noise is the same */
        const kept_diff *d = &r.diffs[i];
        if (strcmp(d->place.block, "IN00") != 0 || d->place.at.step != 1) continue;
        near("l2", d, d->norms.l2, 0);
        near("max", d, d->norms.max, 0);
        near("cosine", d, d->norms.cosine, 1);
    }
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_differences(void **state) { (void)state; differences(reference); }
static void test_differences_on_the_fast_device(void **state) { (void)state; differences(fast); }

/* A view of a kept [c, h, w] tensor. */
static udump_view view_of(const kept_tensor *t) {
    const int64_t *s = t->shape.shape;
    return (udump_view){ t->values, UDUMP_F32, 3, { s[0], s[1], s[2] }, { s[1] * s[2], s[2], 1 } };
}

/* Canvases are udump_render's of the difference; of its magnitude under white-black. The tensor has its signs in any case. */
static void check_canvases(const char *color, const char *transform, bool magnitude) {
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, "IN01,M00,OUT05,OUT11");
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .color = color, .transform = transform, .average = UDUMP_AVERAGE_L1 };
    o.steps = 1;
    recording r = { 0 };
    int canvases = 0, averages = 0, below = 0;
    record(session, &o, &r);
    for (int32_t i = 0; i < r.canvas_count; i++) {
        const kept_canvas *c = &r.canvases[i];
        assert_int_equal(c->place.at.kind, UDUMP_KIND_DIFF);
        kept_tensor *t = (kept_tensor *)need_tensor(&r, UDUMP_KIND_DIFF, c->place.block, 1);
        udump_view view = view_of(t);
        udump_image all = { 0 }, average = { 0 };
        for (int64_t k = 0; k < t->count; k++) below += t->values[k] < 0;
        float *values = malloc((size_t)t->count * sizeof *values);
        assert_non_null(values);
        for (int64_t k = 0; k < t->count; k++) values[k] = magnitude ? fabsf(t->values[k]) : t->values[k];
        view.data = values;
        assert_int_equal(udump_render(&view, o.style, &all, &average, NULL), UDUMP_OK);
        const udump_picture *expected = c->average ? &average.picture : &all.picture;
        assert_int_equal(c->width, expected->width_px);
        assert_int_equal(c->height, expected->height_px);
        assert_int_equal(c->channels, expected->channels);
        for (int32_t y = 0; y < c->height; y++)
            if (memcmp(c->pixels + (size_t)(y * c->width * c->channels), expected->pixels + (size_t)y * expected->row_bytes,
                    (size_t)(c->width * c->channels))
                != 0)
                fail_msg("difference of %s, average %d: row %d is not udump_render's", c->place.block, (int)c->average, (int)y);
        c->average ? averages++ : canvases++;
        free(values);
        udump_image_free(&all);
        udump_image_free(&average);
    }
    assert_int_equal(canvases, 4);
    assert_int_equal(averages, 4);
    assert_true(below > 0);
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_canvases(void **state) {
    (void)state;
    check_canvases(NULL, NULL, false);
    check_canvases("red-blue", "linear:-2,2", false);
    check_canvases("white-black", NULL, true);
    check_canvases("white-black", "linear:0,3", true);
}

static void test_steps_blocks_and_sides(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, "IN00,OUT11");
    o.diff_steps = "2";
    o.features = "M00";
    o.feature_steps = "1";
    o.side = UDUMP_SIDE_UNCOND;
    recording r = { 0 };
    record(session, &o, &r);
    assert_int_equal(r.diff_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(r.diffs[i].place.block, i ? "OUT11" : "IN00");
        assert_int_equal(r.diffs[i].place.at.step, 2);
        assert_int_equal(r.diffs[i].place.at.side, UDUMP_SIDE_UNCOND);
        assert_int_equal(r.diffs[i].place.at.image, 0);
    }
    assert_int_equal(r.tensor_count, 2 + 2); /* and M00 of both twins */
    assert_non_null(find_tensor(&r, UDUMP_KIND_FEATURES, "M00", 1, UDUMP_SIDE_UNCOND, 0, UDUMP_VARIANT_ENABLED));
    assert_non_null(find_tensor(&r, UDUMP_KIND_FEATURES, "M00", 1, UDUMP_SIDE_UNCOND, 0, UDUMP_VARIANT_ERASED));
    recording_free(&r);
    o.side = UDUMP_SIDE_COND;
    o.cfg = 1; /* no negative prompt at all */
    o.want_tensors = 0;
    recording alone = { 0 };
    record(session, &o, &alone);
    assert_int_equal(alone.diff_count, 2); /* norms come without tensors too */
    recording_free(&alone);
    udump_session_destroy(session);
}

static void test_batch_equals_single_runs(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = demo_run(prompt, negative, "IN04,OUT11");
    o.features = "OUT11";
    o.steps = 1;
    o.batch_size = 2;
    recording batch = { 0 }, single[2] = { 0 };
    record(session, &o, &batch);
    o.batch_size = 1;
    record(session, &o, &single[0]);
    o.seed++;
    record(session, &o, &single[1]);
    for (int32_t image = 0; image < 2; image++) {
        const recording *r = &single[image];
        for (int32_t i = 0; i < r->tensor_count; i++) {
            const udump_place *at = &r->tensors[i].place.at;
            const kept_tensor *t = find_tensor(&batch, at->kind, r->tensors[i].place.block, at->step, at->side, image, at->variant);
            assert_non_null(t);
            assert_same_tensor(t, &r->tensors[i]);
        }
        for (int32_t i = 0; i < r->canvas_count; i++) {
            const udump_place *at = &r->canvases[i].place.at;
            const kept_canvas *c =
                find_canvas(&batch, at->kind, r->canvases[i].place.block, at->step, at->side, image, at->variant, r->canvases[i].average);
            assert_non_null(c);
            assert_same_canvas(c, &r->canvases[i]);
        }
        for (int variant = 0; variant < 2; variant++)
            assert_memory_equal(need_image(&batch, image, (udump_variant)variant)->pixels, need_image(r, 0, (udump_variant)variant)->pixels,
                SIDE_PX * SIDE_PX * 3);
    }
    assert_int_equal(batch.diff_count, single[0].diff_count + single[1].diff_count);
    recording_free(&batch);
    recording_free(&single[0]);
    recording_free(&single[1]);
    udump_session_destroy(session);
}

/* Writes zeros into the rows of the first twins, or of all. */
static udump_flow silence(void *user, const udump_place *place, const udump_view *view) {
    (void)place;
    bool all = *(const bool *)user;
    for (int64_t row = 0; row < view->shape[0]; row++) /* enabled and erased, then the same of the negative prompt */
        for (int64_t i = 0; (all || row % 2) && i < view->stride[0]; i++) ((float *)view->data)[row * view->stride[0] + i] = 0;
    return UDUMP_CONTINUE;
}

/* What differs from nothing is not called unchanged. */
static void test_differences_to_nothing(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = demo_run(prompt, negative, "M00");
    for (int all = 0; all < 2; all++) {
        recording r = { 0 };
        assert_int_equal(udump_session_set_hook(session, 12, silence, &(bool){ all }, NULL), UDUMP_OK);
        record(session, &o, &r);
        assert_true(r.diff_count > 0);
        for (int32_t i = 0; i < r.diff_count; i++) {
            const udump_diff_norms *norms = &r.diffs[i].norms;
            assert_true(norms->relative_l2 == 0 && norms->cosine == all && (norms->l2 > 0) == !all);
        }
        recording_free(&r);
    }
    udump_session_destroy(session);
}

static void test_errors(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run("a red circle", "blurry", "");
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "layer prompt");
    udump_table *table;
    udump_error error = { .status = UDUMP_OK };
    char line[1024];
    assert_int_equal(udump_table_encode(session, &o, &table, &error), UDUMP_ERROR_ARGUMENT);
    udump_error_format(&error, line, sizeof line);
    if (!strstr(line, "layer prompt")) fail_msg("%s", line);
    o.diff = "IN00-IN12";
    o.prompt = prompt;
    expect_failure(session, &o, UDUMP_ERROR_SYNTAX, "IN12");
    o.diff = "M00";
    o.diff_steps = "3";
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "no step is left");
    o.diff_steps = NULL;
    o.batch_size = 513; /* a table has 2048 rows at most */
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT,
        "batch size: 513 images: each takes 4 rows of the U-Net's batch here, so that 1 to 512 are possible");
    o.diff = NULL;
    o.prompt = "a AND b";
    o.batch_size = 683;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "1 to 682");
    o = demo_run(prompt, "(~: M00 blurry", "M00");
    expect_failure(session, &o, UDUMP_ERROR_SYNTAX, "negative prompt: ");
    recording alone = { 0 };
    o.cfg = 1; /* which does not run it */
    record(session, &o, &alone);
    recording_free(&alone);
    o = demo_run("a circle", "(~: _: blurry :~)", "M00"); /* layer prompts of the negative prompt alone will do */
    recording r = { 0 };
    record(session, &o, &r);
    assert_int_equal(r.diff_count, STEPS);
    recording_free(&r);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins_are_the_runs_by_themselves),
        cmocka_unit_test(test_enabled_image_hardly_changes_on_the_fast_device),
        cmocka_unit_test(test_capture_changes_nothing),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_differences_on_the_fast_device),
        cmocka_unit_test(test_canvases),
        cmocka_unit_test(test_steps_blocks_and_sides),
        cmocka_unit_test(test_batch_equals_single_runs),
        cmocka_unit_test(test_differences_to_nothing),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, demo_load, demo_unload);
}
