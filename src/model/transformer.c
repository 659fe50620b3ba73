#include "model/transformer.h"

static udump_transformer_layer load_layer(udump_loader *l, const char *name, int32_t c, int32_t context_dim, int32_t rows) {
    static const char *const qkv[] = { "to_q", "to_k", "to_v" };
    udump_linear geglu = udump_load_geglu(l, udump_name_format("%s.ff.net.0.proj", name).text, c, rows);
    return (udump_transformer_layer){
        .norm1 = udump_load_norm(l, udump_name_format("%s.norm1", name).text, c, 0, 1e-5f),
        .qkv = udump_load_merged(l, udump_name_format("%s.attn1.", name).text, qkv, 3, c, c, rows),
        .self_out = udump_load_linear(l, udump_name_format("%s.attn1.to_out.0", name).text, c, c, rows),
        .norm2 = udump_load_norm(l, udump_name_format("%s.norm2", name).text, c, 0, 1e-5f),
        .q = udump_load_linear(l, udump_name_format("%s.attn2.to_q", name).text, c, c, rows),
        .kv = udump_load_merged(l, udump_name_format("%s.attn2.", name).text, qkv + 1, 2, context_dim, c, 154), /* two prompts' tokens */
        .cross_out = udump_load_linear(l, udump_name_format("%s.attn2.to_out.0", name).text, c, c, rows),
        .norm3 = udump_load_norm(l, udump_name_format("%s.norm3", name).text, c, 0, 1e-5f),
        .geglu = geglu,
        .feed_out = udump_load_linear(l, udump_name_format("%s.ff.net.2", name).text, geglu.out, c, rows),
    };
}

void udump_transformer_load(udump_loader *l, udump_transformer *transformer, const char *name, int32_t c, int32_t heads,
    int32_t context_dim, int32_t groups, int32_t latent_side) {
    int32_t rows = 2 * latent_side * latent_side;
    transformer->c = c;
    transformer->heads = heads;
    if (!l->status && (heads < 1 || c % heads))
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, name, "%d heads for %d channels", (int)heads, (int)c);
    transformer->norm = udump_load_norm(l, udump_name_format("%s.norm", name).text, c, groups, 1e-6f);
    transformer->proj_in = udump_load_linear(l, udump_name_format("%s.proj_in", name).text, c, c, rows);
    for (udump_name layer; !l->status; transformer->depth++) {
        layer = udump_name_format("%s.transformer_blocks.%d", name, (int)transformer->depth);
        if (!udump_load_has(l, udump_name_format("%s.norm1", layer.text).text)) break;
        if (transformer->depth == UDUMP_DEPTH_MOST)
            udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, name, "more than %d transformer layers", UDUMP_DEPTH_MOST);
        else transformer->layers[transformer->depth] = load_layer(l, layer.text, c, context_dim, rows);
    }
    transformer->proj_out = udump_load_linear(l, udump_name_format("%s.proj_out", name).text, c, c, rows);
}

/* h is rewritten in place, one residual branch after the other; every branch's temporaries are released before the next. */
static void layer_forward(
    udump_exec *x, const udump_transformer_layer *layer, udump_tensor h, int32_t heads, int32_t attention, const udump_kv *kv) {
    size_t mark = udump_arena_mark(x);
    udump_tensor qkv = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm1), &layer->qkv, UDUMP_ACTIVATION_NONE);
    udump_tensor seen = udump_attention(x, qkv, heads, false);
    udump_tap(x, &(udump_tapped){ .kind = UDUMP_TAP_SELF, .index = attention, .out = seen, .heads = heads, .q = qkv });
    udump_into_linear(x, h, seen, &layer->self_out, &h);
    udump_arena_release(x, mark);

    udump_tensor q = udump_apply_linear(x, udump_layer_norm(x, h, &layer->norm2), &layer->q, UDUMP_ACTIVATION_NONE);
    seen = udump_attention_cross(x, q, kv, heads);
    udump_tap(x, &(udump_tapped){ .kind = UDUMP_TAP_CROSS, .index = attention, .out = seen, .heads = heads, .q = q, .kv = kv });
    udump_into_linear(x, h, seen, &layer->cross_out, &h);
    udump_arena_release(x, mark);

    udump_tensor inner = udump_linear_geglu(x, udump_layer_norm(x, h, &layer->norm3), &layer->geglu);
    udump_into_linear(x, h, inner, &layer->feed_out, &h);
    udump_arena_release(x, mark);
}

void udump_transformer_forward(
    udump_exec *x, const udump_transformer *transformer, udump_tensor out, udump_tensor in, const udump_kv *kvs) {
    size_t mark = udump_arena_mark(x);
    udump_tensor h = udump_apply_linear(
        x, udump_group_norm(x, in, &transformer->norm, false, NULL), &transformer->proj_in, UDUMP_ACTIVATION_NONE);
    for (int32_t i = 0; i < transformer->depth; i++) {
        int32_t attention = transformer->first_attention + i;
        layer_forward(x, &transformer->layers[i], h, transformer->heads, attention, &kvs[attention]);
    }
    udump_into_linear(x, out, h, &transformer->proj_out, &in);
    udump_arena_release(x, mark);
}
