/* unetdump parse layers|steps|prompt TEXT [--json] [--steps N] [--negative] [-m MODEL] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { BLOCKS_MOST = 256 };

/* The items, separated by spaces or as a JSON list. */
static int print_list(json_t *list, bool json) {
    if (json) return print_json(list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (json_is_string(item)) printf("%s%s", i ? " " : "", json_string_value(item));
        else printf("%s%lld", i ? " " : "", (long long)json_integer_value(item));
    }
    putchar('\n');
    json_decref(list);
    return finish_output(EXIT_DONE);
}

static int parse_layers(const char *text, const udump_model *model, bool json) {
    uint8_t selected[BLOCKS_MOST] = { 0 };
    udump_error error;
    if (udump_layers_parse(model, text, selected, BLOCKS_MOST, &error)) return fail_text(&error, text);
    json_t *list = json_array();
    for (int32_t i = 0; udump_block_name(model, i); i++)
        if (selected[i]) json_array_append_new(list, json_string(udump_block_name(model, i)));
    return print_list(list, json);
}

static int parse_steps(const char *text, int32_t total, bool json) {
    if (total < 1 || total > 1000) return fail_usage("--steps: expected a number from 1 to 1000, found %d", (int)total);
    uint8_t selected[1000];
    int32_t beyond;
    udump_error error;
    if (udump_steps_parse(text, total, selected, &beyond, &error)) return fail_text(&error, text);
    if (!memchr(selected, 1, (size_t)total)) return fail_usage("steps: no step is left: expected 1 to %d, found %s", (int)total, text);
    if (beyond > 0) warn("%d of the steps named lie past the last, %d", (int)beyond, (int)total);
    json_t *list = json_array();
    for (int32_t i = 0; i < total; i++)
        if (selected[i]) json_array_append_new(list, json_integer(i + 1));
    return print_list(list, json);
}

int command_parse(int argc, char **argv) {
    bool json = false, negative = false, help = false;
    int32_t steps = 20;
    model_arguments arguments = { 0 };
    const cli_option options[] = {
        { "--json", NULL, OPTION_FLAG, &json, "for programs" },
        { "--steps", NULL, OPTION_INTEGER, &steps, "how many steps there are (20)" },
        { "--negative", NULL, OPTION_FLAG, &negative, "the prompt is a negative one, in which AND is text" },
        { "--model", "-m", OPTION_TEXT, &arguments.path, "the model whose blocks are meant (SD 1's 25)" },
        { "--help", "-h", OPTION_FLAG, &help, "this text" },
    };
    const char *rest[2];
    int count = parse_options(argc, argv, options, sizeof options / sizeof *options, rest, 2);
    if (count < 0) return EXIT_BAD_INPUT;
    if (help) {
        puts("usage: unetdump parse layers|steps|prompt TEXT [options]");
        print_options(options, sizeof options / sizeof *options);
        return finish_output(EXIT_DONE);
    }
    if (count < 2) return fail_usage("parse needs what to parse (layers, steps or prompt) and a text");
    if (strcmp(rest[0], "steps") == 0) return parse_steps(rest[1], steps, json);
    bool prompt = strcmp(rest[0], "prompt") == 0;
    if (!prompt && strcmp(rest[0], "layers")) return fail_usage("parse: expected layers, steps or prompt, found '%s'", rest[0]);
    if (prompt && (steps < 1 || steps > 1000)) return fail_usage("--steps: expected a number from 1 to 1000, found %d", (int)steps);
    int status = EXIT_DONE;
    udump_model *model = arguments.path ? load_model(&arguments, &status) : NULL;
    if (arguments.path && !model) return status;
    status = prompt ? parse_prompt(rest[1], model, steps, negative, json) : parse_layers(rest[1], model, json);
    udump_model_release(model);
    return status;
}
