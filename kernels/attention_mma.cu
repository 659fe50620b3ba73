/* Attention on the matrix units, in the manner of FlashAttention-2 (Dao 2023): a warp takes 16 queries of one head; keys and values come by in tiles
 * through shared memory; scores, and the probabilities that they become, never leave registers. A block's 8 warps take 128 queries, or, where that makes
 * few blocks, fewer, and share out each row's keys: `splits` warps have the same queries, and what they found is joined at the end. While something is
 * computed, what comes next is on its way: values while scores are made, the next keys while values are added up, and where a tile holds all keys, as for
 * a prompt, the next queries. */
#include "attention.h"
#include "copies.cuh"
#include "matrix.cuh"
#include "vectors.cuh"

enum {
    WARPS = 8,
    THREADS = WARPS * UDUMP_WARP,
    WARP_QUERIES = 16,
    QUERIES = WARPS * WARP_QUERIES,
    PAD = 8, /* elements behind a row of a tile: off the banks */
    FULL = 128, /* blocks that fill a large card; no card's own number, so that all compute the same */
    NARROW = 80, /* channels of a head, up to which a tile holds a prompt's keys */
    SPLITS_MOST = 4, /* of wider heads' keys */
    ROUNDS_MOST = 4, /* of queries, by a block that keeps its keys */
    SHARED_MOST = 99 << 10 /* bytes that a block may have on every card */
};

__device__ __forceinline__ int lane_of(void) { return (int)(threadIdx.x % (unsigned)UDUMP_WARP); }

/* Rows of d channels on their way to shared memory, zeros behind the first `count` rows and the d channels. By `threads` threads, of which this is number
 * `thread`. D: d rounded up to 16. */
template <typename T, int D>
__device__ __forceinline__ void load_rows(
    T *tile, const T *from, int64_t row_elements, int rows, int count, int d, int thread, int threads) {
    const int pieces = D / 8; /* of 16 bytes: d is a multiple of 8 */
    int step = threads / pieces, row = thread / pieces, column = thread % pieces * 8;
    if (row >= step) return;
    tile += row * (D + PAD) + column;
    from += row * row_elements + column;
    if (column >= d) count = 0;
#pragma unroll 1
    for (; row < rows; row += step) {
        udump_copy(tile, from, row < count);
        tile += step * (D + PAD);
        from += step * row_elements;
    }
}

/* A warp's part of its group's 16 queries. */
template <typename T, int D>
__device__ __forceinline__ void load_queries(T *tile, const T *from, int64_t row_elements, int count, int d, int part, int rows) {
    int first = part * rows;
    load_rows<T, D>(tile + first * (D + PAD), from + first * row_elements, row_elements, rows, count - first, d, lane_of(), UDUMP_WARP);
}

/* Rows to load for `splits` warps' tiles of which `keys` are left: whole tiles, as what is not there counts as 0. */
template <int KEYS> __device__ __forceinline__ int needed_rows(int keys, int splits) {
    int tiles = splits == 1 ? 1 : (keys + KEYS - 1) / KEYS;
    return (tiles < splits ? tiles : splits) * KEYS;
}

/* scores: of a warp's 16 queries by KEYS keys. The queries' fragments are loaded for each tile: of a prompt there is one, and more warps fit without them. */
template <typename T, int D, int KEYS>
__device__ __forceinline__ void score(float (&scores)[KEYS / 8][4], const T *query_tile, const T *key_tile) {
    int lane = lane_of();
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) scores[j][i] = 0;
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        uint32_t query[4]; /* 16 queries: matrices of queries 0-7 and 8-15 by channels 0-7, then 8-15 */
        udump_load_matrices(query, query_tile + lane % 16 * (D + PAD) + i * 16 + lane / 16 * 8);
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) { /* 16 keys: matrices of keys 0-7 and 8-15 by channels 0-7 and 8-15 */
            uint32_t four[4];
            udump_load_matrices(four, key_tile + (j * 16 + lane / 16 * 8 + lane % 8) * (D + PAD) + i * 16 + lane / 8 % 2 * 8);
            uint32_t low[2] = { four[0], four[1] }, high[2] = { four[2], four[3] };
            udump_mma<T>(scores[2 * j], query, low);
            udump_mma<T>(scores[2 * j + 1], query, high);
        }
    }
}

