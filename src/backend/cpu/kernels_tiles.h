/* Attention of BF16 tensors on matrix tiles of 16 rows of 64 bytes: a tile of 16 x 16 sums takes one of 16 rows by 32 bf16 on the left, and on the right
 * one of 32 by 16 as 16 rows of pairs. Products are exact and sums fp32; weights are rounded to bf16 before they multiply values.
 * Whoever includes it says what TILES_OPEN, TILES_CLOSE, TILE_ZERO, TILE_LOAD, TILE_STORE and TILE_MULTIPLY do (kernels_amx.c: AMX's instructions; the tests:
 * plain C), and has LANES 16. */
#include "backend/cpu/kernels_vectors.h"
#include "backend/cpu/kernels_softmax.h"

enum {
    SIDE = 16,                         /* rows of a tile, columns of sums */
    PAIR = 32,                         /* bf16 in a row: channels or keys that one multiplication takes */
    TILE = SIDE * PAIR,                /* bf16 in a tile */
    WEIGHTS = UDUMP_ATTEND_KEYS + PAIR /* bf16 from a query's weights to the next one's: an odd number of cache lines */
};
_Static_assert(UDUMP_ATTEND_KEYS % PAIR == 0 && UDUMP_ATTEND_QUERIES % (2 * SIDE) == 0 && LANES == SIDE, "whole tiles");

static inline size_t in_whole(size_t count, size_t unit) { return (count + unit - 1) / unit; }

/* c [32, 32, or 16 if narrow] (+)= a [32, steps * PAIR] b: a by rows; b by tiles, b_step from one that is summed to the next, b_column from one column of tiles
 * to the next. */
