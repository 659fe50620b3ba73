/* udump_tokens: the public view of a text's tokens. */
#include "base/status.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

#include <stdlib.h>

udump_status udump_tokens(const char *text, udump_token *tokens, int32_t capacity, int32_t *count, udump_error *error) {
    if (!text || !count) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tokens", "%s is NULL", text ? "count" : "text");
    if (capacity < 0 || (capacity > 0 && !tokens))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tokens", "no room for %d tokens", (int)capacity);
    int32_t *ids = NULL, needed = 0;
    udump_status status = udump_tokenize(text, &ids, &needed, error);
    if (status) return status;
    for (int32_t i = 0; i < needed && i < capacity; i++) {
        udump_token *token = &tokens[i];
        *token = (udump_token){ .id = ids[i], .weight = 1.0f, .chunk = i / UDUMP_CHUNK_PLACES };
        token->column = UDUMP_CHUNK_TOKENS * token->chunk + 1 + i % UDUMP_CHUNK_PLACES;
        udump_token_text(ids[i], token->text);
    }
    free(ids);
    *count = needed;
    return UDUMP_OK;
}
