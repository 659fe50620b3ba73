/* How many prompts AND joins, over all blocks. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/session.h"

static udump_status fail_number(const udump_model *model, int32_t block, int32_t most, int32_t found, udump_error *error) {
    char expected[64], text[64];
    snprintf(expected, sizeof expected, "%d prompts in %s, or one", (int)most, udump_block_name(model, block));
    snprintf(text, sizeof text, "%d", (int)found);
    return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND joins unequal numbers of prompts in the blocks", expected, text);
}

static udump_status fail_weight(const udump_model *model, int32_t block, float expected, float found, udump_error *error) {
    char before[64], text[64];
    snprintf(before, sizeof before, "a weight of %g in %s", (double)expected, udump_block_name(model, block));
    snprintf(text, sizeof text, "%g", (double)found);
    return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "the blocks' prompts have unequal weights", before, text);
}

static udump_status check_block(
    const udump_model *model, int32_t block, const udump_prompt_entry *own, const udump_prompt_entry *most, udump_error *error) {
    if (own->part_count != most->part_count && own->part_count > 1)
        return fail_number(model, block, most->part_count, own->part_count, error);
    for (int32_t i = 0; i < own->part_count; i++) {
        float expected = own->part_count == most->part_count ? most->parts[i].weight : 1;
        if (own->parts[i].weight != expected) return fail_weight(model, block, expected, own->parts[i].weight, error);
    }
    return UDUMP_OK;
}

/* AND and weights are read before anything that changes over the steps: what holds at step 1 holds at all. */
static udump_status find_of(const udump_model *model, const char *text, int32_t variant, udump_parts *parts, udump_error *error) {
    udump_prompt *prompt;
    udump_status status = udump_prompt_parse(model, text, 1, 0, &prompt, error);
    if (status) return status;
    int32_t count;
    const udump_prompt_entry *most = udump_prompt_schedule(prompt, 0, &count), *own;
    for (int32_t block = 1; (own = udump_prompt_schedule(prompt, block, &count)); block++)
        if (own->part_count > most->part_count) most = own;
    for (int32_t block = 0; !status && (own = udump_prompt_schedule(prompt, block, &count)); block++)
        status = check_block(model, block, own, most, error);
    parts->count[variant] = most->part_count;
    for (int32_t i = 0; i < most->part_count; i++) parts->weights[variant][i] = most->parts[i].weight;
    udump_prompt_free(prompt);
    return status;
}

static udump_status find_erased(const udump_model *model, const char *text, udump_parts *parts, udump_error *error) {
    udump_prompt *prompt;
    udump_status status = udump_prompt_parse(model, text, 1, 0, &prompt, error);
    if (status) return status;
    status = find_of(model, udump_prompt_erased(prompt), 1, parts, error);
    udump_prompt_free(prompt);
    return status;
}

static bool same_parts(const udump_parts *parts) {
    bool same = parts->count[0] == parts->count[1];
    for (int32_t i = 0; same && i < parts->count[0]; i++) same = parts->weights[0][i] == parts->weights[1][i];
    return same;
}

udump_status udump_parts_find_swept(
    const udump_model *model, const char *const *prompts, int32_t count, udump_parts *parts, udump_error *error) {
    udump_status status = udump_parts_find(model, prompts[0], 1, parts, error);
    for (int32_t i = 0; !status && i < count; i++) {
        status = find_of(model, prompts[i], 1, parts, error);
        if (!status && !same_parts(parts))
            status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND joins other prompts or weights than in the sweep's first: '%s'", prompts[i]);
    }
    return status;
}

udump_status udump_parts_find(const udump_model *model, const char *prompt, int32_t variants, udump_parts *parts, udump_error *error) {
    *parts = (udump_parts){ 0 };
    udump_status status = find_of(model, prompt, 0, parts, error);
    if (!status && variants > 1) status = find_erased(model, prompt, parts, error);
    parts->most = parts->count[1] > parts->count[0] ? parts->count[1] : parts->count[0];
    return status;
}
