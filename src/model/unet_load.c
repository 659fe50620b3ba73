/* The U-Net's structure from its tensors' names and shapes. */
#include <stdio.h>
#include <string.h>

#include "model/unet.h"

/* What loading carries from block to block. */
struct build {
    udump_loader *l;
    udump_unet *unet;
    const udump_family *family;
    int32_t time_dim, groups;
    float eps;
    int32_t c; /* channels of the last block's output */
    int32_t skip; /* on the way up: the block whose output joins next */
};

/* diffusers' config calls the number of heads attention_head_dim; newer ones also have num_attention_heads. Either is one number, or one for each level. */
static int32_t level_heads(const struct build *b, int32_t level, int32_t channels) {
    static const char *const keys[] = { "num_attention_heads", "attention_head_dim" };
    for (size_t i = 0; i < 2; i++) {
        int size = udump_weights_config_size(b->l->weights, "unet", keys[i]);
        double heads;
        if (size < 0) continue;
        bool is_number = udump_weights_config_number(b->l->weights, "unet", keys[i], size ? level : 0, &heads);
        if (is_number && heads >= 1 && heads <= 4096 && heads == (int32_t)heads) return (int32_t)heads;
        if (is_number)
            udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, "unet/config.json", "%s gives level %d %g heads", keys[i], (int)level, heads);
        else udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, "unet/config.json", "%s has no number for level %d", keys[i], (int)level);
        return 1;
    }
    return b->family->heads ? b->family->heads : channels / b->family->head_dim;
}

static udump_unet_block *add_block(struct build *b, const char *path, int32_t channels, int32_t level) {
    if (b->unet->block_count == UDUMP_BLOCKS_MOST) {
        udump_load_fail(b->l, UDUMP_ERROR_UNSUPPORTED, "unet", "more than %d blocks", UDUMP_BLOCKS_MOST);
        b->unet->block_count--; /* loading fails; until then the last entry is overwritten */
    }
    udump_unet_block *block = &b->unet->blocks[b->unet->block_count++];
    *block = (udump_unet_block){ .channels = channels, .downscale = 1 << level };
    snprintf(block->path, sizeof block->path, "%s", path);
    return block;
}

static void load_transformer(
    struct build *b, udump_transformer *transformer, udump_unet_block *block, const char *name, int32_t level) {
    int32_t side = 64 >> level; /* at 512 x 512 */
    int32_t heads = level_heads(b, level, block->channels);
    udump_transformer_load(b->l, transformer, name, block->channels, heads, b->unet->context_dim, b->groups, side);
    transformer->first_attention = b->unet->attention_count;
    for (int32_t i = 0; i < transformer->depth; i++) b->unet->attention_blocks[b->unet->attention_count++] = b->unet->block_count - 1;
    snprintf(block->attention_path, sizeof block->attention_path, "%s", name + strlen("unet/"));
    block->depth = transformer->depth;
    block->heads = transformer->heads;
    block->head_dim = transformer->heads ? transformer->c / transformer->heads : 0;
}

/* The level's next residual block, and its transformer where the level has them. On the way up each consumes one of the way down's outputs: forward relies on it. */
static void load_layer(struct build *b, udump_unet_level *level, const char *prefix, bool up, int32_t depth) {
    int32_t side = 64 >> depth, layer = level->layers; /* at 512 x 512 */
    udump_name resnet = udump_name_format("%s.resnets.%d", prefix, (int)layer),
               attention = udump_name_format("%s.attentions.%d", prefix, (int)layer);
    if (layer == UDUMP_LAYERS_MOST) udump_load_fail(b->l, UDUMP_ERROR_UNSUPPORTED, prefix, "more than %d layers", UDUMP_LAYERS_MOST);
    if (up && b->skip < 0)
        udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, resnet.text, "the way up has more layers than the way down has outputs");
    if (b->l->status) return;
    int32_t joined = up ? b->unet->blocks[b->skip--].channels : 0;
    level->resnets[layer] = udump_resnet_load(b->l, resnet.text, b->c + joined, 0, b->time_dim, b->groups, b->eps, side);
    b->c = level->resnets[layer].out;
    b->unet->resnet_count++;
    udump_name path = level->has_attention ? udump_name_format("%s + attentions.%d", resnet.text + 5, (int)layer)
                                           : udump_name_format("%s", resnet.text + 5);
    udump_unet_block *block = add_block(b, path.text, b->c, depth);
    if (level->has_attention) load_transformer(b, &level->transformers[layer], block, attention.text, depth);
    level->layers++;
}

