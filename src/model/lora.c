#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "weights/identity.h"

/* ---- blocks */

/* "unet/down_blocks.<level>.<kind>.<index>" with its numbers; false for other names. */
static bool read_place(const char *name, const char *prefix, int32_t *level, char kind[16], int32_t *index) {
    size_t length = strlen(prefix);
    int numbers[2];
    if (strncmp(name, prefix, length) != 0) return false;
    if (sscanf(name + length, "%1d.%15[a-z].%2d", &numbers[0], kind, &numbers[1]) != 3 || numbers[0] >= UDUMP_LORA_LEVELS_MOST) return false;
    *level = numbers[0];
    *index = numbers[1];
    return true;
}

/* How many residual blocks and samplers the levels have. */
static void count_layers(const udump_weights *weights, const char *prefix, int32_t *layers, bool *samplers) {
    for (int64_t i = 0; i < udump_weights_count(weights); i++) {
        int32_t level, index;
        char kind[16];
        if (!read_place(udump_weights_at(weights, i)->name, prefix, &level, kind, &index)) continue;
        if (strcmp(kind, "resnets") == 0 && index >= layers[level]) layers[level] = index + 1;
        samplers[level] |= strcmp(kind, "downsamplers") == 0;
    }
}

udump_lora_levels udump_lora_levels_of(const udump_weights *weights) {
    udump_lora_levels levels = { .in_count = 1 }; /* the first convolution */
    bool samplers[UDUMP_LORA_LEVELS_MOST] = { false }, none[UDUMP_LORA_LEVELS_MOST] = { false };
    count_layers(weights, "unet/down_blocks.", levels.down_layers, samplers);
    count_layers(weights, "unet/up_blocks.", levels.up_layers, none); /* an upsampler is in the block of its last layer */
    for (int32_t i = 0; i < UDUMP_LORA_LEVELS_MOST; i++) {
        levels.down[i] = levels.in_count;
        levels.in_count += levels.down_layers[i] + samplers[i];
        levels.up[i] = levels.out_count;
        levels.out_count += levels.up_layers[i];
    }
    for (int32_t i = 0; i < UDUMP_LORA_LEVELS_MOST; i++) levels.up[i] += levels.in_count + 1;
    return levels;
}

int32_t udump_lora_block(const udump_lora_levels *levels, const char *name) {
    int32_t level, index;
    char kind[16];
    if (strcmp(name, "unet/conv_in") == 0) return 0;
    if (strncmp(name, "unet/mid_block.", 15) == 0) return levels->in_count;
    if (read_place(name, "unet/down_blocks.", &level, kind, &index))
        return levels->down[level] + (strcmp(kind, "downsamplers") == 0 ? levels->down_layers[level] : index);
    if (read_place(name, "unet/up_blocks.", &level, kind, &index))
        return levels->up[level] + (strcmp(kind, "upsamplers") == 0 ? levels->up_layers[level] - 1 : index);
    return -1;
}

/* ---- the list */

/* "folder/name.safetensors" -> "name" */
static int stem(const char *path, const char **begin) {
    const char *slash = strrchr(path, '/'), *end;
    *begin = slash ? slash + 1 : path;
    end = strstr(*begin, ".safetensors");
    return (int)(end ? end - *begin : (long)strlen(*begin));
}

/* As the webui writes it in a prompt: millionths say enough of a weight. */
static udump_status add_tag(udump_loras *loras, const char *path, double weight, udump_error *error) {
    const char *name;
    int length = stem(path, &name);
    char number[32], *tags = NULL;
    long long millionths = llround(fabs(weight) * 1e6);
    size_t digits = (size_t)snprintf(number, sizeof number, "%lld.%06lld", millionths / 1000000, millionths % 1000000);
    while (number[digits - 1] == '0') digits--;
    if (number[digits - 1] == '.') digits--;
    if (asprintf(&tags, "%s%s<lora:%.*s:%s%.*s>", loras->tags, *loras->tags ? " " : "", length, name, weight < 0 ? "-" : "", (int)digits,
            number) < 0)
        return udump_fail_memory(error, "LoRA", strlen(path));
    free(loras->tags);
    loras->tags = tags;
    return UDUMP_OK;
}

static udump_status add_blocks(udump_loras *loras, const char *path, const char *weights, udump_error *error) {
    const char *name;
    int length = stem(path, &name);
    char *blocks = NULL;
    if (!weights) return UDUMP_OK;
    if (asprintf(&blocks, "%s%s%.*s: %s", loras->blocks, *loras->blocks ? "; " : "", length, name, weights) < 0)
        return udump_fail_memory(error, "LoRA", strlen(weights));
    free(loras->blocks);
    loras->blocks = blocks;
    return UDUMP_OK;
}

