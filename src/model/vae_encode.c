#include "model/vae_chain.h"

enum { PICTURE_CHANNELS = 3, SIDE = 512, DOUBLINGS = 3 };

/* Returns the channels that come out of it. */
static int32_t load_level(udump_loader *l, udump_vae_level *level, int32_t index, int32_t c, int32_t groups) {
    udump_name prefix = udump_name_format("vae/encoder.down_blocks.%d", (int)index);
    int32_t side = SIDE >> (index < DOUBLINGS ? index : DOUBLINGS);
    c = udump_vae_level_load(l, level, prefix.text, c, groups, side);
    udump_name sampler = udump_name_format("%s.downsamplers.0.conv", prefix.text);
    level->has_sampler = udump_load_has(l, sampler.text);
    if (!l->status && level->has_sampler) level->sampler = udump_load_conv_halving(l, sampler.text, c, side);
    return c;
}

static bool has_level(const udump_loader *l, int32_t index) {
    return index < UDUMP_VAE_LEVELS_MOST
        && udump_load_has(l, udump_name_format("vae/encoder.down_blocks.%d.resnets.0.norm1", (int)index).text);
}

void udump_vae_encoder_load(udump_loader *l, udump_vae *vae, int32_t groups) {
    udump_vae_encoder *encoder = &vae->encoder;
    int32_t halvings = 0, moments = 2 * vae->latent_channels;
    encoder->present = !l->status && udump_load_has(l, "vae/encoder.conv_in");
    if (!encoder->present) return;
    encoder->conv_in = udump_load_conv(l, "vae/encoder.conv_in", PICTURE_CHANNELS, 0, 1, SIDE);
    int32_t c = encoder->conv_in.shape.out;
    for (; !l->status && has_level(l, encoder->level_count); encoder->level_count++) {
        c = load_level(l, &encoder->levels[encoder->level_count], encoder->level_count, c, groups);
        halvings += encoder->levels[encoder->level_count].has_sampler;
    }
    if (!l->status && halvings != DOUBLINGS)
        udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, "vae", "an encoder that halves %d times: Stable Diffusion's halves %d times",
            (int)halvings, DOUBLINGS);
    udump_vae_middle_load(l, &encoder->middle, "encoder", c, groups);
    encoder->norm_out = udump_load_norm(l, "vae/encoder.conv_norm_out", c, groups, 1e-6f);
    encoder->conv_out = udump_load_conv(l, "vae/encoder.conv_out", c, moments, 1, SIDE >> DOUBLINGS);
    encoder->quant = udump_load_linear(l, "vae/quant_conv", moments, moments, (SIDE >> DOUBLINGS) * (SIDE >> DOUBLINGS));
}

static void chain_halve(udump_chain *chain, const udump_conv *conv) {
    udump_tensor next = udump_chain_next(chain, chain->h.h / 2, chain->h.w / 2, conv->shape.out);
    udump_into_conv2d(chain->x, next, chain->h, conv, NULL);
    udump_chain_step(chain, next);
}

void udump_vae_encode(udump_exec *x, const udump_vae *vae, udump_tensor moments, udump_tensor picture) {
    const udump_vae_encoder *encoder = &vae->encoder;
    udump_chain chain = { .x = x, .h = picture, .base = udump_arena_mark(x) };
    udump_tensor first = udump_chain_next(&chain, picture.h, picture.w, encoder->conv_in.shape.out);
    udump_into_conv2d(x, first, picture, &encoder->conv_in, NULL);
    udump_chain_step(&chain, first);
    for (int32_t i = 0; i < encoder->level_count; i++) {
        for (int32_t r = 0; r < encoder->levels[i].layers; r++) udump_chain_resnet(&chain, &encoder->levels[i].resnets[r]);
        if (encoder->levels[i].has_sampler) chain_halve(&chain, &encoder->levels[i].sampler);
    }
    udump_chain_middle(&chain, &encoder->middle);
    udump_into_group_norm(x, chain.h, &encoder->norm_out, true, NULL);
    udump_tensor out = udump_chain_next(&chain, chain.h.h, chain.h.w, encoder->conv_out.shape.out);
    udump_into_conv2d(x, out, chain.h, &encoder->conv_out, NULL);
    udump_chain_step(&chain, out);
    udump_into_linear(x, moments, chain.h, &encoder->quant, NULL);
    udump_chain_end(&chain);
}
