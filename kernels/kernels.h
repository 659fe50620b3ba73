/* The kernels' launchers. Plain C: sizes, device pointers, a stream; nothing waits, and what a launch reports is found with cudaGetLastError.
 * Pointers are to device memory unless they say otherwise. Activations are channels last; dtype is a udump_kernel_dtype.
 * Formulas: src/backend/reference, which every kernel is checked against (tests/emulation on the CPU, tests/device on a GPU). */
#ifndef UDUMP_KERNELS_KERNELS_H
#define UDUMP_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "backend/style.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st *udump_stream; /* cudaStream_t */

enum udump_kernel_dtype { UDUMP_KERNEL_F32, UDUMP_KERNEL_F16, UDUMP_KERNEL_BF16 };
enum udump_kernel_activation { UDUMP_KERNEL_NONE, UDUMP_KERNEL_SILU, UDUMP_KERNEL_GELU, UDUMP_KERNEL_QUICK_GELU };
enum {
    UDUMP_KERNEL_TERMS_MOST = 16, /* of a linear combination */
    UDUMP_KERNEL_PIECES_MOST = 128, /* copied by one launch */
    UDUMP_KERNEL_HEAD_MOST = 512, /* channels of a head */
    UDUMP_KERNEL_TILED_HEAD_MOST = 160, /* ..., that the matrix units attend with */
    UDUMP_KERNEL_LOOK_HEAD_MOST = 160, /* ..., to look at */
    UDUMP_KERNEL_LOOK_COLUMNS_MOST = 16, /* of the covariance's v */
    UDUMP_KERNEL_TILE_PIXELS_MOST = 1 << 30 /* of a tile whose range is found */
};

/* ---- elementwise */
void udump_kernel_convert(void *out, int out_dtype, const void *in, int in_dtype, int64_t count, udump_stream stream);
/* out may be in; the activations of the reference backend */
void udump_kernel_activation(void *out, const void *in, int dtype, int64_t count, int activation, udump_stream stream);
/* out [rows, c] = value * gelu(gate), both in [rows, 2 * c], value first */
void udump_kernel_geglu(void *out, const void *in, int dtype, int64_t rows, int c, udump_stream stream);
/* out += residual */
void udump_kernel_add(void *out, const void *residual, int dtype, int64_t count, udump_stream stream);
typedef struct udump_kernel_terms {
    const float *in[UDUMP_KERNEL_TERMS_MOST];
    float coefficients[UDUMP_KERNEL_TERMS_MOST];
    int count;
} udump_kernel_terms;
void udump_kernel_linear_combination(float *out, const udump_kernel_terms *terms /* host */, int64_t count, udump_stream stream);
/* out = uncond + (cond - uncond) * scale, in: cond [count], then uncond */
void udump_kernel_cfg_combine(void *out, int out_dtype, const void *in, int in_dtype, int64_t count, float scale, udump_stream stream);

/* ---- moving. bytes: of a pixel, all channels; 2 at least */
void udump_kernel_upsample_nearest(void *out, const void *in, int n, int in_h, int in_w, int out_h, int out_w, int bytes, udump_stream stream);
void udump_kernel_concat_channels(void *out, const void *a, int a_bytes, const void *b, int b_bytes, int64_t pixels, udump_stream stream);
/* Pieces of memory, each of whole `bytes`, 2 at least, that no other one overlaps. */
typedef struct udump_kernel_pieces {
    void *to[UDUMP_KERNEL_PIECES_MOST];
    const void *from[UDUMP_KERNEL_PIECES_MOST];
    int bytes[UDUMP_KERNEL_PIECES_MOST];
    int count;
} udump_kernel_pieces;
void udump_kernel_copy_pieces(const udump_kernel_pieces *pieces /* host */, udump_stream stream);

/* ---- text and time */
void udump_kernel_embed_tokens(void *out, int dtype, const float *tokens, const float *positions, const int32_t *ids, int64_t count, int length,
    int c, udump_stream stream);
void udump_kernel_timestep_embedding(void *out, int dtype, const float *timesteps, int count, int c, udump_stream stream);

/* ---- norms. row: [1 or n, c] added first, or NULL; w: [2, c] scale, shift. out may be in. */
/* scratch: udump_kernel_group_norm_scratch_bytes */
size_t udump_kernel_group_norm_scratch_bytes(int n, int64_t pixels, int c, int dtype, int groups);
void udump_kernel_group_norm(void *out, const void *in, int dtype, const float *w, const void *row, int row_each /* 0: one row for all */, int n,
    int64_t pixels, int c, int groups, float eps, int silu, void *scratch, udump_stream stream);
void udump_kernel_layer_norm(void *out, const void *in, int dtype, const float *w, int64_t rows, int c, float eps, udump_stream stream);

/* ---- convolution of any shape, by the definition: for what the vendor's library is not there for, or has no engine for.
 * weight: [kernel, kernel, in, out]; bias: [out]; all of dtype; residual: like out, or NULL */
