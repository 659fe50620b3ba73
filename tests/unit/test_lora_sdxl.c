/* LoRAs and embeddings on a small SDXL: both text encoders, kohya's names for it, the same in both layouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "folders.h"
#include "parity.h"
#include "recipe.h"
#include "tensor_file.h"

enum { WIDTH = 64, INNER = 128 }; /* of the recipe's text encoders */

/* The context of a word, [77, 2 * WIDTH], to be freed. */
static float *encode(const char *name, const char *lora_path, const char *embeddings) {
    char source[512], folder[256], path[300];
    const udump_lora lora = { .path = lora_path };
    udump_model_options options;
    udump_model *model;
    udump_session *session;
    udump_context *context;
    udump_error error;
    udump_view view;
    snprintf(folder, sizeof folder, "%s", below(name));
    snprintf(path, sizeof path, "%s%s", folder, strstr(name, "-ldm") ? "/model.safetensors" : "");
    snprintf(source, sizeof source, "%s/tests/parity/models/%s.txt", TEST_ROOT, name);
    if (!exists(folder)) assert_true(mkdir(folder, 0777) == 0 && recipe_make(source, folder));
    udump_model_options_init(&options);
    options.device = UDUMP_DEVICE_REFERENCE;
    options.precision = UDUMP_PRECISION_FP32;
    options.loras = &lora;
    options.lora_count = lora_path != NULL;
    options.embeddings = embeddings;
    if (udump_model_load(path, &options, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_null(udump_model_warning(model, 0));
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_context_encode(session, "strange", &context, NULL), UDUMP_OK);
    udump_context_get_view(context, &view);
    assert_int_equal(view.shape[1], 2 * WIDTH);
    float *values = values_of(&view);
    udump_context_release(context);
    udump_session_destroy(session);
    udump_model_release(model);
    return values;
}

/* Which of the two encoders' halves differ, of the word's own row. */
static void expect_changes(const float *a, const float *b, bool first, bool second) {
    const size_t row = 2 * WIDTH, half = WIDTH * sizeof(float);
    assert_int_equal(memcmp(a + row, b + row, half) != 0, first);
    assert_int_equal(memcmp(a + row + WIDTH, b + row + WIDTH, half) != 0, second);
}

static void run_layout(const char *name) {
    static const written_tensor lora[] = {
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "[1,64]", WIDTH },
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "[128,1]", INNER },
        { "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", "[1,64]", WIDTH },
        { "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight", "[64,1]", WIDTH },
        { "lora_unet_label_emb_0_2.lora_down.weight", "[1,128]", INNER }, { "lora_unet_label_emb_0_2.lora_up.weight", "[128,1]", INNER },
        { "lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "[1,64]", WIDTH },
        { "lora_unet_input_blocks_4_1_proj_in.lora_up.weight", "[64,1]", WIDTH },
    };
    static const written_tensor embedding[] = { { "clip_g", "[2,64]", 2 * WIDTH }, { "clip_l", "[2,64]", 2 * WIDTH } };
    char lora_path[256], folder[256];
    snprintf(lora_path, sizeof lora_path, "%s", below("lora.safetensors"));
    snprintf(folder, sizeof folder, "%s", below("embeddings"));
    write_tensors(lora_path, lora, sizeof lora / sizeof *lora);
    mkdir(folder, 0777);
    write_tensors(below("embeddings/strange.safetensors"), embedding, 2);
    float *plain = encode(name, NULL, NULL), *with = encode(name, lora_path, NULL), *embedded = encode(name, NULL, folder);
    expect_changes(plain, with, false, true); /* the first encoder has none */
    expect_changes(plain, embedded, true, true);
    free(plain);
    free(with);
    free(embedded);
}

static void test_diffusers(void **state) {
    (void)state;
    run_layout("sdxl");
}

static void test_original(void **state) {
    (void)state;
    run_layout("sdxl-ldm");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_diffusers), cmocka_unit_test(test_original) };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