/* Takes away what a query does not see. begin: the tile's first key; query: the warp's first query */
template <int KEYS> __device__ __forceinline__ void mask(float (&scores)[KEYS / 8][4], int begin, int keys, int query, int causal) {
    if (begin + KEYS <= keys && (!causal || begin + KEYS <= query + 1)) return; /* nothing */
    int lane = lane_of(), seen[2]; /* of rows lane / 4 and lane / 4 + 8: keys from the lane's first on */
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int end = query + lane / 4 + h * 8 + 1;
        seen[h] = (causal && end < keys ? end : keys) - begin - lane % 4 * 2;
    }
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) scores[j][i] = j * 8 + i % 2 < seen[i / 2] ? scores[j][i] : -INFINITY;
}

/* What a lane has of a softmax so far, for rows lane / 4 and lane / 4 + 8: the largest score, and the sum of its own columns' powers. */
struct running {
    float most[2], total[2];
};

/* Scores become shares: powers of 2 of (score - largest) * scale, of that difference, which is 0 for the largest however large it is. */
template <int D, int KEYS>
__device__ __forceinline__ void soften(float (&scores)[KEYS / 8][4], float (&sums)[D / 8][4], running *row, float scale, bool is_first) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float larger = row->most[h];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) larger = fmaxf(fmaxf(scores[j][2 * h], scores[j][2 * h + 1]), larger); /* NaN is passed over */
        for (int step = 1; step < 4; step *= 2) /* the four lanes of a row */
            larger = fmaxf(larger, __shfl_xor_sync(0xFFFFFFFFu, larger, step));
        float base = udump_base_of(larger);
        if (!is_first) {
            float shrink = udump_exp2((row->most[h] - base) * scale);
            row->total[h] *= shrink;
#pragma unroll
            for (int i = 0; i < D / 8; i++) {
                sums[i][2 * h] *= shrink;
                sums[i][2 * h + 1] *= shrink;
            }
        }
        row->most[h] = larger;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            scores[j][2 * h] = udump_exp2((scores[j][2 * h] - base) * scale);
            scores[j][2 * h + 1] = udump_exp2((scores[j][2 * h + 1] - base) * scale);
            row->total[h] += scores[j][2 * h] + scores[j][2 * h + 1];
        }
    }
}

template <typename T, int D, int KEYS>
__device__ __forceinline__ void add_values(float (&sums)[D / 8][4], const float (&shares)[KEYS / 8][4], const T *value_tile) {
    int lane = lane_of();
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) { /* the shares' fragments are, two by two, those of a left operand */
        uint32_t p[4] = { udump_pack_pair<T>(shares[2 * j][0], shares[2 * j][1]), udump_pack_pair<T>(shares[2 * j][2], shares[2 * j][3]),
            udump_pack_pair<T>(shares[2 * j + 1][0], shares[2 * j + 1][1]),
            udump_pack_pair<T>(shares[2 * j + 1][2], shares[2 * j + 1][3]) };
#pragma unroll
        for (int i = 0; i < D / 16; i++) { /* 16 channels: matrices of keys 0-7 and 8-15 by channels 0-7, then 8-15 */
            uint32_t four[4];
            udump_load_matrices_transposed(four, value_tile + (j * 16 + lane % 16) * (D + PAD) + i * 16 + lane / 16 * 8);
            uint32_t low[2] = { four[0], four[1] }, high[2] = { four[2], four[3] };
            udump_mma<T>(sums[2 * i], p, low);
            udump_mma<T>(sums[2 * i + 1], p, high);
        }
    }
}

/* What a warp leaves for the one of its queries that joins: [D / 8 + 1, lanes] of four numbers. */
template <int D> __device__ __forceinline__ void leave(udump_four *to, const float (&sums)[D / 8][4], const running &row) {
    int lane = lane_of();
    to[lane] = udump_four{ { row.most[0], row.most[1], row.total[0], row.total[1] } };
#pragma unroll
    for (int i = 0; i < D / 8; i++) to[(i + 1) * UDUMP_WARP + lane] = udump_four{ { sums[i][0], sums[i][1], sums[i][2], sums[i][3] } };
}

