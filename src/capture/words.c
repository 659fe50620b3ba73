#include "capture/words.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "text/chunks.h"
#include "text/tokenizer.h"

static const char spaces[] = " \t\r\n";

static udump_status add_word(udump_words *words, const char *text, size_t length, udump_error *error) {
    if (words->count == UDUMP_WORDS_MOST) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "more than %d words", UDUMP_WORDS_MOST);
    int32_t at = words->count++;
    words->names[at] = strndup(text, length);
    if (!words->names[at]) return udump_fail_memory(error, "attention words", length);
    udump_status status = udump_tokenize(words->names[at], &words->ids[at], &words->lengths[at], error);
    if (!status && !words->lengths[at])
        status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "'%s' has no tokens", words->names[at]);
    for (int32_t i = 0; !status && i < at; i++)
        if (strcmp(words->names[i], words->names[at]) == 0)
            status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "'%s' is there twice", words->names[at]);
    return status;
}

udump_status udump_words_parse(const char *text, udump_words *words, udump_error *error) {
    *words = (udump_words){ 0 };
    if (!text) return UDUMP_OK;
    words->names = calloc(UDUMP_WORDS_MOST, sizeof(*words->names));
    words->ids = calloc(UDUMP_WORDS_MOST, sizeof(*words->ids));
    words->lengths = calloc(UDUMP_WORDS_MOST, sizeof *words->lengths);
    udump_status status = words->names && words->ids && words->lengths ? UDUMP_OK : udump_fail_memory(error, "attention words", 0);
    for (const char *at = text + strspn(text, spaces); !status && *at;) {
        size_t length = strcspn(at, spaces);
        status = add_word(words, at, length, error);
        at += length + strspn(at + length, spaces);
    }
    if (!status && !words->count) status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "no word");
    if (status) udump_words_free(words);
    return status;
}

void udump_words_free(udump_words *words) {
    for (int32_t i = 0; i < words->count; i++) {
        free(words->names[i]);
        free(words->ids[i]);
    }
    free(words->names);
    free(words->ids);
    free(words->lengths);
    *words = (udump_words){ 0 };
}

/* The prompt's own column next to `at`; starts and ends of chunks, which may stand within a word, are passed over. -1 or context->tokens where there is none. */
static int32_t next_own(const udump_context *context, int32_t at, int32_t step) {
    do at += step;
    while (at >= 0 && at < context->tokens && context->columns[at].word < 0);
    return at;
}

static bool is_one_word(const udump_context *context, int32_t a, int32_t b) {
    return a >= 0 && b < context->tokens && context->columns[a].word == context->columns[b].word;
}

/* The columns from `at` on that have the ids, if a word of the prompt begins and ends there; how many, or 0. */
static int32_t match_ids(const udump_context *context, int32_t at, const int32_t *ids, int32_t length, int32_t *columns) {
    if (context->columns[at].word < 0 || is_one_word(context, next_own(context, at, -1), at)) return 0;
    for (int32_t i = 0; i < length; i++) {
        if (at == context->tokens || context->columns[at].id != ids[i]) return 0;
        columns[i] = at;
        at = next_own(context, at, 1);
    }
    return is_one_word(context, columns[length - 1], at) ? 0 : length;
}

/* Those from `at` on of the embedding called name; 0 if it does not begin there. */
static int32_t match_embedding(const udump_context *context, int32_t at, const char *name, int32_t *columns) {
    const udump_column *first = &context->columns[at];
    int32_t length = 0;
    if (first->id < UDUMP_EMBEDDING_IDS || strncasecmp(first->text, name, sizeof first->text - 1) != 0) return 0;
    if (at > 0 && is_one_word(context, at - 1, at)) return 0;
    while (is_one_word(context, at, at + length)) columns[length] = at + length, length++;
    return length;
}

int32_t udump_words_find(const udump_words *words, int32_t word, const udump_context *context, int32_t *columns) {
    int32_t found = 0;
    for (int32_t at = 0; context->columns && at < context->tokens; at++) {
        int32_t length = match_ids(context, at, words->ids[word], words->lengths[word], columns + found);
        if (!length) length = match_embedding(context, at, words->names[word], columns + found);
        found += length;
        if (length) at = columns[found - 1];
    }
    return found;
}
