#include "model/unet.h"

#include <math.h>
#include <stdlib.h>

/* A walk through the blocks: which block, residual block and inputs come next. */
struct walk {
    udump_exec *x;
    const udump_unet *unet;
    const udump_unet_inputs *inputs;
    int32_t block, resnet;
    bool up; /* past the middle */
    udump_tensor skips[UDUMP_BLOCKS_MOST];
    int32_t skip_count;
};

static void resnet(struct walk *walk, const udump_resnet *resnet, udump_tensor out, udump_tensor in) {
    udump_resnet_forward(walk->x, resnet, out, in, &walk->inputs->times[walk->resnet++], walk->up); /* down, inputs are skips; up, copies */
}

static void tap_block(struct walk *walk, udump_tensor out) {
    udump_tap(walk->x, &(udump_tapped){ .kind = UDUMP_TAP_BLOCK, .index = walk->block++, .out = out });
}

/* A residual block, then a transformer where the level has them. */
static void layer(struct walk *walk, const udump_unet_level *level, int32_t index, udump_tensor out, udump_tensor in) {
    if (!level->has_attention) {
        resnet(walk, &level->resnets[index], out, in);
        return;
    }
    size_t mark = udump_arena_mark(walk->x);
    udump_tensor h = udump_tensor_new(walk->x, walk->x->compute, in.n, in.h, in.w, out.c);
    resnet(walk, &level->resnets[index], h, in);
    udump_transformer_forward(walk->x, &level->transformers[index], out, h, walk->inputs->kvs);
    udump_arena_release(walk->x, mark);
}

/* The way down: every block's output is also a skip. Blocks' outputs live on the skip stack, their temporaries at the other end. */
static udump_tensor push_skip(struct walk *walk, udump_tensor like, int32_t h, int32_t w, int32_t c) {
    return walk->skips[walk->skip_count++] = udump_skip_push(walk->x, like.n, h, w, c);
}

static udump_tensor walk_down(struct walk *walk, udump_tensor latent) {
    const udump_unet *unet = walk->unet;
    udump_tensor h = push_skip(walk, latent, latent.h, latent.w, unet->base_channels);
    udump_into_conv2d(walk->x, h, latent, &unet->conv_in, NULL);
    tap_block(walk, h);
    for (const udump_unet_level *level = unet->down; level < unet->down + unet->level_count; level++) {
        for (int32_t i = 0; i < level->layers; i++) {
            udump_tensor out = push_skip(walk, h, h.h, h.w, level->resnets[i].out);
            layer(walk, level, i, out, h);
            tap_block(walk, h = out);
        }
        if (!level->has_sampler) continue;
        udump_tensor out = push_skip(walk, h, (h.h + 1) / 2, (h.w + 1) / 2, h.c);
        udump_into_conv2d(walk->x, out, h, &level->sampler, NULL);
        tap_block(walk, h = out);
    }
    return h;
}

static udump_tensor walk_middle(struct walk *walk, udump_tensor in) {
    udump_exec *x = walk->x;
    udump_tensor out = udump_skip_push(x, in.n, in.h, in.w, in.c);
    size_t mark = udump_arena_mark(x);
    udump_tensor first = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c),
                 seen = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c);
    resnet(walk, &walk->unet->mid_first, first, in);
    udump_transformer_forward(x, &walk->unet->mid_transformer, seen, first, walk->inputs->kvs);
    resnet(walk, &walk->unet->mid_last, out, seen);
    udump_arena_release(x, mark);
    tap_block(walk, out);
    return out;
}

/* One block of the way up: h and the latest skip go in, both leave the stack, the output takes their place. */
static udump_tensor up_block(struct walk *walk, const udump_unet_level *level, int32_t index, udump_tensor h) {
    udump_exec *x = walk->x;
    udump_tensor skip = walk->skips[--walk->skip_count];
    size_t mark = udump_arena_mark(x);
    udump_tensor both = udump_concat_channels(x, h, skip), out;
    udump_skip_pop(x, h);
    udump_skip_pop(x, skip);
    int32_t c = level->resnets[index].out;
    if (index + 1 == level->layers && level->has_sampler) {
        /* Doubled to the size of the skip that comes next: where that is odd, one less than twice (as diffusers). */
        udump_tensor next = walk->skips[walk->skip_count - 1], small = udump_tensor_new(x, x->compute, both.n, both.h, both.w, c);
        out = udump_skip_push(x, both.n, next.h, next.w, c);
        layer(walk, level, index, small, both);
        udump_into_conv2d_upsampled(x, out, small, &level->sampler);
    } else {
        out = udump_skip_push(x, both.n, both.h, both.w, c);
        layer(walk, level, index, out, both);
    }
    udump_arena_release(x, mark);
    tap_block(walk, out);
    return out;
}

