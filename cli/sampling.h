/* The options of commands that sample: model, prompt, size, sampler and so on. */
#ifndef UNETDUMP_CLI_SAMPLING_H
#define UNETDUMP_CLI_SAMPLING_H

#include "cli.h"

enum { SAMPLING_OPTIONS_MOST = 32 };

typedef struct sampling_arguments {
    model_arguments model;
    const char *rng, *init;
    double cfg, eta, s_noise, strength; /* NAN: not given */
    udump_style style;
    udump_generate_options options;     /* style: the one above; cancel: raised by SIGINT and SIGTERM, from sampling_watch on */
} sampling_arguments;

void sampling_set_defaults(sampling_arguments *s);
/* At most SAMPLING_OPTIONS_MOST of them; returns their number. */
size_t sampling_list(sampling_arguments *s, cli_option *list);
/* Numbers that would mean "default" to the library; here they are mistakes. False after printing what is wrong. */
bool sampling_check(const sampling_arguments *s);
/* Sizes, the picture to begin from, and what options point to. init is the caller's to free. False after printing what is wrong; then an exit status in
 * *status. */
bool sampling_resolve(sampling_arguments *s, udump_image *init, int *status);
/* As fail_text, where the error is in one of the options' texts. */
int sampling_fail(const sampling_arguments *s, const udump_error *error);
/* From now on the first SIGINT or SIGTERM cancels the run, which tidies up; the second ends the program, as any does before this. */
void sampling_watch(void);
/* When all is tidied up: a run that such a signal stopped ends the program by that signal, for a shell to end its loop, or a script, too. Else returns
 * status. */
int sampling_end(int status);

#endif
