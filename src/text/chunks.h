/* A prompt on its way to CLIP: chunks of 77 tokens, as the webui makes them. */
#ifndef UDUMP_TEXT_CHUNKS_H
#define UDUMP_TEXT_CHUNKS_H

#include "unetdump.h"

enum {
    UDUMP_CHUNK_PLACES = 75, /* a prompt's own tokens in one chunk */
    UDUMP_CHUNK_TOKENS = 77, /* with start and end */
    UDUMP_CHUNKS_MOST = 64
};

typedef struct udump_chunks {
    int32_t count;
    int32_t *ids;          /* [count, 77]: start, tokens, and the end token in every place left (SD 1) */
    float *weights;        /* [count, 77]: 1 for start, end and padding */
    udump_column *columns; /* [count, 77]: the same, with labels */
} udump_chunks;

/* 75 tokens a chunk. Where a chunk is full and a comma stands among its last 20 tokens, what follows that comma moves to the next
 * chunk. A piece "BREAK" of weight -1 ends its chunk. An empty prompt is one chunk; a last chunk that is empty is left out.
 * Errors: UNSUPPORTED (more than UDUMP_CHUNKS_MOST), ARGUMENT (not UTF-8), MEMORY. */
udump_status udump_chunks_make(const udump_prompt_piece *pieces, int32_t count, udump_chunks *chunks, udump_error *error);
void udump_chunks_free(udump_chunks *chunks);

#endif
