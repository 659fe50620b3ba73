/* What is shown of attention, on the demo model: that looking changes nothing, and that the numbers are what the header says.
 * Self-attention's reductions: test_attention_self.c; pictures: test_attention_canvases.c; words: test_attention_words.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "demo_runs.h"

enum { ALL_KINDS = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP };

static const char prompt[] = "a red circle on a blue background";
static const int32_t queries_px[] = { 0, 0, 41, 9, 63, 63 };

static udump_generate_options options_of(void) {
    udump_generate_options o = demo_run(prompt, "blurry", NULL);
    o.seed = 11;
    o.want_tensors = 0;
    return o;
}

/* Tensors of attention only. */
static udump_generate_options looking(const char *blocks, uint32_t kinds) {
    udump_generate_options o = options_of();
    o.attention = blocks;
    o.attention_kinds = kinds;
    o.no_canvas = o.want_tensors = 1;
    return o;
}

static void set_queries(udump_generate_options *o) {
    o->self_queries_px = queries_px;
    o->self_query_count = sizeof queries_px / sizeof *queries_px / 2;
}

static udump_generate_options everything(void) {
    udump_generate_options o = looking("", ALL_KINDS);
    o.features = "";
    o.attention_words = "red background";
    set_queries(&o);
    o.side = UDUMP_SIDE_BOTH;
    static const udump_style averaged = { .struct_bytes = sizeof averaged, .average = UDUMP_AVERAGE_L1 };
    o.style = &averaged;
    o.no_canvas = 0;
    return o;
}

static void capture_changes_nothing(udump_model *model) {
    udump_session *session = recording_session(model);
    udump_generate_options plain_options = options_of(), o = everything();
    recording plain = { 0 }, captured = { 0 }, again = { 0 };
    record(session, &plain_options, &plain);
    record(session, &o, &captured);
    record(session, &plain_options, &again);
    assert_int_equal(plain.tensor_count + plain.canvas_count, 0);
    assert_true(captured.tensor_count > 25 * STEPS * 2 + ATTENTIONS * STEPS * 2 * 8);
    assert_same_image(&plain, &captured, plain.latent_count);
    assert_same_image(&plain, &again, plain.latent_count);
    recording_free(&plain);
    recording_free(&captured);
    recording_free(&again);
    udump_session_destroy(session);
}

static void test_capture_changes_nothing(void **state) { (void)state; capture_changes_nothing(fast); }
static void test_capture_changes_nothing_on_the_reference_device(void **state) { (void)state; capture_changes_nothing(reference); }

/* The one kind of tensor of every block and step, in order of steps, then of blocks; other blocks have none. */
static void test_blocks_without_attention_are_skipped(void **state) {
    (void)state;
    static const char *const without[] = { "IN00", "IN03", "IN06", "IN09", "IN10", "IN11", "OUT00", "OUT01", "OUT02" };
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("", UDUMP_ATTEND_VQK);
    recording all = { 0 }, few = { 0 };
    record(session, &o, &all);
    assert_int_equal(all.skipped_count, sizeof without / sizeof *without);
    for (int32_t i = 0; i < all.skipped_count; i++) assert_string_equal(all.skipped[i], without[i]);
    assert_int_equal(all.tensor_count, ATTENTIONS * STEPS);
    for (int32_t i = 0; i < all.tensor_count; i++) {
        const kept_place *place = &all.tensors[i].place;
        udump_block_info info;
        assert_int_equal(udump_model_get_block(fast, place->at.block_index, &info, NULL), UDUMP_OK);
        assert_string_equal(info.name, place->block);
        assert_int_equal(info.attention_depth, 1);
        assert_int_equal(place->at.depth, 0);
        assert_int_equal(place->at.step, 1 + i / ATTENTIONS);
        if (i % ATTENTIONS) assert_true(place->at.block_index > all.tensors[i - 1].place.at.block_index);
    }
    o.attention = "IN00-IN02,OUT11";
    o.attention_steps = "2";
    record(session, &o, &few);
    assert_int_equal(few.skipped_count, 1);
    assert_string_equal(few.skipped[0], "IN00");
    assert_int_equal(few.tensor_count, 3);
    assert_same_tensor(&few.tensors[2], need_tensor(&all, UDUMP_KIND_VQK, "OUT11", 2));
    recording_free(&all);
    recording_free(&few);
    udump_session_destroy(session);
}

