#include "text/prompt_and.h"

#include "base/status.h"
#include "text/utf8.h"

#include <stdio.h>
#include <string.h>

static udump_status refuse(const char *text, size_t at, udump_error *error) {
    udump_fail_syntax(error, "prompt", text, at, "joining prompts with AND is not supported yet", "one prompt");
    if (!error) return UDUMP_ERROR_UNSUPPORTED;
    snprintf(error->found, sizeof error->found, "AND");
    return error->status = UDUMP_ERROR_UNSUPPORTED;
}

udump_status udump_prompt_refuse_and(const char *text, udump_error *error) {
    size_t length = strlen(text);
    bool after_word = false;
    for (size_t at = 0; at < length;) {
        size_t end = at + 3;
        if (!after_word && strncmp(text + at, "AND", 3) == 0 && (end == length || !udump_is_word(udump_utf8_next(text, length, &end))))
            return refuse(text, at, error);
        after_word = udump_is_word(udump_utf8_next(text, length, &at));
    }
    return UDUMP_OK;
}
