#include "model/clip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

enum { VOCABULARY = 49408, POSITIONS = 77, END = 49407, HEAD_DIM = 64 };

static int32_t count_layers(const udump_loader *l, const char *part) {
    int32_t count = 0;
    while (udump_load_has(l, udump_name_format("%s/encoder.layers.%d.layer_norm1", part, (int)count).text)) count++;
    return count;
}

static void load_activation(udump_loader *l, udump_clip *clip, const udump_text_reading *reading, const char *config) {
    char activation[32];
    snprintf(activation, sizeof activation, reading->open_clip ? "gelu" : "quick_gelu");
    udump_weights_config_text(l->weights, reading->part, "hidden_act", activation, sizeof activation);
    clip->activation = strcmp(activation, "gelu") == 0 ? UDUMP_ACTIVATION_GELU : UDUMP_ACTIVATION_QUICK_GELU;
    if (strcmp(activation, "gelu") && strcmp(activation, "quick_gelu"))
        udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, config, "hidden_act %s", activation);
}

static void load_layer_count(udump_loader *l, udump_clip *clip, const udump_text_reading *reading) {
    clip->layer_count = count_layers(l, reading->part);
    bool whole = udump_weights_layout(l->weights) == UDUMP_LAYOUT_LDM && clip->layer_count != reading->converted_layers;
    clip->unread = whole ? reading->file_layers_unread : reading->layers_unread;
    if (!l->status && clip->layer_count <= clip->unread)
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, reading->part, "a text encoder of %d layers: at least %d are needed",
            (int)clip->layer_count, (int)clip->unread + 1);
}

static void load_config(udump_loader *l, udump_clip *clip, const udump_text_reading *reading) {
    udump_name config = udump_name_format("%s/config.json", reading->part),
               tokens = udump_name_format("%s/embeddings.token_embedding", reading->part);
    clip->vocabulary = udump_load_size(l, tokens.text, 2, 0);
    clip->width = udump_load_size(l, tokens.text, 2, 1);
    clip->positions = udump_load_size(l, udump_name_format("%s/embeddings.position_embedding", reading->part).text, 2, 0);
    clip->heads = udump_load_count(l, reading->part, "num_attention_heads", clip->width / HEAD_DIM, 4096);
    clip->pad = reading->open_clip ? 0 : END;
    clip->context_norm = reading->final_norm;
    load_activation(l, clip, reading, config.text);
    if (clip->heads < 1 || clip->width % clip->heads)
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, config.text, "%d heads for a width of %d", (int)clip->heads, (int)clip->width);
    if (!l->status && (clip->vocabulary != VOCABULARY || clip->positions != POSITIONS))
        udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, reading->part, "a vocabulary of %d tokens and %d positions: CLIP has %d and %d",
            (int)clip->vocabulary, (int)clip->positions, VOCABULARY, POSITIONS);
    load_layer_count(l, clip, reading);
}

static udump_clip_layer load_layer(udump_loader *l, const udump_clip *clip, const char *part, int32_t index) {
    static const char *const qkv[] = { "q_proj", "k_proj", "v_proj" };
    udump_name layer = udump_name_format("%s/encoder.layers.%d", part, (int)index);
    int32_t width = clip->width, rows = clip->positions;
    udump_linear fc1 = udump_load_linear(l, udump_name_format("%s.mlp.fc1", layer.text).text, width, 0, rows);
    return (udump_clip_layer){
        .norm1 = udump_load_norm(l, udump_name_format("%s.layer_norm1", layer.text).text, width, 0, 1e-5f),
        .qkv = udump_load_merged(l, udump_name_format("%s.self_attn.", layer.text).text, qkv, 3, width, width, rows),
        .out = udump_load_linear(l, udump_name_format("%s.self_attn.out_proj", layer.text).text, width, width, rows),
        .norm2 = udump_load_norm(l, udump_name_format("%s.layer_norm2", layer.text).text, width, 0, 1e-5f),
        .fc1 = fc1,
        .fc2 = udump_load_linear(l, udump_name_format("%s.mlp.fc2", layer.text).text, fc1.out, width, rows),
    };
}