/* A place says where; cross-attention says what it attends to, self-attention that it attends to no context. */
static void test_places(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("IN05", ALL_KINDS);
    o.side = UDUMP_SIDE_BOTH;
    recording r = { 0 };
    record(session, &o, &r);
    for (int32_t i = 0; i < r.tensor_count; i++) {
        const udump_place *at = &r.tensors[i].place.at;
        bool cross = at->kind == UDUMP_KIND_K || at->kind == UDUMP_KIND_QK || at->kind == UDUMP_KIND_VQK;
        assert_int_equal(at->step, at->sampler_step);
        assert_int_equal(at->image, 0);
        assert_int_equal(at->variant, UDUMP_VARIANT_ENABLED);
        assert_true(at->sigma > 0 && at->timestep >= 0);
        if (i > 0) assert_true(at->sigma <= r.tensors[i - 1].place.at.sigma);
        if (!cross) assert_int_equal(at->context, -1);
        if (!cross) continue;
        assert_in_range(at->context, 0, r.context_count - 1);
        assert_string_equal(r.contexts[at->context].text, at->side == UDUMP_SIDE_COND ? prompt : "blurry");
    }
    recording_free(&r);
    udump_session_destroy(session);
}

/* Shapes as udump_kind says. */
static void test_shapes(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("", ALL_KINDS);
    o.features = "";
    o.width_px = 72; /* 9 x 8, then 5 x 4, 3 x 2, 2 x 1 */
    set_queries(&o);
    recording r = { 0 };
    record(session, &o, &r);
    for (int32_t i = 0; i < r.tensor_count; i++) {
        const kept_tensor *t = &r.tensors[i];
        udump_block_info block;
        assert_int_equal(udump_model_get_block(fast, t->place.at.block_index, &block, NULL), UDUMP_OK);
        const int64_t *s = t->shape.shape, heads = block.heads;
        int64_t w = s[t->shape.rank - 1], h = s[t->shape.rank - 2];
        switch (t->place.at.kind) {
        case UDUMP_KIND_FEATURES: assert_true(t->shape.rank == 3 && s[0] == block.channels); break;
        case UDUMP_KIND_K: assert_true(t->shape.rank == 3 && s[0] == heads && s[1] == 77 && s[2] == block.head_dim); continue;
        case UDUMP_KIND_QK: assert_true(t->shape.rank == 4 && s[0] == heads && s[1] == 77); break;
        case UDUMP_KIND_VQK: assert_true(t->shape.rank == 3 && s[0] == heads * block.head_dim); break;
        case UDUMP_KIND_SELF_QUERIES: assert_true(t->shape.rank == 4 && s[0] == heads && s[1] == o.self_query_count); break;
        case UDUMP_KIND_SELF_RECEIVED:
        case UDUMP_KIND_SELF_ENTROPY: assert_true(t->shape.rank == 3 && s[0] == heads); break;
        case UDUMP_KIND_SELF_PCA: assert_true(t->shape.rank == 3 && s[0] == 3); break;
        case UDUMP_KIND_SELF_MAP: assert_true(t->shape.rank == 3 && s[0] == heads && h == w); continue;
        default: fail_msg("kind %d was not asked for", (int)t->place.at.kind);
        }
        if (strcmp(t->place.block, "OUT05") != 0 && strcmp(t->place.block, "OUT08") != 0) /* these attend before they are enlarged */
            assert_true(w == (9 + block.downscale - 1) / block.downscale && h == 8 / block.downscale);
    }
    const int64_t *small = need_tensor(&r, UDUMP_KIND_QK, "OUT05", 1)->shape.shape,
                  *large = need_tensor(&r, UDUMP_KIND_FEATURES, "OUT05", 1)->shape.shape;
    assert_true(small[2] == 2 && small[3] == 3 && large[1] == 4 && large[2] == 5);
    recording_free(&r);
    udump_session_destroy(session);
}

static void between(const char *what, const kept_tensor *t, double value, double low, double high) {
    if (!(value >= low && value <= high))
        fail_msg("%s of %s, step %d: %.9g is not in %.9g..%.9g", what, t->place.block, (int)t->place.at.step, value, low, high);
}

/* Sums of `count` probabilities, `stride` apart, that must be 1 but for fp32's rounding. */
static void sums_to_one(const char *what, const kept_tensor *t, size_t first, size_t count, size_t stride) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        between(what, t, (double)t->values[first + i * stride], 0, 1 + 1e-6);
        sum += (double)t->values[first + i * stride];
    }
    between(what, t, sum, 1 - 1e-5, 1 + 1e-5);
}

