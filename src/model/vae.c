#include "model/vae.h"

enum { LAYERS_MOST = 4, LEVELS_MOST = 6 };

static void load_middle(udump_loader *l, udump_vae *vae, int32_t groups) {
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };
    int32_t c = vae->conv_in.shape.out, rows = 64 * 64;
    vae->mid_first = udump_resnet_load(l, "vae/decoder.mid_block.resnets.0", 0, groups, 1e-6f, 64);
    vae->attention_norm = udump_load_norm(l, "vae/decoder.mid_block.attentions.0.group_norm", c, groups, 1e-6f);
    vae->attention_qkv = udump_load_merged(l, "vae/decoder.mid_block.attentions.0.", qkv, 3, c, rows);
    vae->attention_out = udump_load_linear(l, "vae/decoder.mid_block.attentions.0.to_out.0", c, c, rows);
    vae->mid_last = udump_resnet_load(l, "vae/decoder.mid_block.resnets.1", 0, groups, 1e-6f, 64);
}

static void load_level(udump_loader *l, udump_vae_level *level, int32_t index, int32_t groups) {
    udump_name prefix = udump_name_format("vae/decoder.up_blocks.%d", (int)index);
    int32_t side = 64 << index;
    for (; !l->status; level->layers++) {
        udump_name name = udump_name_format("%s.resnets.%d", prefix.text, (int)level->layers);
        if (!udump_load_has(l, udump_name_format("%s.norm1", name.text).text)) break;
        if (level->layers == LAYERS_MOST) udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, prefix.text, "more than %d layers", LAYERS_MOST);
        else level->resnets[level->layers] = udump_resnet_load(l, name.text, 0, groups, 1e-6f, side);
    }
    if (!l->status && !level->layers) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, prefix.text, "no residual blocks: resnets.0 is missing");
    udump_name sampler = udump_name_format("%s.upsamplers.0.conv", prefix.text);
    level->has_sampler = udump_load_has(l, sampler.text);
    if (l->status || !level->has_sampler) return;
    int32_t c = level->resnets[level->layers - 1].out;
    level->sampler = udump_load_conv(l, sampler.text, c, c, 1, 2 * side);
}

void udump_vae_load(udump_loader *l, udump_vae *vae, double scale) {
    double value;
    int32_t groups = udump_weights_config_number(l->weights, "vae", "norm_num_groups", 0, &value) ? (int32_t)value : 32, samplers = 0;
    vae->scaling_factor = udump_weights_config_number(l->weights, "vae", "scaling_factor", 0, &value) ? value : scale;
    if (groups < 1 || groups > 1024) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "vae/config.json", "norm_num_groups is %d", (int)groups);
    if (!(vae->scaling_factor > 0)) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "vae/config.json", "scaling_factor is %g", vae->scaling_factor);
    vae->conv_in = udump_load_conv(l, "vae/decoder.conv_in", 0, 0, 1, 64);
    vae->latent_channels = vae->conv_in.shape.in;
    vae->post_quant = udump_load_linear(l, "vae/post_quant_conv", vae->latent_channels, vae->latent_channels, 64 * 64);
    if (l->status) return;
    load_middle(l, vae, groups);
    while (vae->level_count < LEVELS_MOST
        && udump_load_has(l, udump_name_format("vae/decoder.up_blocks.%d.resnets.0.norm1", (int)vae->level_count).text)) {
        load_level(l, &vae->levels[vae->level_count], vae->level_count, groups);
        samplers += vae->levels[vae->level_count++].has_sampler;
    }
    if (samplers != 3)
        udump_load_fail(
            l, UDUMP_ERROR_UNSUPPORTED, "vae", "a decoder that doubles %d times: Stable Diffusion's doubles 3 times", (int)samplers);
    if (l->status) return;
    const udump_vae_level *last = &vae->levels[vae->level_count - 1];
    int32_t c = last->resnets[last->layers - 1].out;
    vae->norm_out = udump_load_norm(l, "vae/decoder.conv_norm_out", c, groups, 1e-6f);
    vae->conv_out = udump_load_conv(l, "vae/decoder.conv_out", c, 3, 1, 512);
}

