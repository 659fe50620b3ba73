/* A config.json, and the same bytes as the index of a sharded part. */
#include <stdlib.h>
#include <string.h>

#include "weights/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const json_t *config) {
    static const char *const keys[] = { "attention_head_dim", "block_out_channels", "prediction_type", "a", "" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value;
        char text[8];
        for (int index = -1; index < 3; index++) udump_json_number(config, keys[i], index, &value);
        if (udump_json_text(config, keys[i], text, sizeof text) && strlen(text) >= sizeof text) abort();
    }
}

/* An accepted index leads nowhere else. */
static void check_files(const udump_part_files *files) {
    if (files->count < 1 || files->count > UDUMP_SHARD_LIMIT || !files->weight_map) abort();
    for (int i = 0; i < files->count; i++)
        if (strchr(files->names[i], '/') || files->names[i][0] == '.' || strlen(files->names[i]) < strlen(".safetensors")) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *config;
    udump_error error = { 0 };
    if (udump_config_parse((const char *)data, size, "fuzz", &config, &error) == UDUMP_OK) {
        ask(config);
        json_decref(config);
    } else if (!error.what[0] || error.offset > (int64_t)size || error.line > (int64_t)size + 1 || error.column > (int64_t)size + 1) {
        abort();
    }
    udump_part_files files;
    if (udump_shard_index_parse((const char *)data, size, "fuzz", &files, &error) == UDUMP_OK) {
        check_files(&files);
        udump_part_files_free(&files);
    }
    return 0;
}