/* At least so many distributions. */
static void check_probabilities(const recording *r, int least) {
    int seen = 0;
    for (int32_t i = 0; i < r->tensor_count; i++) {
        const kept_tensor *t = &r->tensors[i];
        const int64_t *s = t->shape.shape;
        size_t n = (size_t)(s[t->shape.rank - 2] * s[t->shape.rank - 1]);
        udump_kind kind = t->place.at.kind;
        if (kind == UDUMP_KIND_QK)
            for (size_t head = 0; head < (size_t)s[0]; head++)
                for (size_t p = 0; p < n; p++) sums_to_one("a position's look", t, head * (size_t)s[1] * n + p, (size_t)s[1], n), seen++;
        if (kind == UDUMP_KIND_SELF_QUERIES)
            for (size_t q = 0; q < (size_t)(s[0] * s[1]); q++) sums_to_one("a query's row", t, q * n, n, 1), seen++;
        if (kind == UDUMP_KIND_SELF_MAP)
            for (size_t row = 0; row < (size_t)(s[0] * s[1]); row++)
                sums_to_one("a row of the map", t, row * (size_t)s[2], (size_t)s[2], 1), seen++;
        if (kind == UDUMP_KIND_SELF_RECEIVED) /* means that average 1 / n */
            for (size_t head = 0; head < (size_t)s[0]; head++) sums_to_one("attention received", t, head * n, n, 1), seen++;
        if (kind == UDUMP_KIND_SELF_ENTROPY)
            for (size_t k = 0; k < (size_t)t->count; k++) between("entropy", t, (double)t->values[k], 0, log((double)n) + 1e-5), seen++;
    }
    assert_true(seen >= least);
}

static void test_probabilities(void **state) {
    (void)state;
    udump_model *const models[] = { fast, reference };
    for (int i = 0; i < 2; i++) {
        udump_session *session = recording_session(models[i]);
        udump_generate_options o = looking("", ALL_KINDS);
        recording r = { 0 };
        set_queries(&o);
        record(session, &o, &r);
        /* In 2 heads of all blocks 421 positions, in three kinds; of each block 3 queries, and what is received. */
        check_probabilities(&r, 2 * STEPS * (3 * 421 + ATTENTIONS * (3 + 1)));
        recording_free(&r);
        udump_session_destroy(session);
    }
}

static void test_sides(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("IN01,OUT11", ALL_KINDS);
    recording cond = { 0 }, uncond = { 0 }, both = { 0 };
    record(session, &o, &cond);
    o.side = UDUMP_SIDE_UNCOND;
    record(session, &o, &uncond);
    o.side = UDUMP_SIDE_BOTH;
    record(session, &o, &both);
    assert_true(cond.tensor_count > 0);
    assert_int_equal(cond.tensor_count, uncond.tensor_count);
    assert_int_equal(cond.tensor_count * 2, both.tensor_count);
    int different = 0;
    for (int32_t i = 0; i < cond.tensor_count; i++) {
        const kept_tensor *t = &cond.tensors[i], *u = &uncond.tensors[i];
        const udump_place *at = &t->place.at;
        assert_int_equal(at->side, UDUMP_SIDE_COND);
        assert_int_equal(u->place.at.side, UDUMP_SIDE_UNCOND);
        const kept_tensor *same = find_tensor(&both, at->kind, t->place.block, at->step, UDUMP_SIDE_COND, 0, UDUMP_VARIANT_ENABLED);
        const kept_tensor *other = find_tensor(&both, at->kind, t->place.block, at->step, UDUMP_SIDE_UNCOND, 0, UDUMP_VARIANT_ENABLED);
        assert_true(same && other);
        assert_same_tensor(t, same);
        assert_same_tensor(u, other);
        different += memcmp(t->values, u->values, (size_t)t->count * sizeof *t->values) != 0;
    }
    assert_true(different > cond.tensor_count / 2);
    recording_free(&cond);
    recording_free(&uncond);
    recording_free(&both);
    udump_session_destroy(session);
}

