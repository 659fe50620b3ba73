/* A table made ready for the device: every distinct context once, K and V of every attention layer computed once, and for each block
 * which tokens of them each row sees. */
#ifndef UDUMP_CAPTURE_CONDITIONING_H
#define UDUMP_CAPTURE_CONDITIONING_H

#include "capture/context.h"

typedef struct udump_conditioning {
    int32_t rows, dim;
    int32_t tokens;       /* of all distinct contexts together */
    float *values;        /* [tokens, dim], host */
    int32_t *first;       /* [blocks, rows] */
    int32_t *count;       /* [blocks, rows] */
    udump_kv *kvs;        /* [attention layers] */
    udump_tensor *tensors; /* [attention layers] */
} udump_conditioning;

/* Copies what it needs of the table. Errors: ARGUMENT (an entry that is not set), MEMORY. */
udump_status udump_conditioning_create(udump_conditioning *conditioning, const udump_table *table, udump_error *error);
void udump_conditioning_free(udump_conditioning *conditioning);
/* Computes K and V of all layers in x's arena. Also in a dry pass. */
void udump_conditioning_project(udump_conditioning *conditioning, udump_exec *x, const udump_unet *unet);

#endif
