/* unetdump tokens TEXT [--json] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void print_token(const udump_token *t) {
    printf("%4d  %5d  ", (int)t->column, (int)t->id);
    print_plain(stdout, t->text, strlen(t->text), true);
    if (t->weight != 1) printf("  (%.3g)", (double)t->weight);
    putchar('\n');
}

static int print_tokens(const udump_token *tokens, int32_t count, bool json) {
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++) {
        const udump_token *t = &tokens[i];
        if (json)
            json_array_append_new(list,
                json_pack("{s:i, s:s, s:f, s:i, s:i}", "id", (int)t->id, "text", t->text, "weight", (double)t->weight, "chunk",
                    (int)t->chunk, "column", (int)t->column));
        else print_token(t);
    }
    if (json) return print_json(json_pack("{s:o}", "tokens", list));
    json_decref(list);
    return finish_output(EXIT_DONE);
}

int command_tokens(int argc, char **argv) {
    bool json = false, help = false;
    const cli_option options[] = {
        { "--json", NULL, OPTION_FLAG, &json, "for programs" },
        { "--help", "-h", OPTION_FLAG, &help, "this text" },
    };
    const char *text;
    int given = parse_options(argc, argv, options, sizeof options / sizeof *options, &text, 1);
    if (given < 0) return EXIT_BAD_INPUT;
    if (help) {
        puts("usage: unetdump tokens TEXT [--json]\n\nColumn in attention maps, id, text and (where it is not 1) weight of every token.");
        print_options(options, sizeof options / sizeof *options);
        return finish_output(EXIT_DONE);
    }
    if (given < 1) return fail_usage("tokens needs a text");
    int32_t count = 0;
    udump_error error;
    if (udump_tokens(text, NULL, 0, &count, &error)) return fail_text(&error, text);
    udump_token *tokens = calloc((size_t)count + 1, sizeof *tokens);
    if (!tokens) return fputs("unetdump: out of memory\n", stderr), EXIT_FAILED;
    int status = udump_tokens(text, tokens, count, &count, &error) ? fail_error(&error) : print_tokens(tokens, count, json);
    free(tokens);
    return status;
}