/* A level's halving or doubling, which all have but the last. Down it is a block of its own, up it belongs to the level's last block. */
static void load_sampler(struct build *b, udump_unet_level *level, const char *prefix, bool up, int32_t depth) {
    int32_t side = 64 >> depth;
    bool last = depth == (up ? 0 : b->unet->level_count - 1);
    udump_name sampler = udump_name_format("%s.%s.0.conv", prefix, up ? "upsamplers" : "downsamplers");
    level->has_sampler = udump_load_has(b->l, sampler.text);
    if (level->has_sampler == last)
        udump_load_fail(b->l, UDUMP_ERROR_UNSUPPORTED, prefix, last ? "a sampler in the last level" : "a level without a sampler");
    if (b->l->status || last) return;
    level->sampler = udump_load_conv(b->l, sampler.text, b->c, b->c, up ? 1 : 2, up ? 2 * side : side);
    if (!up) {
        add_block(b, udump_name_format("%s.downsamplers.0", prefix + 5).text, b->c, depth + 1);
        return;
    }
    udump_unet_block *block = &b->unet->blocks[b->unet->block_count - 1];
    size_t length = strlen(block->path);
    block->downscale = 1 << (depth - 1);
    snprintf(block->path + length, sizeof block->path - length, " + upsamplers.0");
}

/* One level of either way: prefix is "unet/down_blocks.0" or "unet/up_blocks.0"; depth is its place from the top. */
static void load_level(struct build *b, udump_unet_level *level, const char *prefix, bool up, int32_t depth) {
    level->has_attention = udump_load_has(b->l, udump_name_format("%s.attentions.0.norm", prefix).text);
    while (!b->l->status && udump_load_has(b->l, udump_name_format("%s.resnets.%d.norm1", prefix, (int)level->layers).text))
        load_layer(b, level, prefix, up, depth);
    if (!level->layers) udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, prefix, "no residual blocks: %s.resnets.0 is missing", prefix);
    if (!b->l->status) load_sampler(b, level, prefix, up, depth);
}

static void load_middle(struct build *b) {
    int32_t depth = b->unet->level_count - 1, side = 64 >> depth;
    b->unet->mid_first = udump_resnet_load(b->l, "unet/mid_block.resnets.0", b->c, b->c, b->time_dim, b->groups, b->eps, side);
    udump_unet_block *block = add_block(b, "mid_block", b->c, depth);
    load_transformer(b, &b->unet->mid_transformer, block, "unet/mid_block.attentions.0", depth);
    b->unet->mid_last = udump_resnet_load(b->l, "unet/mid_block.resnets.1", b->c, b->c, b->time_dim, b->groups, b->eps, side);
    b->unet->resnet_count += 2;
}

/* IN00.., M00, OUT00.. in the order in which they were added. */
static void name_blocks(udump_unet *unet, int32_t in_count) {
    unet->in_count = in_count;
    unet->out_count = unet->block_count - in_count - 1;
    for (int32_t i = 0; i < unet->block_count; i++) {
        bool in = i < in_count, mid = i == in_count;
        int32_t index = in ? i : mid ? 0 : i - in_count - 1;
        snprintf(unet->blocks[i].name, sizeof unet->blocks[i].name, mid ? "M%02d" : in ? "IN%02d" : "OUT%02d", (int)(index % 100));
    }
}

