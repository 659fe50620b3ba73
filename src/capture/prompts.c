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

enum {
    DIFFERENT_BYTES_MOST = 1 << 22 /* of all blocks and steps */
};

/* One of the prompts that AND joins, over the steps. */
struct side {
    udump_scheduled_text *texts; /* [count]: NULL where an entry before has the same */
    udump_prompt_part *parts;    /* [count]: entries of equal texts share their pieces */
    int32_t count;
};

/* What one block's text means. */
struct parsed {
    const char *text;
    struct side *sides; /* [side_count] */
    int32_t side_count;
    udump_prompt_part *parts;    /* [count, side_count] */
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
static int32_t first_like(const struct side *side, int32_t i) {
    for (int32_t k = 0; k < i; k++)
        if (side->texts[k].text && strcmp(side->texts[k].text, side->texts[i].text) == 0) return k;
    return i;
}

static udump_status parse_entry(udump_prompt *prompt, struct side *side, float weight, int32_t i, udump_error *error) {
    udump_prompt_part *part = &side->parts[i];
    udump_prompt_piece *pieces = NULL;
    int32_t like = first_like(side, i);
    if (like < i) {
        *part = side->parts[like];
        free(side->texts[i].text);
        side->texts[i].text = NULL;
        return UDUMP_OK;
    }
    if ((prompt->different_bytes += strlen(side->texts[i].text)) > DIFFERENT_BYTES_MOST)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "its blocks and steps have more than %d bytes of different texts", DIFFERENT_BYTES_MOST);
    udump_status status = udump_emphasis_parse(side->texts[i].text, &pieces, &part->piece_count, error);
    part->text = side->texts[i].text;
    part->weight = weight;
    part->pieces = pieces;
    return status;
}

static udump_status parse_side(
    udump_prompt *prompt, struct side *side, const char *text, float weight, int32_t steps, udump_error *error) {
    udump_status status = udump_prompt_schedule_parse(text, steps, &side->texts, &side->count, error);
    if (status) return status;
    side->parts = calloc((size_t)side->count, sizeof *side->parts);
    if (!side->parts) return udump_fail_memory(error, "prompt", (size_t)side->count * sizeof *side->parts);
    for (int32_t i = 0; !status && i < side->count; i++) status = parse_entry(prompt, side, weight, i, error);
    return status;
}

/* at: each side's entry that holds now. Returns the step after which one of them changes, and goes on to what holds then. */
static int32_t advance(const struct parsed *parsed, int32_t at[UDUMP_AND_PARTS_MOST]) {
    int32_t until = parsed->sides[0].texts[at[0]].until;
    for (int32_t k = 1; k < parsed->side_count; k++)
        if (parsed->sides[k].texts[at[k]].until < until) until = parsed->sides[k].texts[at[k]].until;
    for (int32_t k = 0; k < parsed->side_count; k++) at[k] += parsed->sides[k].texts[at[k]].until == until;
    return until;
}

/* An entry wherever any side has one. */
static udump_status join_sides(struct parsed *parsed, int32_t steps, udump_error *error) {
    int32_t sides = parsed->side_count, at[UDUMP_AND_PARTS_MOST] = { 0 };
    do parsed->count++;
    while (advance(parsed, at) < steps);
    parsed->parts = calloc((size_t)parsed->count * (size_t)sides, sizeof *parsed->parts);
    parsed->entries = calloc((size_t)parsed->count, sizeof *parsed->entries);
    if (!parsed->parts || !parsed->entries) return udump_fail_memory(error, "prompt", (size_t)(parsed->count * sides) * sizeof *parsed->parts);
    memset(at, 0, sizeof at);
    for (int32_t i = 0; i < parsed->count; i++) {
        udump_prompt_part *own = &parsed->parts[i * sides];
        for (int32_t k = 0; k < sides; k++) own[k] = parsed->sides[k].parts[at[k]];
        parsed->entries[i] = (udump_prompt_entry){ advance(parsed, at), own, sides };
    }
    return UDUMP_OK;
}

