/* unetdump inspect MODEL|PICTURE.png [--map] [--json] */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"

static const char *dtype_name(udump_dtype dtype) { return dtype == UDUMP_F32 ? "F32" : dtype == UDUMP_F16 ? "F16" : "BF16"; }

/* What can be captured of a block: as the text says it. */
static json_t *taps_json(const udump_block_info *block) { return block->attention_depth ? json_pack("[s, s, s]", "block", "self", "cross") : json_pack("[s]", "block"); }

static json_t *blocks_json(const udump_model *model, int32_t count) {
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++) {
        udump_block_info b;
        if (udump_model_get_block(model, i, &b, NULL)) break;
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:o}", "name", b.name, "path", b.path, "channels", (int)b.channels, "downscale",
                (int)b.downscale, "attention_depth", (int)b.attention_depth, "heads", (int)b.heads, "head_dim", (int)b.head_dim,
                "taps", taps_json(&b)));
    }
    return list;
}

static json_t *tensors_json(const udump_model *model) {
    json_t *list = json_array();
    udump_tensor_info t;
    for (int64_t i = 0; !udump_model_get_tensor(model, i, &t, NULL); i++) {
        json_t *shape = json_array();
        for (int32_t d = 0; d < t.rank; d++) json_array_append_new(shape, json_integer(t.shape[d]));
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:o}", "name", t.name, "part", t.part, "dtype", dtype_name(t.dtype), "shape", shape));
    }
    return list;
}

static int inspect_json(const udump_model *model, const udump_model_info *info, bool map) {
    json_t *value = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:o, s:o}", "family", info->family, "layout", info->layout,
        "prediction", info->prediction, "device", info->device, "device_note", info->device_note, "precision", info->precision, "context_dim", (int)info->context_dim,
        "context_tokens", (int)info->context_tokens, "pooled_dim", (int)info->pooled_dim, "parameters", (json_int_t)info->parameter_count, "weight_bytes",
        (json_int_t)info->weight_bytes, "blocks", blocks_json(model, info->block_count), "tensors", tensors_json(model));
    if (map) json_object_set_new(value, "map", map_json(model));
    return print_json(value);
}

static int inspect_text(const udump_model *model, const udump_model_info *info) {
    printf("%s, %s layout, %s prediction; %.1f M parameters, %.1f MB packed as %s\n", info->family, info->layout, info->prediction,
        (double)info->parameter_count / 1e6, (double)info->weight_bytes / 1e6, info->precision);
    printf("%s; contexts [%d, %d]", info->device_note, (int)info->context_tokens, (int)info->context_dim);
    if (info->pooled_dim) printf(", pooled [%d]", (int)info->pooled_dim);
    printf("\n\n");
    printf("block  channels  size  attention          taps                in diffusers\n");
    for (int32_t i = 0; i < info->block_count; i++) {
        udump_block_info b;
        if (udump_model_get_block(model, i, &b, NULL)) break;
        char attention[32] = "-";
        if (b.attention_depth)
            snprintf(attention, sizeof attention, "%d x %d heads x %d", (int)b.attention_depth, (int)b.heads, (int)b.head_dim);
        printf("%-5s  %8d  1/%-2d  %-17s  %-18s  %s\n", b.name, (int)b.channels, (int)b.downscale, attention,
            b.attention_depth ? "block, self, cross" : "block", b.path);
    }
    int64_t tensors = 0;
    udump_tensor_info t;
    while (!udump_model_get_tensor(model, tensors, &t, NULL)) tensors++;
    printf("\n%" PRId64 " tensors (--json lists them; --map lists every tap and its names elsewhere)\n", tensors);
    return finish_output(EXIT_DONE);
}

int command_inspect(int argc, char **argv) {
    bool json = false, map = false, help = false;
    model_arguments arguments = { 0 };
    const cli_option options[] = {
        { "--json", NULL, OPTION_FLAG, &json, "for programs, with every tensor" },
        { "--map", NULL, OPTION_FLAG, &map, "every tap: its names in diffusers and the original code, and its slots in LoRA block weights" },
        { "--vae", NULL, OPTION_TEXT, &arguments.vae, "another autoencoder: a .safetensors file (a checkpoint has one, too) or a diffusers vae folder" },
        { "--prediction", NULL, OPTION_TEXT, &arguments.prediction, "auto, epsilon or v (auto)" },
        { "--help", "-h", OPTION_FLAG, &help, "this text" },
    };
    int count = parse_options(argc, argv, options, sizeof options / sizeof *options, &arguments.path, 1);
    if (count < 0) return EXIT_BAD_INPUT;
    if (help) {
        puts("usage: unetdump inspect MODEL|PICTURE.png [options]");
        print_options(options, sizeof options / sizeof *options);
        return finish_output(EXIT_DONE);
    }
    if (count < 1) return fail_usage("inspect needs a model or a picture");
    if (is_picture(arguments.path)) return inspect_picture(arguments.path, json);
    int status;
    udump_model *model = load_model(&arguments, &status);
    if (!model) return status;
    udump_model_info info;
    udump_model_get_info(model, &info);
    status = json ? inspect_json(model, &info, map) : map ? print_map(model) : inspect_text(model, &info);
    udump_model_release(model);
    return status;
}
