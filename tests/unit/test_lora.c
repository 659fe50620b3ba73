/* LoRA: names, block weights, files that are wrong, and what diffusers samples with them on the demo model (tests/parity/make_lora_goldens.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/lora.h"
#include "model/model.h"
#include "parity.h"
#include "weights/lora_names.h"

#define GOLDEN(name) TEST_ROOT "/tests/parity/goldens/" name ".safetensors"

/* ---- names */

static void check_name(const char *name, const char *layer, udump_lora_slot slot) {
    char *found;
    udump_lora_role found_role = { UDUMP_LORA_SLOTS, UDUMP_LORA_NO_KIND };
    assert_true(udump_lora_name(name, &found, &found_role));
    if (!found) fail_msg("%s: not known", name);
    assert_string_equal(found, layer);
    assert_int_equal(found_role.slot, slot);
    free(found);
}

static void test_names(void **state) {
    (void)state;
    check_name("lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "unet/down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q", UDUMP_LORA_DOWN);
    check_name("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_up.weight",
        "unet/mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0", UDUMP_LORA_UP);
    check_name("lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj.alpha",
        "unet/up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj", UDUMP_LORA_ALPHA);
    check_name("lora_unet_up_blocks_0_upsamplers_0_conv.lora_mid.weight", "unet/up_blocks.0.upsamplers.0.conv", UDUMP_LORA_MID);
    check_name("lora_unet_time_embedding_linear_1.alpha", "unet/time_embedding.linear_1", UDUMP_LORA_ALPHA);
    check_name("lora_unet_down_blocks_1_resnets_0_time_emb_proj.alpha", "unet/down_blocks.1.resnets.0.time_emb_proj", UDUMP_LORA_ALPHA);
    check_name("lora_unet_conv_in.lora_up.weight", "unet/conv_in", UDUMP_LORA_UP);
    check_name("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k.lora_down.weight",
        "unet/down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k", UDUMP_LORA_DOWN);
    check_name("lora_unet_output_blocks_5_2_conv.alpha", "unet/up_blocks.1.upsamplers.0.conv", UDUMP_LORA_ALPHA);
    check_name("lora_unet_input_blocks_2_0_in_layers_2.alpha", "unet/down_blocks.0.resnets.1.conv1", UDUMP_LORA_ALPHA);
    check_name("lora_unet_out_2.alpha", "unet/conv_out", UDUMP_LORA_ALPHA);
    check_name("lora_te_text_model_encoder_layers_11_self_attn_q_proj.lora_up.weight", "text_encoder/encoder.layers.11.self_attn.q_proj",
        UDUMP_LORA_UP);
    check_name("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "text_encoder/encoder.layers.0.mlp.fc1", UDUMP_LORA_ALPHA);
    check_name("lora_te2_text_model_encoder_layers_31_mlp_fc2.alpha", "text_encoder_2/encoder.layers.31.mlp.fc2", UDUMP_LORA_ALPHA);
    check_name("text_encoder_2.text_model.encoder.layers.0.self_attn.k_proj.lora_A.weight", "text_encoder_2/encoder.layers.0.self_attn.k_proj",
        UDUMP_LORA_DOWN);
    check_name("lora_unet_label_emb_0_2.alpha", "unet/add_embedding.linear_2", UDUMP_LORA_ALPHA);
    check_name("lora_unet_output_blocks_2_2_conv.alpha", "unet/up_blocks.0.upsamplers.0.conv", UDUMP_LORA_ALPHA);
    check_name("diffusion_model.input_blocks.4.1.proj_in.lora_up.weight", "unet/down_blocks.1.attentions.0.proj_in", UDUMP_LORA_UP);
    check_name("lycoris_mid_block_attentions_0_proj_in.lora_down.weight", "unet/mid_block.attentions.0.proj_in", UDUMP_LORA_DOWN);
    check_name(
        "base_model.model.mid_block.attentions.0.proj_in.lora_A.default_0.weight", "unet/mid_block.attentions.0.proj_in", UDUMP_LORA_DOWN);
    check_name("unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet/mid_block.attentions.0.proj_in", UDUMP_LORA_DOWN);
    check_name("text_encoder.text_model.encoder.layers.0.self_attn.out_proj.lora_B.weight", "text_encoder/encoder.layers.0.self_attn.out_proj",
        UDUMP_LORA_UP);
    check_name("text_encoder.text_model.encoder.layers.0.self_attn.to_out_lora.down.weight", "text_encoder/encoder.layers.0.self_attn.out_proj",
        UDUMP_LORA_DOWN);
    check_name("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",
        "text_encoder/encoder.layers.0.self_attn.q_proj", UDUMP_LORA_UP);
    check_name("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
        "unet/up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0", UDUMP_LORA_UP);
    check_name("mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_k_lora.down.weight",
        "unet/mid_block.attentions.0.transformer_blocks.0.attn1.to_k", UDUMP_LORA_DOWN);
    check_name("unet.down_blocks.0.attentions.0.proj_in.lora.down.weight", "unet/down_blocks.0.attentions.0.proj_in", UDUMP_LORA_DOWN);
    check_name("lora_unet_mid_block_resnets_0_conv1.hada_w2_b", "unet/mid_block.resnets.0.conv1", UDUMP_LORA_SECOND + UDUMP_LORA_DOWN);
    check_name("lora_unet_out_0.w_norm", "unet/conv_norm_out", UDUMP_LORA_WHOLE);
    check_name("lora_unet_conv_norm_out.b_norm", "unet/conv_norm_out", UDUMP_LORA_BIAS);
    check_name("lora_te_text_model_final_layer_norm.w_norm", "text_encoder/final_layer_norm", UDUMP_LORA_WHOLE);
    check_name("lora_te_text_model_encoder_layers_0_layer_norm1.w_norm", "text_encoder/encoder.layers.0.layer_norm1", UDUMP_LORA_WHOLE);
    check_name(
        "unet.mid_block.attentions.0.proj_in.lora_magnitude_vector", "unet/mid_block.attentions.0.proj_in", UDUMP_LORA_ROW_MAGNITUDE);
    static const char *const unknown[] = { "", "lora_unet_.alpha", "lora_unet_conv_in.lora_down", "lora_unet_conv_in.oft_blocks",
        "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", "model.diffusion_model.input_blocks.0.0.weight" };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char *layer;
        udump_lora_role role;
        assert_true(udump_lora_name(unknown[i], &layer, &role));
        if (layer) fail_msg("%s: %s", unknown[i], layer);
    }
}

/* name with '_' for every '.', in one of two buffers. */
static const char *flat(const char *prefix, const char *name) {
    static char buffers[2][600];
    static int next;
    char *buffer = buffers[next++ % 2];
    snprintf(buffer, sizeof buffers[0], "%s%s", prefix, name);
    for (char *c = buffer; *c; c++)
        if (*c == '.') *c = '_';
    return buffer;
}

static void check_layer(const char *name, const char *ending, const char *layer) {
    char full[700];
    snprintf(full, sizeof full, "%s%s", name, ending);
    check_name(full, layer, UDUMP_LORA_ALPHA);
}

/* Every layer of SD 1.5 that can have one, by its diffusers and its original name ("canonical<TAB>original", one tensor a line). */
static void test_all_names(void **state) {
    (void)state;
    FILE *file = fopen(TEST_DATA "/weights/sd15_ldm_names.txt", "r");
    char line[512];
    int unet = 0, text = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        char *theirs = strchr(line, '\t'), *end = strstr(line, ".weight\t");
        if (!end || strstr(line, "norm") || strstr(line, "embedding.weight") || strncmp(line, "vae/", 4) == 0) continue;
        theirs++;
        theirs[strcspn(theirs, "\n") - strlen(".weight")] = '\0';
        *end = '\0';
        if (strncmp(line, "unet/", 5) == 0) {
            unet++;
            check_layer(flat("lora_unet_", line + 5), ".alpha", line);
            check_layer(flat("lora_unet_", theirs + strlen("model.diffusion_model.")), ".alpha", line);
        } else {
            text++;
            check_layer(flat("lora_te_text_model_", line + strlen("text_encoder/")), ".alpha", line);
        }
    }
    fclose(file);
    assert_int_equal(unet, 282);
    assert_int_equal(text, 72);
}

