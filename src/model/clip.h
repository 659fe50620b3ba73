/* CLIP's text encoder (Radford et al. 2021; transformers' CLIPTextModel) and OpenCLIP's (Ilharco et al. 2021), which differ in their
 * activation: token and position embeddings, pre-norm transformer layers under a causal mask, a final layer norm, a projection. */
#ifndef UDUMP_MODEL_CLIP_H
#define UDUMP_MODEL_CLIP_H

#include "model/family.h"
#include "model/loader.h"

typedef struct udump_clip_layer {
    udump_norm norm1, norm2;
    udump_linear qkv, out, fc1, fc2;
} udump_clip_layer;

typedef struct udump_clip {
    int32_t vocabulary, positions, width, heads;
    int32_t layer_count; /* of those that anything reads */
    int32_t unread;      /* how many of them the context leaves out */
    int32_t pad;         /* the id in the places after the first end token */
    bool context_norm;   /* whether the context gets the final norm */
    udump_activation activation;
    udump_packed *tokens;    /* [vocabulary, width] */
    udump_packed *places;    /* [positions, width] */
    udump_clip_layer *layers; /* [layer_count]; the model's to free */
    udump_norm final_norm;   /* where something gets it */
    udump_linear projection; /* packed is NULL where nothing is pooled */
} udump_clip;

void udump_clip_load(udump_loader *l, udump_clip *clip, const udump_text_reading *reading);
/* ids: [n, positions], host. Returns [n, positions, 1, width]: the hidden state after all layers but the unread and the last `skip`, and
 * after the final norm where the family has it there. pooled: the first chunk's vector [1, 1, 1, projection's width] unless NULL; clips
 * without a projection leave it alone. It comes from the first end token after all layers. */
udump_tensor udump_clip_forward(udump_exec *x, const udump_clip *clip, int32_t n, const int32_t *ids, int32_t skip, udump_tensor *pooled);

#endif
