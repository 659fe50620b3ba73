/* A LoRA file, merged into some layers if it opens; and the same bytes as a text of block weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/lora.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void merge_all(udump_lora_file *file, const char *path) {
    static const struct {
        const char *name;
        int rank;
        int64_t shape[4];
    } layers[] = { { "unet/conv_in", 4, { 4, 2, 3, 3 } }, { "unet/conv_norm_out", 1, { 4 } },
        { "unet/mid_block.attentions.0.proj_in", 2, { 4, 2 } }, { "text_encoder/encoder.layers.0.mlp.fc1", 2, { 4, 2 } } };
    float values[4 * 2 * 9] = { 0 };
    udump_error error = { 0 };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (udump_lora_merge(file, layers[i].name, layers[i].rank, layers[i].shape, 0.5, 1, values, &error) && !error.what[0]) abort();
    if (udump_lora_merge_bias(file, "unet/conv_norm_out", 4, 0.5, values, &error) && !error.what[0]) abort();
    udump_weights *checkpoint; /* any will do: its own tensors */
    if (udump_weights_open_tensors(path, &checkpoint, NULL)) abort();
    if (udump_lora_check_used(file, checkpoint, &error) && !error.what[0]) abort();
    udump_weights_close(checkpoint);
}

static void parse_blocks(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    double factors[25];
    udump_lora_entry entry = { .block_factors = factors };
    udump_error error = { 0 };
    if (!text) return;
    for (int i = 0; i < 25; i++) factors[i] = 1;
    memcpy(text, data, size);
    text[size] = '\0';
    if (udump_lora_blocks_parse(text, 12, 12, &entry, &error)) {
        if (error.status != UDUMP_ERROR_SYNTAX || error.offset > (int64_t)size) abort();
    } else {
        for (int i = 0; i < 25; i++)
            if (!(fabs(factors[i]) <= UDUMP_LORA_WEIGHT_MOST)) abort();
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    udump_error error = { 0 };
    udump_lora_file *file;
    int memory = memfd_create("lora", 0);
    if (memory < 0 || write(memory, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    if (udump_lora_open(path, &file, &error)) {
        if (!error.what[0]) abort();
    } else {
        merge_all(file, path);
    }
    udump_lora_close(file);
    close(memory);
    parse_blocks(data, size);
    return 0;
}