template <int D> __device__ __forceinline__ void join(float (&sums)[D / 8][4], running *row, const udump_four *from, float scale) {
    int lane = lane_of();
    udump_four other = from[lane];
    float mine[2], theirs[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float larger = fmaxf(row->most[h], other.at[h]), base = udump_base_of(larger);
        mine[h] = udump_exp2((row->most[h] - base) * scale);
        theirs[h] = udump_exp2((other.at[h] - base) * scale);
        row->most[h] = larger;
        row->total[h] = row->total[h] * mine[h] + other.at[2 + h] * theirs[h];
    }
#pragma unroll
    for (int i = 0; i < D / 8; i++) {
        udump_four more = from[(i + 1) * UDUMP_WARP + lane];
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = sums[i][j] * mine[j / 2] + more.at[j] * theirs[j / 2];
    }
}

/* A warp's rows, of which the first `count` are there, by way of `staged`, its own in shared memory: so that whole pieces of 16 bytes are stored. */
template <typename T, int D>
__device__ __forceinline__ void store(
    T *out, int64_t row_elements, int count, int d, T *staged, const float (&sums)[D / 8][4], const running &row) {
    int lane = lane_of();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float total = row.total[h];
        for (int step = 1; step < 4; step *= 2) total += __shfl_xor_sync(0xFFFFFFFFu, total, step);
        float share = 1.0f / total;
        T *target = staged + (lane / 4 + h * 8) * (D + PAD) + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < D / 8; i++)
            *(uint32_t *)(target + i * 8) = udump_pack_pair<T>(
                sums[i][2 * h] * share, sums[i][2 * h + 1] * share); /* memcpy would store bytes */
    }
    __syncwarp();
    const int pieces = D / 8, step = UDUMP_WARP / pieces; /* as in load_rows */
    int at = lane / pieces, column = lane % pieces * 8;
    if (at >= step || column >= d) return;
    for (; at < WARP_QUERIES && at < count; at += step)
        *(uint4 *)(out + at * row_elements + column) = *(const uint4 *)(staged + at * (D + PAD) + column);
}

/* How a call is cut: chosen by its shape alone. */
struct cut {
    float scale;
    int splits, groups; /* warps that have the same queries, and so tiles of keys at a time; how many others there are: WARPS in all */
    int rounds; /* tiles of queries, one after the other */
};