/* Every tensor and canvas of one image of a batch is that of a run by itself. */
static void test_batch_equals_single_runs(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = everything();
    o.steps = 1;
    o.batch_size = 2;
    recording batch = { 0 }, single[2] = { 0 };
    record(session, &o, &batch);
    o.batch_size = 1;
    record(session, &o, &single[0]);
    o.seed++;
    record(session, &o, &single[1]);
    assert_int_equal(single[0].tensor_count + single[1].tensor_count, batch.tensor_count);
    assert_int_equal(single[0].canvas_count + single[1].canvas_count, batch.canvas_count);
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
            if (at->kind == UDUMP_KIND_OVERLAY) continue; /* several at one place */
            const kept_canvas *c =
                find_canvas(&batch, at->kind, r->canvases[i].place.block, at->step, at->side, image, at->variant, r->canvases[i].average);
            assert_non_null(c);
            assert_same_canvas(c, &r->canvases[i]);
        }
        assert_memory_equal(need_image(&batch, image, UDUMP_VARIANT_ENABLED)->pixels, need_image(r, 0, UDUMP_VARIANT_ENABLED)->pixels,
            SIDE_PX * SIDE_PX * 3);
    }
    recording_free(&batch);
    recording_free(&single[0]);
    recording_free(&single[1]);
    udump_session_destroy(session);
}

/* 77 columns for each chunk of the prompt. */
static void test_long_prompts(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("IN05", UDUMP_ATTEND_K | UDUMP_ATTEND_QK);
    o.prompt = "a red circle BREAK on a blue background";
    o.side = UDUMP_SIDE_BOTH;
    recording r = { 0 };
    record(session, &o, &r);
    const kept_tensor *qk = need_tensor(&r, UDUMP_KIND_QK, "IN05", 1);
    assert_int_equal(qk->shape.shape[1], 154);
    assert_int_equal(need_tensor(&r, UDUMP_KIND_K, "IN05", 1)->shape.shape[1], 154);
    const kept_tensor *uncond = find_tensor(&r, UDUMP_KIND_QK, "IN05", 1, UDUMP_SIDE_UNCOND, 0, UDUMP_VARIANT_ENABLED);
    assert_non_null(uncond);
    assert_int_equal(uncond->shape.shape[1], 77); /* unequal lengths each attend to their own tokens */
    check_probabilities(&r, 2 * 16 * STEPS * 2); /* heads, positions, steps, sides */
    const kept_context *context = &r.contexts[qk->place.at.context];
    assert_int_equal(context->tokens, 154);
    assert_string_equal(context->columns[0].text, "<start>");
    assert_string_equal(context->columns[2].text, "red");
    assert_string_equal(context->columns[77].text, "<start>");
    assert_string_equal(context->columns[78].text, "on");
    assert_string_equal(context->columns[153].text, "<end>");
    recording_free(&r);
    udump_session_destroy(session);
}

/* Maps are as long as the prompt is at their step; what was announced counts that (record checks it). */
static void test_schedules_that_change_the_length(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("IN05,OUT11", UDUMP_ATTEND_K | UDUMP_ATTEND_QK);
    static const char *const prompts[] = { "[a red circle:a red BREAK circle:1]", "[a red BREAK circle:a red circle:1]" };
    o.no_canvas = 0;
    o.features = "OUT11";
    for (int i = 0; i < 2; i++) {
        recording r = { 0 };
        o.prompt = prompts[i];
        record(session, &o, &r);
        assert_int_equal(need_tensor(&r, UDUMP_KIND_QK, "IN05", 1)->shape.shape[1], i ? 154 : 77);
        assert_int_equal(need_tensor(&r, UDUMP_KIND_QK, "IN05", 2)->shape.shape[1], i ? 77 : 154);
        assert_int_equal(need_tensor(&r, UDUMP_KIND_K, "OUT11", 2)->shape.shape[1], i ? 77 : 154);
        check_probabilities(&r, 2 * (16 + 64) * STEPS);
        recording_free(&r);
    }
    udump_session_destroy(session);
}

