/* Checkpoints as people have them: what a single file or a folder may have, lack, or be instead. Small models from recipes
 * (tests/parity/models), altered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#include "capture/context.h"
#include "folders.h"
#include "model/model.h"
#include "recipe.h"

static recipe_tensor *find(const recipe *r, const char *name) {
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->tensors[i].name, name) == 0) return &r->tensors[i];
    fail_msg("the recipe has no %s", name);
    return NULL;
}

/* One more tensor in the recipe's file. */
static void add(recipe *r, const char *name, int rank, int64_t size) {
    recipe_tensor *t = &r->tensors[r->count++];
    *t = (recipe_tensor){ .rank = rank, .scale = 1 };
    strcpy(t->file, "model.safetensors");
    strcpy(t->name, name);
    strcpy(t->source, "more");
    for (int i = 0; i < rank; i++) t->shape[i] = size;
}

/* Drops the tensors whose names begin so. */
static void drop(recipe *r, const char *beginning) {
    int kept = 0;
    for (int i = 0; i < r->count; i++)
        if (strncmp(r->tensors[i].name, beginning, strlen(beginning)) != 0) r->tensors[kept++] = r->tensors[i];
    assert_true(kept < r->count);
    r->count = kept;
}

/* Where names begin so, they begin otherwise. */
static void rename_all(recipe *r, const char *from, const char *to) {
    for (int i = 0; i < r->count; i++) {
        char rest[256], *name = r->tensors[i].name;
        if (strncmp(name, from, strlen(from)) != 0) continue;
        strcpy(rest, name + strlen(from));
        snprintf(name, sizeof r->tensors[i].name, "%.99s%.150s", to, rest);
    }
}

static recipe open_recipe(const char *name, const char *folder) {
    char path[512];
    recipe r;
    snprintf(path, sizeof path, "%s/tests/parity/models/%s.txt", TEST_ROOT, name);
    assert_int_equal(mkdir(below(folder), 0777), 0);
    assert_true(recipe_read(path, below(folder), &r));
    return r;
}

/* What this process has read from files so far, as Linux counts it; 0 where it does not. */
static long long bytes_read(void) {
    long long bytes = 0;
    FILE *io = fopen("/proc/self/io", "r");
    if (io && fscanf(io, "rchar: %lld", &bytes) != 1) bytes = 0;
    if (io) fclose(io);
    return bytes;
}

/* Writes what became of the recipe, and loads it: the file in folder, or the folder itself. */
static udump_status try_load(recipe *r, const char *folder, const udump_model_options *options, udump_model **model, udump_error *error) {
    char file[128];
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    assert_true(recipe_write(r, below(folder)));
    bool single = strcmp(r->tensors[0].file, "model.safetensors") == 0;
    free(r->tensors);
    *model = NULL;
    long long before = bytes_read();
    udump_status status = udump_model_load(below(single ? file : folder), options, model, error);
    if (status) assert_in_range(bytes_read() - before, 0, 1 << 20);
    assert_int_equal(nftw(below(folder), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0); /* nothing stays open: 20 MB of disk at a time */
    return status;
}

static udump_model_options plain_options(void) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.precision = UDUMP_PRECISION_FP32;
    return options;
}

static udump_model *loads(recipe *r, const char *folder, const udump_model_options *options) {
    udump_model *model;
    udump_error error;
    if (try_load(r, folder, options, &model, &error)) fail_msg("%s: %s: %s, %s", error.where, error.what, error.expected, error.found);
    return model;
}

/* The error's line has that in it; and 20 MB were not read for it. */
static void refused(recipe *r, const char *folder, udump_status status, const char *line) {
    udump_model_options options = plain_options();
    udump_model *model;
    udump_error error;
    char text[1024];
    assert_int_equal(try_load(r, folder, &options, &model, &error), status);
    udump_error_format(&error, text, sizeof text);
    if (!strstr(text, line)) fail_msg("'%s' does not have '%s'", text, line);
}