template <typename T, int D, int KEYS>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 2 : 1) /* blocks at once: the registers for so many, no fewer */
    attention_mma(
        T *out, const T *q, const T *k, const T *v, UDUMP_CONSTANT_PARAM udump_kernel_attention_shape s, UDUMP_CONSTANT_PARAM cut c) {
    UDUMP_SHARED(T, shared);
    int thread = (int)(threadIdx.x % (unsigned)THREADS), warp = thread / UDUMP_WARP;
    const bool is_split = D > NARROW; /* the others' tiles are too large to have more */
    int splits = is_split ? c.splits : 1, groups = is_split ? c.groups : WARPS, split = warp * splits / WARPS,
        group = warp - split * groups;
    int queries = groups * WARP_QUERIES, stage = splits * KEYS; /* at a time */
    T *key_tile = shared + (c.rounds > 1 ? 2 : 1) * queries * (D + PAD), *value_tile = key_tile + stage * (D + PAD);
    int head = (int)blockIdx.y, row = (int)blockIdx.z;
    int first = s.keys ? row * s.keys : s.first[row];
    int64_t row_query = (int64_t)row * s.queries;
    int keys = s.keys ? s.keys : s.count[row];
    bool kept = keys <= stage; /* through all rounds */

    /* a group's queries are loaded by its warps; alone in it, as where there are more rounds, a warp needs no barrier for them */
    int begin_query = (int)blockIdx.x * c.rounds * queries, end_query = begin_query + c.rounds * queries,
        first_query = begin_query + group * WARP_QUERIES;
    if (s.queries < end_query) end_query = s.queries;
    load_queries<T, D>(shared + group * WARP_QUERIES * (D + PAD), q + (row_query + first_query) * s.q_row + head * s.d, s.q_row,
        s.queries - first_query, s.d, split, WARP_QUERIES / WARPS * groups);
    udump_copy_commit();
    int turn = 0; /* of two tiles of queries */
    for (int block_query = begin_query; block_query < end_query; block_query += queries, turn ^= 1) {
        int query = block_query + group * WARP_QUERIES;
        int last_key = s.causal && block_query + queries < keys ? block_query + queries : keys;
        int last_seen = s.causal && query + WARP_QUERIES < last_key ? query + WARP_QUERIES : last_key; /* by the warp */
        if (query >= s.queries) last_seen = 0;
        T *query_tile = shared + (turn * queries + group * WARP_QUERIES) * (D + PAD);
        bool is_new = block_query == begin_query || !kept;
        if (is_new) {
            if (block_query > begin_query) __syncthreads(); /* what was there is read */
            int rows = needed_rows<KEYS>(last_key, splits);
            load_rows<T, D>(key_tile, k + first * s.kv_row + head * s.d, s.kv_row, rows, keys, s.d, thread, THREADS);
            udump_copy_commit();
            load_rows<T, D>(value_tile, v + first * s.kv_row + head * s.d, s.kv_row, rows, keys, s.d, thread, THREADS);
            udump_copy_commit();
            udump_copy_wait<1>();
            __syncthreads();
        } else {
            udump_copy_wait<0>();
            __syncwarp();
        }

        float sums[D / 8][4];
        running so_far = { { -INFINITY, -INFINITY }, { 0, 0 } };
#pragma unroll
        for (int i = 0; i < D / 8; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) sums[i][j] = 0;

        for (int begin = 0; begin < last_key; begin += stage) {
            if (begin) {
                udump_copy_wait<0>(); /* the keys are there, the last values read */
                __syncthreads();
                load_rows<T, D>(value_tile, v + (first + begin) * s.kv_row + head * s.d, s.kv_row,
                    needed_rows<KEYS>(last_key - begin, splits), keys - begin, s.d, thread, THREADS);
                udump_copy_commit();
            }
            int tile = begin + split * KEYS;
            float scores[KEYS / 8][4];
            if (tile < last_seen) score<T, D, KEYS>(scores, query_tile, key_tile + split * KEYS * (D + PAD));
            if (begin || is_new) {
                udump_copy_wait<0>(); /* the values are there, the keys read */
                __syncthreads();
            }
            int next = begin + stage, next_query = query + queries;
            if (next < last_key)
                load_rows<T, D>(key_tile, k + (first + next) * s.kv_row + head * s.d, s.kv_row, needed_rows<KEYS>(last_key - next, splits),
                    keys - next, s.d, thread, THREADS);
            else if (block_query + queries < end_query)
                load_queries<T, D>(shared + ((turn ^ 1) * queries + group * WARP_QUERIES) * (D + PAD),
                    q + (row_query + next_query) * s.q_row + head * s.d, s.q_row, s.queries - next_query, s.d, 0, WARP_QUERIES);
            udump_copy_commit();
            if (tile < last_seen) {
                mask<KEYS>(scores, tile, keys, query, s.causal);
                soften<D, KEYS>(scores, sums, &so_far, c.scale, begin == 0);
                add_values<T, D, KEYS>(sums, scores, value_tile + split * KEYS * (D + PAD));
            }
        }

        if (splits > 1) { /* of one round; the group's first warp joins, in place of keys and values */
            udump_four *left = (udump_four *)key_tile;
            const int each = (D / 8 + 1) * UDUMP_WARP;
            __syncthreads();
            if (split && split * KEYS < last_key) leave<D>(left + ((split - 1) * groups + group) * each, sums, so_far);
            __syncthreads();
            if (split) return;
            for (int other = 1; other < splits && other * KEYS < last_key; other++)
                join<D>(sums, &so_far, left + ((other - 1) * groups + group) * each, c.scale);
        }
        store<T, D>(out + (row_query + query) * s.out_row + head * s.d, s.out_row, s.queries - query, s.d, query_tile, sums, so_far);
    }
}

