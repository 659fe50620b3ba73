/* A diff between two models: each runs as it would by itself, and the differences are between the two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recording.h"

#define GOLDEN(name) TEST_ROOT "/tests/parity/goldens/" name ".safetensors"
enum { SIDE_PX = 64, STEPS = 2, IMAGES = 2, PICTURE_BYTES = SIDE_PX * SIDE_PX * 3 };

static udump_model *plain, *with;

static int load_one(const udump_lora *loras, int32_t count, udump_model **model) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.precision = UDUMP_PRECISION_FP32;
    options.loras = loras;
    options.lora_count = count;
    return udump_model_load(TEST_ROOT "/models/demo", &options, model, NULL);
}

static int load(void **state) {
    (void)state;
    const udump_lora lora = { .path = GOLDEN("lora-kohya") };
    return load_one(NULL, 0, &plain) || load_one(&lora, 1, &with);
}

static int unload(void **state) {
    (void)state;
    udump_model_release(plain);
    udump_model_release(with);
    return 0;
}

static udump_generate_options options_of(const char *diff) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a red circle (~: OUT03-OUT11: blue; _: green :~) AND a square :-.25";
    o.negative_prompt = "blurry";
    o.width_px = o.height_px = SIDE_PX;
    o.steps = STEPS;
    o.sampler = "Heun"; /* two evaluations a step */
    o.seed = 21;
    o.batch_size = IMAGES;
    o.features = "IN05,OUT05,OUT08";
    o.attention = "OUT05";
    o.attention_words = "red";
    o.side = UDUMP_SIDE_BOTH;
    o.diff = diff;
    o.want_tensors = 1;
    return o;
}

static udump_session *session_of(udump_model *model, udump_model *other) {
    udump_session *session = recording_session(model);
    assert_int_equal(udump_session_set_other(session, other, NULL), UDUMP_OK);
    return session;
}

static void record_with(udump_model *model, udump_model *other, const char *diff, recording *r) {
    udump_session *session = session_of(model, other);
    udump_generate_options o = options_of(diff);
    record(session, &o, r);
    udump_session_destroy(session);
}

/* The tensor of the same place in a variant. */
static const kept_tensor *same_place(const recording *r, const kept_tensor *of, udump_kind kind, udump_variant variant) {
    for (int32_t i = 0; i < r->tensor_count; i++) {
        const udump_place *a = &r->tensors[i].place.at, *b = &of->place.at;
        if (a->kind == kind && a->variant == variant && a->image == b->image && a->side == b->side && a->part == b->part && a->step == b->step
            && strcmp(r->tensors[i].place.block, of->place.block) == 0)
            return &r->tensors[i];
    }
    fail_msg("no tensor of kind %d, variant %d, at %s", (int)kind, (int)variant, of->place.block);
    return NULL;
}

/* What a run by itself showed, the pair showed as well, to the byte. */
static void expect_inside(const recording *pair, const recording *alone, udump_variant variant) {
    for (int32_t i = 0; i < alone->tensor_count; i++) {
        const kept_tensor *own = &alone->tensors[i], *found = same_place(pair, own, own->place.at.kind, variant);
        assert_int_equal(found->count, own->count);
        assert_memory_equal(found->values, own->values, (size_t)own->count * sizeof(float));
        if (own->place.at.context < 0) continue;
        assert_string_equal(pair->contexts[found->place.at.context].text, alone->contexts[own->place.at.context].text);
    }
    for (int32_t i = 0; i < IMAGES; i++)
        assert_memory_equal(need_image(pair, i, variant)->pixels, need_image(alone, i, UDUMP_VARIANT_ENABLED)->pixels, PICTURE_BYTES);
}