static int32_t pooled_dim_of(const udump_model *model) {
    udump_model_info info;
    udump_model_get_info(model, &info);
    return info.pooled_dim;
}

static const char *prediction_of(const udump_model *model) {
    udump_model_info info;
    udump_model_get_info(model, &info);
    return info.prediction;
}

static void what_is_ignored(void **state) {
    (void)state;
    recipe r = open_recipe("sdxl-ldm", "ignored");
    udump_model_options options = plain_options();
    add(&r, "model_ema.decay", 0, 1);
    add(&r, "model_ema.diffusion_modelinput_blocks00weight", 1, 7);
    add(&r, "conditioner.embedders.1.model.logit_scale", 0, 1);
    add(&r, "conditioner.embedders.0.transformer.text_model.embeddings.position_ids", 1, 77);
    add(&r, "denoiser.sigmas", 1, 1000);
    udump_model *model = loads(&r, "ignored", &options);
    assert_string_equal(prediction_of(model), "epsilon");
    assert_false(model->zero_snr);
    udump_model_release(model);
}

static void what_is_not(void **state) {
    (void)state;
    recipe r = open_recipe("sdxl-ldm", "extra");
    add(&r, "model.diffusion_model.label_emb.1.weight", 1, 4);
    udump_model_options options = plain_options();
    udump_model_release(loads(&r, "extra", &options)); /* nothing maps it: no part of the model */
    r = open_recipe("sdxl", "extra2");
    r.tensors[r.count] = r.tensors[0];
    strcpy(r.tensors[r.count++].name, "time_embedding.other.weight");
    refused(&r, "extra2", UDUMP_ERROR_WEIGHTS, "unet/time_embedding.other.weight: tensor is not part of a model of the family SDXL");
}

static void marks(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "v");
    add(&r, "v_pred", 1, 0);
    add(&r, "ztsnr", 1, 0);
    udump_model *model = loads(&r, "v", &options);
    assert_string_equal(prediction_of(model), "v");
    assert_true(model->zero_snr);
    udump_model_release(model);
    r = open_recipe("sdxl-ldm", "said");
    add(&r, "__metadata__", 1, 0);
    strcpy(r.tensors[r.count - 1].source, "\"modelspec.prediction_type\":\"v\"");
    model = loads(&r, "said", &options);
    assert_string_equal(prediction_of(model), "v");
    udump_model_release(model);
    r = open_recipe("sdxl-ldm", "asked");
    add(&r, "v_pred", 0, 1);
    options.prediction = UDUMP_PREDICTION_EPSILON;
    model = loads(&r, "asked", &options);
    assert_string_equal(prediction_of(model), "epsilon"); /* the user knows better */
    udump_model_release(model);
}

/* Nothing in the file says what it predicts. */
static void asked_by_running(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sd2-ldm", "epsilon");
    udump_model *model = loads(&r, "epsilon", &options);
    assert_string_equal(prediction_of(model), "epsilon");
    udump_model_release(model);
    r = open_recipe("sd2-ldm", "minus");
    find(&r, "model.diffusion_model.out.2.bias")->offset = -1;
    model = loads(&r, "minus", &options);
    assert_string_equal(prediction_of(model), "v");
    udump_model_release(model);
}

