/* Words of a prompt, and their columns in attention maps. */
#ifndef UDUMP_CAPTURE_WORDS_H
#define UDUMP_CAPTURE_WORDS_H

#include "capture/context.h"

typedef struct udump_words {
    int32_t count;
    char **names;    /* [count] */
    int32_t **ids;   /* [count]: each word's tokens */
    int32_t *lengths; /* [count] */
} udump_words;

enum { UDUMP_WORDS_MOST = 64 };

/* Words with white space between them; NULL: none. Errors: ARGUMENT (no word, one twice, not UTF-8, more than UDUMP_WORDS_MOST), MEMORY. */
udump_status udump_words_parse(const char *text, udump_words *words, udump_error *error);
void udump_words_free(udump_words *words);

/* The columns of every occurrence of the word, whole words only, in a context's prompt, rising. Returns how many: 0 where the word is not there,
 * or the context has no text. */
int32_t udump_words_find(const udump_words *words, int32_t word, const udump_context *context, int32_t *columns /* [context->tokens] */);

#endif
