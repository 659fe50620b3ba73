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

/* A prompt's columns. */
struct line {
    const udump_column *columns; /* [tokens] */
    int32_t tokens;
};

/* The prompt's own column next to `at`; starts and ends of chunks, which may stand within a word, are passed over. -1 or tokens where there is none. */
static int32_t next_own(const struct line *line, int32_t at, int32_t step) {
    do at += step;
    while (at >= 0 && at < line->tokens && line->columns[at].word < 0);
    return at;
}

static bool is_one_word(const struct line *line, int32_t a, int32_t b) {
    return a >= 0 && b < line->tokens && line->columns[a].word == line->columns[b].word;
}

/* The columns from `at` on that have the ids, if a word of the prompt begins and ends there; how many, or 0. */
static int32_t match_ids(const struct line *line, int32_t at, const int32_t *ids, int32_t length, int32_t *found) {
    if (line->columns[at].word < 0 || is_one_word(line, next_own(line, at, -1), at)) return 0;
    for (int32_t i = 0; i < length; i++) {
        if (at == line->tokens || line->columns[at].id != ids[i]) return 0;
        found[i] = at;
        at = next_own(line, at, 1);
    }
    return is_one_word(line, found[length - 1], at) ? 0 : length;
}

/* Those from `at` on of the embedding called name; 0 if it does not begin there. */
static int32_t match_embedding(const struct line *line, int32_t at, const char *name, int32_t *found) {
    const udump_column *first = &line->columns[at];
    int32_t length = 0;
    if (first->id < UDUMP_EMBEDDING_IDS || strncasecmp(first->text, name, sizeof first->text - 1) != 0) return 0;
    if (at > 0 && is_one_word(line, at - 1, at)) return 0;
    while (is_one_word(line, at, at + length)) found[length] = at + length, length++;
    return length;
}

static int32_t find(const struct line *line, const char *name, const int32_t *ids, int32_t length, int32_t *found) {
    int32_t count = 0;
    for (int32_t at = 0; line->columns && at < line->tokens; at++) {
        int32_t matched = match_ids(line, at, ids, length, found + count);
        if (!matched) matched = match_embedding(line, at, name, found + count);
        count += matched;
        if (matched) at = found[count - 1];
    }
    return count;
}

int32_t udump_words_find(const udump_words *words, int32_t word, const udump_context *context, int32_t *columns) {
    return find(&(struct line){ context->columns, context->tokens }, words->names[word], words->ids[word], words->lengths[word], columns);
}

udump_status udump_columns_find(const udump_column *columns, int32_t tokens, const char *word, int32_t *found, int32_t *count, udump_error *error) {
    static const char where[] = "a word's columns";
    int32_t *ids = NULL, length = 0;
    if (!word || !found || !count) return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "word, found or count is NULL");
    *count = 0;
    udump_status status = udump_tokenize(word, &ids, &length, error);
    if (!status && !length) status = udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "'%s' has no tokens", word);
    if (!status) *count = find(&(struct line){ columns, tokens }, word, ids, length, found);
    free(ids);
    return status;
}
