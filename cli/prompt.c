/* unetdump parse prompt TEXT: every block's prompt. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* How many neighbouring blocks from first on have its prompt. */
static int32_t run_length(const udump_prompt *prompt, int32_t first) {
    int32_t length = 1;
    const char *text = udump_prompt_block(prompt, first);
    for (const char *next; (next = udump_prompt_block(prompt, first + length)) && strcmp(next, text) == 0;) length++;
    return length;
}

static json_t *part_json(const udump_prompt_part *part) {
    json_t *emphasis = json_array();
    for (int32_t i = 0; i < part->piece_count; i++)
        json_array_append_new(emphasis, json_pack("[s, f]", part->pieces[i].text, part->pieces[i].weight));
    return json_pack("{s:f, s:s, s:o}", "weight", (double)part->weight, "text", part->text, "emphasis", emphasis);
}

static json_t *schedule_json(const udump_prompt *prompt, int32_t block) {
    int32_t count;
    const udump_prompt_entry *entries = udump_prompt_schedule(prompt, block, &count);
    json_t *schedule = json_array();
    for (int32_t i = 0; i < count; i++) {
        json_t *parts = json_array();
        for (int32_t k = 0; k < entries[i].part_count; k++) json_array_append_new(parts, part_json(&entries[i].parts[k]));
        json_array_append_new(schedule, json_pack("{s:i, s:o}", "until", (int)entries[i].until, "parts", parts));
    }
    return schedule;
}

static int print_as_json(const udump_model *model, const udump_prompt *prompt) {
    json_t *runs = json_array();
    for (int32_t first = 0, length; udump_prompt_block(prompt, first); first += length) {
        length = run_length(prompt, first);
        json_array_append_new(runs,
            json_pack("{s:s, s:s, s:s, s:o}", "first", udump_block_name(model, first), "last", udump_block_name(model, first + length - 1),
                "prompt", udump_prompt_block(prompt, first), "schedule", schedule_json(prompt, first)));
    }
    return print_json(json_pack("{s:o, s:s}", "runs", runs, "erased", udump_prompt_erased(prompt)));
}

/* The tokens of one text, with a bar between chunks and weights that are not 1. */
static void print_tokens(const char *text) {
    int32_t count = 0, chunk = 0;
    if (udump_tokens(text, NULL, 0, &count, NULL)) return;
    udump_token *tokens = calloc((size_t)count + 1, sizeof *tokens);
    if (!tokens || udump_tokens(text, tokens, count, &count, NULL)) count = 0;
    printf("  %d tokens:", (int)count);
    for (int32_t i = 0; i < count; i++) {
        if (tokens[i].chunk != chunk) printf(" |");
        chunk = tokens[i].chunk;
        printf(" %s", tokens[i].text);
        if (tokens[i].weight != 1) printf("(%.3g)", (double)tokens[i].weight);
    }
    putchar('\n');
    free(tokens);
}

static int print_as_text(const udump_model *model, const udump_prompt *prompt) {
    for (int32_t first = 0, length; udump_prompt_block(prompt, first); first += length) {
        length = run_length(prompt, first);
        const char *from = udump_block_name(model, first), *to = udump_block_name(model, first + length - 1);
        if (length > 1) printf("%s-%s: %s\n", from, to, udump_prompt_block(prompt, first));
        else printf("%s: %s\n", from, udump_prompt_block(prompt, first));
        print_tokens(udump_prompt_block(prompt, first));
    }
    printf("erased: %s\n", udump_prompt_erased(prompt));
    return finish_output(EXIT_DONE);
}

/* The line of the error, and a caret under its column: one column a code point, tabs kept. */
static void print_caret(const char *text, const udump_error *error) {
    for (int64_t line = 1; line < error->line && text; line++) text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    if (!text || error->line < 1) return;
    fprintf(stderr, "%.*s\n", (int)strcspn(text, "\n"), text);
    for (int64_t column = 1; column < error->column && *text; column++) {
        unsigned char lead = (unsigned char)*text;
        int bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        fputc(*text == '\t' ? '\t' : ' ', stderr);
        if (bytes > 2) fputc(' ', stderr); /* as good as always twice as wide */
        while (bytes-- && *text) text++;
    }
    fputs("^\n", stderr);
}

int parse_prompt(const char *text, const udump_model *model, int32_t steps, bool negative, bool json) {
    udump_prompt *prompt = NULL;
    udump_error error;
    if (udump_prompt_parse(model, text, steps, negative, &prompt, &error)) {
        int status = fail_error(&error);
        print_caret(text, &error);
        return status;
    }
    int status = json ? print_as_json(model, prompt) : print_as_text(model, prompt);
    udump_prompt_free(prompt);
    return status;
}
