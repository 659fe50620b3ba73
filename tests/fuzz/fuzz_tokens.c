/* Any bytes as a text. What must hold: a text is refused as a whole, or its tokens spell the normalised text without white space. */
#include "text/merges.h"
#include "text/normalize.h"
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

    int32_t *ids = NULL, count = 0;
    udump_error error;
    udump_status status = udump_tokenize(text, &ids, &count, &error);
    if (status == UDUMP_OK) check_spelling(text, ids, count);
    else if (status != UDUMP_ERROR_ARGUMENT || error.offset < 0 || error.line < 1 || error.column < 1) abort();
    free(ids);
    free(text);
    return 0;
}