static void load_sizes(struct build *b) {
    double value;
    b->groups = udump_load_count(b->l, "unet", "norm_num_groups", 32, 1024);
    b->eps = udump_weights_config_number(b->l->weights, "unet", "norm_eps", 0, &value) ? (float)value : 1e-5f;
    if (!(b->eps > 0 && b->eps < 1)) udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, "unet/config.json", "norm_eps is %g", (double)b->eps);
    b->unet->base_channels = udump_load_size(b->l, "unet/conv_in", 4, 0);
    b->unet->latent_channels = udump_load_size(b->l, "unet/conv_in", 4, 1);
    b->time_dim = udump_load_size(b->l, "unet/time_embedding.linear_2", 2, 0);
    b->unet->context_dim = udump_load_size(b->l, "unet/mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 2, 1);
    if (b->l->status) return;
    if (b->unet->latent_channels == 9) udump_load_fail(b->l, UDUMP_ERROR_UNSUPPORTED, "unet", "an inpainting U-Net (9 input channels)");
    if (b->unet->latent_channels != 4)
        udump_load_fail(b->l, UDUMP_ERROR_UNSUPPORTED, "unet", "%d input channels: Stable Diffusion has 4", (int)b->unet->latent_channels);
    while (b->unet->level_count < UDUMP_LEVELS_MOST
        && udump_load_has(b->l, udump_name_format("unet/down_blocks.%d.resnets.0.norm1", (int)b->unet->level_count).text))
        b->unet->level_count++;
    if (!b->unet->level_count)
        udump_load_fail(b->l, UDUMP_ERROR_WEIGHTS, "unet/down_blocks.0", "no residual blocks: unet/down_blocks.0.resnets.0 is missing");
}

/* SDXL's: sizes and pooled vector to one more vector of the time embedding's width. */
static void load_added(struct build *b) {
    udump_unet *unet = b->unet;
    if (!udump_load_has(b->l, "unet/add_embedding.linear_1")) return;
    unet->added1 = udump_load_linear(b->l, "unet/add_embedding.linear_1", 0, 0, 32);
    unet->added2 = udump_load_linear(b->l, "unet/add_embedding.linear_2", unet->added1.out, b->time_dim, 32);
}

void udump_unet_load(udump_loader *l, udump_unet *unet, const udump_family *family) {
    struct build b = { .l = l, .unet = unet, .family = family };
    load_sizes(&b);
    if (l->status) return;
    unet->time1 = udump_load_linear(l, "unet/time_embedding.linear_1", unet->base_channels, 0, 32);
    unet->time2 = udump_load_linear(l, "unet/time_embedding.linear_2", unet->time1.out, b.time_dim, 32);
    if (udump_load_has(l, "unet/time_embedding.cond_proj"))
        unet->guidance = udump_load_linear(l, "unet/time_embedding.cond_proj", 0, unet->base_channels, 32);
    if (unet->guidance.in % 2) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "unet/time_embedding.cond_proj", "an odd number of inputs");
    load_added(&b);
    unet->conv_in = udump_load_conv(l, "unet/conv_in", unet->latent_channels, unet->base_channels, 1, 64);
    add_block(&b, "conv_in", b.c = unet->base_channels, 0);
    for (int32_t i = 0; i < unet->level_count && !l->status; i++)
        load_level(&b, &unet->down[i], udump_name_format("unet/down_blocks.%d", (int)i).text, false, i);
    int32_t in_count = unet->block_count;
    b.skip = in_count - 1;
    if (!l->status) load_middle(&b);
    for (int32_t i = 0; i < unet->level_count && !l->status; i++)
        load_level(&b, &unet->up[i], udump_name_format("unet/up_blocks.%d", (int)i).text, true, unet->level_count - 1 - i);
    if (b.skip >= 0)
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "unet/up_blocks", "%d of the way down's outputs are not used", (int)b.skip + 1);
    unet->norm_out = udump_load_norm(l, "unet/conv_norm_out", b.c, b.groups, b.eps);
    unet->conv_out = udump_load_conv(l, "unet/conv_out", b.c, unet->latent_channels, 1, 64);
    name_blocks(unet, in_count);
}
