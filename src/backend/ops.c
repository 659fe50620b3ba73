#include "backend/ops.h"

/* After a failure nothing is done, and in a replay nothing is left to do. */
static bool skips(udump_exec *x) { return udump_exec_stopped(x) || x->replaying; }

/* Model code is checked here, once, for every backend: a mismatch is a defect of ours or of a checkpoint that validation let through. */
static bool agree(udump_exec *x, bool fine, const char *operation, udump_tensor a, udump_tensor b) {
    if (!fine)
        udump_exec_fail(x, UDUMP_ERROR_INTERNAL, operation, "shapes do not agree: [%d, %d, %d, %d] and [%d, %d, %d, %d]", (int)a.n,
            (int)a.h, (int)a.w, (int)a.c, (int)b.n, (int)b.h, (int)b.w, (int)b.c);
    return fine;
}

static bool same_shape(udump_tensor a, udump_tensor b) { return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c; }

static int32_t conv_size(int32_t in, const udump_conv_shape *shape) {
    return (in + shape->pad_begin + shape->pad_end - shape->kernel) / shape->stride + 1;
}

void udump_into_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_conv *conv, const udump_tensor *residual) {
    bool fine = in.c == conv->shape.in && out.c == conv->shape.out && out.n == in.n && out.h == conv_size(in.h, &conv->shape)
        && out.w == conv_size(in.w, &conv->shape) && (!residual || same_shape(out, *residual));
    if (skips(x) || !agree(x, fine, "conv2d", in, out)) return;
    x->backend->conv2d(x, out, in, conv->packed, residual);
}

udump_tensor udump_conv2d(udump_exec *x, udump_tensor in, const udump_conv *conv) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, conv_size(in.h, &conv->shape), conv_size(in.w, &conv->shape), conv->shape.out);
    udump_into_conv2d(x, out, in, conv, NULL);
    return out;
}

void udump_into_conv2d_upsampled(udump_exec *x, udump_tensor out, udump_tensor in, const udump_conv *conv) {
    bool fine = in.c == conv->shape.in && out.c == conv->shape.out && out.n == in.n && out.h == conv_size(out.h, &conv->shape)
        && out.w == conv_size(out.w, &conv->shape);
    if (skips(x) || !agree(x, fine, "conv2d_upsampled", in, out)) return;
    if (x->backend->conv2d_upsampled) {
        x->backend->conv2d_upsampled(x, out, in, conv->packed);
        return;
    }
    size_t mark = udump_arena_mark(x);
    udump_into_conv2d(x, out, udump_upsample_nearest(x, in, out.h, out.w), conv, NULL);
    udump_arena_release(x, mark);
}

static void linear_checked(udump_exec *x, udump_tensor out, udump_tensor in, const udump_linear *linear, udump_activation activation,
    const udump_tensor *residual) {
    bool fine = in.c == linear->in && out.c == linear->out && out.n == in.n && out.h == in.h && out.w == in.w
        && (!residual || same_shape(out, *residual));
    if (skips(x) || !agree(x, fine, "linear", in, out)) return;
    x->backend->linear(x, out, in, linear->packed, activation, residual);
}

udump_tensor udump_apply_linear(udump_exec *x, udump_tensor in, const udump_linear *linear, udump_activation activation) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, in.h, in.w, linear->out);
    linear_checked(x, out, in, linear, activation, NULL);
    return out;
}

void udump_into_linear(udump_exec *x, udump_tensor out, udump_tensor in, const udump_linear *linear, const udump_tensor *residual) {
    linear_checked(x, out, in, linear, UDUMP_ACTIVATION_NONE, residual);
}

udump_tensor udump_linear_geglu(udump_exec *x, udump_tensor in, const udump_linear *linear) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, in.h, in.w, linear->out);
    if (skips(x) || !agree(x, in.c == linear->in, "linear_geglu", in, out)) return out;
    x->backend->linear_geglu(x, out, in, linear->packed);
    return out;
}

static void group_norm_checked(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_norm *norm, bool silu, const udump_tensor *row) {
    bool fine = in.c == norm->c && in.c % norm->groups == 0 && (!row || (row->c == in.c && (row->n == 1 || row->n == in.n)));
    if (skips(x) || !agree(x, fine, "group_norm", in, row ? *row : out) || x->dry) return;
    x->backend->group_norm(x, out, in, norm->packed, norm->groups, norm->eps, silu, row);
}

udump_tensor udump_group_norm(udump_exec *x, udump_tensor in, const udump_norm *norm, bool silu, const udump_tensor *row) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c);
    group_norm_checked(x, out, in, norm, silu, row);
    return out;
}

void udump_into_group_norm(udump_exec *x, udump_tensor out, const udump_norm *norm, bool silu, const udump_tensor *row) {
    group_norm_checked(x, out, out, norm, silu, row);
}

