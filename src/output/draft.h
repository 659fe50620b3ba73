/* Files written in pieces under a temporary name, then kept or discarded as a whole. */
#ifndef UDUMP_OUTPUT_DRAFT_H
#define UDUMP_OUTPUT_DRAFT_H

#include <stdbool.h>

#include "output/file.h"

typedef struct udump_draft {
    char *path, *temporary; /* path NULL: not open */
    int fd;
} udump_draft;

/* Errors: FILE, MEMORY. */
udump_status udump_draft_open(const char *path, udump_draft *draft, udump_error *error);
static inline bool udump_draft_is_open(const udump_draft *draft) { return draft->path != NULL; }
/* Writes at offset, from the file's start; may be called from several threads. Errors: FILE. */
udump_status udump_draft_write(const udump_draft *draft, const void *data, size_t size, uint64_t offset, udump_error *error);
/* The rows from `first` on, along dimension `axis`, of a C-order fp32 tensor of whole's shape that begins at offset; values:
 * their part of it, C order. Errors: FILE. */
udump_status udump_draft_write_rows(const udump_draft *draft, uint64_t offset, const udump_view *whole, int32_t axis, int64_t first,
    int64_t rows, const float *values, udump_error *error);
/* Moves the bytes from `from` on, size of them, up to `to`, which is above. Errors: FILE, MEMORY. */
udump_status udump_draft_shift(const udump_draft *draft, uint64_t from, uint64_t to, uint64_t size, udump_error *error);
/* Gives the file its name, or, where that fails, removes it; the draft is closed in any case. Errors: FILE. */
udump_status udump_draft_keep(udump_draft *draft, udump_error *error);
/* Removes the file; nothing where the draft is not open. */
void udump_draft_discard(udump_draft *draft);

#endif