/* The scale tells which autoencoder it is: the file's has the family's, the folder's its config's. */
static void other_autoencoders(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "without"), vae = open_recipe("sd2-ldm", "vae"), folder = open_recipe("sd2", "folder");
    char file[128], part[128];
    snprintf(part, sizeof part, "%s", below("folder/vae"));
    snprintf(file, sizeof file, "%s", below("vae/model.safetensors"));
    assert_true(recipe_write(&folder, below("folder")));
    assert_true(recipe_write(&vae, below("vae"))); /* a whole checkpoint's */
    drop(&r, "first_stage_model.");
    assert_true(recipe_write(&r, below("without")));
    const char *path = below("without/model.safetensors");

    udump_model *model = NULL;
    udump_error error;
    assert_int_equal(udump_model_load(path, &options, &model, &error), UDUMP_ERROR_WEIGHTS);
    assert_string_equal(error.what, "the checkpoint has no autoencoder: name one (--vae, vae_path)");
    options.vae_path = file;
    assert_int_equal(udump_model_load(path, &options, &model, NULL), UDUMP_OK);
    assert_true(model->vae.scaling_factor == 0.13025);
    udump_model_release(model);
    drop(&vae, "model.diffusion_model.");
    drop(&vae, "cond_stage_model.");
    assert_true(recipe_write(&vae, below("vae"))); /* first_stage_model. */
    assert_int_equal(udump_model_load(path, &options, &model, NULL), UDUMP_OK);
    udump_model_release(model);
    size_t prefix = strlen("first_stage_model.");
    for (int i = 0; i < vae.count; i++) memmove(vae.tensors[i].name, vae.tensors[i].name + prefix, strlen(vae.tensors[i].name) + 1 - prefix);
    for (int i = 0; i < 3; i++) add(&vae, i == 0 ? "loss.logvar" : i == 1 ? "model_ema.decay" : "quant_conv.bias", 0, 1);
    assert_true(recipe_write(&vae, below("vae"))); /* as autoencoders' own files have it */
    assert_int_equal(udump_model_load(path, &options, &model, NULL), UDUMP_OK);
    udump_model_release(model);
    options.vae_path = part;
    assert_int_equal(udump_model_load(path, &options, &model, NULL), UDUMP_OK);
    assert_true(model->vae.scaling_factor == 0.18215);
    udump_model_release(model);
    snprintf(file, sizeof file, "%s", below("folder/vae/diffusion_pytorch_model.safetensors"));
    options.vae_path = file; /* diffusers' names, no config; instead of the one in the checkpoint */
    assert_int_equal(udump_model_load(below("folder"), &options, &model, NULL), UDUMP_OK);
    udump_model_release(model);
    free(r.tensors);
    free(vae.tensors);
    free(folder.tensors);
}

static void bad_autoencoders(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    udump_model *model;
    udump_error error;
    static const struct {
        const char *path, *what;
        udump_status status;
    } cases[] = {
        { "nowhere.safetensors", "cannot be opened", UDUMP_ERROR_FILE },
        { "old.ckpt", "safetensors", UDUMP_ERROR_UNSUPPORTED },
        { TEST_ROOT "/models/demo/unet/diffusion_pytorch_model.safetensors", "tensor is missing", UDUMP_ERROR_WEIGHTS },
        { TEST_ROOT "/tests", "no weights in this folder", UDUMP_ERROR_FORMAT },
    };
    write_text(below("old.ckpt"), "PK");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        options.vae_path = cases[i].path[0] == '/' ? cases[i].path : below(cases[i].path);
        assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &options, &model, &error), cases[i].status);
        udump_error_format(&error, text, sizeof text);
        if (!strstr(text, cases[i].what)) fail_msg("'%s' does not have '%s'", text, cases[i].what);
    }
}

/* Folders of half precision are named so; what the values are does not matter here. */
static void variants(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl", "fp16");
    for (int i = 0; i < r.count; i++) strcpy(strstr(r.tensors[i].file, ".safetensors"), ".fp16.safetensors");
    udump_model_release(loads(&r, "fp16", &options));
}

