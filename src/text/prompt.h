/* Prompts on their way to the text encoder. So far plain ones: what the webui's prompt syntax would change is refused, never taken
 * literally. All functions are thread-safe. */
#ifndef UDUMP_TEXT_PROMPT_H
#define UDUMP_TEXT_PROMPT_H

#include "unetdump.h"

#include <stdint.h>

enum {
    UDUMP_CHUNK_PLACES = 75, /* a prompt's own tokens in one chunk */
    UDUMP_CHUNK_TOKENS = 77  /* with start and end */
};

/* UNSUPPORTED, with offset, line and column, at the first of: ( ) [ ] \ and the whole words AND and BREAK.
 * ARGUMENT, with the same, where the prompt is not UTF-8. */
udump_status udump_prompt_check_plain(const char *prompt, udump_error *error);

/* UNSUPPORTED, with what was expected and found, if a prompt of that many tokens does not fit into one chunk. */
udump_status udump_prompt_check_length(int32_t token_count, udump_error *error);

/* A plain prompt of at most 75 tokens as one chunk of SD 1: start, tokens, then end in every place left.
 * *used (may be NULL) is the number of the prompt's own tokens, 0..75.
 * Errors: as the two checks above, ARGUMENT (longer than UDUMP_TEXT_BYTES_MAX), MEMORY. */
udump_status udump_prompt_encode_ids(const char *prompt, int32_t ids[UDUMP_CHUNK_TOKENS], int32_t *used, udump_error *error);

#endif
