/* Vectorised inner loops, compiled once for each instruction set from kernels_body.h and chosen when a device is opened. They run in
 * the calling thread. Tensors are F32 or BF16 (dtype beside the pointer); arithmetic is fp32, and a result is rounded once, when stored. */
#ifndef UDUMP_CPU_KERNELS_H
#define UDUMP_CPU_KERNELS_H

#include "backend/backend.h"

enum {
    UDUMP_ATTEND_QUERIES = 64, /* queries worked on together */
    UDUMP_ATTEND_KEYS = 192,   /* keys in a block: a multiple of three vectors in every instruction set, and its scores fit the L2 cache */
    UDUMP_MOST_GROUPS = 256    /* of a group norm */
};

/* One head's attention of up to UDUMP_ATTEND_QUERIES queries. */
typedef struct udump_attend {
    const void *q; /* [queries, d], q_stride elements apart */
    void *out;     /* [queries, d], out_stride elements apart */
    udump_dtype dtype;
    size_t q_stride, out_stride, queries, d;
    const float *k, *v;   /* packed by attend_pack, block after block */
    size_t keys;          /* all blocks' */
    bool causal;          /* a query sees keys up to its own position */
    size_t first_query;   /* position of query 0, for causal */
    float *scratch;       /* attend_scratch(d) floats, aligned to a cache line */
} udump_attend;

typedef struct udump_kernels {
    const char *name;
    size_t lanes; /* floats in a vector */

    void (*convert)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count);
    void (*activate)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count, udump_activation activation);
    /* Every row of c values to mean 0 and variance 1, scaled and shifted. */
    void (*layer_norm)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t rows, size_t c, const float *scale,
        const float *shift, float eps);

    /* Mean, and sum of squares around it, of each group's channels of in + row over pixels (one or more). row: [c] or NULL. */
    void (*group_moments)(const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype, size_t pixels, size_t c,
        size_t groups, double *mean, double *squares);
    /* (in + row - mean) * inverse * scale + shift, then SiLU if silu. mean, inverse: [groups]. */
    void (*group_apply)(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype,
        size_t pixels, size_t c, size_t groups, const float *mean, const float *inverse, const float *scale, const float *shift, bool silu);

    /* Packs up to UDUMP_ATTEND_KEYS keys and values of one head ([keys, d], stride elements apart): k transposed into panels of three
     * vectors, v with rows padded to whole vectors. packed_k: UDUMP_ATTEND_KEYS * d floats, packed_v: UDUMP_ATTEND_KEYS * padded d. */
    void (*attend_pack)(
        const void *k, const void *v, udump_dtype dtype, size_t stride, size_t keys, size_t d, float *packed_k, float *packed_v);
    void (*attend)(const udump_attend *job);
} udump_kernels;

/* The best that this CPU runs. */
const udump_kernels *udump_kernels_best(void);

/* Each instruction set's, or NULL where this CPU (or this build) lacks it. */
const udump_kernels *udump_kernels_generic(void);
const udump_kernels *udump_kernels_avx2(void);
const udump_kernels *udump_kernels_avx512(void);

/* Elements in a row of v as attend_pack pads it. */
static inline size_t udump_attend_padded(const udump_kernels *kernels, size_t d) {
    return (d + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
}

/* Floats of scratch that attend wants: scaled queries, scores, sums, and each query's maximum and total. */
static inline size_t udump_attend_scratch(const udump_kernels *kernels, size_t d) {
    return UDUMP_ATTEND_QUERIES * (d + UDUMP_ATTEND_KEYS + udump_attend_padded(kernels, d) + 2);
}

#endif