void udump_clip_load(udump_loader *l, udump_clip *clip, const udump_text_reading *reading) {
    load_config(l, clip, reading);
    if (l->status) return;
    udump_name tokens = udump_name_format("%s/embeddings.token_embedding", reading->part),
               places = udump_name_format("%s/embeddings.position_embedding", reading->part);
    clip->tokens = udump_load_tokens(l, tokens.text, clip->vocabulary, clip->width);
    clip->places = udump_load_embedding(l, places.text, clip->positions, clip->width);
    if (!reading->pooled) { /* nothing reads the last layers */
        clip->layer_count -= clip->unread;
        clip->unread = 0;
    }
    clip->layers = calloc((size_t)clip->layer_count + 1, sizeof *clip->layers);
    if (!clip->layers) {
        l->status = udump_fail_memory(&l->error, reading->part, (size_t)clip->layer_count * sizeof *clip->layers);
        return;
    }
    for (int32_t i = 0; i < clip->layer_count && !l->status; i++) clip->layers[i] = load_layer(l, clip, reading->part, i);
    if (clip->context_norm || reading->pooled)
        clip->final_norm = udump_load_norm(l, udump_name_format("%s/final_layer_norm", reading->part).text, clip->width, 0, 1e-5f);
    if (reading->pooled)
        clip->projection = udump_load_linear(l, udump_name_format("%s/text_projection", reading->part).text, clip->width, 0, 1);
}

/* h after layers [first, last), in place. */
static void run_layers(udump_exec *x, const udump_clip *clip, udump_tensor h, int32_t first, int32_t last) {
    for (int32_t i = first; i < last; i++) {
        const udump_clip_layer *layer = &clip->layers[i];
        size_t mark = udump_arena_mark(x);
        udump_tensor qkv = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm1), &layer->qkv, UDUMP_ACTIVATION_NONE);
        udump_tensor seen = udump_attention(x, qkv, clip->heads, true);
        udump_into_linear(x, h, seen, &layer->out, &h);
        udump_tensor inner = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm2), &layer->fc1, clip->activation);
        udump_into_linear(x, h, inner, &layer->fc2, &h);
        udump_arena_release(x, mark);
    }
}

/* The state of the first chunk's first end token, normed and projected. */
static udump_tensor pool(udump_exec *x, const udump_clip *clip, udump_tensor h, const int32_t *ids) {
    int32_t end = 0;
    while (end + 1 < clip->positions && ids[end] != END) end++;
    udump_tensor state = udump_tensor_rows(h, 0, 1);
    state.offset_bytes += (size_t)end * (size_t)clip->width * udump_dtype_bytes(h.dtype);
    state.h = 1;
    return udump_apply_linear(x, udump_layer_norm(x, state, &clip->final_norm), &clip->projection, UDUMP_ACTIVATION_NONE);
}

udump_tensor udump_clip_forward(udump_exec *x, const udump_clip *clip, int32_t n, const int32_t *ids, int32_t skip, udump_tensor *pooled) {
    int32_t last = clip->layer_count - clip->unread - skip;
    udump_tensor h = udump_embed_tokens(x, n, clip->positions, clip->width, clip->tokens, clip->places, ids); /* [n, 77, 1, width] */
    run_layers(x, clip, h, 0, last);
    udump_tensor context = h;
    if (pooled && clip->projection.packed) {
        context = udump_tensor_new(x, x->compute, h.n, h.h, h.w, h.c);
        udump_into_convert(x, context, h);
        run_layers(x, clip, h, last, clip->layer_count);
        *pooled = pool(x, clip, h, ids);
    }
    return clip->context_norm ? udump_layer_norm(x, context, &clip->final_norm) : context;
}