/* In a negative prompt AND and a weight at the end are text. */
static udump_status split(const char *text, bool negative, udump_and_part **parts, int32_t *count, udump_error *error) {
    if (!negative) return udump_and_split(text, parts, count, error);
    *parts = calloc(1, sizeof **parts);
    if (*parts) (*parts)->text = strdup(text);
    *count = *parts != NULL;
    if (*parts && (*parts)->text) {
        (*parts)->weight = 1;
        return UDUMP_OK;
    }
    udump_and_free(*parts, *count);
    return udump_fail_memory(error, "prompt", strlen(text));
}

static udump_status parse_text(udump_prompt *prompt, struct parsed *parsed, const char *text, int32_t steps, bool negative, udump_error *error) {
    udump_and_part *parts;
    int32_t count;
    parsed->text = text;
    udump_status status = split(text, negative, &parts, &count, error);
    if (status) return status;
    parsed->sides = calloc((size_t)count, sizeof *parsed->sides);
    if (!parsed->sides) status = udump_fail_memory(error, "prompt", (size_t)count * sizeof *parsed->sides);
    for (; !status && parsed->side_count < count; parsed->side_count++) {
        const udump_and_part *part = &parts[parsed->side_count];
        status = parse_side(prompt, &parsed->sides[parsed->side_count], part->text, part->weight, steps, error);
    }
    udump_and_free(parts, count);
    return status ? status : join_sides(parsed, steps, error);
}

static void parsed_free(struct parsed *parsed) {
    for (int32_t k = 0; k < parsed->side_count; k++) {
        struct side *side = &parsed->sides[k];
        for (int32_t i = 0; side->parts && i < side->count; i++)
            if (side->parts[i].text == side->texts[i].text)
                udump_emphasis_free((udump_prompt_piece *)side->parts[i].pieces, side->parts[i].piece_count);
        udump_prompt_schedule_free(side->texts, side->count);
        free(side->parts);
    }
    free(parsed->sides);
    free(parsed->parts);
    free(parsed->entries);
}

static udump_status parse_block(udump_prompt *prompt, int32_t block, int32_t steps, bool negative, udump_error *error) {
    for (int32_t i = 0; i < prompt->parsed_count; i++) {
        if (strcmp(prompt->parsed[i].text, prompt->layers.texts[block]) != 0) continue;
        prompt->parsed_of[block] = i;
        return UDUMP_OK;
    }
    prompt->parsed_of[block] = prompt->parsed_count;
    return parse_text(prompt, &prompt->parsed[prompt->parsed_count++], prompt->layers.texts[block], steps, negative, error);
}

udump_status udump_prompt_parse(
    const udump_model *model, const char *text, int32_t steps, int32_t negative, udump_prompt **result, udump_error *error) {
    if (!text || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "a null pointer");
    if (steps < 1 || steps > UDUMP_PROMPT_STEPS_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "%d steps: 1 to %d are possible", (int)steps, UDUMP_PROMPT_STEPS_MOST);
    udump_block_set set = model ? (udump_block_set){ model->unet.in_count, model->unet.out_count } : udump_sd1_blocks;
    size_t blocks = (size_t)udump_block_count(&set);
    udump_prompt *prompt = calloc(1, sizeof *prompt);
    if (prompt) prompt->parsed_of = calloc(blocks, sizeof *prompt->parsed_of);
    if (prompt) prompt->parsed = calloc(blocks, sizeof *prompt->parsed);
    udump_status status = prompt && prompt->parsed_of && prompt->parsed ? UDUMP_OK : udump_fail_memory(error, "prompt", blocks * sizeof *prompt->parsed);
    if (!status) status = udump_layer_prompts_parse(&set, text, &prompt->layers, error);
    for (int32_t block = 0; !status && block < prompt->layers.count; block++)
        status = parse_block(prompt, block, steps, negative != 0, error);
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
