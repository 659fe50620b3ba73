/* The reference backend: every operation in plain C, as its formula reads. It is the oracle of the other backends and what
 * ThreadSanitizer runs. Sums are fp32 in index order; bf16 tensors are rounded once, when a result is stored. */
#ifndef UDUMP_REFERENCE_REFERENCE_H
#define UDUMP_REFERENCE_REFERENCE_H

#include "backend/exec.h"
#include "base/half.h"

struct udump_packed {
    int32_t in, out;        /* linear and conv: [in * kernel^2, out]; vectors: [in, out] = [rows, c] */
    udump_conv_shape conv;  /* of a convolution */
    float *values;          /* [in, out]: the transpose of the checkpoint's, so that the innermost loop runs over outputs */
    float *bias;            /* [out], zeros without one; NULL for vectors */
    size_t bytes;
};

/* Elements of arena tensors as fp32. */
static inline float udump_reference_get(const void *data, udump_dtype dtype, size_t index) {
    if (dtype == UDUMP_F32) return ((const float *)data)[index];
    uint16_t half = ((const uint16_t *)data)[index];
    return dtype == UDUMP_BF16 ? udump_bf16_to_f32(half) : udump_f16_to_f32(half);
}
static inline void udump_reference_set(void *data, udump_dtype dtype, size_t index, float value) {
    if (dtype == UDUMP_F32) ((float *)data)[index] = value;
    else ((uint16_t *)data)[index] = dtype == UDUMP_BF16 ? udump_f32_to_bf16(value) : udump_f32_to_f16(value);
}

float udump_reference_activate(float value, udump_activation activation);

/* Scratch of count floats for each thread, in the arena: [threads, count]. Release with the mark taken before. NULL in a dry pass and after a failure. */
float *udump_reference_scratch(udump_exec *x, size_t count);

/* sums[o] = bias[o] + sum over i of row[i] * values[i, o]. */
void udump_reference_row_times(const udump_packed *w, const float *row /* [in] */, float *sums /* [out] */);

udump_packed *udump_reference_pack_conv(
    void *device, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error);
udump_packed *udump_reference_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error);
udump_packed *udump_reference_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error);
udump_packed *udump_reference_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error);
void udump_reference_packed_free(udump_packed *packed);
size_t udump_reference_packed_bytes(const udump_packed *packed);

void udump_reference_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual);
void udump_reference_linear(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual);
void udump_reference_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w);
void udump_reference_group_norm(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu, const udump_tensor *row);
void udump_reference_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps);
void udump_reference_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal);
void udump_reference_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads);
void udump_reference_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_reference_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b);
void udump_reference_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation);
void udump_reference_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which);
void udump_reference_embed_tokens(
    udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids);
void udump_reference_timestep_embedding(udump_exec *x, udump_tensor out, const float *timesteps);
void udump_reference_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients);
void udump_reference_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale);
void udump_reference_convert(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_reference_upload(udump_exec *x, udump_tensor out, const float *host);
void udump_reference_download(udump_exec *x, float *host, udump_tensor in);
void udump_reference_write(udump_exec *x, void *arena, const void *host, size_t bytes);
void udump_reference_read(udump_exec *x, void *host, const void *arena, size_t bytes);
void udump_reference_copy(udump_exec *x, void *to, const void *from, size_t bytes);
void udump_reference_attention_maps(udump_exec *x, const udump_attended *a, float *maps);
void udump_reference_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows);
void udump_reference_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy);
void udump_reference_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z);
void udump_reference_attention_components(udump_exec *x, const udump_attended *a, const float *received, float *scores);
void udump_reference_warm(udump_exec *x, const float *map, int32_t h, int32_t w, float *sums, int32_t out_h, int32_t out_w);
void udump_reference_word_map(udump_exec *x, const float *maps, int32_t heads, int32_t tokens, int64_t area, const int32_t *columns,
    int32_t count, float *map);
/* What is NaN anywhere is NaN in each field that it touches. */
void udump_reference_subtract(
    udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference);

#endif
