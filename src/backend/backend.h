/* The operation vocabulary: what a device must do. One struct of functions; the reference backend fills it with plain C, another
 * backend starts from that and overrides what it does better.
 *
 * Model code does not call these: it calls ops.h, which allocates the result, checks shapes, stops after the first failure and
 * after a cancel, and then calls here. So an operation here may take its arguments for granted.
 *
 * Layout: activations are channels-last: [n, h, w, c] and [batch, tokens, c] are the same bytes. Only packed weights are opaque.
 * Errors: operations return nothing; a failure is recorded with udump_exec_fail and sticks.
 * Dry pass: with exec->dry set there is no memory behind tensors. Only operations that keep plans or need scratch are called then
 * (conv2d, linear, linear_geglu, attention, attention_cross, attention_maps and its neighbours, warm); they make their plans and reserve scratch, and touch no data. */
#ifndef UDUMP_BACKEND_BACKEND_H
#define UDUMP_BACKEND_BACKEND_H

#include <stdbool.h>

#include "backend/style.h"
#include "tensor/view.h"

/* A tensor in the activation arena: an offset and a shape; the address is known only while running. */
typedef struct udump_tensor {
    size_t offset_bytes;
    int32_t n, h, w, c; /* [batch, height, width, channels]; tokens: h * w */
    udump_dtype dtype;  /* the run's compute precision, or F32 for latents and noise */
} udump_tensor;

/* A weight in the device's own layout. */
typedef struct udump_packed udump_packed;

typedef struct udump_conv_shape {
    int32_t in, out, kernel, stride; /* channels; square kernel */
    int32_t pad_begin, pad_end;      /* rows above and columns left; rows below and columns right */
    int32_t n, h, w;                 /* a representative input, for which the weight is laid out */
} udump_conv_shape;

typedef struct udump_linear_part { /* several parts are merged along their outputs: Q, K, V; GEGLU's halves */
    const float *weight;           /* [out, in] */
    const float *bias;             /* [out], or NULL */
    int32_t out;
} udump_linear_part;

typedef enum udump_activation {
    UDUMP_ACTIVATION_NONE,
    UDUMP_ACTIVATION_SILU,       /* x * sigmoid(x) */
    UDUMP_ACTIVATION_GELU,       /* exact: x * (1 + erf(x / sqrt 2)) / 2 */
    UDUMP_ACTIVATION_QUICK_GELU  /* x * sigmoid(1.702 x): CLIP's */
} udump_activation;

/* K and V of one attention layer for all contexts, and which tokens of them each row of the batch attends to. */
typedef struct udump_kv {
    udump_tensor kv;      /* [1, all contexts' tokens, 1, 2 * c]: K's channels, then V's */
    const int32_t *first; /* [rows]; the arena's, as count: what is there may change while this stays. Not looked at in a dry pass */
    const int32_t *count; /* [rows] */
} udump_kv;

typedef struct udump_exec udump_exec;

/* Tiles to look at: `count` tiles of h x w, anywhere the device can read, any strides (elements). */
typedef struct udump_tiles {
    const void *data;
    udump_dtype dtype;
    int32_t count, h, w;
    int64_t stride_tile, stride_y, stride_x;
} udump_tiles;

typedef struct udump_tile_range {
    float lo, hi;
    int32_t finite; /* 0: the tile has a NaN or an infinity */
} udump_tile_range;

/* One row of a batch's attention, to be looked at: Q and K anywhere the device can read. Head h's columns begin at h * d. */
typedef struct udump_attended {
    const void *q, *k; /* [queries, heads * d], [keys, heads * d] */
    udump_dtype dtype;
    int64_t q_stride, k_stride; /* elements from one token to the next */
    int32_t heads, d, queries, keys;
} udump_attended;

enum { UDUMP_COMPONENTS = 3 };

/* How two tensors differ, and what of them that is relative to. Sums in double. */
typedef struct udump_difference {
    double l2;             /* |a - b| */
    double a_l2, b_l2;     /* |a|, |b| */
    double dot;            /* a . b */
    double max;            /* most |a_i - b_i| */
} udump_difference;

/* Where tiles go in a picture: row by row, one black pixel between tiles. */
typedef struct udump_grid {
    int32_t columns, rows;
    int32_t tile_w, tile_h;
    int32_t channels; /* bytes a pixel: 1 or 3 */
} udump_grid;

typedef struct udump_device_request {
    int32_t threads;
    udump_dtype compute;
    int32_t ordinal;           /* which of several devices */
    const char *library_path;  /* folder of the device's libraries, or NULL: wherever the system finds them */
    bool eager;                /* no graphs: operations one by one */
    const char *plan_cache;    /* as in udump_model_options */
} udump_device_request;

