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

/* What the prompt says, which may have several lines. */
static void print_text(const char *text) { print_plain(stdout, text, strlen(text), false); }

/* The tokens of a part's text, with a bar between chunks and weights that are not 1. */
static void print_tokens(const char *part) {
    int32_t count = 0, chunk = 0;
    char *text = NULL;
    if (asprintf(&text, "%s:1", part) < 0) return; /* its weight: what else it may end in ("16:9") is text */
    if (udump_tokens(text, NULL, 0, &count, NULL)) {
        free(text);
        return;
    }
    udump_token *tokens = calloc((size_t)count + 1, sizeof *tokens);
    if (!tokens || udump_tokens(text, tokens, count, &count, NULL)) count = 0;
    printf("  %d tokens:", (int)count);
    for (int32_t i = 0; i < count; i++) {
        if (tokens[i].chunk != chunk) printf(" |");
        chunk = tokens[i].chunk;
        putchar(' ');
        print_text(tokens[i].text);
        if (tokens[i].weight != 1) printf("(%.3g)", (double)tokens[i].weight);
    }
    putchar('\n');
    free(tokens);
    free(text);
}

/* The tokens of what holds for some steps; of each of the prompts that AND joins, with its weight. */
static void print_parts(const udump_prompt_entry *entry) {
    for (int32_t i = 0; i < entry->part_count; i++) {
        const udump_prompt_part *part = &entry->parts[i];
        if (entry->part_count > 1 || part->weight != 1) {
            printf("  weight %.6g: ", (double)part->weight);
            print_text(part->text);
            putchar('\n');
        }
        print_tokens(part->text);
    }
}

/* The texts, AND between them. */
static void print_texts(const udump_prompt_entry *entry) {
    for (int32_t i = 0; i < entry->part_count; i++) {
        fputs(i ? " AND" : "", stdout);
        print_text(entry->parts[i].text);
    }
    putchar('\n');
}

/* Entries of one schedule: as many parts, of the same weights. */
static bool same_texts(const udump_prompt_entry *a, const udump_prompt_entry *b) {
    for (int32_t i = 0; i < a->part_count; i++)
        if (strcmp(a->parts[i].text, b->parts[i].text) != 0) return false;
    return true;
}

/* The tokens; before them, where the prompt changes over the steps, the steps and what holds for them. */
static void print_schedule(const udump_prompt *prompt, int32_t block) {
    int32_t count, begin = 1;
    const udump_prompt_entry *entries = udump_prompt_schedule(prompt, block, &count);
    for (int32_t i = 0; i < count; i++) {
        if (i + 1 < count && same_texts(&entries[i], &entries[i + 1])) continue;
        if (count > 1) printf("  steps %d-%d: ", (int)begin, (int)entries[i].until);
        if (count > 1) print_texts(&entries[i]);
        print_parts(&entries[i]);
        begin = entries[i].until + 1;
    }
}

static int print_as_text(const udump_model *model, const udump_prompt *prompt) {
    for (int32_t first = 0, length; udump_prompt_block(prompt, first); first += length) {
        length = run_length(prompt, first);
        const char *from = udump_block_name(model, first), *to = udump_block_name(model, first + length - 1);
        printf("%s%s%s: ", from, length > 1 ? "-" : "", length > 1 ? to : "");
        print_text(udump_prompt_block(prompt, first));
        putchar('\n');
        print_schedule(prompt, first);
    }
    fputs("erased: ", stdout);
    print_text(udump_prompt_erased(prompt));
    putchar('\n');
    return finish_output(EXIT_DONE);
}

int parse_prompt(const char *text, const udump_model *model, int32_t steps, bool negative, bool json) {
    udump_prompt *prompt = NULL;
    udump_error error;
    if (udump_prompt_parse(model, text, steps, negative, &prompt, &error)) return fail_text(&error, text);
    int status = json ? print_as_json(model, prompt) : print_as_text(model, prompt);
    udump_prompt_free(prompt);
    return status;
}
