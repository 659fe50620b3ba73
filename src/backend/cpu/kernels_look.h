/* Looking at attention, included by kernels_body.h.
 * A panel of queries is worked on at a time, with all keys, as [keys, PANEL]: each query has its own lane, so that the softmax needs no
 * sum across lanes, and a map is written as it lies. The panel's probabilities are exact at once: nothing has to be rescaled. */

/* Keys whose scores stay in the L1 cache until their largest is known, and that are summed before they join a longer sum. */
enum { LOOK_KEYS = 64 };

struct look_panel {
    float *p;                            /* [keys in whole tiles, PANEL]: scores, then exp(score - largest) */
    vf largest[3], total[3], entropy[3]; /* of each query; entropy: the sum of exp(score - largest) times (score - largest) */
    vf factor[3];                        /* 1 / total; 0 in lanes without a query */
};

/* q[d, PANEL] in units of sqrt(d). Lanes without a query repeat the last one. */
INLINE void look_queries(const udump_look *job, float *q) {
    float scale = 1.0f / sqrtf((float)job->d);
    for (size_t lane = 0; lane < PANEL; lane++) {
        size_t at = lane < job->queries ? lane : job->queries - 1, query = job->chosen ? (size_t)job->chosen[at] : at;
        for (size_t i = 0; i < job->d; i++) q[i * PANEL + lane] = element(job->q, job->dtype, query * job->q_stride + i) * scale;
    }
}

INLINE void look_scores(const udump_look *job, const float *q, struct look_panel *panel) {
    for (int v = 0; v < 3; v++) panel->largest[v] = splat(-INFINITY);
    for (size_t first = 0; first < job->keys; first += LOOK_KEYS) {
        size_t keys = job->keys - first < LOOK_KEYS ? job->keys - first : LOOK_KEYS;
        const float *scores = panel->p + first * PANEL;
        tiles(keys, job->d, job->k + first * job->d, job->d, q, PANEL, panel->p + first * PANEL, PANEL, PANEL, false);
        for (size_t k = 0; k < keys; k++)
            for (int v = 0; v < 3; v++) panel->largest[v] = larger(load_f32(scores + k * PANEL + (size_t)v * LANES), panel->largest[v]);
    }
}

INLINE void look_softmax(const udump_look *job, struct look_panel *panel, bool entropy) {
    for (int v = 0; v < 3; v++) panel->total[v] = panel->entropy[v] = splat(0);
    for (size_t first = 0; first < job->keys; first += LOOK_KEYS) {
        size_t keys = job->keys - first < LOOK_KEYS ? job->keys - first : LOOK_KEYS;
        vf total[3] = { 0 }, weighted[3] = { 0 };
        for (size_t k = first; k < first + keys; k++)
            for (int v = 0; v < 3; v++) {
                float *at = panel->p + k * PANEL + (size_t)v * LANES;
                vf below = load_f32(at) - panel->largest[v], p = choose(below < -87.0f, splat(0), exp_of(below));
                store_f32(at, p); /* not subnormal: arithmetic with such numbers is slow */
                total[v] += p;
                if (entropy) weighted[v] += p * larger(below, splat(-87.0f)); /* 0 * infinity is NaN */
            }
        for (int v = 0; v < 3; v++) {
            panel->total[v] += total[v];
            panel->entropy[v] += weighted[v];
        }
    }
    for (int v = 0; v < 3; v++) {
        size_t before = (size_t)v * LANES, left = job->queries > before ? job->queries - before : 0;
        panel->factor[v] = choose(first_lanes(left), 1.0f / panel->total[v], splat(0));
    }
}

INLINE void look_maps(const udump_look *job, const struct look_panel *panel) {
    for (size_t k = 0; k < job->keys; k++) {
        float *to = job->maps + k * job->maps_stride;
        const float *from = panel->p + k * PANEL;
        if (job->queries == PANEL) {
            for (int v = 0; v < 3; v++) store_f32(to + v * LANES, load_f32(from + v * LANES) * panel->factor[v]);
            continue;
        }
        float part[PANEL];
        for (int v = 0; v < 3; v++) store_f32(part + v * LANES, load_f32(from + v * LANES) * panel->factor[v]);
        memcpy(to, part, job->queries * sizeof *to);
    }
}

INLINE void look_rows(const udump_look *job, const struct look_panel *panel) {
    float factor[PANEL];
    memcpy(factor, panel->factor, sizeof factor);
    for (size_t first = 0; first < job->keys; first += LOOK_KEYS) {
        size_t end = job->keys - first < LOOK_KEYS ? job->keys : first + LOOK_KEYS;
        for (size_t query = 0; query < job->queries; query++)
            for (size_t k = first; k < end; k++) job->rows[query * job->keys + k] = panel->p[k * PANEL + query] * factor[query];
    }
}

INLINE void look_received(const udump_look *job, const struct look_panel *panel) {
    for (size_t k = 0; k < job->keys; k++) {
        vf sum = splat(0);
        for (int v = 0; v < 3; v++) sum += load_f32(panel->p + k * PANEL + v * LANES) * panel->factor[v];
        job->received[k] += sum_of(sum);
    }
}

/* -sum of p ln p, where p = exp(below) / total. */
INLINE void look_entropy(const udump_look *job, const struct look_panel *panel) {
    float total[PANEL], weighted[PANEL];
    memcpy(total, panel->total, sizeof total);
    memcpy(weighted, panel->entropy, sizeof weighted);
    for (size_t query = 0; query < job->queries; query++) job->entropy[query] = logf(total[query]) - weighted[query] / total[query];
}

INLINE void look_mean(const udump_look *job, const struct look_panel *panel) {
    vf factor[3];
    for (int v = 0; v < 3; v++) factor[v] = panel->factor[v] * job->share;
    for (size_t k = 0; k < job->keys; k++)
        for (int v = 0; v < 3; v++) {
            size_t at = k * PANEL + (size_t)v * LANES;
            store_f32(job->mean + at, load_f32(job->mean + at) + load_f32(panel->p + at) * factor[v]);
        }
}

static void look(const udump_look *job) {
    struct look_panel panel = { .p = job->scratch + job->d * PANEL };
    look_queries(job, job->scratch);
    look_scores(job, job->scratch, &panel);
    if (job->entropy) look_softmax(job, &panel, true);
    else look_softmax(job, &panel, false);
    if (job->maps) look_maps(job, &panel);
    if (job->rows) look_rows(job, &panel);
    if (job->received) look_received(job, &panel);
    if (job->entropy) look_entropy(job, &panel);
    if (job->mean) look_mean(job, &panel);
}

static void look_covariance(const udump_look_covariance *job) {
    size_t padded = (job->count + LANES - 1) / LANES * LANES, rows = (job->count + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    float *across = job->scratch, *y = across + rows * PANEL; /* [count in whole tiles, PANEL], [PANEL, count in whole vectors] */
    tiles(job->count, job->keys, job->v, job->keys, job->mean, PANEL, across, PANEL, PANEL, false);
    for (size_t query = 0; query < PANEL; query++) {
        for (size_t c = 0; c < padded; c++) y[query * padded + c] = c < job->count ? across[c * PANEL + query] : 0.0f;
        if (query < job->queries) memcpy(job->y + query * job->count, y + query * padded, job->count * sizeof *y);
    }
    tiles(job->keys, PANEL, job->mean, PANEL, y, padded, job->z, padded, padded, true);
}
