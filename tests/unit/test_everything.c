/* Everything at once: hooks and captures of every kind, twins, batches, odd sizes; and that none of it changes anything. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "demo_runs.h"

static const char prompt[] = "a (~: IN00-IN08: red; OUT03-OUT11: green; _: blue :~) circle";
static const char negative[] = "blurry(~: M00: dark :~)";

struct hook {
    int calls, rows;
    bool scale;
};

static udump_flow on_hook(void *user, const udump_place *place, const udump_view *view) {
    struct hook *hook = user;
    hook->calls++;
    hook->rows = (int)view->shape[0];
    assert_int_equal(place->side, UDUMP_SIDE_BOTH);
    assert_int_equal(place->image, -1);
    size_t bytes = (size_t)udump_view_count(view) * (view->dtype == UDUMP_F32 ? 4 : 2);
    void *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, view->data, bytes); /* [rows, h, w, channels], tight */
    memset(view->data, 0, bytes);
    if (!hook->scale) memcpy(view->data, copy, bytes);
    free(copy);
    return UDUMP_CONTINUE;
}

/* A hook sees all rows, the twins' too; one that writes back what it read changes nothing of what is shown. */
static void test_hook_that_changes_nothing(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, "");
    o.attention = "IN01,M00,OUT11";
    o.attention_kinds = UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF;
    o.features = "IN01,OUT11";
    recording plain = { 0 }, hooked = { 0 }, zeroed = { 0 };
    struct hook hook = { 0 };
    record(session, &o, &plain);
    assert_int_equal(udump_session_set_hook(session, -1, on_hook, &hook, NULL), UDUMP_OK);
    record(session, &o, &hooked);
    assert_int_equal(hook.calls, BLOCKS * STEPS);
    assert_int_equal(hook.rows, 4);
    assert_same_recording(&plain, &hooked);
    assert_int_equal(udump_session_set_hook(session, -1, NULL, NULL, NULL), UDUMP_OK);
    hook.scale = true;
    assert_int_equal(udump_session_set_hook(session, 24, on_hook, &hook, NULL), UDUMP_OK);
    record(session, &o, &zeroed); /* twins whose last block is nothing: from there on the same */
    assert_memory_not_equal(plain.latents[0], zeroed.latents[0], (size_t)plain.latent_count * sizeof(float));
    assert_memory_equal(zeroed.latents[0], zeroed.latents[0] + zeroed.latent_count / 2, (size_t)zeroed.latent_count / 2 * sizeof(float));
    recording_free(&plain);
    recording_free(&hooked);
    recording_free(&zeroed);
    udump_session_destroy(session);
}

/* Features, differences, every kind of attention, words, both sides, averages, two images, at a size whose every level is odd: what is
 * announced comes (record checks it), and the images are those of a run that shows nothing. */
static void test_everything_at_once(void **state) {
    (void)state;
    static const int32_t queries_px[] = { 0, 0, 135, 119, 77, 31 };
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, ""), plain_options = demo_run(prompt, negative, "M00");
    plain_options.width_px = o.width_px = 136;
    plain_options.height_px = o.height_px = 120;
    plain_options.batch_size = o.batch_size = 2;
    plain_options.no_canvas = 1;
    plain_options.want_tensors = 0;
    o.features = o.attention = "";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP;
    o.attention_words = "circle red";
    o.self_queries_px = queries_px;
    o.self_query_count = 3;
    o.side = UDUMP_SIDE_BOTH;
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_SUM };
    recording plain = { 0 }, all = { 0 };
    record(session, &plain_options, &plain);
    record(session, &o, &all);
    assert_same_image(&plain, &all, plain.latent_count);
    assert_int_equal(all.image_count, 4);
    int shown = 2 * 2 * 2 * STEPS; /* images, variants, sides, steps */
    assert_int_equal(count_tensors(&all, UDUMP_KIND_FEATURES), BLOCKS * shown);
    assert_int_equal(count_tensors(&all, UDUMP_KIND_DIFF), BLOCKS * shown / 2);
    assert_int_equal(all.diff_count, BLOCKS * shown / 2);
    static const udump_kind kinds[] = { UDUMP_KIND_K, UDUMP_KIND_QK, UDUMP_KIND_VQK, UDUMP_KIND_SELF_QUERIES, UDUMP_KIND_SELF_RECEIVED,
        UDUMP_KIND_SELF_ENTROPY, UDUMP_KIND_SELF_PCA, UDUMP_KIND_SELF_MAP };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) assert_int_equal(count_tensors(&all, kinds[i]), 16 * shown);
    assert_all_finite(&all);
    recording_free(&plain);
    recording_free(&all);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hook_that_changes_nothing),
        cmocka_unit_test(test_everything_at_once),
    };
    return cmocka_run_group_tests(tests, demo_load, demo_unload);
}
