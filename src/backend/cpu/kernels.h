/* Vectorised inner loops, compiled once for each instruction set from kernels_body.h and chosen when a device is opened. They run in
 * the calling thread. Tensors are F32 or BF16 (dtype beside the pointer); arithmetic is fp32, and a result is rounded once, when stored. */
#ifndef UDUMP_CPU_KERNELS_H
#define UDUMP_CPU_KERNELS_H

#include "backend/backend.h"

enum {
    UDUMP_ATTEND_QUERIES = 64, /* queries worked on together */
    UDUMP_ATTEND_KEYS = 192,   /* keys in a block: a multiple of three vectors in every instruction set, and its scores fit the L2 cache */
    UDUMP_ATTEND_APART = 16,   /* floats between two queries' scores: rows an odd number of cache lines apart use all of a cache's sets */
    UDUMP_MOST_GROUPS = 256    /* of a group norm */
};

/* One head's attention of up to UDUMP_ATTEND_QUERIES queries. */
typedef struct udump_attend {
    const void *q; /* [queries, d], q_stride elements apart */
    void *out;     /* [queries, d], out_stride elements apart */
    udump_dtype dtype;
    size_t q_stride, out_stride, queries, d;
    const float *packed;  /* keys and values, block after block */
    size_t keys;          /* all blocks' */
    bool causal;          /* a query sees keys up to its own position */
    size_t first_query;   /* position of query 0, for causal */
    float *scratch;       /* scratch_floats(d), aligned to a cache line */
} udump_attend;

/* A way to attend. */
typedef struct udump_attend_kernels {
    size_t (*block_floats)(size_t d);   /* of UDUMP_ATTEND_KEYS keys and values, packed: whole cache lines */
    size_t (*scratch_floats)(size_t d); /* of a thread */
    /* Packs up to UDUMP_ATTEND_KEYS keys and values of one head ([keys, d], stride elements apart). packed: aligned to a cache line. */
    void (*pack)(const void *k, const void *v, udump_dtype dtype, size_t stride, size_t keys, size_t d, float *packed);
    void (*attend)(const udump_attend *job);
} udump_attend_kernels;

/* One head's probabilities P of one panel of queries, and what is wanted of them: results that are not are NULL. */
typedef struct udump_look {
    const void *q; /* [., d], q_stride elements apart */
    udump_dtype dtype;
    size_t q_stride;
    const int32_t *chosen;   /* [queries], rows of q; NULL: the first ones */
    size_t queries, d, keys; /* queries: 1 to udump_look_queries */
    const float *k;          /* [keys in whole tiles, d] */
    float *scratch;          /* udump_look_scratch floats, aligned to a cache line */

    float *maps;        /* [keys, queries], maps_stride apart: P transposed */
    size_t maps_stride;
    float *rows;        /* [queries, keys]: P */
    float *received;    /* [keys]: the sum over queries is added */
    float *entropy;     /* [queries], in nats */
    float *mean;        /* [keys in whole tiles, udump_look_queries]: P transposed, times share, is added; zeros where there is no query */
    float share;
} udump_look;

/* y = M v and z += M^T y of one panel's rows of M. */
typedef struct udump_look_covariance {
    const float *mean; /* [keys in whole tiles, udump_look_queries]: M's rows, transposed */
    const float *v;    /* [count in whole tiles, keys]: v transposed */
    size_t queries, keys, count;
    float *y;       /* [queries, count] */
    float *z;       /* [keys in whole tiles, count in whole vectors] */
    float *scratch; /* udump_look_covariance_scratch floats */
} udump_look_covariance;

/* c (+)= a b: some rows times one panel of columns, two vectors wide. */
typedef struct udump_multiply {
    const float *const *a; /* [rows in whole multiply_rows]: where each row begins; may repeat one */
    size_t first;          /* of the row's values, the first that is used */
    const float *b;        /* [depth, panel] */
    float *c;              /* [rows in whole multiply_rows, panel], c_stride apart */
    size_t rows, depth, c_stride;
    bool add;
    const void *next; /* what will be read next: it is fetched into the L2 cache meanwhile; NULL: nothing */
    size_t next_bytes;
} udump_multiply;

/* out = activation(c + bias) (* gelu(gate + gate_bias)) (+ other) */
typedef struct udump_finish {
    const float *c; /* [rows, columns in whole panels], c_stride apart */
    size_t gate;    /* GEGLU: how far behind c the gate's sums are; 0: none */
    const float *bias, *gate_bias; /* [columns in whole panels] */
    const float *other;            /* [rows, columns], out_stride apart; may be out; NULL: none */
    float *out;
    size_t rows, columns, c_stride, out_stride;
    udump_activation activation;
} udump_finish;

