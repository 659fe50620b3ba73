/* Attention's inner loops, included by kernels_body.h: the softmax is kernels_softmax.h. */
#include "backend/cpu/kernels_softmax.h"

enum { PANEL = 3 * LANES };

/* c[TILE_ROWS, vectors * LANES] (+)= a[TILE_ROWS, depth] * b[depth, vectors * LANES] */
INLINE void tile(
    int vectors, size_t depth, const float *a, size_t a_stride, const float *b, size_t b_stride, float *c, size_t c_stride, bool add) {
    vf sums[TILE_ROWS][3];
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < vectors; v++) sums[r][v] = add ? load_f32(c + (size_t)r * c_stride + (size_t)v * LANES) : splat(0);
#pragma GCC unroll 4
    for (size_t k = 0; k < depth; k++) {
        vf right[3];
        for (int v = 0; v < vectors; v++) right[v] = load_f32(b + k * b_stride + (size_t)v * LANES);
        for (int r = 0; r < TILE_ROWS; r++) {
            vf left = splat(a[(size_t)r * a_stride + k]);
            for (int v = 0; v < vectors; v++) sums[r][v] += left * right[v];
        }
    }
    for (int r = 0; r < TILE_ROWS; r++)
        for (int v = 0; v < vectors; v++) store_f32(c + (size_t)r * c_stride + (size_t)v * LANES, sums[r][v]);
}

INLINE size_t attend_padded(size_t d) { return (d + LANES - 1) / LANES * LANES; }

/* Keys transposed, in panels of three vectors; then values, in rows of whole vectors. */
static size_t attend_block_floats(size_t d) { return UDUMP_ATTEND_KEYS * (d + attend_padded(d)); }

static void attend_pack(const void *k, const void *v, udump_dtype dtype, size_t stride, size_t keys, size_t d, float *packed) {
    size_t padded = attend_padded(d);
    float *packed_k = packed, *packed_v = packed + UDUMP_ATTEND_KEYS * d;
    for (size_t panel = 0; panel < keys; panel += PANEL, packed_k += PANEL * d) {
        size_t count = keys - panel < PANEL ? keys - panel : PANEL;
        for (size_t i = 0; i < PANEL; i++)
            for (size_t at = 0; at < d; at++) packed_k[at * PANEL + i] = i < count ? element(k, dtype, (panel + i) * stride + at) : 0.0f;
    }
    for (size_t i = 0; i < keys; i++)
        for (size_t at = 0; at < padded; at++) packed_v[i * padded + at] = at < d ? element(v, dtype, i * stride + at) : 0.0f;
}

/* Scores of one query to 2^(score - reference), zeros from `seen` to `keys`; their sum is added to totals [LANES]. */
INLINE void attend_weights(float *scores, size_t seen, size_t keys, float reference, float *totals) {
    size_t whole = seen / LANES * LANES, rest = seen - whole;
    vf sum = load_f32(totals);
    for (size_t i = 0; i < whole; i += LANES) {
        vf p = exp2_of(load_f32(scores + i) - reference);
        store_f32(scores + i, p);
        sum += p;
    }
    if (rest) {
        vf p = choose(first_lanes(rest), exp2_of(load_f32(scores + whole) - reference), splat(0));
        store_f32(scores + whole, p);
        sum += p;
        whole += LANES;
    }
    if (whole < keys) memset(scores + whole, 0, (keys - whole) * sizeof *scores);
    store_f32(totals, sum);
}

/* c[rows, columns] (+)= a[rows, depth] * b[depth, columns]: columns in whole vectors, and rows are made up to whole tiles. */
INLINE void tiles(size_t rows, size_t depth, const float *a, size_t a_stride, const float *b, size_t b_stride, float *c, size_t c_stride,
    size_t columns, bool add) {
    for (size_t column = 0; column < columns;) {
        size_t left = (columns - column) / LANES, take = left == 4 || left == 2 ? 2 : left < 3 ? 1 : 3;
        for (size_t r = 0; r < rows; r += TILE_ROWS) {
            const float *top = a + r * a_stride, *right = b + column;
            float *to = c + r * c_stride + column;
            if (take == 3) tile(3, depth, top, a_stride, right, b_stride, to, c_stride, add);
            else if (take == 2) tile(2, depth, top, a_stride, right, b_stride, to, c_stride, add);
            else tile(1, depth, top, a_stride, right, b_stride, to, c_stride, add);
        }
        column += take * LANES;
    }
}