/* ---- block weights */

static void test_blocks(void **state) {
    (void)state;
    double factors[25];
    udump_lora_entry entry = { .text_factor = 1, .rest_factor = 1, .block_factors = factors };
    for (int i = 0; i < 25; i++) factors[i] = 1;
    assert_int_equal(udump_lora_blocks_parse("IN04=0.5, OUT00-OUT08 = 0 ,TE=-.25,M00,IN10-IN06(+2)=2.", 12, 12, &entry, NULL), UDUMP_OK);
    assert_true(entry.text_factor == -0.25 && entry.rest_factor == 1);
    for (int i = 0; i < 25; i++) {
        double expected = i == 4 ? 0.5 : i >= 13 && i <= 21 ? 0 : i == 12 || i == 6 || i == 8 || i == 10 ? 2 : 1;
        if (factors[i] != expected) fail_msg("block %d: %g, expected %g", i, factors[i], expected);
    }
    assert_int_equal(udump_lora_blocks_parse("", 12, 12, &entry, NULL), UDUMP_OK);
    assert_int_equal(udump_lora_blocks_parse("BASE=0.75,M00=1,M00=3", 12, 12, &entry, NULL), UDUMP_OK);
    assert_true(entry.text_factor == 0.75 && factors[12] == 3);
    assert_int_equal(udump_lora_blocks_parse("UNET=0.5,M00=2", 12, 12, &entry, NULL), UDUMP_OK);
    assert_true(entry.text_factor == 0.75 && entry.rest_factor == 0.5 && factors[0] == 0.5 && factors[12] == 2 && factors[24] == 0.5);
}