static void lacking(void **state) {
    (void)state;
    recipe r = open_recipe("sdxl-ldm", "one_encoder");
    drop(&r, "conditioner.embedders.1.");
    refused(&r, "one_encoder", UDUMP_ERROR_WEIGHTS, "text_encoder_2/embeddings.token_embedding.weight: tensor is missing");
    r = open_recipe("sdxl-ldm", "no_projection");
    drop(&r, "conditioner.embedders.1.model.text_projection");
    refused(&r, "no_projection", UDUMP_ERROR_WEIGHTS, "text_encoder_2/text_projection.weight: tensor is missing");
    r = open_recipe("sd2-ldm", "rows");
    find(&r, "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight")->shape[0] = 191;
    refused(&r, "rows", UDUMP_ERROR_FORMAT, "resblocks.1.attn.in_proj_weight: its rows are not those of Q, K and V");
    r = open_recipe("sd2-ldm", "narrow");
    find(&r, "cond_stage_model.model.transformer.resblocks.1.attn.in_proj_weight")->shape[1] = 32;
    refused(&r, "narrow", UDUMP_ERROR_WEIGHTS, "self_attn.q_proj.weight: tensor has the wrong shape: expected [64, 64], found [64, 32]");
    r = open_recipe("sdxl-ldm", "projection");
    find(&r, "conditioner.embedders.1.model.text_projection")->shape[1] = 95;
    refused(&r, "projection", UDUMP_ERROR_WEIGHTS,
        "unet/add_embedding.linear_1: 1632 inputs: a pooled vector of 95 and 6 numbers, each as many sines and cosines, do not make that");
}

/* The tensor that does not follow from those before it is named. */
static void what_does_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *tensor;
        int axis;
        int64_t size;
        const char *line;
    } cases[] = {
        { "down_blocks.1.resnets.0.conv1.weight", 1, 72,
            "unet/down_blocks.1.resnets.0.conv1.weight: tensor has the wrong shape: expected [64, 64, 3, 3], found [64, 72, 3, 3]" },
        { "mid_block.resnets.1.conv1.weight", 0, 64,
            "unet/mid_block.resnets.1.conv1.weight: tensor has the wrong shape: expected [128, 128, 3, 3], found [64, 128, 3, 3]" },
        { "mid_block.attentions.0.proj_in.weight", 0, 64,
            "unet/mid_block.attentions.0.proj_in.weight: tensor has the wrong shape: expected [128, 128], found [64, 128]" },
        { "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight", 0, 64,
            "attn1.to_k.weight: tensor has the wrong shape: expected [128, 128], found [64, 128]" },
        { "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", 0, 64,
            "attn2.to_v.weight: tensor has the wrong shape: expected [128, 64], found [64, 64]" },
        { "mid_block.attentions.0.transformer_blocks.0.ff.net.2.weight", 1, 256,
            "ff.net.2.weight: tensor has the wrong shape: expected [128, 512], found [128, 256]" },
        { "up_blocks.1.resnets.2.conv1.weight", 1, 200,
            "unet/up_blocks.1.resnets.2.conv1.weight: tensor has the wrong shape: expected [128, 192, 3, 3], found [128, 200, 3, 3]" },
        { "conv_norm_out.weight", 0, 32, "unet/conv_norm_out.weight: tensor has the wrong shape: expected [64], found [32]" },
        { "encoder.layers.1.mlp.fc2.weight", 1, 256,
            "text_encoder/encoder.layers.1.mlp.fc2.weight: tensor has the wrong shape: expected [64, 128], found [64, 256]" },
        { "decoder.up_blocks.1.resnets.0.conv1.weight", 1, 24,
            "vae/decoder.up_blocks.1.resnets.0.conv1.weight: tensor has the wrong shape: expected [32, 32, 3, 3], found [32, 24, 3, 3]" },
        { "decoder.mid_block.attentions.0.to_v.weight", 0, 16,
            "vae/decoder.mid_block.attentions.0.to_v.weight: tensor has the wrong shape: expected [32, 32], found [16, 32]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        recipe r = open_recipe("sd2", "unfit");
        find(&r, cases[i].tensor)->shape[cases[i].axis] = cases[i].size;
        refused(&r, "unfit", UDUMP_ERROR_WEIGHTS, cases[i].line);
    }
}

