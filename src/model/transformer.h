/* The spatial transformer of the U-Net (Rombach et al. 2022; diffusers' Transformer2DModel): group norm, projection, layers of
 * self-attention, cross-attention and GEGLU feed-forward, projection back, residual. */
#ifndef UDUMP_MODEL_TRANSFORMER_H
#define UDUMP_MODEL_TRANSFORMER_H

#include "model/loader.h"

typedef struct udump_transformer_layer {
    udump_norm norm1, norm2, norm3;
    udump_linear qkv, self_out;      /* self-attention */
    udump_linear q, kv, cross_out;   /* cross-attention; kv: [context_dim -> 2 * c] */
    udump_linear geglu, feed_out;
} udump_transformer_layer;

enum { UDUMP_DEPTH_MOST = 10 }; /* SDXL's deepest */

typedef struct udump_transformer {
    int32_t c, heads, depth;
    int32_t first_attention; /* index of layer 0's cross-attention among all of the U-Net's */
    udump_norm norm;
    udump_linear proj_in, proj_out; /* 1x1 convolutions in SD 1 */
    udump_transformer_layer layers[UDUMP_DEPTH_MOST];
} udump_transformer;

void udump_transformer_load(udump_loader *l, udump_transformer *transformer, const char *name, int32_t c, int32_t heads,
    int32_t context_dim, int32_t groups, int32_t latent_side);
/* kvs: one for each cross-attention of the U-Net. out may be anywhere but in in. */
void udump_transformer_forward(udump_exec *x, const udump_transformer *transformer, udump_tensor out, udump_tensor in, const udump_kv *kvs);

#endif
