/* What the run will write, on standard output; then one line on a terminal: step, rate, time left, what is being written. */
#ifndef UNETDUMP_CLI_PROGRESS_H
#define UNETDUMP_CLI_PROGRESS_H

#include "cli.h"

typedef struct progress_bar {
    udump_folder *folder;
    const udump_sink *inner; /* the folder's */
    const udump_generate_options *options;
    udump_dump dump;
    bool quiet, shown; /* shown: standard error is a terminal */
} progress_bar;

/* The folder's sink with progress beside it, and a warning of steps that the run has not. bar and options must live as long. */
udump_sink progress_wrap(progress_bar *bar, udump_folder *folder, const udump_generate_options *options, udump_dump dump, bool quiet);
/* Ends the line. */
void progress_end(progress_bar *bar);

#endif
