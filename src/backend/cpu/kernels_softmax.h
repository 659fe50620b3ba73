/* What attention keeps of the keys that it has seen, whatever multiplies; included after kernels_vectors.h.
 * Online softmax over blocks of keys (Milakov and Gimelshein 2018; Dao et al. 2022): each query keeps a reference, the total of
 * 2^(score - reference) and the sum of values so weighted. Scores are in units of ln 2. The reference is a score seen before: it moves, and
 * the sums with it, only where a score exceeds it by SLACK, so that weights stay below 2^SLACK and most blocks scale nothing. */

enum { SCORES = UDUMP_ATTEND_KEYS + UDUMP_ATTEND_APART /* floats from a query's scores to the next one's */ };
static const float SLACK = 8;

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

/* Of the keys from `first` on, how many query `row` sees. */
INLINE size_t attend_seen(const udump_attend *job, size_t row, size_t first, size_t keys) {
    size_t reach = job->causal ? job->first_query + row + 1 : first + keys; /* keys before this position are seen */
    return reach <= first ? 0 : reach - first < keys ? reach - first : keys;
}

/* How many of all keys any query sees. */
INLINE size_t attend_reach(const udump_attend *job) { return job->causal ? job->first_query + job->queries : job->keys; }

/* Sums [queries, padded] over totals [queries, LANES], which are totals in LANES parts. */
INLINE void attend_finish(const udump_attend *job, const float *sums, const float *totals, size_t padded) {
    for (size_t r = 0; r < job->queries; r++) {
        float total = sum_of(load_f32(totals + r * LANES));
        for (size_t i = 0; i < job->d; i += LANES) {
            size_t count = job->d - i < LANES ? job->d - i : LANES;
            store_part(job->out, job->dtype, r * job->out_stride + i, load_f32(sums + r * padded + i) / total, count);
        }
    }
}
