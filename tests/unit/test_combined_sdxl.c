/* What SDXL brings, a pooled vector for each row and empty negative prompts that are zeros, together with AND and with a diff between two
 * models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "folders.h"
#include "parity.h"
#include "recipe.h"
#include "recording.h"
#include "tensor_file.h"

enum { SIDE_PX = 64, PICTURE_BYTES = SIDE_PX * SIDE_PX * 3 };

static udump_model *plain, *with;

static udump_model *load(const char *lora_path) {
    const udump_lora lora = { .path = lora_path };
    udump_model_options options;
    udump_model *model = NULL;
    udump_error error;
    udump_model_options_init(&options);
    options.device = UDUMP_DEVICE_CPU;
    options.precision = UDUMP_PRECISION_FP32;
    options.loras = &lora;
    options.lora_count = lora_path != NULL;
    if (udump_model_load(below("sdxl"), &options, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    return model;
}

/* The LoRA is for the second encoder, the pooled vector's projection with it, and for the layer that reads pooled vectors. */
static int make_models(void **state) {
    static const written_tensor lora[] = {
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "[1,64]", 64 },
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "[128,1]", 128 },
        { "lora_unet_label_emb_0_2.lora_down.weight", "[1,128]", 128 }, { "lora_unet_label_emb_0_2.lora_up.weight", "[128,1]", 128 },
    };
    if (make_base(state) || mkdir(below("sdxl"), 0777) || !recipe_make(TEST_ROOT "/tests/parity/models/sdxl.txt", below("sdxl"))) return 1;
    write_tensors(below("lora.safetensors"), lora, sizeof lora / sizeof *lora);
    plain = load(NULL);
    with = load(below("lora.safetensors"));
    return 0;
}

static int remove_models(void **state) {
    udump_model_release(plain);
    udump_model_release(with);
    return remove_base(state);
}

static udump_generate_options options_of(const char *prompt, const char *negative, int steps) {
    udump_generate_options o = parity_options(SIDE_PX, SIDE_PX, steps);
    o.prompt = prompt;
    o.negative_prompt = negative;
    o.seed = 5;
    o.side = UDUMP_SIDE_BOTH;
    return o;
}

/* ---- AND. One step of Euler's method is linear in the prediction, so that the parts' latents add as the parts do. */

/* The latent after one step, to be freed. */
static float *one_step(udump_session *session, const char *prompt, const char *negative, size_t *count) {
    udump_generate_options o = options_of(prompt, negative, 1);
    recording r = { 0 };
    record(session, &o, &r);
    float *latent = r.latents[0];
    r.latents[0] = NULL;
    *count = (size_t)r.latent_count;
    recording_free(&r);
    return latent;
}

static void expect_sum(const char *negative) {
    size_t count;
    udump_session *session = recording_session(plain);
    float *a = one_step(session, "a red circle", negative, &count), *b = one_step(session, "two squares", negative, &count),
          *none = one_step(session, "a red circle :0", negative, &count),
          *alone = one_step(session, "a red circle AND two squares :0", negative, &count),
          *both = one_step(session, "a red circle :.75 AND two squares :-.25", negative, &count);
    float *sum = malloc(count * sizeof *sum);
    assert_non_null(sum);
    for (size_t i = 0; i < count; i++) sum[i] = none[i] + .75f * (a[i] - none[i]) - .25f * (b[i] - none[i]);
    assert_true(relative_error(b, a, count) > 100 * PARITY_FP32);    /* the prompts matter */
    assert_true(relative_error(none, a, count) > 100 * PARITY_FP32);
    assert_true(relative_error(alone, a, count) <= PARITY_FP32);
    assert_true(relative_error(both, sum, count) <= PARITY_FP32);
    free(a), free(b), free(none), free(alone), free(both), free(sum);
    udump_session_destroy(session);
}

static void test_and(void **state) {
    (void)state;
    expect_sum("blurry");
}

static void test_and_beside_zeros(void **state) {
    (void)state;
    expect_sum("");
}

/* Each block takes its own parts' pooled vectors: a block whose prompt is the others' changes nothing. */
static void test_and_in_layers(void **state) {
    (void)state;
    size_t count;
    udump_session *session = recording_session(plain);
    float *everywhere = one_step(session, "a circle AND two squares", "", &count),
          *named = one_step(session, "(~: IN04: a circle AND two squares; _: a circle AND two squares :~)", "", &count),
          *other = one_step(session, "a circle AND two squares (~: IN04: red :~)", "", &count);
    assert_memory_equal(named, everywhere, count * sizeof *named);
    assert_memory_not_equal(other, everywhere, count * sizeof *other);
    free(everywhere), free(named), free(other);
    udump_session_destroy(session);
}

/* ---- a diff between two models */

static void record_with(udump_model *model, udump_model *other, const char *diff, recording *r) {
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a red circle AND two squares :.5", "", 2);
    assert_int_equal(udump_session_set_other(session, other, NULL), UDUMP_OK);
    o.features = "";
    o.diff = diff;
    record(session, &o, r);
    udump_session_destroy(session);
}

static void expect_inside(const recording *pair, const recording *alone, udump_variant variant) {
    int compared = 0;
    for (int32_t i = 0; i < alone->tensor_count; i++) {
        const kept_tensor *own = &alone->tensors[i];
        for (int32_t k = 0; k < pair->tensor_count; k++) {
            const kept_tensor *t = &pair->tensors[k];
            if (!recording_at(&t->place, UDUMP_KIND_FEATURES, own->place.block, own->place.at.step, own->place.at.side, 0, variant)) continue;
            if (t->place.at.part != own->place.at.part) continue;
            assert_same_tensor(t, own);
            compared++;
        }
    }
    assert_true(compared > 0 && compared == alone->tensor_count);
    assert_memory_equal(need_image(pair, 0, variant)->pixels, need_image(alone, 0, UDUMP_VARIANT_ENABLED)->pixels, PICTURE_BYTES);
}

/* Each has the pooled vectors, and what its own layers make of them, that it has by itself. */
static void test_other_model(void **state) {
    (void)state;
    recording pair = { 0 }, first = { 0 }, second = { 0 };
    record_with(with, plain, "", &pair);
    record_with(with, NULL, NULL, &first);
    record_with(plain, NULL, NULL, &second);
    expect_inside(&pair, &first, UDUMP_VARIANT_ENABLED);
    expect_inside(&pair, &second, UDUMP_VARIANT_OTHER);
    assert_true(pair.diff_count > 0);
    for (int32_t i = 0; i < pair.diff_count; i++) { /* IN00 is before any pooled vector: it differs once the latents do */
        const kept_place *place = &pair.diffs[i].place;
        assert_int_equal(pair.diffs[i].norms.l2 > 0, place->at.step > 1 || strcmp(place->block, "IN00") != 0);
    }
    recording_free(&pair);
    recording_free(&first);
    recording_free(&second);
}

static void test_another_family(void **state) {
    (void)state;
    udump_error error;
    udump_model *demo = load_demo(UDUMP_DEVICE_CPU, UDUMP_PRECISION_FP32);
    udump_session *session = recording_session(plain);
    char line[256];
    assert_int_equal(udump_session_set_other(session, demo, &error), UDUMP_ERROR_ARGUMENT);
    udump_error_format(&error, line, sizeof line);
    assert_string_equal(line, "other model: it has another number of blocks: expected 19, found 25");
    udump_session_destroy(session);
    udump_model_release(demo);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_and), cmocka_unit_test(test_and_beside_zeros), cmocka_unit_test(test_and_in_layers),
        cmocka_unit_test(test_other_model), cmocka_unit_test(test_another_family) };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
