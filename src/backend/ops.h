/* The vocabulary as model code speaks it: every function allocates its result in x's arena, and does nothing after a failure.
 * The functions named udump_into_... write into a tensor that exists. Semantics: backend.h. */
#ifndef UDUMP_BACKEND_OPS_H
#define UDUMP_BACKEND_OPS_H

#include "backend/exec.h"

/* A packed weight and what model code must know of it. */
typedef struct udump_conv {
    udump_conv_shape shape;
    udump_packed *packed;
} udump_conv;
typedef struct udump_linear {
    int32_t in, out; /* out: of all merged parts; for GEGLU, of one half */
    udump_packed *packed;
} udump_linear;
typedef struct udump_norm {
    int32_t c, groups; /* groups 0: a layer norm */
    float eps;
    udump_packed *packed;
} udump_norm;

udump_tensor udump_conv2d(udump_exec *x, udump_tensor in, const udump_conv *conv);
void udump_into_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_conv *conv, const udump_tensor *residual);
/* Of in upsampled to out's h, w, nearest: a convolution that keeps its input's size. */
void udump_into_conv2d_upsampled(udump_exec *x, udump_tensor out, udump_tensor in, const udump_conv *conv);
udump_tensor udump_apply_linear(udump_exec *x, udump_tensor in, const udump_linear *linear, udump_activation activation);
void udump_into_linear(udump_exec *x, udump_tensor out, udump_tensor in, const udump_linear *linear, const udump_tensor *residual);
udump_tensor udump_linear_geglu(udump_exec *x, udump_tensor in, const udump_linear *linear);
udump_tensor udump_group_norm(udump_exec *x, udump_tensor in, const udump_norm *norm, bool silu, const udump_tensor *row);
/* In place: out = norm(out). */
void udump_into_group_norm(udump_exec *x, udump_tensor out, const udump_norm *norm, bool silu, const udump_tensor *row);
udump_tensor udump_layer_norm(udump_exec *x, udump_tensor in, const udump_norm *norm);
udump_tensor udump_attention(udump_exec *x, udump_tensor qkv, int32_t heads, bool causal);
udump_tensor udump_attention_cross(udump_exec *x, udump_tensor q, const udump_kv *kv, int32_t heads);
udump_tensor udump_upsample_nearest(udump_exec *x, udump_tensor in, int32_t h, int32_t w);
udump_tensor udump_concat_channels(udump_exec *x, udump_tensor a, udump_tensor b);
/* out[count]: of as many rows each, like those of in[count] */
void udump_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which /* [count] of [rows], or NULL */);
udump_tensor udump_activate(udump_exec *x, udump_tensor in, udump_activation activation);
udump_tensor udump_embed_tokens(
    udump_exec *x, int32_t n, int32_t tokens, int32_t c, const udump_packed *table, const udump_packed *positions, const int32_t *ids);
udump_tensor udump_timestep_embedding(udump_exec *x, int32_t count, int32_t c, const float *timesteps);
void udump_into_convert(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_into_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients);
void udump_into_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale);
/* Moments: what was asked for before mark has happened after await. Nothing to wait for where the backend works at once. */
udump_ticket udump_mark(udump_exec *x);
void udump_await(udump_exec *x, udump_ticket ticket);
/* out F32; a and b of any dtype; all of one shape. difference: room for a udump_difference. */
void udump_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_tensor difference);
void udump_upload(udump_exec *x, udump_tensor out, const float *host);
void udump_download(udump_exec *x, float *host, udump_tensor in);

/* Names a tap: one branch when nobody looks. */
static inline void udump_tap(udump_exec *x, const udump_tapped *tapped) {
    if (x->tap && !udump_exec_stopped(x)) x->tap(x->tap_user, x, tapped);
}

#endif
