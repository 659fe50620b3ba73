/* Checkpoints as a whole: layouts, names, configs, shards, values. Files are made in a fresh folder for each test. */
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/half.h"
#include "weights/name_map.h"
#include "weights/weights.h"

/* ---- files made by the tests */

static char root[64];

static const char *at(const char *name) { /* root/name, in one of four buffers */
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/udump_weights_XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

static int remove_root(void **state) {
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_text(const char *name, const char *text) {
    FILE *file = fopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *name) { assert_int_equal(mkdir(at(name), 0755), 0); }

/* A safetensors file that grows by one tensor at a time. */
typedef struct builder {
    char *header;
    unsigned char *data;
    size_t header_bytes, data_bytes, capacity;
} builder;

static builder build(void) {
    builder b = { .capacity = 1 << 20 };
    b.header = malloc(b.capacity);
    b.data = calloc(1, b.capacity);
    assert_non_null(b.header);
    assert_non_null(b.data);
    b.header[b.header_bytes++] = '{';
    return b;
}

static void add(builder *b, const char *name, const char *dtype, const char *shape, const void *data, size_t data_bytes) {
    assert_true(b->header_bytes + strlen(name) + 256 < b->capacity && b->data_bytes + data_bytes < b->capacity);
    b->header_bytes += (size_t)sprintf(b->header + b->header_bytes, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
        b->header_bytes > 1 ? "," : "", name, dtype, shape, b->data_bytes, b->data_bytes + data_bytes);
    memcpy(b->data + b->data_bytes, data, data_bytes);
    b->data_bytes += data_bytes;
}

static void add_value(builder *b, const char *name, float value) { add(b, name, "F32", "[1]", &value, sizeof value); }

static void write_built(builder *b, const char *name) {
    b->header[b->header_bytes++] = '}';
    FILE *file = fopen(at(name), "wb");
    assert_non_null(file);
    uint64_t length = b->header_bytes;
    assert_int_equal(fwrite(&length, 1, 8, file), 8);
    assert_int_equal(fwrite(b->header, 1, b->header_bytes, file), b->header_bytes);
    assert_int_equal(fwrite(b->data, 1, b->data_bytes, file), b->data_bytes);
    assert_int_equal(fclose(file), 0);
    free(b->header);
    free(b->data);
}

static void write_one(const char *file, const char *tensor, float value) {
    builder b = build();
    add_value(&b, tensor, value);
    write_built(&b, file);
}

static void write_diffusers(void) {
    make_folder("unet");
    make_folder("vae");
    make_folder("text_encoder");
    make_folder("scheduler");
    write_text("unet/config.json", "{\"attention_head_dim\": [5, 10], \"norm_eps\": 1e-05, \"only_cross_attention\": false,\n"
                                   " \"sample_size\": 64, \"act_fn\": \"silu\", \"class\": null}");
    write_text("vae/config.json", "{\"scaling_factor\": 0.18215}");
    write_text("text_encoder/config.json", "{\"num_attention_heads\": 12}");
    write_text("scheduler/scheduler_config.json", "{\"prediction_type\": \"epsilon\"}");
    write_one("unet/diffusion_pytorch_model.safetensors", "conv_in.weight", 1);
    write_one("vae/diffusion_pytorch_model.safetensors", "decoder.mid_block.attentions.0.query.weight", 2);
    write_one("text_encoder/model.safetensors", "text_model.final_layer_norm.weight", 3);
}

static udump_weights *open_good(const char *path) {
    udump_weights *weights = NULL;
    udump_error error = { 0 };
    if (udump_weights_open(path, &weights, &error) != UDUMP_OK) {
        char text[1024];
        udump_error_format(&error, text, sizeof text);
        fail_msg("%s", text);
    }
    return weights;
}

/* Opening fails with this status, at root/where, and every text says what it should. */
static void open_bad(const char *path, udump_status status, const char *where, const char *what, const char *expected, const char *found) {
    udump_weights *weights = (udump_weights *)&status;
    udump_error error = { 0 };
    char place[512], text[1024];
    udump_status got = udump_weights_open(path, &weights, &error);
    snprintf(place, sizeof place, "%s%s%s", root, *where ? "/" : "", where);
    udump_error_format(&error, text, sizeof text);
    if (got != status || error.status != status || weights || strcmp(error.where, place) != 0 || !strstr(error.what, what) ||
        !strstr(error.expected, expected) || !strstr(error.found, found))
        fail_msg("%d: %s", got, text);
}

static float value_of(udump_weights *weights, const char *name) {
    const udump_weight *weight = udump_weights_find(weights, name);
    float value = NAN;
    if (!weight) fail_msg("no %s", name);
    assert_int_equal(weight->size_bytes, 4);
    assert_int_equal(udump_weights_read(weights, weight, &value, 2, NULL, NULL), UDUMP_OK);
    return value;
}

/* ---- the diffusers folder */

static void diffusers_folder(void **state) {
    (void)state;
    write_diffusers();
    udump_weights *weights = open_good(root);
    assert_int_equal(udump_weights_layout(weights), UDUMP_LAYOUT_DIFFUSERS);
    assert_int_equal(udump_weights_count(weights), 3);
    assert_string_equal(udump_weights_at(weights, 0)->name, "text_encoder/final_layer_norm.weight");
    assert_string_equal(udump_weights_at(weights, 0)->file_name, "text_model.final_layer_norm.weight");
    assert_string_equal(udump_weights_at(weights, 0)->part, "text_encoder");
    assert_string_equal(udump_weights_at(weights, 1)->name, "unet/conv_in.weight");
    assert_string_equal(udump_weights_at(weights, 2)->name, "vae/decoder.mid_block.attentions.0.to_q.weight");
    assert_string_equal(udump_weights_at(weights, 2)->part, "vae");
    assert_null(udump_weights_find(weights, "unet/conv_out.weight"));
    assert_null(udump_weights_skipped(weights, 0));
    assert_true(value_of(weights, "unet/conv_in.weight") == 1);
    assert_false(udump_weights_at(weights, 1)->used);
    udump_weights_use(weights, udump_weights_at(weights, 1));
    assert_true(udump_weights_at(weights, 1)->used);
    assert_false(udump_weights_at(weights, 2)->used);
    udump_weights_close(weights);

    char slashed[80];
    snprintf(slashed, sizeof slashed, "%s//", root);
    udump_weights_close(open_good(slashed));
    udump_weights_close(NULL);
}

static void configs(void **state) {
    (void)state;
    write_diffusers();
    udump_weights *weights = open_good(root);
    double value = -1;
    char text[8] = "";
    assert_true(udump_weights_config_number(weights, "unet", "attention_head_dim", 0, &value) && value == 5);
    assert_true(udump_weights_config_number(weights, "unet", "attention_head_dim", 1, &value) && value == 10);
    assert_false(udump_weights_config_number(weights, "unet", "attention_head_dim", 2, &value));
    assert_false(udump_weights_config_number(weights, "unet", "attention_head_dim", -1, &value));
    assert_true(udump_weights_config_number(weights, "unet", "sample_size", 0, &value) && value == 64);
    assert_false(udump_weights_config_number(weights, "unet", "sample_size", 1, &value));
    assert_true(udump_weights_config_number(weights, "unet", "norm_eps", 0, &value) && value == 1e-5);
    assert_true(udump_weights_config_number(weights, "unet", "only_cross_attention", 0, &value) && value == 0);
    assert_true(udump_weights_config_number(weights, "vae", "scaling_factor", 0, &value) && value == 0.18215);
    assert_true(udump_weights_config_number(weights, "text_encoder", "num_attention_heads", 0, &value) && value == 12);
    assert_false(udump_weights_config_number(weights, "unet", "act_fn", 0, &value));
    assert_false(udump_weights_config_number(weights, "unet", "class", 0, &value));
    assert_false(udump_weights_config_number(weights, "unet", "absent", 0, &value));
    assert_false(udump_weights_config_number(weights, "nowhere", "sample_size", 0, &value));
    assert_false(udump_weights_config_number(weights, "model_index", "sample_size", 0, &value)); /* there is no such file */
    assert_true(udump_weights_config_text(weights, "scheduler", "prediction_type", text, 8));
    assert_string_equal(text, "epsilon");
    assert_false(udump_weights_config_text(weights, "scheduler", "prediction_type", text, 7)); /* does not fit */
    assert_false(udump_weights_config_text(weights, "unet", "sample_size", text, 8));
    assert_false(udump_weights_config_text(weights, "unet", "absent", text, 8));
    udump_weights_close(weights);
}

static void bad_configs(void **state) {
    (void)state;
    write_diffusers();
    write_text("vae/config.json", "{\n \"a\": 1\n \"b\": 2\n}");
    udump_weights *weights;
    udump_error error = { 0 };
    assert_int_equal(udump_weights_open(root, &weights, &error), UDUMP_ERROR_FORMAT);
    assert_string_equal(error.where, at("vae/config.json"));
    assert_non_null(strstr(error.what, "not valid JSON"));
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 4); /* the end of "b" */
    assert_int_equal(error.offset, 13);
    write_text("vae/config.json", "[]");
    open_bad(root, UDUMP_ERROR_FORMAT, "vae/config.json", "not a JSON object", "", "");
    write_text("vae/config.json", "");
    open_bad(root, UDUMP_ERROR_FORMAT, "vae/config.json", "not valid JSON", "", "");
    char deep[80] = "{\"a\":";
    memset(deep + 5, '[', 60);
    write_text("vae/config.json", deep);
    open_bad(root, UDUMP_ERROR_FORMAT, "vae/config.json", "nested too deeply", "at most 32 levels", "");
    assert_int_equal(truncate(at("vae/config.json"), (1 << 20) + 1), 0);
    open_bad(root, UDUMP_ERROR_FORMAT, "vae/config.json", "too large", "at most 1048576 bytes", "1048577 bytes");
    unlink(at("vae/config.json"));
    open_bad(root, UDUMP_ERROR_FILE, "vae/config.json", "cannot be opened: No such file or directory", "", "");
    write_text("vae/config.json", "{}");
    write_text("model_index.json", "{\"_class_name\": }");
    open_bad(root, UDUMP_ERROR_FORMAT, "model_index.json", "not valid JSON", "", "");
    write_text("model_index.json", "{\"_class_name\": \"SD\"}");
    unlink(at("scheduler/scheduler_config.json")); /* optional */
    weights = open_good(root);
    char text[8];
    assert_true(udump_weights_config_text(weights, "model_index", "_class_name", text, sizeof text));
    assert_false(udump_weights_config_text(weights, "scheduler", "prediction_type", text, sizeof text));
    udump_weights_close(weights);
}

static void missing_parts(void **state) {
    (void)state;
    open_bad(root, UDUMP_ERROR_FORMAT, "", "not a checkpoint", "unet/, vae/ and text_encoder/", "");
    open_bad(at("absent"), UDUMP_ERROR_FILE, "absent", "cannot be opened: No such file or directory", "", "");
    make_folder("unet");
    make_folder("text_encoder");
    open_bad(root, UDUMP_ERROR_FORMAT, "", "the folder vae/ is missing", "unet/, vae/ and text_encoder/", "");
    rmdir(at("unet"));
    rmdir(at("text_encoder"));
    write_diffusers();
    unlink(at("text_encoder/model.safetensors"));
    open_bad(root, UDUMP_ERROR_FORMAT, "text_encoder", "no weights in this folder", "model.safetensors", "");
    write_one("text_encoder/other.safetensors", "x", 1);
    open_bad(root, UDUMP_ERROR_FORMAT, "text_encoder", "no weights in this folder", "model.safetensors", "other names");
}

static void variants(void **state) {
    (void)state;
    write_diffusers();
    assert_int_equal(rename(at("unet/diffusion_pytorch_model.safetensors"), at("unet/diffusion_pytorch_model.fp16.safetensors")), 0);
    assert_int_equal(rename(at("text_encoder/model.safetensors"), at("text_encoder/model.fp16.safetensors")), 0);
    udump_weights *weights = open_good(root);
    assert_true(value_of(weights, "unet/conv_in.weight") == 1);
    assert_true(value_of(weights, "text_encoder/final_layer_norm.weight") == 3);
    udump_weights_close(weights);
    write_one("unet/diffusion_pytorch_model.safetensors", "conv_in.weight", 8); /* full precision comes first */
    weights = open_good(root);
    assert_true(value_of(weights, "unet/conv_in.weight") == 8);
    udump_weights_close(weights);
}

static void pickles(void **state) {
    (void)state;
    static const char *const names[] = { "a.ckpt", "a.pt", "a.pth", "a.BIN" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_text(names[i], "x");
        open_bad(at(names[i]), UDUMP_ERROR_UNSUPPORTED, names[i], "convert it to safetensors", ".safetensors", "");
        open_bad(root, UDUMP_ERROR_UNSUPPORTED, "", "convert it to safetensors", ".safetensors", ""); /* a folder of nothing else */
        unlink(at(names[i]));
    }
    write_text("a.ckpt", "x");
    write_one("a.safetensors", "x", 1);
    open_bad(root, UDUMP_ERROR_FORMAT, "", "not a checkpoint", "", "name one of them");
    write_diffusers();
    unlink(at("unet/diffusion_pytorch_model.safetensors"));
    write_text("unet/diffusion_pytorch_model.bin", "x");
    open_bad(root, UDUMP_ERROR_UNSUPPORTED, "unet", "convert it to safetensors", ".safetensors", "");
}

static void two_names_for_one_place(void **state) {
    (void)state;
    write_diffusers();
    builder b = build();
    add_value(&b, "text_model.final_layer_norm.weight", 1);
    add_value(&b, "final_layer_norm.weight", 2);
    write_built(&b, "text_encoder/model.safetensors");
    open_bad(root, UDUMP_ERROR_FORMAT, "text_encoder/model.safetensors: text_model.final_layer_norm.weight", "two tensors for one place",
        "", "model.safetensors: final_layer_norm.weight");
}

/* ---- shards */

static const char index_path[] = "unet/diffusion_pytorch_model.safetensors.index.json";

static void write_shards(const char *index) {
    write_diffusers();
    unlink(at("unet/diffusion_pytorch_model.safetensors"));
    write_one("unet/m-00001-of-00002.safetensors", "conv_in.weight", 5);
    write_one("unet/m-00002-of-00002.safetensors", "conv_out.weight", 6);
    write_text(index_path, index);
}

static void shards(void **state) {
    (void)state;
    write_shards("{\"metadata\":{\"total_size\":8},\"weight_map\":{\"conv_in.weight\":\"m-00001-of-00002.safetensors\","
                 "\"conv_out.weight\":\"m-00002-of-00002.safetensors\"}}");
    udump_weights *weights = open_good(root);
    assert_int_equal(udump_weights_count(weights), 4);
    assert_true(value_of(weights, "unet/conv_in.weight") == 5);
    assert_true(value_of(weights, "unet/conv_out.weight") == 6);
    assert_true(value_of(weights, "text_encoder/final_layer_norm.weight") == 3);
    assert_true(udump_weights_find(weights, "unet/conv_in.weight")->file != udump_weights_find(weights, "unet/conv_out.weight")->file);
    udump_weights_close(weights);

    write_one("unet/m-00002-of-00002.safetensors", "conv_in.weight", 6); /* and not what the index says */
    open_bad(root, UDUMP_ERROR_FORMAT, "unet/m-00002-of-00002.safetensors: conv_out.weight", "which lacks it", "", "");
    write_text(
        index_path, "{\"weight_map\":{\"conv_in.weight\":\"m-00001-of-00002.safetensors\",\"conv_out.weight\":\"gone.safetensors\"}}");
    open_bad(root, UDUMP_ERROR_FILE, "unet/gone.safetensors", "cannot be opened: No such file or directory", "", "");
}

static void shards_with_one_tensor_twice(void **state) {
    (void)state;
    write_shards("{\"weight_map\":{\"conv_in.weight\":\"m-00001-of-00002.safetensors\",\"b\":\"m-00002-of-00002.safetensors\"}}");
    builder b = build();
    add_value(&b, "conv_in.weight", 6);
    add_value(&b, "b", 7);
    write_built(&b, "unet/m-00002-of-00002.safetensors");
    open_bad(root, UDUMP_ERROR_FORMAT, "unet/m-00002-of-00002.safetensors: conv_in.weight", "two tensors for one place", "",
        "m-00001-of-00002.safetensors: conv_in.weight");
}

static void bad_indexes(void **state) {
    (void)state;
    static const struct {
        const char *index, *tensor, *what, *found;
        udump_status status;
    } cases[] = {
        { "{\"weight_map\":{\"a\":\"../m.safetensors\"}}", ": a", "not a file beside the index", "../m.safetensors", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"/etc/m.safetensors\"}}", ": a", "not a file beside the index", "/etc/m.safetensors",
            UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"b/m.safetensors\"}}", ": a", "not a file beside the index", "b/m.safetensors", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"..\"}}", ": a", "not a file beside the index", "..", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"\"}}", ": a", "not a file beside the index", "", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":1}}", ": a", "not a file beside the index", "no text", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"config.json\"}}", ": a", "not a safetensors file", "config.json", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"m.bin\"}}", "", "convert it to safetensors", "", UDUMP_ERROR_UNSUPPORTED },
        { "{\"weight_map\":{}}", "", "without weight_map", "", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":[]}", "", "without weight_map", "", UDUMP_ERROR_FORMAT },
        { "{}", "", "without weight_map", "", UDUMP_ERROR_FORMAT },
        { "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}", "", "duplicate", "", UDUMP_ERROR_FORMAT },
    };
    write_shards("{}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char place[128];
        write_text(index_path, cases[i].index);
        snprintf(place, sizeof place, "%s%s", index_path, cases[i].tensor);
        open_bad(root, cases[i].status, place, cases[i].what, "", cases[i].found);
    }
}

/* ---- the original layout */

enum { MAX_NAMES = 1200 };
typedef struct name_list {
    char *text, *canonical[MAX_NAMES], *ldm[MAX_NAMES];
    int count;
} name_list;

/* Every tensor of SD 1.5: canonical name, tab, LDM name. */
static name_list read_names(void) {
    name_list names = { 0 };
    FILE *file = fopen(TEST_DATA "/weights/sd15_ldm_names.txt", "rb");
    assert_non_null(file);
    enum { LIMIT = 1 << 18 };
    names.text = calloc(1, LIMIT);
    assert_non_null(names.text);
    assert_in_range(fread(names.text, 1, LIMIT - 1, file), 1, LIMIT - 2);
    fclose(file);
    char *rest = names.text;
    for (char *line; (line = strsep(&rest, "\n")) && *line; names.count++) {
        assert_true(names.count < MAX_NAMES);
        names.canonical[names.count] = strsep(&line, "\t");
        names.ldm[names.count] = line;
        assert_non_null(line);
    }
    assert_int_equal(names.count, 686 + 248 + 196); /* U-Net, VAE, text encoder */
    return names;
}

static void check_ldm(bool text_model) {
    name_list names = read_names();
    builder b = build();
    static const char prefix[] = "cond_stage_model.transformer.text_model.";
    for (int i = names.count - 1; i >= 0; i--) { /* not in the order in which they come back */
        char name[256];
        bool drop = !text_model && strncmp(names.ldm[i], prefix, strlen(prefix)) == 0;
        snprintf(
            name, sizeof name, "%s%s", drop ? "cond_stage_model.transformer." : "", drop ? names.ldm[i] + strlen(prefix) : names.ldm[i]);
        add_value(&b, name, (float)i);
    }
    int64_t ids[2] = { 0, 1 };
    float one = 1;
    add(&b, "cond_stage_model.transformer.text_model.embeddings.position_ids", "I64", "[1,2]", ids, sizeof ids);
    add(&b, "model_ema.decay", "F32", "[]", &one, sizeof one);
    add(&b, "model_ema.diffusion_modelinput_blocks00weight", "F32", "[1]", &one, sizeof one);
    write_built(&b, "sd.safetensors");

    udump_weights *weights = open_good(at("sd.safetensors"));
    assert_int_equal(udump_weights_layout(weights), UDUMP_LAYOUT_LDM);
    assert_int_equal(udump_weights_count(weights), names.count + 2);
    for (int i = 0; i < names.count; i++) {
        assert_true(value_of(weights, names.canonical[i]) == (float)i);
        const udump_weight *weight = udump_weights_find(weights, names.canonical[i]);
        size_t part = (size_t)(strchr(names.canonical[i], '/') - names.canonical[i]);
        assert_true(strlen(weight->part) == part && strncmp(weight->part, names.canonical[i], part) == 0);
        if (text_model) assert_string_equal(weight->file_name, names.ldm[i]);
    }
    assert_string_equal(udump_weights_find(weights, "model_ema.decay")->part, "");
    assert_string_equal(udump_weights_skipped(weights, 0)->file_name, "cond_stage_model.transformer.text_model.embeddings.position_ids");
    assert_string_equal(udump_weights_skipped(weights, 0)->name, "text_encoder/embeddings.position_ids");
    assert_string_equal(udump_weights_skipped(weights, 0)->dtype_name, "I64");
    assert_null(udump_weights_skipped(weights, 1));
    double value;
    assert_false(udump_weights_config_number(weights, "unet", "sample_size", 0, &value));
    udump_weights_close(weights);
    free(names.text);
}

static void ldm_with_text_model(void **state) {
    (void)state;
    check_ldm(true);
}

static void ldm_without_text_model(void **state) {
    (void)state;
    check_ldm(false);
}

static void ldm_with_both_prefixes(void **state) {
    (void)state;
    builder b = build();
    add_value(&b, "cond_stage_model.transformer.text_model.final_layer_norm.bias", 1);
    add_value(&b, "cond_stage_model.transformer.final_layer_norm.bias", 2);
    write_built(&b, "sd.safetensors");
    open_bad(at("sd.safetensors"), UDUMP_ERROR_FORMAT, "sd.safetensors: cond_stage_model.transformer.text_model.final_layer_norm.bias",
        "two tensors for one place", "", "cond_stage_model.transformer.final_layer_norm.bias");
}

static void not_the_original_layout(void **state) {
    (void)state;
    write_one("part.safetensors", "conv_in.weight", 1);
    open_bad(at("part.safetensors"), UDUMP_ERROR_FORMAT, "part.safetensors", "not a checkpoint in the original layout",
        "model.diffusion_model", "none of them");
    builder b = build();
    write_built(&b, "empty.safetensors");
    open_bad(at("empty.safetensors"), UDUMP_ERROR_FORMAT, "empty.safetensors", "not a checkpoint in the original layout", "", "no tensors");
}

static void check_stored(const char *from, const char *expected_name, udump_storage storage) {
    udump_mapping mapping;
    assert_true(udump_name_map_ldm(from, 0, &mapping));
    assert_string_equal(mapping.canonical, expected_name);
    assert_int_equal(mapping.storage, storage);
    free(mapping.canonical);
}

/* OpenCLIP's names, and SDXL's beginnings. */
static void open_clip_names(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        udump_storage storage;
    } cases[] = {
        { "cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight", "text_encoder/encoder.layers.22.self_attn.@_proj.weight",
            UDUMP_STORED_QKV },
        { "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias",
            "text_encoder_2/encoder.layers.0.self_attn.@_proj.bias", UDUMP_STORED_QKV },
        { "cond_stage_model.model.transformer.resblocks.1.attn.out_proj.bias", "text_encoder/encoder.layers.1.self_attn.out_proj.bias", 0 },
        { "cond_stage_model.model.transformer.resblocks.1.mlp.c_proj.weight", "text_encoder/encoder.layers.1.mlp.fc2.weight", 0 },
        { "cond_stage_model.model.transformer.resblocks.1.ln_2.bias", "text_encoder/encoder.layers.1.layer_norm2.bias", 0 },
        { "cond_stage_model.model.positional_embedding", "text_encoder/embeddings.position_embedding.weight", 0 },
        { "cond_stage_model.model.token_embedding.weight", "text_encoder/embeddings.token_embedding.weight", 0 },
        { "cond_stage_model.model.ln_final.weight", "text_encoder/final_layer_norm.weight", 0 },
        { "cond_stage_model.model.logit_scale", "text_encoder/logit_scale", 0 },
        { "conditioner.embedders.1.model.text_projection", "text_encoder_2/text_projection.weight", UDUMP_STORED_TRANSPOSED },
        { "conditioner.embedders.1.model.text_projection.weight", "text_encoder_2/text_projection.weight", 0 }, /* not turned over */
        { "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "text_encoder/final_layer_norm.bias", 0 },
        { "model.diffusion_model.label_emb.0.2.bias", "unet/add_embedding.linear_2.bias", 0 },
        { "model.diffusion_model.output_blocks.2.2.conv.bias", "unet/up_blocks.0.upsamplers.0.conv.bias", 0 },
        { "model_ema.diffusion_modelout2bias", "model_ema.diffusion_modelout2bias", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_stored(cases[i].from, cases[i].to, cases[i].storage);
}

/* Autoencoders in files of their own. */
static void vae_names(void **state) {
    (void)state;
    static const char *const names[][2] = {
        { "first_stage_model.decoder.up.0.block.1.norm1.bias", "vae/decoder.up_blocks.3.resnets.1.norm1.bias" },
        { "decoder.up.0.block.1.norm1.bias", "vae/decoder.up_blocks.3.resnets.1.norm1.bias" },
        { "decoder.up_blocks.0.resnets.1.norm1.bias", "vae/decoder.up_blocks.0.resnets.1.norm1.bias" },
        { "decoder.mid.attn_1.proj_out.bias", "vae/decoder.mid_block.attentions.0.to_out.0.bias" },
        { "decoder.mid_block.attentions.0.query.bias", "vae/decoder.mid_block.attentions.0.to_q.bias" },
        { "loss.logvar", "vae/loss.logvar" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        udump_mapping mapping;
        assert_true(udump_name_map_vae(names[i][0], 4, &mapping));
        assert_string_equal(mapping.canonical, names[i][1]);
        assert_string_equal(mapping.part, "vae");
        free(mapping.canonical);
    }
    assert_int_equal(udump_name_map_count_levels("decoder.up.3.block.0.norm1.weight", 1), 4);
}

/* One tensor for three, and one that lies the other way round. */
static void split_and_turned(void **state) {
    (void)state;
    static const float rows[6] = { 1, 2, 3, 4, 5, 6 };
    builder b = build();
    add(&b, "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight", "F32", "[3,2]", rows, sizeof rows);
    add(&b, "conditioner.embedders.1.model.text_projection", "F32", "[2,3]", rows, sizeof rows);
    write_built(&b, "stored.safetensors");
    udump_weights *weights = open_good(at("stored.safetensors"));
    assert_int_equal(udump_weights_count(weights), 4);
    for (int piece = 0; piece < 3; piece++) {
        char name[] = "text_encoder/encoder.layers.0.self_attn.?_proj.weight";
        *strchr(name, '?') = "qkv"[piece];
        const udump_weight *weight = udump_weights_find(weights, name);
        float values[2];
        assert_non_null(weight);
        assert_true(weight->rank == 2 && weight->shape[0] == 1 && weight->shape[1] == 2 && weight->piece == piece && weight->pieces == 3);
        assert_int_equal(udump_weights_read(weights, weight, values, 2, NULL, NULL), UDUMP_OK);
        assert_true(values[0] == rows[2 * piece] && values[1] == rows[2 * piece + 1]);
    }
    const udump_weight *turned = udump_weights_find(weights, "text_encoder_2/text_projection.weight");
    float values[6];
    static const float expected[6] = { 1, 4, 2, 5, 3, 6 };
    assert_non_null(turned);
    assert_true(turned->transposed && turned->shape[0] == 3 && turned->shape[1] == 2);
    assert_int_equal(udump_weights_read(weights, turned, values, 2, NULL, NULL), UDUMP_OK);
    assert_memory_equal(values, expected, sizeof expected);
    udump_weights_close(weights);
}

/* folder NULL: the original layout. */
static void check_map(const char *folder, int levels, const char *from, const char *expected_name, const char *expected_part) {
    udump_mapping mapping;
    assert_true(folder ? udump_name_map_diffusers(folder, from, &mapping) : udump_name_map_ldm(from, levels, &mapping));
    assert_string_equal(mapping.canonical, expected_name);
    assert_string_equal(mapping.part, expected_part);
    free(mapping.canonical);
}

static void name_maps(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *part;
        int levels;
    } cases[] = {
        { "model.diffusion_model.input_blocks.100.0.in_layers.0.bias", "unet/down_blocks.33.resnets.0.norm1.bias", "unet", 0 },
        { "model.diffusion_model.output_blocks.2.1.conv.bias", "unet/up_blocks.0.upsamplers.0.conv.bias", "unet", 0 },
        { "model.diffusion_model.output_blocks.2.1.norm.bias", "unet/up_blocks.0.attentions.2.norm.bias", "unet", 0 },
        { "first_stage_model.decoder.up.0.block.2.nin_shortcut.bias", "vae/decoder.up_blocks.1.resnets.2.conv_shortcut.bias", "vae", 2 },
        /* no such places */
        { "model.diffusion_model.output_blocks.1.1.conv.bias", "unet/up_blocks.0.attentions.1.conv.bias", "unet", 0 },
        { "model.diffusion_model.input_blocks.3.0.in_layers.0.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.2.0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.03.0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.1000.0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.99999999999999999999.0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.-1.0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks..0.op.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.1.0.other.bias", NULL, "", 0 },
        { "model.diffusion_model.input_blocks.3", NULL, "", 0 },
        { "first_stage_model.decoder.up.2.upsample.conv.bias", NULL, "", 2 },
        { "first_stage_model.loss.logvar", NULL, "", 4 },
        { "", NULL, "", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_map(NULL, cases[i].levels, cases[i].from, cases[i].to ? cases[i].to : cases[i].from, cases[i].part);
    check_map("vae", 0, "encoder.mid_block.attentions.0.proj_attn.bias", "vae/encoder.mid_block.attentions.0.to_out.0.bias", "vae");
    check_map("vae", 0, "encoder.mid_block.attentions.0.to_k.bias", "vae/encoder.mid_block.attentions.0.to_k.bias", "vae");
    check_map("vae", 0, "decoder.mid_block.attentions.0.value.bias", "vae/decoder.mid_block.attentions.0.to_v.bias", "vae");
    check_map("vae", 0, "decoder.mid_block.attentions.0.group_norm.bias", "vae/decoder.mid_block.attentions.0.group_norm.bias", "vae");
    check_map("text_encoder", 0, "embeddings.token_embedding.weight", "text_encoder/embeddings.token_embedding.weight", "text_encoder");
    check_map("elsewhere", 0, "x", "x", "");
    assert_int_equal(udump_name_map_count_levels("first_stage_model.decoder.up.3.block.0.norm1.weight", 1), 4);
    assert_int_equal(udump_name_map_count_levels("first_stage_model.decoder.up.0.block.0.norm1.weight", 3), 3);
    assert_int_equal(udump_name_map_count_levels("first_stage_model.encoder.down.5.block.0.norm1.weight", 3), 3);
}

/* ---- values */

static void read_bits(const char *dtype, const void *data, size_t data_bytes, int count, float *values, int64_t *bad) {
    builder b = build();
    char shape[32];
    snprintf(shape, sizeof shape, "[%d]", count);
    add_value(&b, "model.diffusion_model.out.2.bias", 0);
    add(&b, "t", dtype, shape, data, data_bytes);
    write_built(&b, "values.safetensors");
    udump_weights *weights = open_good(at("values.safetensors"));
    assert_int_equal(udump_weights_read(weights, udump_weights_find(weights, "t"), values, 2, bad, NULL), UDUMP_OK);
    udump_weights_close(weights);
}

static void half_values(void **state) {
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } f16[] = { { 0x3C00, 1.0f }, { 0xC000, -2.0f }, { 0x0000, 0.0f }, { 0x8000, -0.0f }, { 0x7BFF, 65504.0f }, { 0x0400, 0x1p-14f },
        { 0x0001, 0x1p-24f }, { 0x83FF, -0x3FFp-24f }, { 0x0200, 0x1p-15f }, { 0x3555, 0.333251953125f },
        { 0x7C00, INFINITY }, { 0xFC00, -INFINITY } },
      bf16[] = { { 0x3F80, 1.0f }, { 0xC000, -2.0f }, { 0x0000, 0.0f }, { 0x8000, -0.0f }, { 0x7F7F, 0x1.FEp127f }, { 0x0080, 0x1p-126f },
        { 0x0001, 0x1p-133f }, { 0x807F, -0x7Fp-133f }, { 0x0040, 0x1p-127f }, { 0x3EAB, 0.333984375f },
        { 0x7F80, INFINITY }, { 0xFF80, -INFINITY } };
    enum { COUNT = sizeof f16 / sizeof *f16 };
    uint16_t bits[2][COUNT + 2];
    for (int i = 0; i < COUNT; i++) bits[0][i] = f16[i].bits, bits[1][i] = bf16[i].bits;
    bits[0][COUNT] = 0x7E00, bits[0][COUNT + 1] = 0xFC01; /* NaN */
    bits[1][COUNT] = 0x7FC0, bits[1][COUNT + 1] = 0xFF81;
    for (int format = 0; format < 2; format++) {
        float values[COUNT + 2];
        int64_t bad = -1;
        read_bits(format ? "BF16" : "F16", bits[format], sizeof bits[0], COUNT + 2, values, &bad);
        assert_int_equal(bad, 4);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(udump_f32_to_bits(values[i]), udump_f32_to_bits(format ? bf16[i].value : f16[i].value));
        assert_true(isnan(values[COUNT]) && isnan(values[COUNT + 1]));
    }
}

static void float_values(void **state) {
    (void)state;
    uint32_t bits[] = { 0x3F800000, 0x80000000, 0x00000001, 0x007FFFFF, 0x7F7FFFFF, /* finite, like the next */
        0x40490FDB, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001 };
    enum { COUNT = sizeof bits / sizeof *bits };
    float values[COUNT];
    int64_t bad = -1;
    read_bits("F32", bits, sizeof bits, COUNT, values, &bad);
    assert_int_equal(bad, 4);
    assert_memory_equal(values, bits, sizeof bits);
    read_bits("F32", bits, 20, 5, values, &bad);
    assert_int_equal(bad, 0);
    read_bits("F16", bits, 0, 0, values, &bad);
    assert_int_equal(bad, 0);
}

/* Every value of a 16-bit format, against the format's definition computed in double. */
static void all_halves(void **state) {
    (void)state;
    enum { COUNT = 1 << 16 };
    static uint16_t bits[COUNT];
    static float values[COUNT];
    for (int i = 0; i < COUNT; i++) bits[i] = (uint16_t)i;
    for (int format = 0; format < 2; format++) {
        int exponent_bits = format ? 8 : 5, fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
        int64_t bad = 0, expected_bad = 2 << fraction_bits;
        read_bits(format ? "BF16" : "F16", bits, sizeof bits, COUNT, values, &bad);
        assert_int_equal(bad, expected_bad);
        for (int i = 0; i < COUNT; i++) {
            int exponent = i >> fraction_bits & ((1 << exponent_bits) - 1), fraction = i & ((1 << fraction_bits) - 1);
            if (exponent == (1 << exponent_bits) - 1) {
                assert_true(fraction ? isnan(values[i]) : isinf(values[i]));
                continue;
            }
            int hidden = exponent ? 1 << fraction_bits : 0; /* the bit that a normal number does not store */
            double value = ldexp(fraction + hidden, (exponent ? exponent : 1) - bias - fraction_bits);
            if (i >> 15) value = -value;
            assert_true(values[i] == value && !signbit(values[i]) == !(i >> 15));
        }
    }
}

/* Larger than a chunk, with the tensor's end inside one. */
static void chunks(void **state) {
    (void)state;
    enum { COUNT = (2 << 20) + 12345 };
    uint16_t *halves = malloc(COUNT * sizeof *halves);
    float *values = malloc(COUNT * sizeof *values);
    assert_non_null(halves);
    assert_non_null(values);
    for (int i = 0; i < COUNT; i++) halves[i] = (uint16_t)(i % 0x7F80);
    halves[1 << 20] = halves[COUNT - 1] = 0x7F80;
    char header[256];
    uint64_t length = (uint64_t)sprintf(header,
        "{\"model.diffusion_model.out.2.weight\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", COUNT, 2 * COUNT);
    FILE *file = fopen(at("large.safetensors"), "wb");
    assert_non_null(file);
    fwrite(&length, 1, 8, file);
    fwrite(header, 1, length, file);
    assert_int_equal(fwrite(halves, 2, COUNT, file), COUNT);
    fclose(file);

    udump_weights *weights = open_good(at("large.safetensors"));
    const udump_weight *weight = udump_weights_at(weights, 0);
    int64_t bad = 0;
    udump_error error = { 0 };
    assert_int_equal(udump_weights_read(weights, weight, values, 2, &bad, &error), UDUMP_OK);
    assert_int_equal(bad, 2);
    for (int i = 0; i < COUNT; i++) assert_int_equal(udump_f32_to_bits(values[i]), (uint32_t)halves[i] << 16);

    assert_int_equal(truncate(at("large.safetensors"), (off_t)(8 + length + 2 * COUNT - 100)), 0); /* while it is open */
    assert_int_equal(udump_weights_read(weights, weight, values, 2, &bad, &error), UDUMP_ERROR_FORMAT);
    char place[128];
    snprintf(place, sizeof place, "%s: model.diffusion_model.out.2.weight", at("large.safetensors"));
    assert_string_equal(error.where, place);
    assert_string_equal(error.what, "truncated file");
    assert_non_null(strstr(error.expected, "24690 bytes from byte"));
    assert_string_equal(error.found, "24590 bytes");
    udump_weights_close(weights);
    free(halves);
    free(values);
}

/* Opening leaves nothing behind, whether it succeeds or not. */
static void descriptors(void **state) {
    (void)state;
    write_shards("{\"weight_map\":{\"conv_in.weight\":\"m-00001-of-00002.safetensors\","
                 "\"conv_out.weight\":\"m-00002-of-00002.safetensors\"}}");
    int before = dup(0);
    close(before);
    udump_weights *weights = open_good(root);
    udump_weights_close(weights);
    write_text("vae/diffusion_pytorch_model.safetensors", "broken");
    assert_int_equal(udump_weights_open(root, &weights, NULL), UDUMP_ERROR_FORMAT);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(diffusers_folder), TEST(configs), TEST(bad_configs), TEST(missing_parts), TEST(variants), TEST(pickles),
        TEST(two_names_for_one_place), TEST(shards), TEST(shards_with_one_tensor_twice), TEST(bad_indexes), TEST(ldm_with_text_model),
        TEST(ldm_without_text_model), TEST(ldm_with_both_prefixes), TEST(not_the_original_layout), TEST(name_maps), TEST(open_clip_names), TEST(vae_names),
        TEST(split_and_turned), TEST(half_values),
        TEST(float_values), TEST(all_halves), TEST(chunks), TEST(descriptors),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
