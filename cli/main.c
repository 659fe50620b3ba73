#include <stdio.h>
#include <string.h>

#include "sampling.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    { "generate", command_generate, "sample images, and write what happens inside the U-Net" },
    { "render", command_render, "draw a [C, H, W] float32 .npy array as a canvas" },
    { "inspect", command_inspect, "a model's family, blocks, shapes and tensors" },
    { "parse", command_parse, "what a layer spec, a step spec or a prompt means" },
    { "tokens", command_tokens, "a prompt's tokens" },
    { "sweep", command_sweep, "another prompt or a LoRA in one block at a time: which blocks does it act on?" },
    { "report", command_report, "one self-contained page of what a run wrote" },
};

static int print_help(void) {
    printf("unetdump %s: sees inside Stable Diffusion's U-Net\n\nusage: unetdump COMMAND ... (unetdump COMMAND --help for its options)\n\n",
        udump_version());
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) printf("  %-10s %s\n", commands[i].name, commands[i].help);
    printf("\nExit status: 0 done, 1 failed, 2 bad usage or input; a run that is interrupted ends by the signal.\n");
    return finish_output(EXIT_DONE);
}

int main(int argc, char **argv) {
    if (argc < 2) return fail_usage("no command; try 'unetdump --help'");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return print_help();
    if (strcmp(argv[1], "--version") == 0) {
        printf("unetdump %s\n", udump_version());
        return finish_output(EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return sampling_end(commands[i].run(argc - 2, argv + 2));
    if (strcmp(argv[1], "ui") == 0) return fail_usage("ui is the Python package's: pip install 'unetdump[ui]'");
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) choose_nearest(argv[1], commands[i].name, &nearest, &least);
    if (nearest) return fail_usage("unknown command '%s'; did you mean %s?", argv[1], nearest);
    return fail_usage("unknown command '%s'; try 'unetdump --help'", argv[1]);
}
