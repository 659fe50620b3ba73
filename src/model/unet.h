/* The U-Net of Stable Diffusion (Rombach et al. 2022, openaimodel.py; diffusers' UNet2DConditionModel), in the original numbering of
 * its blocks: IN00 is the input convolution; then each level's layers and its downsampler; M00; then up, where an upsampler belongs to
 * the last layer of its level. */
#ifndef UDUMP_MODEL_UNET_H
#define UDUMP_MODEL_UNET_H

#include "model/family.h"
#include "model/resnet.h"
#include "model/transformer.h"

enum { UDUMP_LEVELS_MOST = 4, UDUMP_LAYERS_MOST = 4, UDUMP_BLOCKS_MOST = 48,
    UDUMP_RESNETS_MOST = 2 * UDUMP_LEVELS_MOST * UDUMP_LAYERS_MOST + 2 };

typedef struct udump_unet_level {
    int32_t layers;
    bool has_attention, has_sampler;
    udump_resnet resnets[UDUMP_LAYERS_MOST];
    udump_transformer transformers[UDUMP_LAYERS_MOST];
    udump_conv sampler; /* down: stride 2; up: after doubling */
} udump_unet_level;

/* What a block is called, and what comes out of it. */
typedef struct udump_unet_block {
    char name[8];
    char path[192]; /* in diffusers; as long as a udump_name */
    char attention_path[192]; /* of its transformer there; "" without attention */
    int32_t channels, downscale, depth, heads, head_dim;
} udump_unet_block;

typedef struct udump_unet {
    int32_t latent_channels, context_dim, base_channels;
    int32_t level_count, resnet_count, attention_count, in_count, out_count, block_count;
    udump_linear time1, time2;
    udump_linear guidance;       /* [waves -> base_channels], of distilled models, which are told the guidance; packed is NULL in others */
    udump_linear added1, added2; /* [pooled and size numbers' embeddings -> time's width]; packed is NULL but in SDXL */
    udump_conv conv_in, conv_out;
    udump_norm norm_out;
    udump_unet_level down[UDUMP_LEVELS_MOST], up[UDUMP_LEVELS_MOST];
    udump_resnet mid_first, mid_last;
    udump_transformer mid_transformer;
    udump_unet_block blocks[UDUMP_BLOCKS_MOST];
    int32_t attention_blocks[UDUMP_BLOCKS_MOST * UDUMP_DEPTH_MOST]; /* attention layer -> block */
} udump_unet;

/* What was computed before the loop. */
typedef struct udump_unet_inputs {
    const udump_kv *kvs;       /* [attention_count] */
    const udump_tensor *times; /* [resnet_count], each [1 or rows, 1, 1, channels]: this evaluation's */
} udump_unet_inputs;

void udump_unet_load(udump_loader *l, udump_unet *unet, const udump_family *family);

/* SDXL's: original height, width, crop's top, left, target height, width, in pixels. */
enum { UDUMP_SIZE_NUMBERS = 6 };

/* What is added to the time embedding (Podell et al. 2023). */
typedef struct udump_unet_added {
    udump_tensor pooled; /* [vectors, 1, 1, the pooled vector's width] */
    float sizes[UDUMP_SIZE_NUMBERS];
} udump_unet_added;

/* times[resnet_count]: every residual block's time vector for all timesteps at once, [count * vectors, 1, 1, channels], each timestep's
 * together. added: NULL where the U-Net has no such input; else as many vectors as it has rows. guidance: the CFG scale, where the U-Net
 * is told it (Meng et al. 2023, on distillation of guided diffusion models; Luo et al. 2023, LCM). */
void udump_unet_embed_times(udump_exec *x, const udump_unet *unet, int32_t count, const float *timesteps, const udump_unet_added *added,
    float guidance, udump_tensor *times);
/* One evaluation's of them, in one operation: now[resnet_count], each [1 or rows, 1, 1, channels], become rows of times. vectors: as many as each timestep
 * has. which: [blocks, rows], each row's vector in each block; NULL where there is one for all. */
void udump_unet_select_times(udump_exec *x, const udump_unet *unet, const udump_tensor *times, int32_t evaluation, int32_t vectors,
    const int32_t *which, const udump_tensor *now);
/* contexts: [1, tokens, 1, context_dim]. kvs[attention_count]: K and V of every cross-attention. */
void udump_unet_project_contexts(udump_exec *x, const udump_unet *unet, udump_tensor contexts, udump_tensor *kvs);

/* out, latent: [rows, h, w, latent_channels]. Taps every attention and every block. */
void udump_unet_forward(udump_exec *x, const udump_unet *unet, udump_tensor out, udump_tensor latent, const udump_unet_inputs *inputs);

#endif
