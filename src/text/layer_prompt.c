#include "text/layer_prompt.h"

#include "base/status.h"
#include "text/buffer.h"
#include "text/layer_spec.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char OPEN[] = "(~:", CLOSE[] = ":~)", SPACES[] = " \t\r\n";
enum { MARK = 3 }; /* bytes of OPEN and CLOSE */

/* One entry of a group: which blocks it is for, and its text. */
struct entry {
    uint8_t *selected; /* [blocks]; NULL: "_" */
    udump_text_buffer text;
};

struct parser {
    const udump_block_set *blocks;
    const char *prompt;
    size_t at, end;         /* bytes; end: of the group that is being read */
    struct entry *entries;  /* of that group */
    size_t entry_count;
    udump_text_buffer *out; /* [blocks + 1]: each block's text, and the erased one */
    udump_error *error;
};

static size_t block_count(const struct parser *p) { return (size_t)udump_block_count(p->blocks); }

static udump_status fail_at(const struct parser *p, size_t at, const char *what, const char *expected) {
    size_t character = at, length = strlen(p->prompt);
    udump_fail_syntax(p->error, "prompt", p->prompt, at, what, expected);
    if (!p->error) return UDUMP_ERROR_SYNTAX;
    if (at == p->end && at < length) snprintf(p->error->found, sizeof p->error->found, "'%s'", CLOSE);
    else if (udump_utf8_next(p->prompt, length, &character) >= 0)
        snprintf(p->error->found, sizeof p->error->found, "'%.*s'", (int)(character - at), p->prompt + at);
    return UDUMP_ERROR_SYNTAX;
}

static void skip(struct parser *p, const char *characters) {
    while (p->at < p->end && strchr(characters, p->prompt[p->at])) p->at++;
}

static void group_free(struct parser *p) {
    for (size_t i = 0; i < p->entry_count; i++) {
        free(p->entries[i].selected);
        free(p->entries[i].text.text);
    }
    free(p->entries);
    p->entries = NULL;
    p->entry_count = 0;
}

/* The spec's own error, at its place in the prompt. */
static udump_status fail_in_spec(const struct parser *p, const char *spec, const udump_error *own) {
    if (own->status != UDUMP_ERROR_SYNTAX) {
        if (p->error) *p->error = *own;
        return own->status;
    }
    size_t bytes = 0, length = strlen(spec);
    for (int64_t i = 0; i < own->offset; i++) udump_utf8_next(spec, length, &bytes);
    udump_status status = fail_at(p, p->at + bytes, own->what, own->expected);
    if (p->error && p->at + bytes < p->end && bytes < length) snprintf(p->error->found, sizeof p->error->found, "%s", own->found);
    return status;
}

/* A list of blocks, up to the colon. */
static udump_status read_spec(struct parser *p, struct entry *entry) {
    size_t length = 0, items;
    while (p->at + length < p->end && !strchr(":;", p->prompt[p->at + length])) length++;
    items = strspn(p->prompt + p->at, " \t\r\n,");
    if (items >= length) return fail_at(p, p->at + length, "no block is named", "a block, or _");
    char *spec = strndup(p->prompt + p->at, length);
    entry->selected = malloc(block_count(p));
    udump_error own;
    udump_status status = spec && entry->selected ? UDUMP_OK : udump_fail_memory(p->error, "prompt", length + block_count(p));
    if (!status && udump_layer_spec_parse(p->blocks, spec, entry->selected, &own)) status = fail_in_spec(p, spec, &own);
    free(spec);
    p->at += length;
    return status;
}

static udump_status read_names(struct parser *p, struct entry *entry) {
    bool any = p->prompt[p->at] == '_';
    if (any) p->at++;
    else {
        udump_status status = read_spec(p, entry);
        if (status) return status;
    }
    skip(p, SPACES);
    if (p->at >= p->end || p->prompt[p->at] != ':') return fail_at(p, p->at, "the blocks' text is missing", "':'");
    p->at++;
    if (any) skip(p, " \t");
    return UDUMP_OK;
}

/* White space alone after the last line break is layout. */
static void trim_layout(udump_text_buffer *text) {
    char *line = text->text ? strrchr(text->text, '\n') : NULL;
    if (!line || line[strspn(line, SPACES)]) return;
    *line = 0;
    text->length = (size_t)(line - text->text);
}

/* Up to the semicolon, which is taken, or the group's end. */
static udump_status read_text(struct parser *p, struct entry *entry) {
    udump_status status = udump_text_append(&entry->text, "", 0, p->error);
    while (!status && p->at < p->end && p->prompt[p->at] != ';') {
        size_t length = strcspn(p->prompt + p->at, "\\;");
        if (length > p->end - p->at) length = p->end - p->at;
        if (!length) { /* a backslash and what it is before */
            bool semicolon = p->at + 1 < p->end && p->prompt[p->at + 1] == ';';
            length = p->at + 1 < p->end ? 2 : 1;
            status = udump_text_append(&entry->text, p->prompt + p->at + semicolon, length - semicolon, p->error);
        } else status = udump_text_append(&entry->text, p->prompt + p->at, length, p->error);
        p->at += length;
    }
    if (p->at < p->end) p->at++;
    else if (!status) trim_layout(&entry->text);
    return status;
}

