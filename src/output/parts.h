/* Tensors that come a few rows at a time: which are begun, and how far they are. */
#ifndef UDUMP_OUTPUT_PARTS_H
#define UDUMP_OUTPUT_PARTS_H

#include <stdbool.h>

#include "unetdump.h"

/* A tensor begun and not yet complete. */
typedef struct udump_part {
    char *name;
    udump_view whole; /* its shape; no data */
    int32_t axis;
    int64_t next;     /* the row that comes next */
    void *file;       /* the dump format's own: where it goes */
    uint64_t offset;  /* of its values in the file */
    struct udump_part *following;
} udump_part;

typedef struct udump_parts {
    udump_part *first;
} udump_parts;

/* What udump_sink's part got, as its own struct. */
typedef struct udump_rows {
    const udump_view *whole;
    int32_t axis;
    int64_t first;
    const udump_view *values;
} udump_rows;

/* The part that rows belong to, and in *begun whether they begin it; then file and offset are the caller's to set. Rows must come in
 * order. The part stays in the list, and its next is advanced. Errors: ARGUMENT (shapes that do not suit, a row out of order), MEMORY. */
udump_status udump_parts_take(udump_parts *parts, const char *name, const udump_rows *rows, udump_part **part, bool *begun,
    udump_error *error);
static inline bool udump_part_is_complete(const udump_part *part) { return part->next == part->whole.shape[part->axis]; }
/* Takes the part out of the list and frees it. */
void udump_parts_drop(udump_parts *parts, udump_part *part);

#endif
