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

/* The tokens of what holds for some steps; of each of the prompts that AND joins, with its weight. */
static void print_parts(const udump_prompt_entry *entry) {
    for (int32_t i = 0; i < entry->part_count; i++) {
        const udump_prompt_part *part = &entry->parts[i];
        if (entry->part_count > 1 || part->weight != 1) printf("  weight %.6g: %s\n", (double)part->weight, part->text);
        print_tokens(part->text);
    }
}

/* The texts, AND between them. */
static void print_texts(const udump_prompt_entry *entry) {
    for (int32_t i = 0; i < entry->part_count; i++) printf("%s%s", i ? " AND" : "", entry->parts[i].text);
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
        if (length > 1) printf("%s-%s: %s\n", from, to, udump_prompt_block(prompt, first));
        else printf("%s: %s\n", from, udump_prompt_block(prompt, first));
        print_schedule(prompt, first);
    }
    printf("erased: %s\n", udump_prompt_erased(prompt));
    return finish_output(EXIT_DONE);
}

/* How many columns a terminal gives a character: East Asian wide ones and emoji 2, combining ones 0. */
static int columns_of(uint32_t code) {
    static const struct {
        uint32_t first, last;
        int columns;
    } ranges[] = { { 0x0300, 0x036F, 0 }, { 0x0483, 0x0489, 0 }, { 0x0591, 0x05BD, 0 }, { 0x064B, 0x065F, 0 }, { 0x093A, 0x093C, 0 },
        { 0x0E34, 0x0E3A, 0 }, { 0x0E47, 0x0E4E, 0 }, { 0x1100, 0x115F, 2 }, { 0x1AB0, 0x1AFF, 0 }, { 0x1DC0, 0x1DFF, 0 },
        { 0x200B, 0x200F, 0 }, { 0x20D0, 0x20FF, 0 }, { 0x2E80, 0x303E, 2 }, { 0x3041, 0xA4CF, 2 }, { 0xAC00, 0xD7A3, 2 },
        { 0xF900, 0xFAFF, 2 }, { 0xFE00, 0xFE0F, 0 }, { 0xFE30, 0xFE6F, 2 }, { 0xFF00, 0xFF60, 2 }, { 0xFFE0, 0xFFE6, 2 },
        { 0x1F300, 0x1F64F, 2 }, { 0x1F680, 0x1F6FF, 2 }, { 0x1F900, 0x1FAFF, 2 }, { 0x20000, 0x3FFFD, 2 }, { 0xE0100, 0xE01EF, 0 } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return ranges[i].columns;
    return 1;
}

/* One character of UTF-8. */
static uint32_t read_character(const char **text) {
    unsigned char lead = (unsigned char)*(*text)++;
    uint32_t code = lead >= 0xF0 ? lead & 7 : lead >= 0xE0 ? lead & 15 : lead >= 0xC0 ? lead & 31 : lead;
    while (((unsigned char)**text & 0xC0) == 0x80) code = code << 6 | ((unsigned char)*(*text)++ & 63);
    return code;
}

/* The line of the error, and a caret under its column; tabs are kept. */
static void print_caret(const char *text, const udump_error *error) {
    for (int64_t line = 1; line < error->line && text; line++) text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    if (!text || error->line < 1) return;
    fprintf(stderr, "%.*s\n", (int)strcspn(text, "\n"), text);
    for (int64_t column = 1; column < error->column && *text; column++) {
        uint32_t code = read_character(&text);
        for (int i = columns_of(code); i > 0; i--) fputc(code == '\t' ? '\t' : ' ', stderr);
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