/* Winograd's convolutions of 3 x 3, by tiles of m x m outputs; n = m + 2. */
enum { UDUMP_WINOGRAD_MOST = 4 };
typedef struct udump_winograd_out {
    const float *m;      /* [n * n, columns in whole vectors], m_stride apart */
    const float *bias;   /* [columns in whole vectors] */
    float *out[UDUMP_WINOGRAD_MOST * UDUMP_WINOGRAD_MOST];         /* [m * m] of [columns]; NULL: outside of the picture */
    const float *other[UDUMP_WINOGRAD_MOST * UDUMP_WINOGRAD_MOST]; /* added; NULL: none */
    size_t columns, m_stride;
} udump_winograd_out;
typedef struct udump_winograd_kernels {
    int32_t m;
    /* n x n pixels of `channels` (in whole vectors) to n * n rows, to_stride apart */
    void (*in)(const float *const *pixels /* [n * n] */, size_t channels, float *to, size_t to_stride);
    /* 3 x 3 factors for each of count pairs of channels (in whole vectors) to n x n: [9, count] to [n * n, count] */
    void (*weights)(const void *from, udump_dtype dtype, size_t count, float *to);
    void (*out)(const udump_winograd_out *job); /* a tile's sums to m x m pixels */
} udump_winograd_kernels;

typedef struct udump_kernels {
    const char *name;
    size_t lanes;         /* floats in a vector */
    size_t tile_rows;     /* rows of a matrix multiplied together, in attention */
    size_t multiply_rows; /* and in products */

    void (*convert)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count);
    void (*activate)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count, udump_activation activation);
    /* out = a - b, or its absolute value; raw: the sums before any root. */
    void (*subtract)(float *out, const void *a, udump_dtype a_dtype, const void *b, udump_dtype b_dtype, size_t count, bool absolute,
        udump_difference *raw);
    /* Every row of c values to mean 0 and variance 1, scaled and shifted. */
    void (*layer_norm)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t rows, size_t c, const float *scale,
        const float *shift, float eps);

    /* Mean, and sum of squares around it, of each group's channels of in + row over pixels (one or more). row: [c] or NULL. */
    void (*group_moments)(const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype, size_t pixels, size_t c,
        size_t groups, double *mean, double *squares);
    /* (in + row - mean) * inverse * scale + shift, then SiLU if silu. mean, inverse: [groups]. */
    void (*group_apply)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype,
        size_t pixels, size_t c, size_t groups, const float *mean, const float *inverse, const float *scale, const float *shift, bool silu);

    udump_attend_kernels attention;

    void (*multiply)(const udump_multiply *job);
    void (*finish)(const udump_finish *job);
    /* count values of any dtype, in whole vectors, as fp32 */
    void (*unpack)(float *to, const void *from, udump_dtype dtype, size_t count);
    /* To dtype, rounded to nearest even. Whether every value is kept, bit for bit. */
    bool (*narrow)(void *to, udump_dtype dtype, const float *from, size_t count);
    void (*look)(const udump_look *job);
    void (*look_covariance)(const udump_look_covariance *job);
    udump_winograd_kernels winograd_2, winograd_4;
} udump_kernels;

/* The best that this CPU runs. */
const udump_kernels *udump_kernels_best(void);

/* Each instruction set's, or NULL where this CPU (or this build) lacks it. */
const udump_kernels *udump_kernels_generic(void);
const udump_kernels *udump_kernels_avx2(void);
const udump_kernels *udump_kernels_avx512(void);

/* Attention of BF16 tensors on AMX's tiles; NULL where this CPU, this build or the kernel has none. */
const udump_attend_kernels *udump_attend_amx(void);

/* Columns in a panel of weights. */
static inline size_t udump_panel_width(const udump_kernels *kernels) { return 2 * kernels->lanes; }

/* Columns in whole vectors. */
static inline size_t udump_in_vectors(const udump_kernels *kernels, size_t columns) {
    return (columns + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
}

/* Rows in whole tiles. */
static inline size_t udump_tiled(const udump_kernels *kernels, size_t rows) {
    return (rows + kernels->tile_rows - 1) / kernels->tile_rows * kernels->tile_rows;
}

/* Queries in a panel. */
static inline size_t udump_look_queries(const udump_kernels *kernels) { return 3 * kernels->lanes; }

/* Scaled queries, and the panel's probabilities. */
static inline size_t udump_look_scratch(const udump_kernels *kernels, size_t d, size_t keys) {
    return udump_look_queries(kernels) * (d + udump_tiled(kernels, keys));
}

/* The panel's y, and its transpose. */
static inline size_t udump_look_covariance_scratch(const udump_kernels *kernels, size_t count) {
    return udump_look_queries(kernels) * (udump_tiled(kernels, count) + udump_in_vectors(kernels, count));
}

#endif
