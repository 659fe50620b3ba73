#include "model/clip.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static void load_config(udump_loader *l, udump_clip *clip) {
    double heads;
    char activation[32] = "quick_gelu";
    clip->vocabulary = udump_load_size(l, "text_encoder/embeddings.token_embedding", 2, 0);
    clip->width = udump_load_size(l, "text_encoder/embeddings.token_embedding", 2, 1);
    clip->positions = udump_load_size(l, "text_encoder/embeddings.position_embedding", 2, 0);
    clip->heads = udump_weights_config_number(l->weights, "text_encoder", "num_attention_heads", 0, &heads) ? (int32_t)heads
                                                                                                            : clip->width / 64;
    udump_weights_config_text(l->weights, "text_encoder", "hidden_act", activation, sizeof activation);
    clip->activation = strcmp(activation, "gelu") == 0 ? UDUMP_ACTIVATION_GELU : UDUMP_ACTIVATION_QUICK_GELU;
    if (strcmp(activation, "gelu") && strcmp(activation, "quick_gelu"))
        udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, "text_encoder/config.json", "hidden_act %s", activation);
    if (clip->heads < 1 || clip->width % clip->heads)
        udump_load_fail(
            l, UDUMP_ERROR_WEIGHTS, "text_encoder/config.json", "%d heads for a width of %d", (int)clip->heads, (int)clip->width);
    if (!l->status && (clip->vocabulary != 49408 || clip->positions != 77))
        udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, "text_encoder", "a vocabulary of %d tokens and %d positions: CLIP has 49408 and 77",
            (int)clip->vocabulary, (int)clip->positions);
    while (udump_load_has(l, udump_name_format("text_encoder/encoder.layers.%d.layer_norm1", (int)clip->layer_count).text))
        clip->layer_count++;
}

static udump_clip_layer load_layer(udump_loader *l, const udump_clip *clip, int32_t index) {
    static const char *const qkv[] = { "q_proj", "k_proj", "v_proj" };
    udump_name layer = udump_name_format("text_encoder/encoder.layers.%d", (int)index);
    int32_t width = clip->width, rows = clip->positions;
    return (udump_clip_layer){
        .norm1 = udump_load_norm(l, udump_name_format("%s.layer_norm1", layer.text).text, width, 0, 1e-5f),
        .qkv = udump_load_merged(l, udump_name_format("%s.self_attn.", layer.text).text, qkv, 3, width, rows),
        .out = udump_load_linear(l, udump_name_format("%s.self_attn.out_proj", layer.text).text, width, width, rows),
        .norm2 = udump_load_norm(l, udump_name_format("%s.layer_norm2", layer.text).text, width, 0, 1e-5f),
        .fc1 = udump_load_linear(l, udump_name_format("%s.mlp.fc1", layer.text).text, width, 0, rows),
        .fc2 = udump_load_linear(l, udump_name_format("%s.mlp.fc2", layer.text).text, 0, width, rows),
    };
}

void udump_clip_load(udump_loader *l, udump_clip *clip) {
    load_config(l, clip);
    if (l->status) return;
    clip->tokens = udump_load_tokens(l, "text_encoder/embeddings.token_embedding", clip->vocabulary, clip->width);
    clip->places = udump_load_embedding(l, "text_encoder/embeddings.position_embedding", clip->positions, clip->width);
    clip->layers = calloc((size_t)clip->layer_count + 1, sizeof *clip->layers);
    if (!clip->layers) {
        l->status = udump_fail_memory(&l->error, "text_encoder", (size_t)clip->layer_count * sizeof *clip->layers);
        return;
    }
    for (int32_t i = 0; i < clip->layer_count && !l->status; i++) clip->layers[i] = load_layer(l, clip, i);
    clip->final_norm = udump_load_norm(l, "text_encoder/final_layer_norm", clip->width, 0, 1e-5f);
}

udump_tensor udump_clip_forward(udump_exec *x, const udump_clip *clip, int32_t n, const int32_t *ids, int32_t skip) {
    udump_tensor h = udump_embed_tokens(x, n, clip->positions, clip->width, clip->tokens, clip->places, ids); /* [n, 77, 1, width] */
    for (int32_t i = 0; i < clip->layer_count - skip; i++) {
        const udump_clip_layer *layer = &clip->layers[i];
        size_t mark = udump_arena_mark(x);
        udump_tensor qkv = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm1), &layer->qkv, UDUMP_ACTIVATION_NONE);
        udump_tensor seen = udump_attention(x, qkv, clip->heads, true);
        udump_into_linear(x, h, seen, &layer->out, &h);
        udump_tensor inner = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm2), &layer->fc1, clip->activation);
        udump_into_linear(x, h, inner, &layer->fc2, &h);
        udump_arena_release(x, mark);
    }
    return udump_layer_norm(x, h, &clip->final_norm);
}