/* A moment in a session's work: what was asked for before it. */
typedef int64_t udump_ticket;

typedef struct udump_backend {
    const char *name;
    /* Whether the arena is memory that the host can read and write. If not, fetch, mark and await are there, and operations only begin
     * when they are called: host memory that they are given is read before they return. */
    bool host_memory;

    /* Devices: opened once for a model, shared by its sessions; packing is done by one thread. */
    udump_status (*device_open)(const udump_device_request *request, void **device, udump_error *error);
    void (*device_close)(void *device);
    /* What it could do faster, and for want of what; known once a weight is packed. NULL: nothing; the function too. */
    const char *(*device_lacks)(void *device);
    void *(*memory_alloc)(void *device, size_t bytes); /* NULL without memory */
    void (*memory_free)(void *device, void *memory);
    /* What is left of the device's memory, and all of it. NULL where memory is the host's, whose system knows no such limit. */
    bool (*memory_left)(void *device, size_t *free_bytes, size_t *total_bytes);
    /* Makes the device (NULL: none yet) the calling thread's current one; what it had before (NULL: none), which leave gives it back: current.h. Both NULL where
     * threads have no such thing. */
    void *(*enter)(void *device);
    void (*leave)(void *before);
    /* Host memory, of the kind that crosses to the device fastest. */
    void *(*host_alloc)(void *device, size_t bytes); /* NULL without memory */
    void (*host_free)(void *device, void *memory);

    /* Packing. NULL without memory or where the device's library fails (error says which). Sources are fp32 and the caller's. */
    udump_packed *(*pack_conv)(
        void *device, const udump_conv_shape *shape, const float *weight /* [out, in, k, k] */, const float *bias, udump_error *error);
    /* rows: a representative number of rows, for which the weight is laid out */
    udump_packed *(*pack_linear)(
        void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error);
    /* geglu: part 0 is the value, part 1 the gate */
    udump_packed *(*pack_geglu)(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error);
    /* norms: [2, c] scale, shift; embeddings: [rows, c] */
    udump_packed *(*pack_vectors)(void *device, int32_t rows, int32_t c, const float *values, udump_error *error);
    void (*packed_free)(udump_packed *packed);
    size_t (*packed_bytes)(const udump_packed *packed);

    /* A session's state (plans, streams) in exec->state. */
    udump_status (*exec_open)(udump_exec *x, udump_error *error);
    void (*exec_close)(udump_exec *x);

    /* Network. out may alias residual, of a convolution where memory is the host's; never in (but group_norm, layer_norm and activation may run in place). */
    void (*conv2d)(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual);
    /* The same, of a size that it keeps, of in upsampled to it as by upsample_nearest. NULL: one after the other. */
    void (*conv2d_upsampled)(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w);
    void (*linear)(
        udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual);
    void (*linear_geglu)(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w); /* value * gelu(gate) */
    /* in + row (a [1, 1, 1, c] or [n, 1, 1, c] vector; NULL: none), normalised over groups, scaled, shifted, then SiLU if silu */
    void (*group_norm)(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu,
        const udump_tensor *row);
    void (*layer_norm)(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps);
    void (*attention)(udump_exec *x, udump_tensor out, udump_tensor qkv /* [n, h, w, 3 * c] */, int32_t heads, bool causal);
    void (*attention_cross)(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads);
    void (*upsample_nearest)(udump_exec *x, udump_tensor out, udump_tensor in); /* to out's h, w: source = floor(i * in / out) */
    void (*concat_channels)(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b);
    void (*activation)(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation);
    /* Row r of out[i] becomes row first + which[i][r] of in[i]; with which NULL row first. */
    void (*gather_rows)(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first,
        const int32_t *const *which /* host, [count] of [rows] */);

    /* Text and time. */
    void (*embed_tokens)(udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions,
        const int32_t *ids /* [n * h * w], host */);
    /* out: [count, 1, 1, c]: cos of t * 10000^(-i / (c/2)), then sin (flip_sin_to_cos, no shift: as SD) */
    void (*timestep_embedding)(udump_exec *x, udump_tensor out, const float *timesteps /* [out.n], host */);

    /* Sampling, on F32 tensors of any (equal) shape. */
    void (*linear_combination)(
        udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients /* host */);
    void (*cfg_combine)(udump_exec *x, udump_tensor out, udump_tensor cond_uncond /* [2 * out.n, ...]: cond rows first */, float scale);
    void (*convert)(udump_exec *x, udump_tensor out, udump_tensor in); /* between dtypes; equal shapes */

    /* Moving between host and device: fp32, C order, udump_tensor_count values. download waits for what came before. */
    void (*upload)(udump_exec *x, udump_tensor out, const float *host);
    void (*download)(udump_exec *x, float *host, udump_tensor in);

    /* Bytes between host and arena, and within the arena. read waits for what came before. */
    void (*write)(udump_exec *x, void *arena, const void *host, size_t bytes);
    void (*read)(udump_exec *x, void *host, const void *arena, size_t bytes);
    void (*copy)(udump_exec *x, void *to, const void *from, size_t bytes);
    /* fetch: as read, into memory of host_alloc, but only begins; the bytes are there, and may be overwritten in the arena, after await. */
    udump_ticket (*fetch)(udump_exec *x, void *host, const void *arena, size_t bytes);
    udump_ticket (*mark)(udump_exec *x);
    void (*await)(udump_exec *x, udump_ticket ticket);
    /* Graphs: between begin and end operations run not, but are written down; launched, a graph runs them again as one, with what is then in memory. NULL
     * where that would save nothing. Operations that move bytes between host and device, or wait, have no place in one. */
    bool (*graph_begin)(udump_exec *x);                /* false where it cannot be */
    void *(*graph_end)(udump_exec *x);                 /* NULL where something could not be written down; whatever that was has not run either */
    void (*graph_launch)(udump_exec *x, void *graph);
    void (*graph_free)(udump_exec *x, void *graph);
    /* What comes from now on comes after what is in somebody else's stream of the same device. NULL where the backend works at once. */
    void (*follow)(udump_exec *x, void *stream);

    /* Looking at attention: P = softmax(Q K^T / sqrt(d)) over the keys, of each head; fp32. These too are called in a dry pass, to
     * reserve scratch. P is never whole in memory but where the result is P itself. */
    /* Every key's map: P transposed. */
    void (*attention_maps)(udump_exec *x, const udump_attended *a, float *maps /* [heads, keys, queries] */);
    /* P's rows of the chosen queries. */
    void (*attention_rows)(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen /* [count], arena */,
        float *rows /* [heads, count, keys] */);
    /* received: the mean of P over its queries; entropy: of each query's row, in nats. */
    void (*attention_summary)(
        udump_exec *x, const udump_attended *a, float *received /* [heads, keys] */, float *entropy /* [heads, queries] */);
    /* With M the mean of P over the heads: y = M v and z = M^T y. */
    void (*attention_covariance)(udump_exec *x, const udump_attended *a, int32_t count, const float *v /* [keys, count] */,
        float *y /* [queries, count] */, float *z /* [keys, count] */);
    /* Queries are keys. With M as above and mu the mean of its rows, the scores (M - mu) v of all queries on the map's first principal components v: the
     * eigenvectors of (M - mu)^T (M - mu) with the largest eigenvalues. Signs are such that each component's largest score in magnitude is positive.
     * Where the map has fewer components, 0. */
    void (*attention_components)(udump_exec *x, const udump_attended *a, const float *received /* [heads, keys], of attention_summary */,
        float *scores /* [UDUMP_COMPONENTS, queries] */);

    /* map[i] = sum over the heads and the listed columns of maps[head, column, i], divided by heads. */
    void (*word_map)(udump_exec *x, const float *maps /* [heads, tokens, area] */, int32_t heads, int32_t tokens, int64_t area,
        const int32_t *columns /* [count], arena */, int32_t count, float *map /* [area] */);
    /* sums += what is above 0 of the map, resized (tensor/resize.h). */
    void (*warm)(udump_exec *x, const float *map /* [h, w] */, int32_t h, int32_t w, float *sums /* [out_h, out_w] */, int32_t out_h, int32_t out_w);

    /* out = a - b, or its absolute value; all of one shape, out F32, a and b of any dtype. Fills difference. */
    void (*subtract)(
        udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference /* arena */);

    /* Tiles. All memory is the arena's. */
    void (*tile_reduce)(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges /* [count] */);
    /* Every finite tile's range becomes that of all finite ones. */
    void (*tile_join)(udump_exec *x, udump_tile_range *ranges /* [count] */, int32_t count);
    void (*tile_average)(udump_exec *x, const udump_tiles *tiles, udump_average kind, float *average /* [h, w] */);
    void (*tile_colour)(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style,
        const udump_grid *grid, uint8_t *pixels);
    /* Three F32 tiles as red, green and blue, each from its lowest value to its highest. */
    void (*tile_rgb)(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, uint8_t *pixels /* [h, w, 3] */);
} udump_backend;

/* Filled with plain C. */
const udump_backend *udump_backend_reference(void);
#ifndef UDUMP_PLAIN_THREADS
/* Our own kernels and oneDNN. */
const udump_backend *udump_backend_cpu(void);
/* Whether this CPU multiplies bf16 matrices natively, so that bf16 pays. */
bool udump_backend_cpu_has_bf16(void);
#endif

#endif