static void test_each_is_the_run_by_itself(void **state) {
    (void)state;
    recording pair = { 0 }, first = { 0 }, second = { 0 };
    record_with(with, plain, "", &pair);
    record_with(with, plain, NULL, &first); /* without a diff the other model does nothing */
    record_with(plain, NULL, NULL, &second);
    assert_int_equal(first.image_count, IMAGES);
    assert_int_equal(pair.image_count, 2 * IMAGES);
    assert_int_equal(pair.run.variants, 2);
    assert_true(first.tensor_count > 0 && first.tensor_count == second.tensor_count);
    expect_inside(&pair, &first, UDUMP_VARIANT_ENABLED);
    expect_inside(&pair, &second, UDUMP_VARIANT_OTHER);
    assert_memory_not_equal(need_image(&pair, 0, UDUMP_VARIANT_ENABLED)->pixels, need_image(&pair, 0, UDUMP_VARIANT_OTHER)->pixels, PICTURE_BYTES);
    assert_non_null(strstr(need_image(&pair, 0, UDUMP_VARIANT_ENABLED)->infotext, "<lora:lora-kohya:1>"));
    assert_null(strstr(need_image(&pair, 0, UDUMP_VARIANT_OTHER)->infotext, "<lora:"));
    recording_free(&pair);
    recording_free(&first);
    recording_free(&second);
}

static void test_differences(void **state) {
    (void)state;
    recording pair = { 0 };
    record_with(with, plain, "IN05,OUT05,OUT08", &pair);
    const int evaluations = 2 * STEPS - 1, rows = 3 * IMAGES; /* two prompts of an AND and the negative one */
    int compared = 0;
    assert_int_equal(pair.diff_count, 3 * evaluations * rows);
    assert_int_equal(count_tensors(&pair, UDUMP_KIND_DIFF), 3 * evaluations * rows);
    for (int32_t i = 0; i < pair.tensor_count; i++) {
        const kept_tensor *difference = &pair.tensors[i];
        if (difference->place.at.kind != UDUMP_KIND_DIFF) continue;
        assert_int_equal(difference->place.at.variant, UDUMP_VARIANT_OTHER);
        const kept_tensor *on = same_place(&pair, difference, UDUMP_KIND_FEATURES, UDUMP_VARIANT_ENABLED),
                          *off = same_place(&pair, difference, UDUMP_KIND_FEATURES, UDUMP_VARIANT_OTHER);
        for (int64_t k = 0; k < difference->count; k++) assert_true(difference->values[k] == on->values[k] - off->values[k]);
        compared++;
    }
    assert_int_equal(compared, 3 * evaluations * rows);
    for (int32_t i = 0; i < pair.diff_count; i++) assert_true(pair.diffs[i].norms.l2 > 0 && pair.diffs[i].norms.cosine < 1);
    recording_free(&pair);
}

/* A model differs from itself in nothing. */
static void test_the_same_model(void **state) {
    (void)state;
    recording pair = { 0 };
    record_with(plain, plain, "OUT05", &pair);
    assert_true(pair.diff_count > 0);
    for (int32_t i = 0; i < pair.diff_count; i++) assert_true(pair.diffs[i].norms.l2 == 0 && pair.diffs[i].norms.max == 0);
    assert_memory_equal(need_image(&pair, 1, UDUMP_VARIANT_ENABLED)->pixels, need_image(&pair, 1, UDUMP_VARIANT_OTHER)->pixels, PICTURE_BYTES);
    recording_free(&pair);
}

static void test_refused(void **state) {
    (void)state;
    udump_error error;
    udump_model *reference;
    assert_int_equal(recording_load(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, &reference), 0);
    udump_session *session = session_of(with, plain);
    assert_int_equal(udump_session_set_other(session, reference, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "it is on another device, or of another precision");
    udump_generate_options o = options_of("");
    udump_table *table;
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(session, &o, table, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "table");
    udump_table_free(table);
    o.diff = "IN12";
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_ERROR_SYNTAX);
    o = options_of("");
    o.attention_words = "dog";
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_ERROR_ARGUMENT);
    o = options_of("");
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_OK); /* after failures */
    assert_int_equal(udump_session_set_other(session, NULL, &error), UDUMP_ERROR_STATE);
    assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
    udump_session_destroy(session); /* within a run */
    udump_model_release(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_is_the_run_by_itself), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_the_same_model), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, load, unload);
}
