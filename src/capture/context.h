/* Encoded prompts and the conditioning table: for every block and row of the batch, which context it attends to. */
#ifndef UDUMP_CAPTURE_CONTEXT_H
#define UDUMP_CAPTURE_CONTEXT_H

#include <stdatomic.h>

#include "model/model.h"
#include "text/prompt_and.h"

struct udump_context {
    atomic_int references;
    int32_t tokens, dim;
    float *values;         /* [tokens, dim] */
    float *pooled;         /* [pooled_dim]; NULL where the family has none */
    int32_t pooled_dim;
    bool zero;             /* values and pooled are 0: an empty negative prompt in SDXL */
    bool padded;           /* made longer by udump_context_pad */
    char *text;            /* NULL, as columns, where it was made from a tensor */
    udump_column *columns; /* [tokens] */
};

/* The prompts that AND joins, of a run with layer prompts and of its twin without. */
typedef struct udump_parts {
    int32_t most;     /* rows of each image: the larger count */
    int32_t count[2]; /* of each variant; what is missing to most has weight 0 */
    float weights[2][UDUMP_AND_PARTS_MOST];
} udump_parts;
static inline udump_parts udump_parts_single(void) { return (udump_parts){ 1, { 1, 1 }, { { 1 }, { 1 } } }; }

enum { UDUMP_TABLE_ROWS_MOST = 2048 };

struct udump_table {
    udump_model *model;
    int32_t blocks, rows;
    udump_parts parts; /* of the prompts that it was made from */
    udump_context **entries; /* [blocks, rows] */
};

/* A context whose values are still to be filled in. text and columns ([tokens]) are copied; both may be NULL. Errors: MEMORY. */
udump_status udump_context_create(
    int32_t tokens, int32_t dim, const char *text, const udump_column *columns, udump_context **context, udump_error *error);
/* A pooled vector of zeros. Errors: MEMORY. */
udump_status udump_context_add_pooled(udump_context *context, int32_t dim, udump_error *error);
/* The same with its last row, an end, repeated up to so many tokens. Errors: MEMORY. */
udump_status udump_context_pad(const udump_context *from, int32_t tokens, udump_context **context, udump_error *error);
/* All values 0, and a pooled vector of zeros unless dim is 0. Errors: MEMORY. */
udump_status udump_context_clear(udump_context *context, int32_t pooled_dim, udump_error *error);

#endif