static size_t attend_scratch_floats(size_t d) { return UDUMP_ATTEND_QUERIES * (d + SCORES + attend_padded(d) + 1 + LANES); }

struct attend_scratch {
    float *q;         /* [queries, d], scaled; rows up to a whole tile are zero */
    float *scores;    /* [queries, SCORES] */
    float *sums;      /* [queries, padded d] */
    float *reference; /* [queries] */
    float *totals;    /* [queries, LANES]: a total in LANES parts */
};

INLINE struct attend_scratch attend_begin(const udump_attend *job, size_t padded) {
    struct attend_scratch s = { .scores = job->scratch };
    s.sums = s.scores + UDUMP_ATTEND_QUERIES * SCORES;
    s.totals = s.sums + UDUMP_ATTEND_QUERIES * padded;
    s.q = s.totals + UDUMP_ATTEND_QUERIES * LANES;
    s.reference = s.q + UDUMP_ATTEND_QUERIES * job->d;
    float scale = 1.44269504088896341f / sqrtf((float)job->d);
    for (size_t r = 0; r < UDUMP_ATTEND_QUERIES; r++)
        for (size_t i = 0; i < job->d; i++)
            s.q[r * job->d + i] = r < job->queries ? element(job->q, job->dtype, r * job->q_stride + i) * scale : 0.0f;
    memset(s.sums, 0, UDUMP_ATTEND_QUERIES * padded * sizeof *s.sums);
    memset(s.totals, 0, UDUMP_ATTEND_QUERIES * LANES * sizeof *s.totals);
    for (size_t r = 0; r < UDUMP_ATTEND_QUERIES; r++) s.reference[r] = -INFINITY;
    return s;
}

/* One block of keys, from position `first`. */
INLINE void attend_block(
    const udump_attend *job, const struct attend_scratch *s, size_t first, size_t keys, const float *k, const float *v, size_t padded) {
    size_t rows = (job->queries + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    for (size_t panel = 0; panel < keys; panel += PANEL)
        for (size_t r = 0; r < rows; r += TILE_ROWS)
            tile(3, job->d, s->q + r * job->d, job->d, k + panel * job->d, PANEL, s->scores + r * SCORES + panel, SCORES, false);
    for (size_t r = 0; r < job->queries; r++) {
        size_t seen = attend_seen(job, r, first, keys);
        float *scores = s->scores + r * SCORES, *totals = s->totals + r * LANES;
        vf most = attend_largest(scores, seen);
        if (any(most > s->reference[r] + SLACK)) attend_rebase(s->reference + r, largest_of(most), totals, s->sums + r * padded, padded);
        attend_weights(scores, seen, keys, s->reference[r], totals);
    }
    tiles(rows, keys, s->scores, SCORES, v, padded, s->sums, padded, padded, true);
}

static void attend(const udump_attend *job) {
    size_t padded = attend_padded(job->d), reach = attend_reach(job);
    struct attend_scratch s = attend_begin(job, padded);
    const float *packed = job->packed;
    for (size_t first = 0; first < reach; first += UDUMP_ATTEND_KEYS, packed += attend_block_floats(job->d)) {
        size_t keys = job->keys - first < UDUMP_ATTEND_KEYS ? job->keys - first : UDUMP_ATTEND_KEYS;
        attend_block(job, &s, first, keys, packed, packed + UDUMP_ATTEND_KEYS * job->d, padded);
    }
    attend_finish(job, s.sums, s.totals, padded);
}
