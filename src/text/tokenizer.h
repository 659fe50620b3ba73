/* CLIP's tokenizer (Radford et al. 2021), equal to transformers' CLIPTokenizerFast: normalisation form C, lower case, words by
 *     's|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
 * and byte-pair encoding of each word's UTF-8 bytes. "<|startoftext|>" and "<|endoftext|>", in any case, are those tokens.
 * The tables are constants: nothing is built or kept, every function is thread-safe. Which characters are letters follows the
 * Unicode version of utf8proc. */
#ifndef UDUMP_TEXT_TOKENIZER_H
#define UDUMP_TEXT_TOKENIZER_H

#include "unetdump.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UDUMP_TOKEN_TEXT = 64,          /* bytes that any token's text fits into, with its terminator */
    UDUMP_TEXT_BYTES_MAX = 64 << 20 /* of one text */
};

/* The tokens of text, without start, end and padding: *ids becomes an array of *count ids, yours to free(); it may be NULL when
 * *count is 0. Time grows with n * log(n), whatever the text.
 * Errors: ARGUMENT (not UTF-8: offset in code points, line, column; above UDUMP_TEXT_BYTES_MAX), MEMORY. */
udump_status udump_tokenize(const char *text, int32_t **ids, int32_t *count, udump_error *error);

/* The bytes that a token (0..49407) stands for, without the mark of a word's end: a single token may be a part of a character.
 * out is terminated (and may hold a 0 of its own, token 188's). Returns the number of bytes; 0 for an id out of range. */
size_t udump_token_bytes(int32_t id, char out[UDUMP_TOKEN_TEXT]);

/* The same as UTF-8: what is not UTF-8 by itself becomes U+FFFD, and what would not fit is cut on a character's border. */
void udump_token_text(int32_t id, char out[UDUMP_TOKEN_TEXT]);

/* Whether a token is the last of its word; start and end are words of their own. */
bool udump_token_ends_word(int32_t id);

#endif