udump_tensor udump_layer_norm(udump_exec *x, udump_tensor in, const udump_norm *norm) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c);
    if (skips(x) || !agree(x, in.c == norm->c, "layer_norm", in, out) || x->dry) return out;
    x->backend->layer_norm(x, out, in, norm->packed, norm->eps);
    return out;
}

udump_tensor udump_attention(udump_exec *x, udump_tensor qkv, int32_t heads, bool causal) {
    udump_tensor out = udump_tensor_new(x, x->compute, qkv.n, qkv.h, qkv.w, qkv.c / 3);
    if (skips(x) || !agree(x, qkv.c % (3 * heads) == 0, "attention", qkv, out)) return out;
    x->backend->attention(x, out, qkv, heads, causal);
    return out;
}

udump_tensor udump_attention_cross(udump_exec *x, udump_tensor q, const udump_kv *kv, int32_t heads) {
    udump_tensor out = udump_tensor_new(x, x->compute, q.n, q.h, q.w, q.c);
    if (skips(x) || !agree(x, kv->kv.c == 2 * q.c && q.c % heads == 0, "attention_cross", q, kv->kv)) return out;
    x->backend->attention_cross(x, out, q, kv, heads);
    return out;
}

udump_tensor udump_upsample_nearest(udump_exec *x, udump_tensor in, int32_t h, int32_t w) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, h, w, in.c);
    if (!skips(x) && !x->dry) x->backend->upsample_nearest(x, out, in);
    return out;
}

udump_tensor udump_concat_channels(udump_exec *x, udump_tensor a, udump_tensor b) {
    udump_tensor out = udump_tensor_new(x, x->compute, a.n, a.h, a.w, a.c + b.c);
    if (skips(x) || !agree(x, a.n == b.n && a.h == b.h && a.w == b.w, "concat_channels", a, b) || x->dry) return out;
    x->backend->concat_channels(x, out, a, b);
    return out;
}

udump_tensor udump_activate(udump_exec *x, udump_tensor in, udump_activation activation) {
    udump_tensor out = udump_tensor_new(x, x->compute, in.n, in.h, in.w, in.c);
    if (!skips(x) && !x->dry) x->backend->activation(x, out, in, activation);
    return out;
}

void udump_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which) {
    for (int32_t i = 0; i < count; i++)
        if (!agree(x, out[i].n == out->n && udump_row_bytes(out[i]) == udump_row_bytes(in[i]), "gather_rows", out[i], in[i])) return;
    if (!skips(x) && !x->dry) x->backend->gather_rows(x, count, out, in, first, which);
}

udump_tensor udump_embed_tokens(
    udump_exec *x, int32_t n, int32_t tokens, int32_t c, const udump_packed *table, const udump_packed *positions, const int32_t *ids) {
    udump_tensor out = udump_tensor_new(x, x->compute, n, tokens, 1, c);
    if (!skips(x) && !x->dry) x->backend->embed_tokens(x, out, table, positions, ids);
    return out;
}

udump_tensor udump_timestep_embedding(udump_exec *x, int32_t count, int32_t c, const float *timesteps) {
    udump_tensor out = udump_tensor_new(x, x->compute, count, 1, 1, c);
    if (!skips(x) && !x->dry) x->backend->timestep_embedding(x, out, timesteps);
    return out;
}

void udump_into_convert(udump_exec *x, udump_tensor out, udump_tensor in) {
    if (skips(x) || !agree(x, same_shape(out, in), "convert", out, in) || x->dry) return;
    x->backend->convert(x, out, in);
}

void udump_into_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients) {
    for (int32_t i = 0; i < count; i++)
        if (!agree(x, same_shape(out, in[i]), "linear_combination", out, in[i])) return;
    if (!skips(x) && !x->dry) x->backend->linear_combination(x, out, count, in, coefficients);
}

void udump_into_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale) {
    if (skips(x)
        || !agree(x, cond_uncond.n == 2 * out.n && udump_tensor_count(cond_uncond) == 2 * udump_tensor_count(out), "cfg_combine", out,
            cond_uncond)
        || x->dry)
        return;
    x->backend->cfg_combine(x, out, cond_uncond, scale);
}

void udump_upload(udump_exec *x, udump_tensor out, const float *host) {
    if (!skips(x) && !x->dry) x->backend->upload(x, out, host);
}

void udump_download(udump_exec *x, float *host, udump_tensor in) {
    if (!skips(x) && !x->dry) x->backend->download(x, host, in);
}

void udump_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_tensor difference) {
    if (!skips(x) && !x->dry) x->backend->subtract(x, out, a, b, absolute, udump_tensor_data(x, difference));
}

udump_ticket udump_mark(udump_exec *x) { return x->backend->mark && !x->dry ? x->backend->mark(x) : 0; }

void udump_await(udump_exec *x, udump_ticket ticket) {
    if (x->backend->await && !x->dry) x->backend->await(x, ticket);
}
