/* The decoder of Stable Diffusion's autoencoder (Rombach et al. 2022; diffusers' AutoencoderKL). */
#ifndef UDUMP_MODEL_VAE_H
#define UDUMP_MODEL_VAE_H

#include "model/resnet.h"

typedef struct udump_vae_level {
    int32_t layers;
    bool has_sampler;
    udump_resnet resnets[4];
    udump_conv sampler;
} udump_vae_level;

typedef struct udump_vae {
    double scaling_factor; /* latents are divided by it before decoding */
    int32_t latent_channels, level_count;
    udump_linear post_quant;
    udump_conv conv_in, conv_out;
    udump_norm norm_out, attention_norm;
    udump_linear attention_qkv, attention_out;
    udump_resnet mid_first, mid_last;
    udump_vae_level levels[6];
} udump_vae;

/* scale: the scaling factor where no config gives one. */
void udump_vae_load(udump_loader *l, udump_vae *vae, double scale);
/* latent: [n, h, w, 4], already divided by the scaling factor. out: the picture [n, 8h, 8w, 3], about -1..1. */
void udump_vae_decode(udump_exec *x, const udump_vae *vae, udump_tensor out, udump_tensor latent);

#endif
