/* What the run will write, on standard output; then one line on a terminal: step, rate, time left, what is being written. */
#ifndef UNETDUMP_CLI_PROGRESS_H
#define UNETDUMP_CLI_PROGRESS_H

#include "cli.h"

typedef struct progress_bar {
    udump_folder *folder;
    const udump_sink *inner; /* the folder's */
    udump_dump dump;
    bool quiet, shown; /* shown: standard error is a terminal */
} progress_bar;

/* The folder's sink with progress beside it. bar must live as long. */
udump_sink progress_wrap(progress_bar *bar, udump_folder *folder, udump_dump dump, bool quiet);
/* Ends the line. */
void progress_end(progress_bar *bar);

#endif
