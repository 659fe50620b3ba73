#include "capture/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
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

/* Whether the ids stand at columns[at], and end where a word of the prompt ends. */
static bool stands_at(const udump_context *context, int32_t at, const int32_t *ids, int32_t length) {
    const udump_column *columns = context->columns;
    if (at + length > context->tokens || (at > 0 && columns[at].word >= 0 && columns[at].word == columns[at - 1].word)) return false;
    for (int32_t i = 0; i < length; i++)
        if (columns[at + i].id != ids[i] || columns[at + i].word < 0) return false;
    return at + length == context->tokens || columns[at + length].word != columns[at + length - 1].word;
}

int32_t udump_words_find(const udump_words *words, int32_t word, const udump_context *context, int32_t *columns) {
    int32_t found = 0, length = words->lengths[word];
    for (int32_t at = 0; context->columns && at < context->tokens;) {
        bool stands = stands_at(context, at, words->ids[word], length);
        for (int32_t i = 0; stands && i < length; i++) columns[found++] = at + i;
        at += stands ? length : 1;
    }
    return found;
}