static udump_status read_entry(struct parser *p) {
    struct entry *grown = realloc(p->entries, (p->entry_count + 1) * sizeof *grown);
    if (!grown) return udump_fail_memory(p->error, "prompt", (p->entry_count + 1) * sizeof *grown);
    p->entries = grown;
    p->entries[p->entry_count++] = (struct entry){ 0 };
    udump_status status = read_names(p, &p->entries[p->entry_count - 1]);
    return status ? status : read_text(p, &p->entries[p->entry_count - 1]);
}

/* Every block's own text of the group goes where the group stood. */
static udump_status place_group(struct parser *p) {
    udump_status status = UDUMP_OK;
    for (size_t block = 0; !status && block < block_count(p); block++) {
        const struct entry *named = NULL, *any = NULL;
        for (size_t i = 0; i < p->entry_count; i++) {
            if (!p->entries[i].selected) any = &p->entries[i];
            else if (p->entries[i].selected[block]) named = &p->entries[i];
        }
        const struct entry *chosen = named ? named : any;
        if (chosen) status = udump_text_append(&p->out[block], chosen->text.text, chosen->text.length, p->error);
    }
    return status;
}

/* At "(~:". */
static udump_status read_group(struct parser *p) {
    const char *close = strstr(p->prompt + p->at + MARK, CLOSE);
    p->end = strlen(p->prompt);
    if (!close) return fail_at(p, p->at, "layer prompts that are not closed", ":~)");
    p->end = (size_t)(close - p->prompt);
    p->at += MARK;
    udump_status status = UDUMP_OK;
    for (skip(p, SPACES); !status && p->at < p->end; skip(p, SPACES)) status = read_entry(p);
    if (!status) status = place_group(p);
    p->at = p->end + MARK;
    group_free(p);
    return status;
}

/* Up to the next group, or the end. */
static udump_status read_plain(struct parser *p) {
    size_t begin = p->at;
    while (p->prompt[p->at] && strncmp(p->prompt + p->at, OPEN, MARK) != 0)
        p->at += p->prompt[p->at] == '\\' && p->prompt[p->at + 1] ? 2 : 1;
    udump_status status = UDUMP_OK;
    for (size_t i = 0; !status && i <= block_count(p); i++)
        status = udump_text_append(&p->out[i], p->prompt + begin, p->at - begin, p->error);
    return status;
}

static udump_status check(const char *prompt, udump_error *error) {
    size_t length = strnlen(prompt, UDUMP_PROMPT_BYTES_MOST + 1);
    if (length <= UDUMP_PROMPT_BYTES_MOST) return udump_utf8_check(prompt, length, "prompt", error);
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "prompt", "the text is longer than %d bytes", UDUMP_PROMPT_BYTES_MOST);
}

/* The texts change hands; what failed is freed. */
static void take(struct parser *p, udump_layer_prompts *result, udump_status status) {
    for (size_t i = 0; i < block_count(p); i++) {
        if (status) free(p->out[i].text);
        else result->texts[i] = p->out[i].text;
    }
    if (status) free(p->out[block_count(p)].text);
    else result->erased = p->out[block_count(p)].text;
    result->count = (int32_t)block_count(p);
}

udump_status udump_layer_prompts_parse(
    const udump_block_set *blocks, const char *prompt, udump_layer_prompts *result, udump_error *error) {
    *result = (udump_layer_prompts){ 0 };
    udump_status status = check(prompt, error);
    if (status) return status;
    struct parser p = { .blocks = blocks, .prompt = prompt, .error = error };
    p.out = calloc(block_count(&p) + 1, sizeof *p.out);
    result->texts = calloc(block_count(&p), sizeof(*result->texts));
    if (!p.out || !result->texts) {
        free(p.out);
        udump_layer_prompts_free(result);
        return udump_fail_memory(error, "prompt", block_count(&p) * sizeof *p.out);
    }
    do {
        status = read_plain(&p);
        if (!status && prompt[p.at]) status = read_group(&p);
    } while (!status && prompt[p.at]);
    take(&p, result, status);
    free(p.out);
    if (status) udump_layer_prompts_free(result);
    return status;
}

void udump_layer_prompts_free(udump_layer_prompts *prompts) {
    for (int32_t i = 0; prompts->texts && i < prompts->count; i++) free(prompts->texts[i]);
    free(prompts->texts);
    free(prompts->erased);
    *prompts = (udump_layer_prompts){ 0 };
}