/* Levels, layers and samplers that no U-Net of these families has. */
static void what_is_built_otherwise(void **state) {
    (void)state;
    static const struct {
        const char *gone, *line;
    } cases[] = {
        { "down_blocks.0.", "unet/down_blocks.0: no residual blocks: unet/down_blocks.0.resnets.0 is missing" },
        { "down_blocks.1.downsamplers.", "unet/down_blocks.1: a level without a sampler" },
        { "up_blocks.1.upsamplers.", "unet/up_blocks.1: a level without a sampler" },
        { "up_blocks.3.resnets.2.", "unet/up_blocks: 1 of the way down's outputs are not used" },
        { "decoder.up_blocks.2.", "vae: a decoder that doubles 2 times: Stable Diffusion's doubles 3 times" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        recipe r = open_recipe("sd2", "otherwise");
        drop(&r, cases[i].gone);
        udump_status status = strstr(cases[i].line, "sampler") || strstr(cases[i].line, "doubles") ? UDUMP_ERROR_UNSUPPORTED
                                                                                                   : UDUMP_ERROR_WEIGHTS;
        refused(&r, "otherwise", status, cases[i].line);
    }
}

static void foreign(void **state) {
    (void)state;
    recipe r = open_recipe("sdxl-ldm", "refiner");
    drop(&r, "conditioner.embedders.0.");
    rename_all(&r, "conditioner.embedders.1.", "conditioner.embedders.0.");
    refused(&r, "refiner", UDUMP_ERROR_UNSUPPORTED, "model: this is an SDXL refiner, which goes on from another model's latents");
    r = open_recipe("sdxl", "refiner");
    for (int i = 0; i < r.count; i++)
        if (strncmp(r.tensors[i].file, "text_encoder/", 13) == 0) strcpy(r.tensors[i].file, "text_encoder_2/more.safetensors");
    assert_int_equal(nftw(below("refiner/text_encoder"), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    refused(&r, "refiner", UDUMP_ERROR_UNSUPPORTED, "refiner: this is an SDXL refiner, which goes on from another model's latents");
    r = open_recipe("sdxl-ldm", "inpainting");
    find(&r, "model.diffusion_model.input_blocks.0.0.weight")->shape[1] = 9;
    refused(&r, "inpainting", UDUMP_ERROR_UNSUPPORTED, "unet: an inpainting U-Net (9 input channels)");
    r = open_recipe("sd2-ldm", "unclip");
    add(&r, "model.diffusion_model.label_emb.0.0.weight", 2, 8);
    add(&r, "embedder.model.ln_final.weight", 1, 8);
    refused(&r, "unclip", UDUMP_ERROR_UNSUPPORTED, "model: this is unCLIP, which is given a picture's embedding");
    r = open_recipe("sdxl-ldm", "cosxl");
    add(&r, "edm_vpred.sigma_max", 0, 1);
    refused(&r, "cosxl", UDUMP_ERROR_UNSUPPORTED, "model: this is a model of EDM's noise levels (CosXL)");
}

/* What only a folder's configs tell. */
static void foreign_configs(void **state) {
    (void)state;
    recipe r = open_recipe("sdxl", "edm");
    write_text(below("edm/scheduler/scheduler_config.json"),
        "{\"_class_name\": \"EDMEulerScheduler\", \"prediction_type\": \"v_prediction\", \"sigma_max\": 120.0}");
    refused(&r, "edm", UDUMP_ERROR_UNSUPPORTED,
        "scheduler/scheduler_config.json: another kind of noise: expected a scheduler of discrete betas, found EDMEulerScheduler");
    r = open_recipe("sdxl", "mean");
    write_text(below("mean/vae/config.json"), "{\"scaling_factor\": 0.5, \"latents_mean\": [-1.6, 1.1, 1.3, -1.6]}");
    refused(&r, "mean", UDUMP_ERROR_UNSUPPORTED, "this is a model of latents with a mean of their own (Playground 2.5)");
    r = open_recipe("sdxl", "null");
    write_text(below("null/vae/config.json"), "{\"scaling_factor\": 0.13025, \"latents_mean\": null}");
    udump_model_options options = plain_options();
    udump_model_release(loads(&r, "null", &options));
}

/* Of a type that is not read: its name and the type, not that it is missing. */
static void foreign_types(void **state) {
    (void)state;
    static const char *const names[] = { "model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_out.bias",
        "cond_stage_model.model.transformer.resblocks.0.ln_1.weight" };
    static const char *const lines[] = { "unet/conv_in.weight", "vae/decoder.conv_out.bias",
        "text_encoder/encoder.layers.0.layer_norm1.weight" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char line[256];
        recipe r = open_recipe("sd2-ldm", "types");
        find(&r, names[i])->dtype = "I32";
        snprintf(line, sizeof line, "%s: tensor has a type that is not read: expected F32, F16 or BF16, found I32", lines[i]);
        refused(&r, "types", UDUMP_ERROR_UNSUPPORTED, line);
    }
}

/* SD Turbo's file: SD 2 in the names of SDXL's code. */
static void sd2_in_sdxl_names(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    udump_model_info info;
    recipe r = open_recipe("sd2-ldm", "turbo");
    rename_all(&r, "cond_stage_model.", "conditioner.embedders.0.");
    udump_model *model = loads(&r, "turbo", &options);
    udump_model_get_info(model, &info);
    assert_string_equal(info.family, "SD 2");
    udump_model_release(model);
}

/* As they lie in the file, whatever was split or turned over. */
static void tensor_list(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "list");
    int expected = r.count, joined = 0, turned = 0;
    udump_model *model = loads(&r, "list", &options);
    udump_tensor_info info;
    int count = 0;
    for (; !udump_model_get_tensor(model, count, &info, NULL); count++) {
        bool in_projection = strstr(info.name, "attn.in_proj_weight") != NULL, projection = strstr(info.name, "text_projection") != NULL;
        if (in_projection) assert_int_equal(info.shape[0], 192);
        if (projection) assert_true(info.shape[0] == 64 && info.shape[1] == 96);
        joined += in_projection;
        turned += projection;
    }
    assert_int_equal(count, expected);
    assert_int_equal(joined, 3);
    assert_int_equal(turned, 1);
    udump_model_release(model);
}

static void taps(void **state) {
    (void)state;
    static const struct {
        int32_t index, type, depth;
        const char *block, *diffusers, *original;
    } cases[] = {
        { 0, UDUMP_TAP_TYPE_BLOCK, 0, "IN00", "conv_in", "input_blocks.0" },
        { 4, UDUMP_TAP_TYPE_BLOCK, 0, "IN04", "down_blocks.1.resnets.0 + attentions.0", "input_blocks.4" },
        { 7, UDUMP_TAP_TYPE_SELF, 1, "IN04", "down_blocks.1.attentions.0.transformer_blocks.1.attn1",
            "input_blocks.4.1.transformer_blocks.1.attn1" },
        { 57 + 20, UDUMP_TAP_TYPE_CROSS, 9, "M00", "mid_block.attentions.0.transformer_blocks.9.attn2",
            "middle_block.1.transformer_blocks.9.attn2" },
        { 158, UDUMP_TAP_TYPE_BLOCK, 0, "OUT08", "up_blocks.2.resnets.2", "output_blocks.8" },
    };
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "taps");
    udump_model *model = loads(&r, "taps", &options);
    udump_tap_info tap;
    udump_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(udump_model_get_tap(model, cases[i].index, &tap, NULL), UDUMP_OK);
        assert_string_equal(tap.block, cases[i].block);
        assert_string_equal(tap.diffusers, cases[i].diffusers);
        assert_string_equal(tap.original, cases[i].original);
        assert_int_equal(tap.type, cases[i].type);
        assert_int_equal(tap.depth, cases[i].depth);
    }
    assert_int_equal(udump_model_get_tap(model, 159, &tap, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "index 159: the model has no such tap");
    assert_int_equal(udump_model_get_tap(model, -1, &tap, NULL), UDUMP_ERROR_ARGUMENT);
    udump_model_release(model);
}

static void slots(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "slots");
    udump_model *model = loads(&r, "slots", &options), *demo;
    assert_int_equal(udump_model_block_slot(model, 4, 12), 1);   /* IN04 */
    assert_int_equal(udump_model_block_slot(model, 9, 12), 5);   /* M00 */
    assert_int_equal(udump_model_block_slot(model, 15, 12), 11); /* OUT05 */
    assert_int_equal(udump_model_block_slot(model, 16, 12), -1);
    assert_int_equal(udump_model_block_slot(model, 18, 20), 19); /* OUT08 */
    assert_int_equal(udump_model_block_slot(model, 4, 17), -1);
    assert_int_equal(udump_model_block_slot(model, 19, 20), -1);
    assert_int_equal(udump_model_block_slot(model, -1, 20), -1);
    udump_model_release(model);
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &options, &demo, NULL), UDUMP_OK);
    assert_int_equal(udump_model_block_slot(demo, 1, 17), 1);   /* IN01 */
    assert_int_equal(udump_model_block_slot(demo, 3, 17), -1);  /* IN03 */
    assert_int_equal(udump_model_block_slot(demo, 12, 17), 7);  /* M00 */
    assert_int_equal(udump_model_block_slot(demo, 24, 17), 16); /* OUT11 */
    assert_int_equal(udump_model_block_slot(demo, 24, 26), 25);
    assert_int_equal(udump_model_block_slot(demo, 24, 12), -1);
    udump_model_release(demo);
}