static udump_status open_entry(udump_loras *loras, const udump_lora *given, udump_error *error) {
    udump_lora_entry *entry = &loras->entries[loras->count++];
    const udump_lora_levels *levels = &loras->levels;
    double weight = given->weight ? *given->weight : 1;
    int32_t blocks = levels->in_count + 1 + levels->out_count;
    if (!given->path) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "LoRA", "it has no path");
    if (!(fabs(weight) <= UDUMP_LORA_WEIGHT_MOST))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "LoRA", "a weight of %g: -%d to %d are possible", weight, UDUMP_LORA_WEIGHT_MOST, UDUMP_LORA_WEIGHT_MOST);
    entry->text_factor = entry->rest_factor = 1;
    entry->block_factors = malloc((size_t)blocks * sizeof *entry->block_factors);
    if (!entry->block_factors) return udump_fail_memory(error, "LoRA", (size_t)blocks * sizeof *entry->block_factors);
    for (int32_t i = 0; i < blocks; i++) entry->block_factors[i] = 1;
    udump_status status = UDUMP_OK;
    if (given->block_weights) status = udump_lora_blocks_parse(given->block_weights, levels->in_count, levels->out_count, entry, error);
    if (status) udump_fail_within(error, given->path);
    entry->text_factor *= weight;
    entry->rest_factor *= weight;
    for (int32_t i = 0; i < blocks; i++) entry->block_factors[i] *= weight;
    char identity[UDUMP_DIGEST_TEXT];
    if (!status) status = udump_lora_open(given->path, &entry->file, error);
    if (!status) status = udump_identity_find(given->path, identity, error);
    if (!status) loras->content = udump_hash_add(loras->content, identity, sizeof identity);
    if (!status) status = add_blocks(loras, given->path, given->block_weights, error);
    return status ? status : add_tag(loras, given->path, weight, error);
}

udump_status udump_loras_open(
    const udump_lora *list, int32_t count, const udump_weights *weights, int threads, udump_loras *loras, udump_error *error) {
    *loras = (udump_loras){ .threads = threads, .content = UDUMP_HASH_START };
    if (count > 0 && !list) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "LoRA", "%d of them, but their list is NULL", (int)count);
    if (count < 0 || count > UDUMP_LORAS_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "LoRA", "%d of them: 0 to %d are possible", (int)count, UDUMP_LORAS_MOST);
    loras->levels = udump_lora_levels_of(weights);
    loras->entries = calloc((size_t)count + 1, sizeof *loras->entries);
    loras->tags = strdup("");
    loras->blocks = strdup("");
    udump_status status = loras->entries && loras->tags && loras->blocks ? UDUMP_OK : udump_fail_memory(error, "LoRA", (size_t)count * sizeof *loras->entries);
    for (int32_t i = 0; i < count && !status; i++) status = open_entry(loras, &list[i], error);
    if (status) udump_loras_close(loras);
    return status;
}

void udump_loras_close(udump_loras *loras) {
    for (int32_t i = 0; i < loras->count; i++) {
        udump_lora_close(loras->entries[i].file);
        free(loras->entries[i].block_factors);
    }
    free(loras->entries);
    free(loras->tags);
    free(loras->blocks);
    *loras = (udump_loras){ 0 };
}

/* How strongly a LoRA works on a layer. */
static double factor_of(const udump_loras *loras, const udump_lora_entry *entry, const char *name) {
    if (strncmp(name, "unet/", 5) != 0) return entry->text_factor;
    int32_t block = udump_lora_block(&loras->levels, name);
    return block < 0 ? entry->rest_factor : entry->block_factors[block];
}

udump_status udump_loras_merge(
    const udump_loras *loras, const char *name, int rank, const int64_t *shape, float *values, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; i < loras->count && !status; i++) {
        const udump_lora_entry *entry = &loras->entries[i];
        status = udump_lora_merge(entry->file, name, rank, shape, factor_of(loras, entry, name), loras->threads, values, error);
    }
    return status;
}

udump_status udump_loras_merge_bias(const udump_loras *loras, const char *name, int64_t count, float *values, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; i < loras->count && !status; i++)
        status = udump_lora_merge_bias(loras->entries[i].file, name, count, factor_of(loras, &loras->entries[i], name), values, error);
    return status;
}

udump_status udump_loras_check_used(const udump_loras *loras, const udump_weights *checkpoint, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; i < loras->count && !status; i++) status = udump_lora_check_used(loras->entries[i].file, checkpoint, error);
    return status;
}
