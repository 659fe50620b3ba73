/* Textual inversion embeddings (Gal et al. 2022): words of the user's own, each some vectors in the place of tokens' embeddings.
 * One safetensors file each, named after the word; in it emb_params [n, width], a single tensor of any name (diffusers), or, for models
 * with two text encoders, clip_l and clip_g. */
#ifndef UDUMP_MODEL_EMBEDDINGS_H
#define UDUMP_MODEL_EMBEDDINGS_H

#include "text/chunks.h"
#include "weights/weights.h"

enum { UDUMP_ENCODERS_MOST = 2, UDUMP_EMBEDDINGS_MOST = 4096 };

typedef struct udump_embeddings {
    udump_chunk_embeddings words; /* names, tokens and ids; owned */
    int32_t encoders;
    int32_t width[UDUMP_ENCODERS_MOST];
    int32_t vectors;                  /* of all words */
    float *rows[UDUMP_ENCODERS_MOST]; /* [vectors, width]: for ids from UDUMP_EMBEDDING_IDS on */
} udump_embeddings;

/* Takes a file that is left out, and why. */
typedef void (*udump_embeddings_warn)(void *user, const char *line);

/* Reads every .safetensors file in the folder and the folders in it. Files that are no embeddings for this model, and pickles, are left
 * out with a warning. *embeddings is to be freed also after a failure. Errors: FILE (the folder), UNSUPPORTED (too many), MEMORY. */
udump_status udump_embeddings_load(const char *folder, const udump_weights *model, udump_embeddings_warn warn, void *user,
    udump_embeddings *embeddings, udump_error *error);
void udump_embeddings_free(udump_embeddings *embeddings);

#endif
