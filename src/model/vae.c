#include "model/vae_chain.h"

void udump_vae_middle_load(udump_loader *l, udump_vae_middle *middle, const char *half, int32_t c, int32_t groups) {
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };
    int32_t rows = 64 * 64;
    udump_name prefix = udump_name_format("vae/%s.mid_block.", half);
    middle->first = udump_resnet_load(l, udump_name_format("%sresnets.0", prefix.text).text, c, c, 0, groups, 1e-6f, 64);
    middle->attention_norm = udump_load_norm(l, udump_name_format("%sattentions.0.group_norm", prefix.text).text, c, groups, 1e-6f);
    middle->attention_qkv = udump_load_merged(l, udump_name_format("%sattentions.0.", prefix.text).text, qkv, 3, c, c, rows);
    middle->attention_out = udump_load_linear(l, udump_name_format("%sattentions.0.to_out.0", prefix.text).text, c, c, rows);
    middle->last = udump_resnet_load(l, udump_name_format("%sresnets.1", prefix.text).text, c, c, 0, groups, 1e-6f, 64);
}

int32_t udump_vae_level_load(udump_loader *l, udump_vae_level *level, const char *prefix, int32_t c, int32_t groups, int32_t side) {
    for (; !l->status; level->layers++) {
        udump_name name = udump_name_format("%s.resnets.%d", prefix, (int)level->layers);
        if (!udump_load_has(l, udump_name_format("%s.norm1", name.text).text)) break;
        if (level->layers == UDUMP_VAE_LAYERS_MOST) {
            udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, prefix, "more than %d layers", UDUMP_VAE_LAYERS_MOST);
            return c;
        }
        level->resnets[level->layers] = udump_resnet_load(l, name.text, c, 0, 0, groups, 1e-6f, side);
        c = level->resnets[level->layers].out;
    }
    if (!l->status && !level->layers) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, prefix, "no residual blocks: resnets.0 is missing");
    return c;
}

/* Returns the channels that come out of it. */
static int32_t load_level(udump_loader *l, udump_vae_level *level, int32_t index, int32_t c, int32_t groups) {
    udump_name prefix = udump_name_format("vae/decoder.up_blocks.%d", (int)index);
    int32_t side = 64 << index;
    c = udump_vae_level_load(l, level, prefix.text, c, groups, side);
    udump_name sampler = udump_name_format("%s.upsamplers.0.conv", prefix.text);
    level->has_sampler = udump_load_has(l, sampler.text);
    if (!l->status && level->has_sampler) level->sampler = udump_load_conv(l, sampler.text, c, c, 1, 2 * side);
    return c;
}

void udump_vae_load(udump_loader *l, udump_vae *vae, double scale) {
    double value;
    int32_t groups = udump_load_count(l, "vae", "norm_num_groups", 32, 1024), samplers = 0;
    vae->scaling_factor = udump_weights_config_number(l->weights, "vae", "scaling_factor", 0, &value) ? value : scale;
    if (!(vae->scaling_factor > 0)) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "vae/config.json", "scaling_factor is %g", vae->scaling_factor);
    vae->conv_in = udump_load_conv(l, "vae/decoder.conv_in", 0, 0, 1, 64);
    vae->latent_channels = vae->conv_in.shape.in;
    vae->post_quant = udump_load_linear(l, "vae/post_quant_conv", vae->latent_channels, vae->latent_channels, 64 * 64);
    if (l->status) return;
    int32_t c = vae->conv_in.shape.out;
    udump_vae_middle_load(l, &vae->middle, "decoder", c, groups);
    while (vae->level_count < UDUMP_VAE_LEVELS_MOST
        && udump_load_has(l, udump_name_format("vae/decoder.up_blocks.%d.resnets.0.norm1", (int)vae->level_count).text)) {
        c = load_level(l, &vae->levels[vae->level_count], vae->level_count, c, groups);
        samplers += vae->levels[vae->level_count++].has_sampler;
    }
    if (samplers != 3)
        udump_load_fail(
            l, UDUMP_ERROR_UNSUPPORTED, "vae", "a decoder that doubles %d times: Stable Diffusion's doubles 3 times", (int)samplers);
    vae->norm_out = udump_load_norm(l, "vae/decoder.conv_norm_out", c, groups, 1e-6f);
    vae->conv_out = udump_load_conv(l, "vae/decoder.conv_out", c, 3, 1, 512);
    udump_vae_encoder_load(l, vae, groups);
}

static void chain_upsample(udump_chain *chain, const udump_conv *conv) {
    udump_tensor next = udump_chain_next(chain, 2 * chain->h.h, 2 * chain->h.w, conv->shape.out);
    udump_into_conv2d_upsampled(chain->x, next, chain->h, conv);
    udump_chain_step(chain, next);
}

void udump_vae_decode(udump_exec *x, const udump_vae *vae, udump_tensor out, udump_tensor latent) {
    udump_chain chain = { .x = x, .base = udump_arena_mark(x) };
    chain.h = udump_apply_linear(x, latent, &vae->post_quant, UDUMP_ACTIVATION_NONE);
    udump_tensor first = udump_chain_next(&chain, latent.h, latent.w, vae->conv_in.shape.out);
    udump_into_conv2d(x, first, chain.h, &vae->conv_in, NULL);
    udump_chain_step(&chain, first);
    udump_chain_middle(&chain, &vae->middle);
    for (int32_t i = 0; i < vae->level_count; i++) {
        for (int32_t r = 0; r < vae->levels[i].layers; r++) udump_chain_resnet(&chain, &vae->levels[i].resnets[r]);
        if (vae->levels[i].has_sampler) chain_upsample(&chain, &vae->levels[i].sampler);
    }
    udump_into_group_norm(x, chain.h, &vae->norm_out, true, NULL); /* in place: this is the largest tensor of all */
    udump_into_conv2d(x, out, chain.h, &vae->conv_out, NULL);
    udump_chain_end(&chain);
}