void udump_unet_forward(udump_exec *x, const udump_unet *unet, udump_tensor out, udump_tensor latent, const udump_unet_inputs *inputs) {
    struct walk walk = { .x = x, .unet = unet, .inputs = inputs };
    udump_tensor h = walk_middle(&walk, walk_down(&walk, latent));
    walk.up = true;
    for (const udump_unet_level *level = unet->up; level < unet->up + unet->level_count; level++)
        for (int32_t i = 0; i < level->layers; i++) h = up_block(&walk, level, i, h);
    size_t mark = udump_arena_mark(x);
    udump_into_conv2d(x, out, udump_group_norm(x, h, &unet->norm_out, true, NULL), &unet->conv_out, NULL);
    udump_arena_release(x, mark);
    udump_skip_pop(x, h);
}

/* All residual blocks in the order in which they run, and which of the U-Net's blocks each is in. */
struct listed {
    const udump_resnet *resnets[UDUMP_RESNETS_MOST];
    int32_t blocks[UDUMP_RESNETS_MOST];
    int32_t count;
};

static void list(struct listed *listed, const udump_resnet *resnet, int32_t block) {
    listed->resnets[listed->count] = resnet;
    listed->blocks[listed->count++] = block;
}

static struct listed list_resnets(const udump_unet *unet) {
    struct listed listed = { .count = 0 };
    int32_t block = 1; /* after the input convolution */
    for (int32_t l = 0; l < unet->level_count; block += unet->down[l++].has_sampler)
        for (int32_t i = 0; i < unet->down[l].layers; i++) list(&listed, &unet->down[l].resnets[i], block++);
    list(&listed, &unet->mid_first, block);
    list(&listed, &unet->mid_last, block++);
    for (int32_t l = 0; l < unet->level_count; l++)
        for (int32_t i = 0; i < unet->up[l].layers; i++) list(&listed, &unet->up[l].resnets[i], block++);
    return listed;
}

/* [vectors, 1, 1, time's width]: the pooled vector and the waves of the size numbers, through two layers. */
static udump_tensor embed_added(udump_exec *x, const udump_unet *unet, const udump_unet_added *added) {
    int32_t vectors = added->pooled.n, width = unet->added1.in - added->pooled.c;
    udump_tensor sizes = udump_tensor_new(x, x->compute, vectors, 1, 1, width);
    udump_tensor waves = udump_timestep_embedding(x, UDUMP_SIZE_NUMBERS, width / UDUMP_SIZE_NUMBERS, added->sizes);
    waves.n = 1; /* the same bytes */
    waves.c = width;
    for (int32_t i = 0; i < vectors; i++) udump_into_convert(x, udump_tensor_rows(sizes, i, 1), waves);
    udump_tensor both = udump_concat_channels(x, added->pooled, sizes);
    udump_tensor hidden = udump_apply_linear(x, both, &unet->added1, UDUMP_ACTIVATION_SILU);
    return udump_apply_linear(x, hidden, &unet->added2, UDUMP_ACTIVATION_NONE);
}

/* wave [count, 1, 1, base] += the projection of sin, then cos of 1000 * (guidance - 1) * 10000^(-i / (half - 1)), as LCM's pipelines do. */
static void add_guidance(udump_exec *x, const udump_unet *unet, udump_tensor wave, float guidance) {
    int32_t half = unet->guidance.in / 2;
    udump_tensor all = udump_tensor_new(x, x->compute, wave.n, 1, 1, unet->guidance.in);
    float *waves = malloc((size_t)unet->guidance.in * sizeof *waves);
    if (!waves) {
        udump_exec_fail(x, UDUMP_ERROR_MEMORY, "guidance", "out of memory");
        return;
    }
    for (int32_t i = 0; i < half; i++) {
        double angle = 1000 * ((double)guidance - 1) * exp(-log(10000) * i / (half > 1 ? half - 1 : 1));
        waves[i] = (float)sin(angle);
        waves[half + i] = (float)cos(angle);
    }
    for (int32_t row = 0; row < wave.n; row++) udump_upload(x, udump_tensor_rows(all, row, 1), waves);
    udump_into_linear(x, wave, all, &unet->guidance, &wave);
    free(waves);
}

