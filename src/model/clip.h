/* CLIP's text encoder (Radford et al. 2021; transformers' CLIPTextModel): token and position embeddings, pre-norm transformer layers
 * under a causal mask, a final layer norm. */
#ifndef UDUMP_MODEL_CLIP_H
#define UDUMP_MODEL_CLIP_H

#include "model/loader.h"

typedef struct udump_clip_layer {
    udump_norm norm1, norm2;
    udump_linear qkv, out, fc1, fc2;
} udump_clip_layer;

typedef struct udump_clip {
    int32_t vocabulary, positions, width, heads, layer_count;
    udump_activation activation;
    udump_packed *tokens;    /* [vocabulary and embeddings, width] */
    udump_packed *places;    /* [positions, width] */
    udump_clip_layer *layers; /* [layer_count]; the model's to free */
    udump_norm final_norm;
} udump_clip;

void udump_clip_load(udump_loader *l, udump_clip *clip);
/* ids: [n, positions], host. Returns [n, positions, 1, width]: the hidden state after all layers but the last `skip`, after the final norm. */
udump_tensor udump_clip_forward(udump_exec *x, const udump_clip *clip, int32_t n, const int32_t *ids, int32_t skip);

#endif
