/* Attention's inner loops, included by kernels_body.h.
 * Online softmax over blocks of keys (Milakov and Gimelshein 2018; Dao et al. 2022): each query keeps a reference, the total of
 * 2^(score - reference) and the sum of values so weighted. Scores are in units of ln 2. The reference is a score seen before: it moves, and
 * the sums with it, only where a score exceeds it by SLACK, so that weights stay below 2^SLACK and most blocks scale nothing. */

enum {
    PANEL = 3 * LANES,
    SCORES = UDUMP_ATTEND_KEYS + UDUMP_ATTEND_APART /* floats from a query's scores to the next one's */
};
static const float SLACK = 8;

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

static void attend_pack(
    const void *k, const void *v, udump_dtype dtype, size_t stride, size_t keys, size_t d, float *packed_k, float *packed_v) {
    size_t padded = (d + LANES - 1) / LANES * LANES;
    for (size_t panel = 0; panel < keys; panel += PANEL, packed_k += PANEL * d) {
        size_t count = keys - panel < PANEL ? keys - panel : PANEL;
        for (size_t i = 0; i < PANEL; i++)
            for (size_t at = 0; at < d; at++) packed_k[at * PANEL + i] = i < count ? element(k, dtype, (panel + i) * stride + at) : 0.0f;
    }
    for (size_t i = 0; i < keys; i++)
        for (size_t at = 0; at < padded; at++) packed_v[i * padded + at] = at < d ? element(v, dtype, i * stride + at) : 0.0f;
}

/* A query's reference to `now`: scales what was summed before. */
INLINE void attend_rebase(float *reference, float now, float *totals, float *sums, size_t padded) {
    vf factor = exp2_of(splat(*reference - now));
    store_f32(totals, load_f32(totals) * factor);
    for (size_t i = 0; i < padded; i += LANES) store_f32(sums + i, load_f32(sums + i) * factor);
    *reference = now;
}

/* The largest of `seen` scores, in some lane. */
INLINE vf attend_largest(const float *scores, size_t seen) {
    size_t whole = seen / LANES * LANES, rest = seen - whole;
    vf most = splat(-INFINITY);
    for (size_t i = 0; i < whole; i += LANES) most = larger(load_f32(scores + i), most);
    return rest ? larger(choose(first_lanes(rest), load_f32(scores + whole), most), most) : most;
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
        size_t reach = job->causal ? job->first_query + r + 1 : first + keys; /* keys before this position are seen */
        size_t seen = reach <= first ? 0 : reach - first < keys ? reach - first : keys;
        float *scores = s->scores + r * SCORES, *totals = s->totals + r * LANES;
        vf most = attend_largest(scores, seen);
        if (any(most > s->reference[r] + SLACK)) attend_rebase(s->reference + r, largest_of(most), totals, s->sums + r * padded, padded);
        attend_weights(scores, seen, keys, s->reference[r], totals);
    }
    tiles(rows, keys, s->scores, SCORES, v, padded, s->sums, padded, padded, true);
}

static void attend(const udump_attend *job) {
    size_t padded = (job->d + LANES - 1) / LANES * LANES;
    struct attend_scratch s = attend_begin(job, padded);
    size_t reach = job->causal ? job->first_query + job->queries : job->keys;
    for (size_t first = 0; first < reach; first += UDUMP_ATTEND_KEYS) {
        size_t keys = job->keys - first < UDUMP_ATTEND_KEYS ? job->keys - first : UDUMP_ATTEND_KEYS;
        attend_block(job, &s, first, keys, job->k + first * job->d, job->v + first * padded, padded);
    }
    for (size_t r = 0; r < job->queries; r++) {
        float total = sum_of(load_f32(s.totals + r * LANES));
        for (size_t i = 0; i < job->d; i += LANES) {
            size_t count = job->d - i < LANES ? job->d - i : LANES;
            store_part(job->out, job->dtype, r * job->out_stride + i, load_f32(s.sums + r * padded + i) / total, count);
        }
    }
}
