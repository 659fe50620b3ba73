/* Any bytes as a prompt: layer prompts, schedules, emphasis, chunks. What must hold is said where it is checked. */
#include "text/chunks.h"
#include "text/emphasis.h"
#include "text/layer_prompt.h"
#include "text/prompt_and.h"
#include "text/prompt_schedule.h"
#include "text/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 7 };

static void must(bool holds) {
    if (!holds) abort();
}

static bool is_utf8(const char *text) { return udump_utf8_check(text, strlen(text), "", NULL) == UDUMP_OK; }

/* An embedding's vectors stand one after the other in one chunk. */
static void check_whole(const udump_chunks *chunks, int32_t at, const udump_chunk_embedding *embedding) {
    int32_t first = at - (chunks->ids[at] - embedding->first_id);
    if (chunks->ids[at] < embedding->first_id || chunks->ids[at] >= embedding->first_id + embedding->vectors) return;
    must(first >= 0 && first / UDUMP_CHUNK_TOKENS == (first + embedding->vectors - 1) / UDUMP_CHUNK_TOKENS);
    for (int32_t i = 0; i < embedding->vectors; i++) must(chunks->ids[first + i] == embedding->first_id + i);
}

/* Every chunk has its start and end; weights are numbers of the prompt's own tokens alone. */
static void check_chunks(const udump_prompt_piece *pieces, int32_t count, bool embedded) {
    udump_chunk_embedding items[] = { { "aa", (int32_t[]){ 1196 }, 1, 3, 49408 }, { "a", (int32_t[]){ 320 }, 1, 20, 49411 } };
    const udump_chunk_embeddings embeddings = { items, 2 };
    udump_chunks chunks;
    if (udump_chunks_make(pieces, count, embedded ? &embeddings : NULL, &chunks, NULL)) return;
    must(chunks.count >= 1 && chunks.count <= UDUMP_CHUNKS_MOST);
    for (int32_t i = 0; i < chunks.count * UDUMP_CHUNK_TOKENS; i++) {
        int32_t place = i % UDUMP_CHUNK_TOKENS;
        must(chunks.ids[i] >= 0 && chunks.ids[i] < (embedded ? 49431 : 49408) && is_utf8(chunks.columns[i].text));
        check_whole(&chunks, i, &items[0]);
        check_whole(&chunks, i, &items[1]);
        if (place == 0) must(chunks.ids[i] == 49406 && chunks.weights[i] == 1);
        if (place == UDUMP_CHUNK_TOKENS - 1) must(chunks.ids[i] == 49407 && chunks.weights[i] == 1);
    }
    udump_chunks_free(&chunks);
}

/* Pieces are UTF-8, and no two neighbours have the same weight. */
static void check_emphasis(const char *text) {
    udump_prompt_piece *pieces;
    int32_t count;
    must(udump_emphasis_parse(text, &pieces, &count, NULL) == UDUMP_OK && count >= 1);
    for (int32_t i = 0; i < count; i++) {
        must(is_utf8(pieces[i].text) && !isnan(pieces[i].weight));
        if (i) must(pieces[i].weight != pieces[i - 1].weight);
    }
    check_chunks(pieces, count, strlen(text) % 2); /* with and without embeddings: one of them, an input is to be quick */
    udump_emphasis_free(pieces, count);
}

/* Entries rise to the last step. */
static void check_schedule(const char *text) {
    udump_scheduled_text *entries;
    int32_t count;
    must(udump_prompt_schedule_parse(text, STEPS, &entries, &count, NULL) == UDUMP_OK && count >= 1 && entries[count - 1].until == STEPS);
    for (int32_t i = 0; i < count; i++) {
        must(is_utf8(entries[i].text) && strlen(entries[i].text) <= strlen(text) && entries[i].until > (i ? entries[i - 1].until : 0));
        check_emphasis(entries[i].text);
    }
    udump_prompt_schedule_free(entries, count);
}

/* Parts are UTF-8, together no longer than the text, of weights that are numbers; each reads as a prompt of its own. */
static void check_and(const char *text) {
    udump_and_part *parts;
    int32_t count;
    size_t length = 0;
    udump_status status = udump_and_split(text, &parts, &count, NULL);
    must(status == UDUMP_OK || status == UDUMP_ERROR_UNSUPPORTED);
    for (int32_t i = 0; !status && i < count; i++) {
        must(is_utf8(parts[i].text) && fabsf(parts[i].weight) <= 1e6f);
        length += strlen(parts[i].text);
        check_schedule(parts[i].text);
    }
    if (status) check_schedule(text); /* too many parts: as one text it is a prompt like any other */
    must(status || (count >= 1 && count <= UDUMP_AND_PARTS_MOST && length <= strlen(text)));
    if (!status) udump_and_free(parts, count);
}

/* LoRAs' tags stand where they say; without them, and without blanks at its end, the text is the rest. */
static void check_tags(const char *text) {
    udump_lora_tags *tags;
    int32_t count;
    must(udump_lora_tags_parse(text, &tags, NULL) == UDUMP_OK);
    const udump_lora_tag *list = udump_lora_tags_list(tags, &count);
    const char *rest = udump_lora_tags_prompt(tags);
    char *cut = strdup(text);
    for (int32_t i = count - 1; cut && i >= 0; i--) {
        char *at = cut + list[i].offset;
        size_t length = strlen(list[i].text);
        must(strncmp(at, list[i].text, length) == 0 && strlen(list[i].name) + strlen("<lora:>") <= length && isfinite(list[i].weight));
        memmove(at, at + length, strlen(at + length) + 1);
    }
    size_t kept = strlen(rest);
    must(!cut || (strncmp(cut, rest, kept) == 0 && !cut[kept + (count ? strspn(cut + kept, " ") : 0)]));
    free(cut);
    udump_lora_tags_free(tags);
}

static bool is_new(const udump_layer_prompts *prompts, int32_t block) {
    for (int32_t i = 0; i < block; i++)
        if (strcmp(prompts->texts[i], prompts->texts[block]) == 0) return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    check_tags(text);
    udump_layer_prompts prompts;
    udump_error error;
    udump_status status = udump_layer_prompts_parse(&udump_sd1_blocks, text, &prompts, &error);
    if (status == UDUMP_OK) {
        must(prompts.count == UDUMP_SD1_BLOCKS);
        for (int32_t i = 0; i < prompts.count; i++) {
            must(is_utf8(prompts.texts[i]) && strlen(prompts.texts[i]) <= size);
            if (is_new(&prompts, i)) check_and(prompts.texts[i]);
        }
        must(is_utf8(prompts.erased));
        udump_layer_prompts_free(&prompts);
    } else if (status == UDUMP_ERROR_SYNTAX) {
        must(error.offset >= 0 && error.offset <= (int64_t)size && error.line >= 1 && error.column >= 1 && error.expected[0]);
    }
    free(text);
    return 0;
}
