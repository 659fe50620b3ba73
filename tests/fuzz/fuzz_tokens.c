/* Any bytes as a prompt. What must hold: a text is refused as a whole, or its tokens spell the normalised text without white space. */
#include "text/merges.h"
#include "text/normalize.h"
#include "text/prompt.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_spelling(const char *text, const int32_t *ids, int32_t count) {
    int32_t *codes;
    size_t code_count, written = 0, at = 0;
    if (udump_normalize(text, strlen(text), &codes, &code_count, NULL)) abort();
    char *plain = malloc(4 * code_count + 1);
    if (!plain) abort();
    for (size_t i = 0; i < code_count; i++)
        if (!udump_is_space(codes[i])) written += (size_t)utf8proc_encode_char(codes[i], (utf8proc_uint8_t *)plain + written);
    for (int32_t i = 0; i < count; i++) {
        char bytes[UDUMP_TOKEN_TEXT];
        size_t length = udump_token_bytes(ids[i], bytes);
        if (length == 0 || length > written - at || memcmp(plain + at, bytes, length) != 0) abort();
        at += length;
    }
    if (at != written) abort();
    free(plain);
    free(codes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = 0;

    int32_t *ids = NULL, count = 0, needed, chunk[UDUMP_CHUNK_TOKENS], used = 0;
    udump_error error;
    udump_token tokens[4];
    udump_status status = udump_tokenize(text, &ids, &count, &error);
    if (status != udump_tokens(text, tokens, 4, &needed, NULL)) abort();
    if (status == UDUMP_OK) {
        if (needed != count) abort();
        check_spelling(text, ids, count);
        for (int32_t i = 0; i < count && i < 4; i++)
            if (udump_utf8_check(tokens[i].text, strlen(tokens[i].text), "", NULL)) abort();
    } else if (status != UDUMP_ERROR_ARGUMENT || error.offset < 0 || error.line < 1 || error.column < 1) {
        abort();
    }
    if (udump_prompt_encode_ids(text, chunk, &used, &error) == UDUMP_OK) {
        if (used != count || chunk[0] != UDUMP_CLIP_START || chunk[UDUMP_CHUNK_TOKENS - 1] != UDUMP_CLIP_END) abort();
        if (count > 0 && memcmp(chunk + 1, ids, (size_t)count * sizeof *ids) != 0) abort();
    }
    free(ids);
    free(text);
    return 0;
}