static void test_bad_blocks(void **state) {
    (void)state;
    static const struct {
        const char *text, *what;
        int64_t offset;
    } bad[] = {
        { "IN04", "blocks without a weight", 4 }, { "IN04=", "not a weight", 5 }, { "IN04=x", "not a weight", 5 },
        { "IN04=0.5x", "something after the weight", 8 }, { "=1", "a weight without blocks", 0 }, { "IN00=1,=1", "a weight without blocks", 7 },
        { "M00=1,IN12=1", "unknown block", 6 }, { "TE=1,TE,IN00=1", "not a block", 5 }, { "M00=1e3", "something after the weight", 5 },
        { "M00=1001", "not a weight", 4 }, { "M00=nan", "not a weight", 4 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double factors[25];
        udump_lora_entry entry = { .block_factors = factors };
        udump_error error;
        assert_int_equal(udump_lora_blocks_parse(bad[i].text, 12, 12, &entry, &error), UDUMP_ERROR_SYNTAX);
        if (strcmp(error.what, bad[i].what) != 0 || error.offset != bad[i].offset)
            fail_msg("%s: '%s' at %d", bad[i].text, error.what, (int)error.offset);
    }
}

/* Every layer of the model is in the block that its path says, whatever the family. */
static void test_block_of_layer(void **state) {
    (void)state;
    udump_weights *weights;
    assert_int_equal(udump_weights_open(TEST_ROOT "/models/demo", &weights, NULL), UDUMP_OK);
    udump_model *model = load_demo(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    udump_lora_levels levels = udump_lora_levels_of(weights);
    assert_int_equal(levels.in_count, model->unet.in_count);
    assert_int_equal(levels.out_count, model->unet.out_count);
    int checked = 0;
    for (int32_t block = 0; block < model->unet.block_count; block++) {
        char name[256];
        snprintf(name, sizeof name, "unet/%s", model->unet.blocks[block].path);
        name[strcspn(name, " ")] = '\0';
        if (block == levels.in_count) strcat(name, ".resnets.0.conv1");
        assert_int_equal(udump_lora_block(&levels, name), block);
        checked++;
    }
    assert_int_equal(checked, 25);
    assert_int_equal(udump_lora_block(&levels, "unet/up_blocks.1.upsamplers.0.conv"), 13 + 5);
    assert_int_equal(udump_lora_block(&levels, "unet/down_blocks.2.attentions.1.proj_in"), 8);
    assert_int_equal(udump_lora_block(&levels, "unet/mid_block.resnets.1.conv1"), 12);
    assert_int_equal(udump_lora_block(&levels, "unet/time_embedding.linear_1"), -1);
    assert_int_equal(udump_lora_block(&levels, "unet/conv_out"), -1);
    udump_model_release(model);
    udump_weights_close(weights);
}

/* ---- parity */

static udump_status load_with(const udump_lora *loras, int32_t count, udump_device device, udump_model **model, udump_error *error) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = UDUMP_PRECISION_FP32;
    options.loras = loras;
    options.lora_count = count;
    *model = NULL;
    return udump_model_load(TEST_ROOT "/models/demo", &options, model, error);
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)image, (void)variant, (void)picture;
    snprintf(user, 512, "%s", infotext);
    return UDUMP_CONTINUE;
}

static void compare_latent(udump_session *session, const goldens *g, const char *name) {
    golden expected = need_golden(g, name);
    float *last = malloc(expected.count * sizeof *last);
    udump_view view;
    assert_non_null(last);
    to_channels_last(last, expected.values, 4, expected.count / 4);
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    double error = relative_error(view.data, last, expected.count);
    print_message("%s: relative error %.3g\n", name, error);
    assert_true(error <= PARITY_FP32);
    free(last);
    free(expected.values);
}

static void compare_encoding(udump_session *session, const goldens *g, const char *name) {
    udump_context *context;
    udump_view view;
    golden expected = need_golden(g, name);
    assert_int_equal(udump_context_encode(session, PARITY_PROMPT, &context, NULL), UDUMP_OK);
    udump_context_get_view(context, &view);
    assert_int_equal(udump_view_count(&view), expected.count);
    assert_true(relative_error(view.data, expected.values, expected.count) <= PARITY_FP32);
    udump_context_release(context);
    free(expected.values);
}

static void run_case(const char *name, const udump_lora *loras, int32_t count, udump_device device, const char *first_line) {
    goldens g = open_goldens("lora"), base = open_goldens("128x128");
    udump_model *model;
    udump_session *session;
    udump_error error;
    char golden_name[64], infotext[512] = "";
    if (load_with(loras, count, device, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    snprintf(golden_name, sizeof golden_name, "%s/cond", name);
    compare_encoding(session, &g, golden_name);
    golden noise = need_golden(&base, "noise");
    udump_view view = udump_view_make(noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, 16, 16 });
    udump_generate_options o = parity_options(128, 128, 3);
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.noise = &view;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = infotext, .image = on_image };
    assert_int_equal(udump_begin(session, &o, NULL, &sink, NULL), UDUMP_OK);
    for (int step = 0; step < 3; step++) assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
    snprintf(golden_name, sizeof golden_name, "%s/latent", name);
    compare_latent(session, &g, golden_name);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
    infotext[strcspn(infotext, "\n")] = '\0';
    assert_string_equal(infotext, first_line);
    udump_session_destroy(session);
    udump_model_release(model);
    free(noise.values);
    close_goldens(&g);
    close_goldens(&base);
}

