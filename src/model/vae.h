/* Stable Diffusion's autoencoder (Rombach et al. 2022; diffusers' AutoencoderKL): the decoder, and the encoder where there is one. */
#ifndef UDUMP_MODEL_VAE_H
#define UDUMP_MODEL_VAE_H

#include "model/resnet.h"

typedef struct udump_vae_level {
    int32_t layers;
    bool has_sampler;
    udump_resnet resnets[4];
    udump_conv sampler;
} udump_vae_level;

/* Two residual blocks with one head's attention over all positions between them. */
typedef struct udump_vae_middle {
    udump_resnet first, last;
    udump_norm attention_norm;
    udump_linear attention_qkv, attention_out;
} udump_vae_middle;

typedef struct udump_vae_encoder {
    bool present; /* checkpoints for drawing alone may lack it */
    int32_t level_count;
    udump_conv conv_in, conv_out;
    udump_vae_level levels[6];
    udump_vae_middle middle;
    udump_norm norm_out;
    udump_linear quant;
} udump_vae_encoder;

typedef struct udump_vae {
    double scaling_factor; /* latents are divided by it before decoding */
    int32_t latent_channels, level_count;
    udump_linear post_quant;
    udump_conv conv_in, conv_out;
    udump_norm norm_out;
    udump_vae_middle middle;
    udump_vae_level levels[6];
    udump_vae_encoder encoder;
} udump_vae;

/* scale: the scaling factor where no config gives one. */
void udump_vae_load(udump_loader *l, udump_vae *vae, double scale);
/* latent: [n, h, w, 4], already divided by the scaling factor. out: the picture [n, 8h, 8w, 3], about -1..1. */
void udump_vae_decode(udump_exec *x, const udump_vae *vae, udump_tensor out, udump_tensor latent);

/* vae_encode.c. moments: [n, h, w, 8], of each latent value's distribution the means, then the logarithms of the variances; not yet
 * multiplied by the scaling factor. picture: [n, 8h, 8w, 3], -1..1. */
void udump_vae_encoder_load(udump_loader *l, udump_vae *vae, int32_t groups);
void udump_vae_encode(udump_exec *x, const udump_vae *vae, udump_tensor moments, udump_tensor picture);

#endif