/* The room for maps is that of the longest prompt of the run, not of the first: 60 chunks of 1024 positions are 38 MB. */
static void test_a_schedule_that_ends_much_longer(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("OUT11", UDUMP_ATTEND_QK);
    char text[1024] = "[a red circle:a";
    for (int chunk = 1; chunk < 60; chunk++) strcat(text, " BREAK a");
    strcat(text, ":1]");
    o.prompt = text;
    o.width_px = o.height_px = 256;
    recording r = { 0 };
    record(session, &o, &r);
    assert_int_equal(need_tensor(&r, UDUMP_KIND_QK, "OUT11", 2)->shape.shape[1], 60 * 77);
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_k_stays_and_queries_of_none(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = looking("IN02", UDUMP_ATTEND_K | UDUMP_ATTEND_SELF);
    recording r = { 0 };
    record(session, &o, &r);
    assert_same_tensor(need_tensor(&r, UDUMP_KIND_K, "IN02", 1), need_tensor(&r, UDUMP_KIND_K, "IN02", 2));
    assert_int_equal(count_tensors(&r, UDUMP_KIND_SELF_QUERIES), 0); /* no position was asked for */
    assert_int_equal(count_tensors(&r, UDUMP_KIND_SELF_RECEIVED), STEPS);
    assert_int_equal(count_tensors(&r, UDUMP_KIND_SELF_MAP), 0);
    recording_free(&r);
    recording default_kind = { 0 };
    o.attention_kinds = 0;
    record(session, &o, &default_kind);
    assert_int_equal(default_kind.tensor_count, STEPS);
    assert_int_equal(default_kind.tensors[0].place.at.kind, UDUMP_KIND_QK);
    recording_free(&default_kind);
    udump_session_destroy(session);
}

static void test_a_slow_sink_loses_nothing(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = everything();
    o.attention = "IN05,M00";
    o.features = "IN05";
    recording quick = { 0 }, slow = { .pause_us = 3000 };
    record(session, &o, &quick);
    record(session, &o, &slow);
    assert_same_recording(&quick, &slow);
    recording_free(&quick);
    recording_free(&slow);
    udump_session_destroy(session);
}

static void test_one_session_changes_size_batch_and_looks(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = everything(), other = looking("IN01,OUT09-OUT11", ALL_KINDS);
    o.attention = "IN01,M00,OUT05";
    o.features = "OUT05";
    other.width_px = 104;
    other.height_px = 72;
    other.batch_size = 2;
    recording first = { 0 }, between_runs = { 0 }, again = { 0 };
    record(session, &o, &first);
    record(session, &other, &between_runs);
    record(session, &o, &again);
    assert_same_recording(&first, &again);
    recording_free(&first);
    recording_free(&between_runs);
    recording_free(&again);
    udump_session_destroy(session);
}

static void test_errors(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    const udump_generate_options good = looking("IN01", 0), none = options_of();
    const int32_t outside[] = { 0, 0, SIDE_PX, 3 }, above[] = { 3, -1 };
    udump_generate_options o = good;
    o.attention_words = "red green";
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "green");
    o = good, o.attention_kinds = UDUMP_ATTEND_SELF, o.self_queries_px = outside, o.self_query_count = 2;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "64");
    o = good, o.attention_kinds = UDUMP_ATTEND_SELF, o.self_queries_px = above, o.self_query_count = 1;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "-1");
    o = good, o.attention_kinds = UDUMP_ATTEND_SELF, o.self_queries_px = NULL, o.self_query_count = 1;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "");
    o = good, o.attention_kinds = UDUMP_ATTEND_SELF, o.self_queries_px = queries_px, o.self_query_count = 65;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "64");
    o = good, o.attention_kinds = 32;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "");
    o = good, o.cfg = 1, o.side = UDUMP_SIDE_UNCOND;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "uncond");
    o = none, o.attention_kinds = UDUMP_ATTEND_SELF;
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "attention");
    o = none, o.attention_words = "red";
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "attention");
    o = good, o.attention = "IN01-IN99";
    expect_failure(session, &o, UDUMP_ERROR_SYNTAX, "IN99");
    o = good, o.attention_steps = "9";
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "no step is left");
    o = good;
    recording after = { 0 };
    record(session, &o, &after);
    recording_free(&after);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_changes_nothing),
        cmocka_unit_test(test_capture_changes_nothing_on_the_reference_device),
        cmocka_unit_test(test_blocks_without_attention_are_skipped),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_batch_equals_single_runs),
        cmocka_unit_test(test_long_prompts),
        cmocka_unit_test(test_schedules_that_change_the_length),
        cmocka_unit_test(test_a_schedule_that_ends_much_longer),
        cmocka_unit_test(test_k_stays_and_queries_of_none),
        cmocka_unit_test(test_a_slow_sink_loses_nothing),
        cmocka_unit_test(test_one_session_changes_size_batch_and_looks),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, demo_load, demo_unload);
}
