/* Encoded prompts and the conditioning table: for every block and row of the batch, which context it attends to. */
#ifndef UDUMP_CAPTURE_CONTEXT_H
#define UDUMP_CAPTURE_CONTEXT_H

#include <stdatomic.h>

#include "model/model.h"

struct udump_context {
    atomic_int references;
    int32_t tokens, dim;
    float *values;         /* [tokens, dim] */
    float *pooled;         /* [pooled_dim]; NULL where the family has none */
    int32_t pooled_dim;
    bool zero;             /* values and pooled are 0: an empty negative prompt in SDXL */
    char *text;            /* NULL, as columns, where it was made from a tensor */
    udump_column *columns; /* [tokens] */
};

struct udump_table {
    udump_model *model;
    int32_t blocks, rows;
    udump_context **entries; /* [blocks, rows] */
};

/* A context whose values are still to be filled in. text and columns ([tokens]) are copied; both may be NULL. Errors: MEMORY. */
udump_status udump_context_create(
    int32_t tokens, int32_t dim, const char *text, const udump_column *columns, udump_context **context, udump_error *error);
/* A pooled vector of zeros. Errors: MEMORY. */
udump_status udump_context_add_pooled(udump_context *context, int32_t dim, udump_error *error);
/* All values 0, and a pooled vector of zeros unless dim is 0. Errors: MEMORY. */
udump_status udump_context_clear(udump_context *context, int32_t pooled_dim, udump_error *error);

#endif
