/* One line on a terminal: step, rate, time left, what is being written. Nothing where standard error is not a terminal. */
#ifndef UNETDUMP_CLI_PROGRESS_H
#define UNETDUMP_CLI_PROGRESS_H

#include "cli.h"

typedef struct progress_bar {
    udump_folder *folder;
    const udump_sink *inner; /* the folder's */
    bool shown;
} progress_bar;

/* The folder's sink with progress beside it. bar must live as long. */
udump_sink progress_wrap(progress_bar *bar, udump_folder *folder, bool quiet);
/* Ends the line. */
void progress_end(progress_bar *bar);

#endif