typedef struct udump_kernel_conv {
    int n, in_h, in_w, in_c, out_h, out_w, out_c, kernel, stride, pad_begin;
} udump_kernel_conv;
void udump_kernel_convolution(void *out, const void *in, int dtype, const void *weight, const void *bias, const void *residual,
    const udump_kernel_conv *conv /* host */, udump_stream stream);

/* ---- weights. in: fp32, [rows, c, taps]; out, in dtype: [rows, taps, c], or, if all_rows is not 0, the rows' places in [taps, c, all_rows].
 * rows * c * taps below 2^31 */
void udump_kernel_pack_weights(void *out, int dtype, const float *in, int rows, int c, int taps, int all_rows, udump_stream stream);

/* ---- attention. Elements from one token to the next: q_row, kv_row, out_row; head h's columns begin at h * d. */
typedef struct udump_kernel_attention_shape {
    int n, heads, d, queries; /* each row of the batch has as many queries */
    int64_t q_row, kv_row, out_row;
    int causal;
    int keys;                             /* of every row, from token row * keys of k on; 0: first and count say which */
    const int *first, *count;             /* [n], device */
} udump_kernel_attention_shape;
/* out: [rows, columns] in dtype; in: fp32; row: elements from one row to the next, of both, a multiple of 4. out may be in, if dtype is fp32. */
void udump_kernel_softmax(void *out, int dtype, const float *in, int64_t rows, int columns, int64_t row, udump_stream stream);
/* d up to UDUMP_KERNEL_HEAD_MOST */
void udump_kernel_attention(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape /* host */,
    udump_stream stream);

/* ---- looking at attention: one row of the batch. d up to UDUMP_KERNEL_LOOK_HEAD_MOST */
typedef struct udump_kernel_attended {
    const void *q, *k;
    int dtype;
    int64_t q_stride, k_stride;
    int heads, d, queries, keys;
} udump_kernel_attended;
void udump_kernel_attention_maps(float *maps /* [heads, keys, queries] */, const udump_kernel_attended *a /* host */, udump_stream stream);
void udump_kernel_attention_rows(
    float *rows /* [heads, count, keys] */, const int32_t *chosen /* [count] */, int count, const udump_kernel_attended *a, udump_stream stream);
/* logs: scratch, [heads, queries] */
void udump_kernel_attention_summary(float *received, float *entropy, float *logs, const udump_kernel_attended *a, udump_stream stream);
size_t udump_kernel_attention_covariance_scratch_bytes(const udump_kernel_attended *a, int count);
void udump_kernel_attention_covariance(float *y /* [queries, count] */, float *z /* [keys, count] */, const float *v /* [keys, count] */, int count,
    float *scratch, const udump_kernel_attended *a, udump_stream stream);
size_t udump_kernel_attention_components_scratch_bytes(const udump_kernel_attended *a);
void udump_kernel_attention_components(float *scores /* [3, keys] */, const float *received /* [heads, keys] */, void *scratch, const udump_kernel_attended *a,
    udump_stream stream);
/* map[i] = sum over heads and over the listed columns of maps[head, column, i], divided by heads */
void udump_kernel_word_map(float *map /* [area] */, const float *maps /* [heads, tokens, area] */, int heads, int tokens, int64_t area,
    const int32_t *columns /* [count] */, int count, udump_stream stream);
/* sums += what is above 0 of the map, resized */
void udump_kernel_warm(float *sums, int out_h, int out_w, const float *map, int h, int w, udump_stream stream);

/* ---- differences. sums: [5] l2, |a|, |b|, dot, max; scratch: udump_kernel_subtract_scratch_bytes */
size_t udump_kernel_subtract_scratch_bytes(void);
void udump_kernel_subtract(float *out, const void *a, int a_dtype, const void *b, int b_dtype, int64_t count, int absolute, double *sums,
    double *scratch, udump_stream stream);

/* ---- tiles */
typedef struct udump_kernel_tiles {
    const void *data;
    int dtype;
    int count, h, w;
    int64_t stride_tile, stride_y, stride_x;
} udump_kernel_tiles;
typedef struct udump_kernel_range {
    float lo, hi;
    int32_t finite;
} udump_kernel_range;
typedef struct udump_kernel_grid {
    int columns, rows, tile_w, tile_h, channels;
} udump_kernel_grid;
size_t udump_kernel_tile_reduce_scratch_bytes(const udump_kernel_tiles *t);
void udump_kernel_tile_reduce(udump_kernel_range *ranges, const udump_kernel_tiles *tiles /* host */, void *scratch, udump_stream stream);
/* every finite tile's range becomes that of all finite ones */
void udump_kernel_tile_join(udump_kernel_range *ranges, int count, udump_stream stream);
/* kind: udump_average of the public header */
void udump_kernel_tile_average(float *average, const udump_kernel_tiles *tiles, int kind, udump_stream stream);
void udump_kernel_tile_colour(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, const udump_style_program *style,
    const udump_kernel_grid *grid, udump_stream stream);
/* three tiles, each from its lowest value to its highest, as red, green and blue */
void udump_kernel_tile_rgb(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, udump_stream stream);

#ifdef __cplusplus
}
#endif
#endif
