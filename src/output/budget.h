/* Whether a folder's disk has room for what a run may write. */
#ifndef UDUMP_OUTPUT_BUDGET_H
#define UDUMP_OUTPUT_BUDGET_H

#include "unetdump.h"

/* What a run may write, an upper bound: each file begins a block of its own. */
typedef struct udump_budget {
    int64_t files, bytes;
} udump_budget;

/* block_bytes: the disk's. Sums beyond 2^63 - 1 are that. */
udump_budget udump_budget_of(const udump_run_info *run, udump_dump dump, int64_t block_bytes);

/* Errors: FILE (the folder cannot be asked; it has too little room, in bytes or in files). */
udump_status udump_budget_check(const char *folder, const udump_run_info *run, udump_dump dump, udump_error *error);

#endif