int udump_kernel_attention_mma_fits(const void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *s) {
    bool aligned = ((uintptr_t)out | (uintptr_t)q | (uintptr_t)k | (uintptr_t)v) % 16 == 0 && s->d % 8 == 0 && s->q_row % 8 == 0 && s->kv_row % 8 == 0 && s->out_row % 8 == 0;
    return dtype != UDUMP_KERNEL_F32 && aligned && s->d <= UDUMP_KERNEL_TILED_HEAD_MOST;
}

static int64_t blocks_of(const udump_kernel_attention_shape *s, int splits) {
    return (int64_t)udump_blocks(s->queries, QUERIES / splits) * s->heads * s->n;
}

/* Fewer queries a block where there are few blocks; several tiles of them where there are many, whose keys the block then loads once. */
template <int D, int KEYS> static cut cut_of(const udump_kernel_attention_shape *s) {
    bool one_tile = !s->causal && s->keys <= KEYS; /* 0: a prompt's, most often one tile */
    cut c = { UDUMP_LOG2_E / sqrtf((float)s->d) /* powers of 2 instead of e: one instruction */, 1, WARPS, 1 };
    while (D > NARROW && c.splits < SPLITS_MOST && blocks_of(s, c.splits) < FULL) c.splits *= 2, c.groups /= 2;
    if (D <= NARROW && one_tile) c.rounds = (int)(blocks_of(s, 1) / (2 * FULL)); /* two blocks at once */
    c.rounds = c.rounds < 1 ? 1 : c.rounds > ROUNDS_MOST ? ROUNDS_MOST : c.rounds;
    return c;
}

template <typename T, int D, int KEYS>
static void attend_sized(T *out, const T *q, const T *k, const T *v, const udump_kernel_attention_shape &s, udump_stream stream) {
    const int row = (D + PAD) * (int)sizeof(T), most_bytes = (D <= NARROW ? 2 * QUERIES + 2 * KEYS : QUERIES / SPLITS_MOST + 2 * SPLITS_MOST * KEYS) * row;
    static_assert(most_bytes <= SHARED_MOST, "shared memory");
    cut c = cut_of<D, KEYS>(&s);
    int queries = c.groups * WARP_QUERIES, tiles = c.rounds > 1 ? 2 : 1;
    size_t shared_bytes = (size_t)((tiles * queries + 2 * c.splits * KEYS) * row);
    dim3 grid(udump_blocks(s.queries, queries * c.rounds), (unsigned)s.heads, (unsigned)s.n);
    udump_allow_shared((const void *)attention_mma<T, D, KEYS>, most_bytes);
    UDUMP_LAUNCH((attention_mma<T, D, KEYS>), grid, THREADS, shared_bytes, stream, out, q, k, v, s, c);
}

template <typename T>
static void attend(T *out, const T *q, const T *k, const T *v, const udump_kernel_attention_shape *shape, udump_stream stream) {
    udump_kernel_attention_shape s = *shape;
    /* a prompt's 77 keys are one tile */
    if (s.d <= 32) attend_sized<T, 32, 80>(out, q, k, v, s, stream);
    else if (s.d <= 48) attend_sized<T, 48, 80>(out, q, k, v, s, stream);
    else if (s.d <= 64) attend_sized<T, 64, 80>(out, q, k, v, s, stream);
    else if (s.d <= 80) attend_sized<T, 80, 80>(out, q, k, v, s, stream);
    else attend_sized<T, 160, 32>(out, q, k, v, s, stream);
}

void udump_kernel_attention_mma(
    void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape, udump_stream stream) {
    if (dtype == UDUMP_KERNEL_F16)
        attend((udump_f16 *)out, (const udump_f16 *)q, (const udump_f16 *)k, (const udump_f16 *)v, shape, stream);
    else attend((udump_bf16 *)out, (const udump_bf16 *)q, (const udump_bf16 *)k, (const udump_bf16 *)v, shape, stream);
}
