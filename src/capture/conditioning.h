/* Tables made ready for the device: every distinct context once, K and V of every attention layer computed once, and for each block
 * which tokens of them each row sees. A run whose prompts change over its steps has a table for each stretch of steps. */
#ifndef UDUMP_CAPTURE_CONDITIONING_H
#define UDUMP_CAPTURE_CONDITIONING_H

#include "capture/context.h"

typedef struct udump_conditioning {
    int32_t blocks, rows, dim;
    udump_context **contexts; /* [context_count]: the distinct ones, held */
    int32_t *begins;          /* [context_count]: where each one's tokens begin */
    int32_t context_count;
    int32_t tokens;        /* of all contexts together */
    int32_t table_count;
    int32_t *until;        /* [tables]: the last evaluation of each, from 1 */
    int32_t *which;        /* [tables, blocks, rows]: index of the context */
    int32_t *first;        /* [tables, blocks, rows] */
    int32_t *count;        /* [tables, blocks, rows] */
    udump_kv *kvs;         /* [attention layers] */
    udump_tensor *tensors; /* [attention layers] */
    /* In the arena, as int32: first and count; and what of them holds, which kvs point to: [1, 1, 1, blocks * rows] */
    udump_tensor firsts, counts, first_now, count_now;
    int32_t selected;      /* the table that holds; -1: none yet */
} udump_conditioning;

/* Takes what it needs of the tables, all of one model and with as many rows. Errors: ARGUMENT (an entry that is not set), MEMORY. */
udump_status udump_conditioning_create(
    udump_conditioning *conditioning, int32_t table_count, udump_table *const *tables, const int32_t *until, udump_error *error);
void udump_conditioning_free(udump_conditioning *conditioning);
/* Computes K and V of all layers in x's arena, and brings the tables there. Also in a dry pass. */
void udump_conditioning_project(udump_conditioning *conditioning, udump_exec *x, const udump_unet *unet);
/* Every context's pooled vector in x's arena, [contexts, 1, 1, dim]. Also in a dry pass. */
udump_tensor udump_conditioning_upload_pooled(const udump_conditioning *conditioning, udump_exec *x, int32_t dim);
/* What holds at an evaluation, from 1: swaps the indices, in the device's own order, computes nothing. */
void udump_conditioning_select(udump_conditioning *conditioning, udump_exec *x, int32_t step);
/* Where which, first and count say what a row of a block attends to under a table. */
int32_t udump_conditioning_entry(const udump_conditioning *conditioning, int32_t table, int32_t block, int32_t row);
/* The table that holds at an evaluation, from 1. */
int32_t udump_conditioning_table(const udump_conditioning *conditioning, int32_t step);

#endif
