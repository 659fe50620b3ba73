/* The public prompt: layer prompts resolved, each block's text taken apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/model.h"
#include "text/emphasis.h"
#include "text/layer_prompt.h"
#include "text/prompt_and.h"
#include "text/prompt_schedule.h"

enum { STEPS_MOST = 1000, DIFFERENT_BYTES_MOST = 1 << 22 /* of all blocks and steps */ };

/* What one block's text means. */
struct parsed {
    const char *text;
    udump_scheduled_text *texts; /* [count]: NULL where an entry before has the same */
    udump_prompt_part *parts;    /* [count]: entries of equal texts share their pieces */
    udump_prompt_entry *entries; /* [count] */
    int32_t count;
};

struct udump_prompt {
    udump_layer_prompts layers;
    int32_t *parsed_of;    /* [blocks]: blocks of equal texts share what these mean */
    struct parsed *parsed; /* [parsed_count] */
    int32_t parsed_count;
    size_t different_bytes; /* of text, blocks and steps of equal texts counted once */
};

/* The entry before i whose text is the same; i if there is none. */
static int32_t first_like(const struct parsed *parsed, int32_t i) {
    for (int32_t k = 0; k < i; k++)
        if (parsed->texts[k].text && strcmp(parsed->texts[k].text, parsed->texts[i].text) == 0) return k;
    return i;
}

static udump_status parse_entry(udump_prompt *prompt, struct parsed *parsed, int32_t i, udump_error *error) {
    udump_prompt_part *part = &parsed->parts[i];
    udump_prompt_piece *pieces = NULL;
    int32_t like = first_like(parsed, i);
    parsed->entries[i] = (udump_prompt_entry){ parsed->texts[i].until, part, 1 };
    if (like < i) {
        *part = parsed->parts[like];
        free(parsed->texts[i].text);
        parsed->texts[i].text = NULL;
        return UDUMP_OK;
    }
    if ((prompt->different_bytes += strlen(parsed->texts[i].text)) > DIFFERENT_BYTES_MOST)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "its blocks and steps have more than %d bytes of different texts", DIFFERENT_BYTES_MOST);
    udump_status status = udump_emphasis_parse(parsed->texts[i].text, &pieces, &part->piece_count, error);
    part->text = parsed->texts[i].text;
    part->weight = 1;
    part->pieces = pieces;
    return status;
}

/* Where the prompt has the AND of a block's text; without a place where it only comes about between text and group. */
static udump_status refuse_and(const char *whole, const char *text, udump_error *error) {
    if (!udump_prompt_refuse_and(text, NULL)) return UDUMP_OK;
    if (udump_prompt_refuse_and(whole, error)) return UDUMP_ERROR_UNSUPPORTED;
    return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "joining prompts with AND is not supported yet");
}

static udump_status parse_text(
    udump_prompt *prompt, struct parsed *parsed, const char *whole, const char *text, int32_t steps, bool negative, udump_error *error) {
    parsed->text = text;
    udump_status status = negative ? UDUMP_OK : refuse_and(whole, text, error);
    if (!status) status = udump_prompt_schedule_parse(text, steps, &parsed->texts, &parsed->count, error);
    if (status) return status;
    parsed->parts = calloc((size_t)parsed->count, sizeof *parsed->parts);
    parsed->entries = calloc((size_t)parsed->count, sizeof *parsed->entries);
    if (!parsed->parts || !parsed->entries) return udump_fail_memory(error, "prompt", (size_t)parsed->count * sizeof *parsed->parts);
    for (int32_t i = 0; !status && i < parsed->count; i++) status = parse_entry(prompt, parsed, i, error);
    return status;
}

static void parsed_free(struct parsed *parsed) {
    for (int32_t i = 0; parsed->parts && i < parsed->count; i++)
        if (parsed->parts[i].text == parsed->texts[i].text)
            udump_emphasis_free((udump_prompt_piece *)parsed->parts[i].pieces, parsed->parts[i].piece_count);
    udump_prompt_schedule_free(parsed->texts, parsed->count);
    free(parsed->parts);
    free(parsed->entries);
}

static udump_status parse_block(udump_prompt *prompt, const char *whole, int32_t block, int32_t steps, bool negative, udump_error *error) {
    for (int32_t i = 0; i < prompt->parsed_count; i++) {
        if (strcmp(prompt->parsed[i].text, prompt->layers.texts[block]) != 0) continue;
        prompt->parsed_of[block] = i;
        return UDUMP_OK;
    }
    prompt->parsed_of[block] = prompt->parsed_count;
    return parse_text(prompt, &prompt->parsed[prompt->parsed_count++], whole, prompt->layers.texts[block], steps, negative, error);
}

udump_status udump_prompt_parse(
    const udump_model *model, const char *text, int32_t steps, int32_t negative, udump_prompt **result, udump_error *error) {
    if (!text || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "a null pointer");
    if (steps < 1 || steps > STEPS_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "%d steps: 1 to %d are possible", (int)steps, STEPS_MOST);
    udump_block_set set = model ? (udump_block_set){ model->unet.in_count, model->unet.out_count } : udump_sd1_blocks;
    size_t blocks = (size_t)udump_block_count(&set);
    udump_prompt *prompt = calloc(1, sizeof *prompt);
    if (prompt) prompt->parsed_of = calloc(blocks, sizeof *prompt->parsed_of);
    if (prompt) prompt->parsed = calloc(blocks, sizeof *prompt->parsed);
    udump_status status = prompt && prompt->parsed_of && prompt->parsed ? UDUMP_OK : udump_fail_memory(error, "prompt", blocks * sizeof *prompt->parsed);
    if (!status) status = udump_layer_prompts_parse(&set, text, &prompt->layers, error);
    for (int32_t block = 0; !status && block < prompt->layers.count; block++)
        status = parse_block(prompt, text, block, steps, negative != 0, error);
    if (status) udump_prompt_free(prompt);
    else *result = prompt;
    return status;
}

void udump_prompt_free(udump_prompt *prompt) {
    if (!prompt) return;
    for (int32_t i = 0; i < prompt->parsed_count; i++) parsed_free(&prompt->parsed[i]);
    udump_layer_prompts_free(&prompt->layers);
    free(prompt->parsed_of);
    free(prompt->parsed);
    free(prompt);
}

const char *udump_prompt_block(const udump_prompt *prompt, int32_t block) {
    return block >= 0 && block < prompt->layers.count ? prompt->layers.texts[block] : NULL;
}

const char *udump_prompt_erased(const udump_prompt *prompt) { return prompt->layers.erased; }

const udump_prompt_entry *udump_prompt_schedule(const udump_prompt *prompt, int32_t block, int32_t *count) {
    *count = 0;
    if (block < 0 || block >= prompt->layers.count) return NULL;
    const struct parsed *parsed = &prompt->parsed[prompt->parsed_of[block]];
    *count = parsed->count;
    return parsed->entries;
}
