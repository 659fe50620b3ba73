/* Blocks' outputs of one model, kept until the other model comes to the same block. */
#ifndef UDUMP_PIPELINE_KEPT_H
#define UDUMP_PIPELINE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct udump_kept_output {
    int32_t block, step, row;
    float *values;
} udump_kept_output;

typedef struct udump_kept {
    udump_kept_output *outputs; /* [count] */
    size_t count, capacity;
} udump_kept;

/* Room for `values` floats, to be filled in; NULL without memory. */
float *udump_kept_add(udump_kept *kept, int32_t block, int32_t step, int32_t row, size_t values);
/* Takes it out again: to be freed; NULL where there is none. */
float *udump_kept_take(udump_kept *kept, int32_t block, int32_t step, int32_t row);
void udump_kept_free(udump_kept *kept);

#endif
