/* unfinished.jsonl: which batches of a run are whole, while it goes on, so that udump_folder_options.resume can take it up again. A line a batch, behind
 * one for the run; a run that ends well removes it.
 *
 * {"unetdump": version, "time": the start in Unix seconds, "run": as in the manifest}
 * {"diff": the batch's rows of diff.csv, "files": [as in the manifest]} */
#ifndef UDUMP_OUTPUT_JOURNAL_H
#define UDUMP_OUTPUT_JOURNAL_H

#include "output/text.h"
#include "unetdump.h"

#define UDUMP_JOURNAL_NAME "unfinished.jsonl"

/* What batches left: objects with commas between them, and rows of diff.csv; neither need end with a 0. */
typedef struct udump_journal_batch {
    const char *files, *rows;
    size_t files_bytes, rows_bytes;
} udump_journal_batch;

/* Begins a journal in the folder, instead of one that is there; kept: what is whole already, or NULL. run: a JSON object on one line.
 * Errors: FILE, MEMORY. */
udump_status udump_journal_begin(const char *folder, const char *run, int64_t time, const udump_journal_batch *kept, udump_error *error);
/* Adds a line; what a kill leaves of it is no line. Errors: FILE, MEMORY. */
udump_status udump_journal_add(const char *folder, const udump_journal_batch *batch, udump_error *error);
udump_status udump_journal_remove(const char *folder, udump_error *error);

#endif