INLINE void tiles_multiply(
    bool narrow, size_t steps, const uint16_t *a, size_t a_stride, const uint16_t *b, size_t b_step, size_t b_column, float *c, size_t c_stride, bool add) {
    float *lower = c + SIDE * c_stride;
    if (add) {
        TILE_LOAD(0, c, c_stride * sizeof *c);
        TILE_LOAD(2, lower, c_stride * sizeof *c);
        if (!narrow) TILE_LOAD(1, c + SIDE, c_stride * sizeof *c);
        if (!narrow) TILE_LOAD(3, lower + SIDE, c_stride * sizeof *c);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (size_t s = 0; s < steps; s++, a += PAIR, b += b_step) {
        TILE_LOAD(4, a, a_stride * sizeof *a);
        TILE_LOAD(6, b, PAIR * sizeof *b);
        TILE_MULTIPLY(0, 4, 6);
        TILE_LOAD(5, a + SIDE * a_stride, a_stride * sizeof *a);
        TILE_MULTIPLY(2, 5, 6);
        if (narrow) continue;
        TILE_LOAD(7, b + b_column, PAIR * sizeof *b);
        TILE_MULTIPLY(1, 4, 7);
        TILE_MULTIPLY(3, 5, 7);
    }
    TILE_STORE(0, c, c_stride * sizeof *c);
    TILE_STORE(2, lower, c_stride * sizeof *c);
    if (!narrow) TILE_STORE(1, c + SIDE, c_stride * sizeof *c);
    if (!narrow) TILE_STORE(3, lower + SIDE, c_stride * sizeof *c);
}

/* Keys: for each SIDE of them a tile for each PAIR of channels. Then values: for each PAIR of keys a tile for each SIDE of channels. */
static size_t tiles_block_floats(size_t d) {
    return (UDUMP_ATTEND_KEYS / SIDE * in_whole(d, PAIR) + UDUMP_ATTEND_KEYS / PAIR * in_whole(d, SIDE)) * TILE / 2;
}
static size_t tiles_of_keys(size_t d) { return UDUMP_ATTEND_KEYS / SIDE * in_whole(d, PAIR); }

/* One tile on the right: row r has, column by column, elements 2 r and 2 r + 1 of PAIR, of which `depth` are there, in `columns` columns. */
INLINE void pack_tile(uint16_t *tile, const uint16_t *from, size_t pair_stride, size_t column_stride, size_t depth, size_t columns) {
    if (depth < PAIR || columns < SIDE) memset(tile, 0, TILE * sizeof *tile);
    for (size_t k = 0; k < depth && k < PAIR; k++)
        for (size_t j = 0; j < columns && j < SIDE; j++) tile[(k / 2 * SIDE + j) * 2 + k % 2] = from[k * pair_stride + j * column_stride];
}

static void tiles_pack(const void *k, const void *v, udump_dtype dtype, size_t stride, size_t keys, size_t d, float *packed) {
    const uint16_t *from_k = k, *from_v = v;
    uint16_t *to_k = (uint16_t *)packed, *to_v = to_k + tiles_of_keys(d) * TILE;
    (void)dtype;
    for (size_t key = 0; key < in_whole(keys, PAIR) * PAIR; key += SIDE)
        for (size_t at = 0; at < d; at += PAIR, to_k += TILE)
            pack_tile(to_k, from_k + key * stride + at, 1, stride, d - at, key < keys ? keys - key : 0);
    for (size_t key = 0; key < keys; key += PAIR)
        for (size_t at = 0; at < d; at += SIDE, to_v += TILE) pack_tile(to_v, from_v + key * stride + at, stride, 1, keys - key, d - at);
}

struct tiles_scratch {
    uint16_t *q;       /* [queries, d in whole PAIRs] */
    float *scores;     /* [queries, SCORES] */
    uint16_t *weights; /* [queries, WEIGHTS] */
    float *sums;       /* [queries, d in whole vectors] */
    float *totals;     /* [queries, LANES] */
    float *reference;  /* [queries] */
    float scale;       /* of scores */
};

static size_t tiles_scratch_floats(size_t d) {
    return UDUMP_ATTEND_QUERIES * (in_whole(d, PAIR) * PAIR / 2 + SCORES + WEIGHTS / 2 + in_whole(d, LANES) * LANES + LANES + 1);
}

INLINE struct tiles_scratch tiles_begin(const udump_attend *job, size_t steps, size_t padded) {
    struct tiles_scratch s = { .scores = job->scratch, .scale = 1.44269504088896341f / sqrtf((float)job->d) };
    s.sums = s.scores + UDUMP_ATTEND_QUERIES * SCORES;
    s.totals = s.sums + UDUMP_ATTEND_QUERIES * padded;
    s.q = (uint16_t *)(s.totals + UDUMP_ATTEND_QUERIES * LANES);
    s.weights = s.q + UDUMP_ATTEND_QUERIES * steps * PAIR;
    s.reference = (float *)(s.weights + UDUMP_ATTEND_QUERIES * WEIGHTS);
    memset(s.sums, 0, (size_t)((char *)s.reference - (char *)s.sums));
    for (size_t r = 0; r < job->queries; r++) memcpy(s.q + r * steps * PAIR, (const uint16_t *)job->q + r * job->q_stride, job->d * sizeof *s.q);
    for (size_t r = 0; r < UDUMP_ATTEND_QUERIES; r++) s.reference[r] = -INFINITY;
    return s;
}

/* 2^(score * scale - reference) of one query, rounded to bf16, zeros from `seen` to `keys`; the sum of what was not rounded is added to totals [LANES]. */
INLINE void tiles_weights(const float *scores, uint16_t *weights, size_t seen, size_t keys, float scale, float reference, float *totals) {
    size_t whole = seen / LANES * LANES, rest = seen - whole;
    vf sum = load_f32(totals);
    for (size_t i = 0; i < whole; i += LANES) {
        vf p = exp2_of(load_f32(scores + i) * scale - reference);
        store(weights, UDUMP_BF16, i, p);
        sum += p;
    }
    if (rest) {
        vf p = choose(first_lanes(rest), exp2_of(load_f32(scores + whole) * scale - reference), splat(0));
        store(weights, UDUMP_BF16, whole, p);
        sum += p;
        whole += LANES;
    }
    if (whole < keys) memset(weights + whole, 0, (keys - whole) * sizeof *weights);
    store_f32(totals, sum);
}

/* One block of keys, from position `first`. */
INLINE void tiles_block(const udump_attend *job, const struct tiles_scratch *s, size_t first, size_t keys, const uint16_t *k, size_t padded) {
    const uint16_t *v = k + tiles_of_keys(job->d) * TILE;
    size_t steps = in_whole(job->d, PAIR), pairs = in_whole(keys, PAIR), rows = in_whole(job->queries, 2 * SIDE) * 2 * SIDE;
    for (size_t r = 0; r < rows; r += 2 * SIDE)
        for (size_t key = 0; key < pairs; key++)
            tiles_multiply(false, steps, s->q + r * steps * PAIR, steps * PAIR, k + 2 * key * steps * TILE, TILE, steps * TILE,
                s->scores + r * SCORES + key * PAIR, SCORES, false);
    for (size_t r = 0; r < job->queries; r++) {
        float *scores = s->scores + r * SCORES, *totals = s->totals + r * LANES;
        size_t seen = attend_seen(job, r, first, keys);
        vf most = attend_largest(scores, seen) * s->scale;
        if (any(most > s->reference[r] + SLACK)) attend_rebase(s->reference + r, largest_of(most), totals, s->sums + r * padded, padded);
        tiles_weights(scores, s->weights + r * WEIGHTS, seen, pairs * PAIR, s->scale, s->reference[r], totals);
    }
    for (size_t r = 0; r < rows; r += 2 * SIDE)
        for (size_t at = 0; at < padded; at += 2 * SIDE)
            tiles_multiply(padded - at < 2 * SIDE, pairs, s->weights + r * WEIGHTS, WEIGHTS, v + at / SIDE * TILE, padded / SIDE * TILE, TILE,
                s->sums + r * padded + at, padded, true);
}

static void tiles_attend(const udump_attend *job) {
    size_t padded = in_whole(job->d, LANES) * LANES, reach = attend_reach(job);
    struct tiles_scratch s = tiles_begin(job, in_whole(job->d, PAIR), padded);
    const float *packed = job->packed;
    TILES_OPEN();
    for (size_t first = 0; first < reach; first += UDUMP_ATTEND_KEYS, packed += tiles_block_floats(job->d)) {
        size_t keys = job->keys - first < UDUMP_ATTEND_KEYS ? job->keys - first : UDUMP_ATTEND_KEYS;
        tiles_block(job, &s, first, keys, (const uint16_t *)packed, padded);
    }
    TILES_CLOSE();
    attend_finish(job, s.sums, s.totals, padded);
}

#define TILES_KERNELS { tiles_block_floats, tiles_scratch_floats, tiles_pack, tiles_attend }