/* The time's embedding, with the added one where there is one; SiLU of it is all that the residual blocks read. */
static udump_tensor embed(
    udump_exec *x, const udump_unet *unet, int32_t count, const float *timesteps, const udump_unet_added *added, float guidance) {
    udump_tensor wave = udump_timestep_embedding(x, count, unet->base_channels, timesteps);
    if (unet->guidance.packed) add_guidance(x, unet, wave, guidance);
    udump_tensor hidden = udump_apply_linear(x, wave, &unet->time1, UDUMP_ACTIVATION_SILU);
    if (!added) return udump_apply_linear(x, hidden, &unet->time2, UDUMP_ACTIVATION_SILU);
    int32_t vectors = added->pooled.n;
    udump_tensor more = embed_added(x, unet, added), sum = udump_tensor_new(x, x->compute, count * vectors, 1, 1, unet->time2.out),
                 repeated = udump_tensor_new(x, x->compute, count * vectors, 1, 1, hidden.c);
    for (int32_t i = 0; i < count; i++) {
        udump_into_convert(x, udump_tensor_rows(sum, i * vectors, vectors), more);
        for (int32_t k = 0; k < vectors; k++)
            udump_into_convert(x, udump_tensor_rows(repeated, i * vectors + k, 1), udump_tensor_rows(hidden, i, 1));
    }
    udump_into_linear(x, sum, repeated, &unet->time2, &sum);
    return udump_activate(x, sum, UDUMP_ACTIVATION_SILU);
}

void udump_unet_embed_times(udump_exec *x, const udump_unet *unet, int32_t count, const float *timesteps, const udump_unet_added *added,
    float guidance, udump_tensor *times) {
    const struct listed listed = list_resnets(unet);
    int32_t rows = count * (added ? added->pooled.n : 1);
    for (int32_t r = 0; r < listed.count; r++) times[r] = udump_tensor_new(x, x->compute, rows, 1, 1, listed.resnets[r]->out);
    size_t mark = udump_arena_mark(x);
    udump_tensor embedding = embed(x, unet, count, timesteps, added, guidance); /* [rows, 1, 1, time's width] */
    for (int32_t r = 0; r < listed.count; r++) udump_into_linear(x, times[r], embedding, &listed.resnets[r]->time, NULL);
    udump_arena_release(x, mark);
}

void udump_unet_select_times(udump_exec *x, const udump_unet *unet, const udump_tensor *times, int32_t evaluation, int32_t vectors,
    const int32_t *which, const udump_tensor *now) {
    const struct listed listed = list_resnets(unet);
    const int32_t *chosen[UDUMP_RESNETS_MOST];
    for (int32_t r = 0; which && r < listed.count; r++) chosen[r] = which + listed.blocks[r] * now->n;
    udump_gather_rows(x, listed.count, now, times, evaluation * vectors, which ? chosen : NULL);
}

static void project(udump_exec *x, const udump_transformer *transformer, udump_tensor contexts, udump_tensor *kvs) {
    for (int32_t i = 0; i < transformer->depth; i++)
        kvs[transformer->first_attention + i] = udump_apply_linear(x, contexts, &transformer->layers[i].kv, UDUMP_ACTIVATION_NONE);
}

void udump_unet_project_contexts(udump_exec *x, const udump_unet *unet, udump_tensor contexts, udump_tensor *kvs) {
    for (int32_t l = 0; l < unet->level_count; l++) {
        for (int32_t i = 0; unet->down[l].has_attention && i < unet->down[l].layers; i++)
            project(x, &unet->down[l].transformers[i], contexts, kvs);
        for (int32_t i = 0; unet->up[l].has_attention && i < unet->up[l].layers; i++)
            project(x, &unet->up[l].transformers[i], contexts, kvs);
    }
    project(x, &unet->mid_transformer, contexts, kvs);
}
