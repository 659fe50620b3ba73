/* A prompt on its way to CLIP: chunks of 77 tokens, as the webui makes them. */
#ifndef UDUMP_TEXT_CHUNKS_H
#define UDUMP_TEXT_CHUNKS_H

#include "unetdump.h"

enum {
    UDUMP_CHUNK_PLACES = 75, /* a prompt's own tokens in one chunk */
    UDUMP_CHUNK_TOKENS = 77, /* with start and end */
    UDUMP_CHUNKS_MOST = 64,
    UDUMP_EMBEDDING_IDS = 49408 /* ids from here on are embeddings' vectors: CLIP's own are below */
};

/* A word of the user's own: where its tokens stand, they become as many places as it has vectors. */
typedef struct udump_chunk_embedding {
    char *name;
    int32_t *ids; /* [id_count]: the name's tokens */
    int32_t id_count;
    int32_t vectors;  /* 1..UDUMP_CHUNK_PLACES */
    int32_t first_id; /* of its vectors, from UDUMP_EMBEDDING_IDS on */
} udump_chunk_embedding;

typedef struct udump_chunk_embeddings {
    udump_chunk_embedding *items; /* [count]: the first that fits is taken */
    int32_t count;
} udump_chunk_embeddings;

typedef struct udump_chunks {
    int32_t count;
    int32_t *ids;          /* [count, 77]: start, tokens, and the end token in every place left (SD 1) */
    float *weights;        /* [count, 77]: 1 for start, end and padding */
    udump_column *columns; /* [count, 77]: the same, with labels */
} udump_chunks;

/* 75 tokens a chunk. Where a chunk is full and a comma stands among its last 20 tokens, what follows that comma moves to the next
 * chunk. A piece "BREAK" of weight -1 ends its chunk. An empty prompt is one chunk; a last chunk that is empty is left out. An embedding
 * is never split: one that does not fit begins a chunk. embeddings may be NULL.
 * Errors: UNSUPPORTED (more than UDUMP_CHUNKS_MOST), ARGUMENT (not UTF-8), MEMORY. */
udump_status udump_chunks_make(const udump_prompt_piece *pieces, int32_t count, const udump_chunk_embeddings *embeddings, udump_chunks *chunks,
    udump_error *error);
void udump_chunks_free(udump_chunks *chunks);

#endif