/* The decoder is a chain of large tensors. Each lies at the arena's other end than the one before, so that only two are there at a time. */
struct chain {
    udump_exec *x;
    udump_tensor h;
    size_t base;  /* the mark below everything of ours */
    bool on_top;  /* h is on the skip stack */
};

static udump_tensor chain_next(struct chain *chain, int32_t h, int32_t w, int32_t c) {
    return chain->on_top ? udump_tensor_new(chain->x, chain->x->compute, chain->h.n, h, w, c)
                         : udump_skip_push(chain->x, chain->h.n, h, w, c);
}

static void chain_step(struct chain *chain, udump_tensor next) {
    if (chain->on_top) udump_skip_pop(chain->x, chain->h);
    else udump_arena_release(chain->x, chain->base);
    chain->on_top = !chain->on_top;
    chain->h = next;
}

static void chain_resnet(struct chain *chain, const udump_resnet *resnet) {
    udump_tensor next = chain_next(chain, chain->h.h, chain->h.w, resnet->out);
    udump_resnet_forward(chain->x, resnet, next, chain->h, NULL, true);
    chain_step(chain, next);
}

/* One head over all positions. */
static void chain_attention(struct chain *chain, const udump_vae *vae) {
    udump_exec *x = chain->x;
    udump_tensor next = chain_next(chain, chain->h.h, chain->h.w, chain->h.c);
    size_t mark = udump_arena_mark(x);
    udump_tensor qkv = udump_apply_linear(
        x, udump_group_norm(x, chain->h, &vae->attention_norm, false, NULL), &vae->attention_qkv, UDUMP_ACTIVATION_NONE);
    udump_into_linear(x, next, udump_attention(x, qkv, 1, false), &vae->attention_out, &chain->h);
    udump_arena_release(x, mark);
    chain_step(chain, next);
}

static void chain_upsample(struct chain *chain, const udump_conv *conv) {
    udump_tensor next = chain_next(chain, 2 * chain->h.h, 2 * chain->h.w, conv->shape.out);
    size_t mark = udump_arena_mark(chain->x);
    udump_into_conv2d(chain->x, next, udump_upsample_nearest(chain->x, chain->h, 2 * chain->h.h, 2 * chain->h.w), conv, NULL);
    udump_arena_release(chain->x, mark);
    chain_step(chain, next);
}

void udump_vae_decode(udump_exec *x, const udump_vae *vae, udump_tensor out, udump_tensor latent) {
    struct chain chain = { .x = x, .base = udump_arena_mark(x) };
    chain.h = udump_apply_linear(x, latent, &vae->post_quant, UDUMP_ACTIVATION_NONE);
    udump_tensor first = chain_next(&chain, latent.h, latent.w, vae->conv_in.shape.out);
    udump_into_conv2d(x, first, chain.h, &vae->conv_in, NULL);
    chain_step(&chain, first);
    chain_resnet(&chain, &vae->mid_first);
    chain_attention(&chain, vae);
    chain_resnet(&chain, &vae->mid_last);
    for (int32_t i = 0; i < vae->level_count; i++) {
        for (int32_t r = 0; r < vae->levels[i].layers; r++) chain_resnet(&chain, &vae->levels[i].resnets[r]);
        if (vae->levels[i].has_sampler) chain_upsample(&chain, &vae->levels[i].sampler);
    }
    udump_into_group_norm(x, chain.h, &vae->norm_out, true, NULL); /* in place: this is the largest tensor of all */
    udump_into_conv2d(x, out, chain.h, &vae->conv_out, NULL);
    if (chain.on_top) udump_skip_pop(x, chain.h);
    else udump_arena_release(x, chain.base);
}