/* Contexts of the caller's own, with a pooled vector. */
static void pooled_vectors(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "pooled");
    udump_model *model = loads(&r, "pooled", &options), *demo;
    float rows[2 * 128] = { 0 }, vector[96], more[97] = { 0 };
    for (int i = 0; i < 96; i++) vector[i] = (float)i;
    udump_view view = udump_view_make(rows, UDUMP_F32, 2, (int64_t[]){ 2, 128 }), pooled = udump_view_make(vector, UDUMP_F32, 1, (int64_t[]){ 96 }),
               wrong = udump_view_make(more, UDUMP_F32, 1, (int64_t[]){ 97 }), found;
    udump_context *context;
    udump_error error;
    assert_int_equal(pooled_dim_of(model), 96);
    assert_int_equal(udump_context_from_tensor(model, &view, &context, NULL), UDUMP_OK);
    assert_true(udump_context_get_pooled(context, &found) && found.shape[0] == 96 && ((float *)found.data)[95] == 0);
    assert_int_equal(udump_context_set_pooled(context, &pooled, NULL), UDUMP_OK);
    assert_true(udump_context_get_pooled(context, &found) && ((float *)found.data)[95] == 95);
    assert_int_equal(udump_context_set_pooled(context, &wrong, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.expected, "[96]");
    assert_string_equal(error.found, "[97]");
    assert_int_equal(udump_context_set_pooled(context, NULL, NULL), UDUMP_ERROR_ARGUMENT);
    vector[95] = INFINITY;
    assert_int_equal(udump_context_set_pooled(context, &pooled, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "value 95 is not finite");
    udump_context *other;
    assert_int_equal(udump_context_replace(context, &view, &other, NULL), UDUMP_OK);
    assert_true(udump_context_get_pooled(other, &found) && found.shape[0] == 96 && ((float *)found.data)[95] == 95);
    udump_context_release(other);
    udump_table *table;
    assert_int_equal(udump_table_create(model, 1, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_set(table, -1, 0, context, NULL), UDUMP_OK);
    udump_context_release(context);
    assert_int_equal(udump_context_create(2, 128, NULL, NULL, &context, NULL), UDUMP_OK); /* as of a model without such a vector */
    assert_int_equal(udump_table_set(table, -1, 0, context, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "a context with a pooled vector of 0 for a model with one of 96");
    udump_table_free(table);
    udump_context_release(context);
    udump_model_release(model);
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &options, &demo, NULL), UDUMP_OK);
    udump_view small = udump_view_make(rows, UDUMP_F32, 2, (int64_t[]){ 2, demo->unet.context_dim });
    assert_int_equal(udump_context_from_tensor(demo, &small, &context, NULL), UDUMP_OK);
    assert_false(udump_context_get_pooled(context, &found));
    assert_int_equal(udump_context_set_pooled(context, &pooled, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "the model reads none");
    udump_context_release(context);
    udump_model_release(demo);
}

static double mean(const float *values, size_t stride, size_t first, size_t count) {
    double sum = 0;
    for (size_t token = 0; token < 77; token++)
        for (size_t i = 0; i < count; i++) sum += (double)values[token * stride + first + i];
    return sum / (77 * (double)count);
}

/* The webui weighs each encoder's states by themselves: each one's mean is what it was, and the pooled vector is untouched. */
static void emphasis_by_encoder(void **state) {
    (void)state;
    udump_model_options options = plain_options();
    recipe r = open_recipe("sdxl-ldm", "emphasis");
    udump_model *model = loads(&r, "emphasis", &options);
    udump_session *session;
    udump_context *contexts[2];
    udump_view views[2], pooled[2];
    static const char *const prompts[] = { "a red circle", "a (red:1.5) circle" };
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(udump_context_encode(session, prompts[i], &contexts[i], NULL), UDUMP_OK);
        udump_context_get_view(contexts[i], &views[i]);
        assert_true(udump_context_get_pooled(contexts[i], &pooled[i]));
    }
    for (size_t encoder = 0; encoder < 2; encoder++) {
        double plain = mean(views[0].data, 128, 64 * encoder, 64), weighed = mean(views[1].data, 128, 64 * encoder, 64);
        if (!(fabs(plain - weighed) <= 1e-5 * fabs(plain))) fail_msg("encoder %zu: mean %g, then %g", encoder, plain, weighed);
    }
    assert_memory_not_equal(views[0].data, views[1].data, 77 * 128 * sizeof(float));
    assert_memory_equal(pooled[0].data, pooled[1].data, 96 * sizeof(float));
    for (int i = 0; i < 2; i++) udump_context_release(contexts[i]);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* tokens: start, "circle", end; then what the first encoder is padded with. */
static void padding(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int32_t pad;
    } cases[] = { { "sd2-ldm", 0 }, { "sdxl-ldm", 49407 } };
    udump_model_options options = plain_options();
    options.prediction = UDUMP_PREDICTION_V;
    for (size_t i = 0; i < 2; i++) {
        char folder[32];
        snprintf(folder, sizeof folder, "padding-%s", cases[i].name);
        recipe r = open_recipe(cases[i].name, folder);
        udump_model *model = loads(&r, folder, &options);
        udump_session *session;
        udump_context *context;
        assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
        assert_int_equal(udump_context_encode(session, "circle", &context, NULL), UDUMP_OK);
        const udump_column *columns = udump_context_columns(context);
        assert_int_equal(columns[2].id, 49407);
        assert_int_equal(columns[3].id, cases[i].pad);
        assert_int_equal(columns[76].id, cases[i].pad);
        udump_context_release(context);
        udump_session_destroy(session);
        udump_model_release(model);
    }
}

#define TEST(name) cmocka_unit_test(name)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_ignored),
        TEST(what_is_not),
        TEST(marks),
        TEST(asked_by_running),
        TEST(other_autoencoders),
        TEST(bad_autoencoders),
        TEST(variants),
        TEST(lacking),
        TEST(what_does_not_fit),
        TEST(what_is_built_otherwise),
        TEST(foreign),
        TEST(foreign_configs),
        TEST(foreign_types),
        TEST(sd2_in_sdxl_names),
        TEST(tensor_list),
        TEST(taps),
        TEST(slots),
        TEST(pooled_vectors),
        TEST(emphasis_by_encoder),
        TEST(padding),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
