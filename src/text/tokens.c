/* udump_tokens: the public view of one prompt's tokens. */
#include "base/status.h"
#include "text/chunks.h"
#include "text/emphasis.h"
#include "text/layer_prompt.h"
#include "text/prompt_and.h"
#include "text/prompt_schedule.h"

#include <stdlib.h>
#include <string.h>

static udump_status refuse(const char *what, udump_error *error) {
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "%s make more than one prompt, and one fixed prompt is expected", what);
}

static udump_status check_layers(const char *text, udump_error *error) {
    udump_layer_prompts layers;
    udump_status status = udump_layer_prompts_parse(&udump_sd1_blocks, text, &layers, error);
    if (status) return status;
    bool plain = strcmp(layers.erased, text) == 0;
    udump_layer_prompts_free(&layers);
    return plain ? UDUMP_OK : refuse("layer prompts", error);
}

static udump_status check_schedule(const char *text, udump_error *error) {
    udump_scheduled_text *entries;
    int32_t count;
    udump_status status = udump_prompt_schedule_parse(text, 2, &entries, &count, error);
    if (status) return status;
    bool plain = count == 1 && strcmp(entries[0].text, text) == 0;
    udump_prompt_schedule_free(entries, count);
    return plain ? UDUMP_OK : refuse("prompt editing and alternation", error);
}

/* What a run reads of one fixed prompt, without layer prompts, AND and what changes over the steps: all but a ":1" at its end. *own is on the heap. */
static udump_status take_prompt(const char *text, char **own, udump_error *error) {
    udump_and_part *parts;
    int32_t count;
    udump_status status = check_layers(text, error);
    if (!status) status = udump_and_split(text, &parts, &count, error);
    if (status) return status;
    if (count > 1)
        status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND joins several prompts, and one fixed prompt is expected");
    else status = udump_and_check_weight(parts[0].weight, error);
    if (!status) status = check_schedule(parts[0].text, error);
    *own = status ? NULL : parts[0].text;
    if (!status) parts[0].text = NULL;
    udump_and_free(parts, count);
    return status;
}

udump_status udump_tokens(const char *text, udump_token *tokens, int32_t capacity, int32_t *count, udump_error *error) {
    if (!text || !count) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tokens", "%s is NULL", text ? "count" : "text");
    if (capacity < 0 || (capacity > 0 && !tokens))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tokens", "no room for %d tokens", (int)capacity);
    udump_prompt_piece *pieces = NULL;
    int32_t piece_count = 0;
    udump_chunks chunks = { 0 };
    char *own = NULL;
    udump_status status = take_prompt(text, &own, error);
    if (!status) status = udump_emphasis_parse(own, &pieces, &piece_count, error);
    free(own);
    if (!status) status = udump_chunks_make(pieces, piece_count, NULL, &chunks, error);
    udump_emphasis_free(pieces, piece_count);
    if (status) return status;
    *count = 0;
    for (int32_t at = 0; at < chunks.count * UDUMP_CHUNK_TOKENS; at++) {
        const udump_column *column = &chunks.columns[at];
        if (column->word < 0) continue; /* start, end, padding */
        if (*count < capacity) {
            udump_token *token = &tokens[*count];
            *token = (udump_token){ .id = column->id, .weight = column->weight, .chunk = at / UDUMP_CHUNK_TOKENS, .column = at };
            memcpy(token->text, column->text, sizeof token->text);
        }
        ++*count;
    }
    udump_chunks_free(&chunks);
    return UDUMP_OK;
}
