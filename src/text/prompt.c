#include "text/prompt.h"

#include "base/status.h"
#include "text/merges.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a regular expression's \b sees as a word. */
static bool is_word(int32_t code) { return code == '_' || udump_is_letter(code) || udump_is_number(code); }

static bool word_follows(const char *prompt, size_t length, size_t at, const char *word) {
    size_t word_length = strlen(word);
    if (strncmp(prompt + at, word, word_length) != 0) return false;
    at += word_length;
    return at == length || !is_word(udump_utf8_next(prompt, length, &at));
}

/* What begins at prompt[at] and is not plain text: sets what it is and how it reads. */
static bool find_syntax(const char *prompt, size_t length, size_t at, bool after_word, const char **what, const char **found) {
    static const char *const single[] = { "(", ")", "[", "]", "\\" };
    *what = NULL;
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        if (prompt[at] != single[i][0]) continue;
        *what = single[i][0] == '\\' ? "escapes in a prompt are not supported yet" : "emphasis and schedules in a prompt are not supported yet";
        *found = single[i];
    }
    if (strncmp(prompt + at, "(~:", 3) == 0) {
        *what = "layer prompts are not supported yet";
        *found = "(~:";
    } else if (!after_word && word_follows(prompt, length, at, "AND")) {
        *what = "joining prompts with AND is not supported yet";
        *found = "AND";
    } else if (!after_word && word_follows(prompt, length, at, "BREAK")) {
        *what = "starting a new chunk with BREAK is not supported yet";
        *found = "BREAK";
    }
    return *what != NULL;
}

udump_status udump_prompt_check_plain(const char *prompt, udump_error *error) {
    size_t length = strlen(prompt);
    udump_status status = udump_utf8_check(prompt, length, "prompt", error);
    if (status) return status;
    bool after_word = false;
    for (size_t at = 0; at < length;) {
        const char *what, *found;
        if (find_syntax(prompt, length, at, after_word, &what, &found)) {
            udump_fail_syntax(error, "prompt", prompt, at, what, "plain text, without ( ) [ ] \\ and the words AND and BREAK");
            if (error) {
                error->status = UDUMP_ERROR_UNSUPPORTED;
                snprintf(error->found, sizeof error->found, "%s", found);
            }
            return UDUMP_ERROR_UNSUPPORTED;
        }
        after_word = is_word(udump_utf8_next(prompt, length, &at));
    }
    return UDUMP_OK;
}

udump_status udump_prompt_check_length(int32_t token_count, udump_error *error) {
    if (token_count <= UDUMP_CHUNK_PLACES) return UDUMP_OK;
    char expected[64], found[64];
    snprintf(expected, sizeof expected, "at most %d tokens", UDUMP_CHUNK_PLACES);
    snprintf(found, sizeof found, "%d tokens", (int)token_count);
    return udump_fail_values(
        error, UDUMP_ERROR_UNSUPPORTED, "prompt", "prompts of more than one chunk are not supported yet", expected, found);
}

udump_status udump_prompt_encode_ids(const char *prompt, int32_t ids[UDUMP_CHUNK_TOKENS], int32_t *used, udump_error *error) {
    udump_status status = udump_prompt_check_plain(prompt, error);
    if (status) return status;
    int32_t *tokens = NULL, count = 0;
    if ((status = udump_tokenize(prompt, &tokens, &count, error))) return status;
    if (!(status = udump_prompt_check_length(count, error))) {
        ids[0] = UDUMP_CLIP_START;
        for (int32_t i = 1; i < UDUMP_CHUNK_TOKENS; i++) ids[i] = i <= count ? tokens[i - 1] : UDUMP_CLIP_END;
        if (used) *used = count;
    }
    free(tokens);
    return status;
}