static void test_parity(void **state) {
    (void)state;
    const double half = -0.5, most = 0.8, some = 0.7, more = 1.25;
    const udump_lora kohya = { .path = GOLDEN("lora-kohya"), .weight = &most }, peft = { .path = GOLDEN("lora-peft") },
                     old = { .path = GOLDEN("lora-old"), .weight = &more }, locon = { .path = GOLDEN("lora-locon"), .weight = &some },
                     blocks = { .path = GOLDEN("lora-kohya"), .weight = &most, .block_weights = "IN04=0.5,OUT00-OUT08=0,TE=0.25" };
    const udump_lora both[] = { { .path = GOLDEN("lora-kohya"), .weight = &half }, { .path = GOLDEN("lora-locon") } };
    run_case("none", NULL, 0, UDUMP_DEVICE_AUTO, PARITY_PROMPT);
    run_case("kohya", &kohya, 1, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-kohya:0.8>");
    run_case("kohya", &kohya, 1, UDUMP_DEVICE_REFERENCE, PARITY_PROMPT " <lora:lora-kohya:0.8>");
    run_case("peft", &peft, 1, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-peft:1>");
    run_case("old", &old, 1, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-old:1.25>");
    run_case("locon", &locon, 1, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-locon:0.7>");
    run_case("blocks", &blocks, 1, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-kohya:0.8>");
    run_case("both", both, 2, UDUMP_DEVICE_AUTO, PARITY_PROMPT " <lora:lora-kohya:-0.5> <lora:lora-locon:1>");
}

/* ---- files that are wrong */

typedef struct tensor {
    const char *name, *dtype, *shape; /* "[4, 8]" */
    size_t bytes;
    const void *values; /* NULL: zeros */
} tensor;

static const char *write_file(const tensor *tensors, int count, const char *metadata) {
    static char path[64];
    char header[4096];
    size_t at = 0, length;
    length = (size_t)snprintf(header, sizeof header, "{%s%s%s", metadata ? "\"__metadata__\":{\"lora_adapter_metadata\":" : "",
        metadata ? metadata : "", metadata ? "}" : "");
    for (int i = 0; i < count; at += tensors[i].bytes, i++)
        length += (size_t)snprintf(header + length, sizeof header - length, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
            length > 1 ? "," : "", tensors[i].name, tensors[i].dtype, tensors[i].shape, at, at + tensors[i].bytes);
    header[length++] = '}';
    snprintf(path, sizeof path, "/tmp/udump_lora_XXXXXX");
    FILE *file = fdopen(mkstemp(path), "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++) fputc((int)(length >> 8 * i & 255), file);
    assert_int_equal(fwrite(header, 1, length, file), length);
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < tensors[i].bytes; k++) fputc(tensors[i].values ? ((const unsigned char *)tensors[i].values)[k] : 0, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void expect_failure(const tensor *tensors, int count, const char *metadata, udump_status status, const char *line) {
    const char *path = write_file(tensors, count, metadata);
    const udump_lora lora = { .path = path };
    udump_model *model;
    udump_error error;
    char found[1024], expected[1024];
    udump_status failed = load_with(&lora, 1, UDUMP_DEVICE_REFERENCE, &model, &error);
    remove(path);
    if (!failed) fail_msg("it loads: expected '%s'", line);
    udump_error_format(&error, found, sizeof found);
    snprintf(expected, sizeof expected, "%s: %s", path, line);
    assert_string_equal(found, expected);
    assert_int_equal(failed, status);
}

#define Q "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" /* [32, 32] */
#define K2 "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"    /* [96, 48] */
#define FAILS(status, line, ...) \
    do { \
        const tensor tensors[] = { __VA_ARGS__ }; \
        expect_failure(tensors, sizeof tensors / sizeof *tensors, NULL, status, line); \
    } while (0)

static void test_bad_tensors(void **state) {
    (void)state;
    unsigned char nans[256];
    memset(nans, 255, sizeof nans);
    const tensor down = { Q ".lora_down.weight", "F32", "[2,32]", 256, NULL }, up = { Q ".lora_up.weight", "F32", "[32,2]", 256, NULL };
    expect_failure(NULL, 0, NULL, UDUMP_ERROR_FORMAT, "no LoRA: the file has no layers");
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_down.weight: the layer lacks a tensor: expected its down and its up, found only its down", down);
    FAILS(UDUMP_ERROR_FORMAT, Q ".diff_b: the layer lacks a tensor: expected its down and its up, found neither",
        { Q ".diff_b", "F32", "[32]", 128, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".dora_scale: the layer lacks a tensor: expected its down and its up, found neither",
        { Q ".dora_scale", "F32", "[32]", 128, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".hada_w1_b: the layer lacks a tensor: expected its down and its up, found neither",
        { Q ".hada_w1_b", "F32", "[2,32]", 256, NULL }, { Q ".hada_w1_a", "F32", "[32,2]", 256, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".hada_w1_b: two matrices of unequal sizes", { Q ".hada_w1_a", "F32", "[32,2]", 256, NULL },
        { Q ".hada_w1_b", "F32", "[2,32]", 256, NULL }, { Q ".hada_w2_a", "F32", "[32,2]", 256, NULL },
        { Q ".hada_w2_b", "F32", "[2,16]", 128, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_down.weight: two kinds of difference for one layer: found " Q ".hada_t1",
        { Q ".hada_t1", "F32", "[2,2,1,1]", 16, NULL }, down, up);
    FAILS(UDUMP_ERROR_FORMAT, Q ".lokr_w1: a matrix, and what it would be made of: found [4, 4]",
        { Q ".lokr_w1", "F32", "[4,4]", 64, NULL }, { Q ".lokr_w1_a", "F32", "[4,2]", 32, NULL },
        { Q ".lokr_w1_b", "F32", "[2,4]", 32, NULL }, { Q ".lokr_w2", "F32", "[8,8]", 256, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS, Q ".lokr_w1: it does not fit the model's layer: expected [32, 32], found [32, 16]",
        { Q ".lokr_w1", "F32", "[4,4]", 64, NULL }, { Q ".lokr_w2", "F32", "[8,4]", 128, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS, Q ".diff: it does not fit the model's layer: expected [32, 32], found [16, 64]",
        { Q ".diff", "F32", "[16,64]", 4096, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS, Q ".diff_b: the model's layer has no bias", { Q ".diff", "F32", "[32,32]", 4096, NULL },
        { Q ".diff_b", "F32", "[32]", 128, NULL });
    FAILS(UDUMP_ERROR_FORMAT, "lora_unet_conv_in.diff_b: it does not fit the model's layer: expected [32], found [31]",
        { "lora_unet_conv_in.diff", "F32", "[32,4,3,3]", 4608, NULL }, { "lora_unet_conv_in.diff_b", "F32", "[31]", 124, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".dora_scale: tensor has the wrong shape: expected 32 values, one for each input, found [1, 31]", down, up,
        { Q ".dora_scale", "F32", "[1,31]", 124, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_up.weight: the layer lacks a tensor: expected its down and its up, found only its up", up);
    FAILS(UDUMP_ERROR_FORMAT, Q ".alpha: alpha is not one number: expected [], found [2]", down, up, { Q ".alpha", "F32", "[2]", 8, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".alpha: not one number of a type that is read: expected F32, F16, BF16, F64, I64 or I32, found I64", down,
        up, { Q ".alpha", "I64", "[2]", 16, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".alpha: not one number of a type that is read: expected F32, F16, BF16, F64, I64 or I32, found F8_E4M3",
        down, up, { Q ".alpha", "F8_E4M3", "[]", 1, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".alpha: values are NaN or infinite", down, up, { Q ".alpha", "F64", "[]", 8, nans });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_up.weight: tensor has the wrong type: expected F32, F16 or BF16, found I32", down,
        { Q ".lora_up.weight", "I32", "[32,2]", 256, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".alpha: values are NaN or infinite", down, up, { Q ".alpha", "F32", "[]", 4, nans });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_up.weight: tensor has the wrong shape: expected [out, 2] or [out, 2, 1, 1], found [2, 32]", down,
        { Q ".lora_up.weight", "F32", "[2,32]", 256, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_up.weight: tensor has the wrong shape: expected sizes from 1 to 1048576, found [32, 0]",
        { Q ".lora_down.weight", "F32", "[0,32]", 0, NULL }, { Q ".lora_up.weight", "F32", "[32,0]", 0, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_mid.weight: tensor has the wrong shape: expected [2, 2, k, k], found [2, 3, 1, 1]", down, up,
        { Q ".lora_mid.weight", "F32", "[2,3,1,1]", 24, NULL });
    FAILS(UDUMP_ERROR_FORMAT, Q ".lora_down.weight: values are NaN or infinite", { Q ".lora_down.weight", "F32", "[2,32]", 256, nans }, up);
    FAILS(UDUMP_ERROR_FORMAT,
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight: two tensors for one place in the model: found " Q
        ".lora_down.weight",
        down, up, { "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", "F32", "[2,32]", 256, NULL });
    FAILS(UDUMP_ERROR_UNSUPPORTED, Q ".oft_blocks: OFT is not supported, only LoRA, LoCon, LoHa, LoKr, DoRA and full differences",
        { Q ".oft_blocks", "F32", "[2,32]", 256, NULL });
    FAILS(UDUMP_ERROR_UNSUPPORTED,
        Q ".lora_up.bias: LoRA with a bias is not supported, only LoRA, LoCon, LoHa, LoKr, DoRA and full differences", down, up,
        { Q ".lora_up.bias", "F32", "[32]", 128, NULL });
    FAILS(UDUMP_ERROR_UNSUPPORTED,
        "model.diffusion_model.input_blocks.0.0.bias: a checkpoint is not supported, only LoRA, LoCon, LoHa, LoKr, DoRA and full "
        "differences",
        { "model.diffusion_model.input_blocks.0.0.bias", "F32", "[32]", 128, NULL });
    FAILS(UDUMP_ERROR_FORMAT, "conv_in.weight: not a tensor of a LoRA for Stable Diffusion", { "conv_in.weight", "F32", "[1]", 4, NULL });
    FAILS(UDUMP_ERROR_FORMAT,
        "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight: not a tensor of a LoRA for Stable Diffusion: it seems to be for "
        "Flux",
        { "transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", "F32", "[1]", 4, NULL });
}

/* ---- how strong */

#define PROJ_IN "down_blocks.0.attentions.0.proj_in" /* in the tests below [2, 1, 1, 1] */
#define PEFT "base_model.model." PROJ_IN

/* What is added to a layer of zeros by up and down of ones, rank 2: twice alpha / rank. */
static float strength(const char *path) {
    const int64_t shape[] = { 2, 1 };
    float values[2] = { 0 };
    udump_lora_file *file;
    udump_error error;
    if (udump_lora_open(path, &file, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_int_equal(udump_lora_merge(file, "unet/" PROJ_IN, 2, shape, 1, 1, values, NULL), UDUMP_OK);
    udump_lora_close(file);
    assert_true(values[0] == values[1]);
    return values[0];
}

/* A LoRA of ones, and what else is given. */
static float strength_of(const char *down, const char *up, const tensor *more, const char *metadata) {
    static const float ones[] = { 1, 1, 1, 1 };
    tensor tensors[4] = { { .name = down, .dtype = "F32", .shape = "[2,1]", .bytes = 8, .values = ones },
        { .name = up, .dtype = "F32", .shape = "[2,2]", .bytes = 16, .values = ones } };
    int count = 2;
    if (more) tensors[count++] = *more;
    const char *path = write_file(tensors, count, metadata);
    float found = strength(path);
    remove(path);
    return found;
}

#define KOHYA "lora_unet_down_blocks_0_attentions_0_proj_in"

static void test_alphas(void **state) {
    (void)state;
    const float f32 = 3;
    const double f64 = 3;
    const int64_t i64 = 3;
    const int32_t i32 = 3;
    const struct {
        const char *dtype;
        size_t bytes;
        const void *values;
    } alphas[] = { { "F32", 4, &f32 }, { "F64", 8, &f64 }, { "I64", 8, &i64 }, { "I32", 4, &i32 } };
    assert_true(strength_of(KOHYA ".lora_down.weight", KOHYA ".lora_up.weight", NULL, NULL) == 2);
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        const tensor alpha = { KOHYA ".alpha", alphas[i].dtype, "[]", alphas[i].bytes, alphas[i].values };
        assert_true(strength_of(KOHYA ".lora_down.weight", KOHYA ".lora_up.weight", &alpha, NULL) == 3);
    }
    const tensor lone = { "lora_unet_conv_out.alpha", "F32", "[]", 4, &f32 }; /* of no layer: nothing */
    assert_true(strength_of(KOHYA ".lora_down.weight", KOHYA ".lora_up.weight", &lone, NULL) == 2);
}

static void test_metadata_of_one_part(void **state) {
    (void)state;
    const char *of_unet = "\"{\\\"unet.lora_alpha\\\": 8}\"",
               *of_one = "\"{\\\"lora_alpha\\\": 8, \\\"alpha_pattern\\\": {\\\"proj_in\\\": 5}}\"";
    assert_true(strength_of("unet." PROJ_IN ".lora_A.weight", "unet." PROJ_IN ".lora_B.weight", NULL, of_unet) == 8);
    assert_true(strength_of(PROJ_IN ".lora_A.weight", PROJ_IN ".lora_B.weight", NULL, of_one) == 5);
}

/* PEFT's save_pretrained: alpha is in adapter_config.json beside the file. */
static void test_peft_config(void **state) {
    (void)state;
    static const float ones[] = { 1, 1, 1, 1 };
    const tensor tensors[] = { { PEFT ".lora_A.weight", "F32", "[2,1]", 8, ones }, { PEFT ".lora_B.weight", "F32", "[2,2]", 16, ones } };
    expect_failure(tensors, 2, NULL, UDUMP_ERROR_FORMAT,
        PEFT ".lora_A.weight: no alpha: PEFT has it in another file: expected adapter_config.json in the same folder");
    char folder[] = "/tmp/udump_peft_XXXXXX", config[64], path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(config, sizeof config, "%s/adapter_config.json", folder);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    assert_int_equal(rename(write_file(tensors, 2, NULL), path), 0);
    static const struct {
        const char *text;
        float strength;
    } cases[] = { { "{\"r\": 2, \"lora_alpha\": 1, \"target_modules\": [\"proj_in\"]}", 1 },
        { "{\"r\": 2, \"lora_alpha\": 8, \"use_rslora\": true}", 8 * 1.41421356f },
        { "{\"r\": 8, \"lora_alpha\": 8, \"alpha_pattern\": {\"attentions.0.proj_in\": 3}}", 3 }, { "{}", 2 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *file = fopen(config, "w");
        assert_non_null(file);
        fputs(cases[i].text, file);
        assert_int_equal(fclose(file), 0);
        assert_float_equal(strength(path), cases[i].strength, 1e-5);
    }
    remove(config);
    remove(path);
    remove(folder);
}

/* ---- LyCORIS' kinds (tests/parity/make_lycoris_goldens.py) */

static float *read_demo(udump_weights *demo, const udump_weight *weight) {
    float *values = malloc((size_t)weight->size_bytes * 2);
    assert_int_equal(udump_weights_read(demo, weight, values, 1, NULL, NULL), UDUMP_OK);
    return values;
}

static void compare(const char *name, const float *found, const float *expected, size_t count) {
    double most = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs(expected[i]));
        worst = fmax(worst, fabs((double)found[i] - expected[i]));
    }
    if (!(worst <= 2e-6 * most)) fail_msg("%s: %g off, where the largest is %g", name, worst, most); /* a few roundings of fp32 */
}

static void merge(udump_lora_file *file, const char *layer, const udump_weight *weight, bool bias, double factor, float *values) {
    udump_status status = bias ? udump_lora_merge_bias(file, layer, weight->shape[0], factor, values, NULL)
                               : udump_lora_merge(file, layer, weight->rank, weight->shape, factor, 2, values, NULL);
    assert_int_equal(status, UDUMP_OK);
}

/* One case's weight or bias: with the whole difference what LyCORIS makes, with half of it half as far. */
static void check_merged(udump_weights *demo, udump_lora_file *file, const char *layer, const char *kind, const golden *expected) {
    char name[160];
    snprintf(name, sizeof name, "%s.%s", layer, kind);
    const udump_weight *weight = udump_weights_find(demo, name);
    assert_non_null(weight);
    float *before = read_demo(demo, weight), *whole = read_demo(demo, weight), *half = read_demo(demo, weight);
    bool bias = strcmp(kind, "bias") == 0;
    merge(file, layer, weight, bias, 1, whole);
    merge(file, layer, weight, bias, 0.5, half);
    compare(name, whole, expected->values, expected->count);
    for (size_t i = 0; i < expected->count; i++) whole[i] = (before[i] + whole[i]) / 2;
    compare(name, half, whole, expected->count);
    free(before);
    free(whole);
    free(half);
}

static void test_lycoris(void **state) {
    (void)state;
    static const char *const cases[] = { "loha", "loha-conv", "loha-tucker", "lokr-whole", "lokr", "lokr-both", "lokr-conv", "lokr-tucker",
        "full", "norm", "dora", "dora-inputs", "dora-square", "dora-conv", "dora-conv-inputs" };
    goldens merged = open_goldens("lycoris-merged");
    udump_weights *demo, *named;
    udump_lora_file *file;
    assert_int_equal(udump_weights_open(TEST_ROOT "/models/demo", &demo, NULL), UDUMP_OK);
    assert_int_equal(udump_weights_open_tensors(GOLDEN("lycoris-merged"), &named, NULL), UDUMP_OK);
    assert_int_equal(udump_lora_open(GOLDEN("lycoris"), &file, NULL), UDUMP_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *layer = udump_weights_metadata(named, cases[i]);
        char name[64];
        assert_non_null(layer);
        snprintf(name, sizeof name, "%s.weight", cases[i]);
        golden weight = need_golden(&merged, name);
        check_merged(demo, file, layer, "weight", &weight);
        free(weight.values);
        snprintf(name, sizeof name, "%s.bias", cases[i]);
        golden bias = read_golden(&merged, name);
        if (bias.values) check_merged(demo, file, layer, "bias", &bias);
        free(bias.values);
    }
    udump_lora_close(file);
    udump_weights_close(named);
    udump_weights_close(demo);
    close_goldens(&merged);
    udump_model *model; /* all of it belongs to the model's layers */
    assert_int_equal(load_with(&(udump_lora){ .path = GOLDEN("lycoris") }, 1, UDUMP_DEVICE_REFERENCE, &model, NULL), UDUMP_OK);
    udump_model_release(model);
}

/* PEFT's lengths are of rows whatever their shape: those of a 2 x 1 layer of ones become 3 and 4. */
static void test_peft_dora(void **state) {
    (void)state;
    static const float ones[] = { 1, 1, 1, 1 }, lengths[] = { 3, 4 };
    const tensor tensors[] = { { "unet." PROJ_IN ".lora_A.weight", "F32", "[2,1]", 8, ones },
        { "unet." PROJ_IN ".lora_B.weight", "F32", "[2,2]", 16, ones },
        { "unet." PROJ_IN ".lora_magnitude_vector", "F32", "[2]", 8, lengths } };
    const char *path = write_file(tensors, 3, NULL);
    udump_lora_file *file;
    float values[] = { 1, 1 };
    assert_int_equal(udump_lora_open(path, &file, NULL), UDUMP_OK);
    assert_int_equal(udump_lora_merge(file, "unet/" PROJ_IN, 2, (int64_t[]){ 2, 1 }, 1, 1, values, NULL), UDUMP_OK);
    assert_float_equal(values[0], 3, 1e-5);
    assert_float_equal(values[1], 4, 1e-5);
    udump_lora_close(file);
    remove(path);
}

/* ---- which file a tag means */

static void test_find(void **state) {
    (void)state;
    char path[sizeof GOLDEN("lora-kohya")];
    udump_error error;
    assert_int_equal(
        udump_lora_find(TEST_ROOT "/tests/parity", "lora-kohya", path, sizeof path, NULL), UDUMP_OK); /* in a folder within it */
    assert_string_equal(path, GOLDEN("lora-kohya"));
    assert_int_equal(udump_lora_find(TEST_ROOT "/tests/parity/goldens", "lora-kohya", path, sizeof path - 1, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_lora_find(TEST_ROOT "/tests/parity/goldens", "lora-koh", path, sizeof path, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "no LoRA 'lora-koh': no file of that name, and none that calls itself so");
    assert_int_equal(udump_lora_find("/nonexistent", "x", path, sizeof path, &error), UDUMP_ERROR_FILE);
    assert_int_equal(udump_lora_find(NULL, "x", path, sizeof path, &error), UDUMP_ERROR_ARGUMENT);
}

/* LoRAs that are fine, for another model. */
static void test_other_models(void **state) {
    (void)state;
    FAILS(UDUMP_ERROR_WEIGHTS,
        K2 ".lora_down.weight: it does not fit the model's layer; the LoRA seems to be for SD 2: expected [96, 48], found [1280, 1024]",
        { K2 ".lora_down.weight", "F16", "[1,1024]", 2048, NULL }, { K2 ".lora_up.weight", "F16", "[1280,1]", 2560, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS,
        "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight: the model has no such layer; the LoRA seems to be for SDXL",
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "F32", "[1,8]", 32, NULL },
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "F32", "[8,1]", 32, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS, "lora_unet_down_blocks_0_attentions_7_proj_in.lora_down.weight: the model has no such layer",
        { "lora_unet_down_blocks_0_attentions_7_proj_in.lora_down.weight", "F32", "[1,32]", 128, NULL },
        { "lora_unet_down_blocks_0_attentions_7_proj_in.lora_up.weight", "F32", "[32,1]", 128, NULL });
    FAILS(UDUMP_ERROR_WEIGHTS,
        "lora_unet_conv_in.lora_down.weight: it does not fit the model's layer: expected [32, 4, 3, 3], found [32, 4]",
        { "lora_unet_conv_in.lora_down.weight", "F32", "[1,4]", 16, NULL },
        { "lora_unet_conv_in.lora_up.weight", "F32", "[32,1]", 128, NULL });
}

/* Layers that the checkpoint has and nothing reads: SDXL's LoRAs have the text encoder's last. */
static void test_unread_layers(void **state) {
    (void)state;
    const tensor tensors[] = { { "lora_te_text_model_encoder_layers_9_mlp_fc1.lora_down.weight", "F32", "[1,4]", 16, NULL },
        { "lora_te_text_model_encoder_layers_9_mlp_fc1.lora_up.weight", "F32", "[4,1]", 16, NULL } };
    const tensor layer = { "text_encoder/encoder.layers.9.mlp.fc1.weight", "F32", "[4,4]", 64, NULL };
    udump_lora_file *file;
    udump_weights *checkpoint;
    udump_error error;
    char path[64];
    snprintf(path, sizeof path, "%s", write_file(tensors, 2, NULL));
    assert_int_equal(udump_lora_open(path, &file, NULL), UDUMP_OK);
    remove(path);
    snprintf(path, sizeof path, "%s", write_file(&layer, 1, NULL));
    assert_int_equal(udump_weights_open_tensors(path, &checkpoint, NULL), UDUMP_OK);
    remove(path);
    assert_int_equal(udump_lora_check_used(file, checkpoint, NULL), UDUMP_OK);
    udump_weights_close(checkpoint);
    assert_int_equal(udump_weights_open(TEST_ROOT "/models/demo", &checkpoint, NULL), UDUMP_OK);
    assert_int_equal(udump_lora_check_used(file, checkpoint, &error), UDUMP_ERROR_WEIGHTS);
    assert_string_equal(error.what, "the model has no such layer");
    udump_weights_close(checkpoint);
    udump_lora_close(file);
}

static void test_bad_metadata(void **state) {
    (void)state;
#define A "unet.mid_block.attentions.0.proj_in.lora_A.weight"
    const tensor tensors[] = { { A, "F32", "[1,96]", 384, NULL },
        { "unet.mid_block.attentions.0.proj_in.lora_B.weight", "F32", "[96,1]", 384, NULL } };
    expect_failure(tensors, 2, "\"{\\\"unet.lora_alpha\\\": \\\"x\\\"}\"", UDUMP_ERROR_FORMAT, A ": the metadata's alpha is not a number");
    expect_failure(tensors, 2, "\"[]\"", UDUMP_ERROR_FORMAT, "lora_adapter_metadata: not a JSON object");
    /* Of another part, and of another type: nothing is said of alpha. */
    const char *path = write_file(tensors, 2, "\"{\\\"text_encoder.lora_alpha\\\": 7}\"");
    udump_model *model;
    const udump_lora lora = { .path = path };
    assert_int_equal(load_with(&lora, 1, UDUMP_DEVICE_REFERENCE, &model, NULL), UDUMP_OK);
    udump_model_release(model);
    remove(path);
}

static void test_bad_options(void **state) {
    (void)state;
    const double much = 1001;
    udump_model *model;
    udump_error error;
    assert_int_equal(load_with(&(udump_lora){ .path = GOLDEN("lora-old"), .weight = &much }, 1, 0, &model, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "a weight of 1001: -1000 to 1000 are possible");
    assert_int_equal(load_with(&(udump_lora){ 0 }, 1, 0, &model, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(load_with(NULL, 1, 0, &model, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(load_with(&(udump_lora){ .path = "/nonexistent.safetensors" }, 1, 0, &model, &error), UDUMP_ERROR_FILE);
    assert_int_equal(load_with(&(udump_lora){ .path = "x.pt" }, 1, 0, &model, &error), UDUMP_ERROR_UNSUPPORTED);
    const udump_lora bad_block = { .path = GOLDEN("lora-old"), .block_weights = "IN12=0" };
    assert_int_equal(load_with(&bad_block, 1, 0, &model, &error), UDUMP_ERROR_SYNTAX);
    assert_string_equal(error.where, GOLDEN("lora-old") ": block weights");
    assert_string_equal(error.expected, "a block: IN00..IN11, M00, OUT00..OUT11, UNET, TE or BASE");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_all_names), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_bad_blocks), cmocka_unit_test(test_block_of_layer), cmocka_unit_test(test_parity),
        cmocka_unit_test(test_bad_tensors), cmocka_unit_test(test_alphas), cmocka_unit_test(test_metadata_of_one_part),
        cmocka_unit_test(test_peft_config), cmocka_unit_test(test_find), cmocka_unit_test(test_lycoris), cmocka_unit_test(test_peft_dora),
        cmocka_unit_test(test_other_models), cmocka_unit_test(test_unread_layers), cmocka_unit_test(test_bad_metadata),
        cmocka_unit_test(test_bad_options) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
