/* Products of the mean of P over the heads, or of its transpose, with a few vectors. P is made anew each time; it is never in memory. A block makes one part: of
 * one head, and of a slice of the rows that pass; a second launch adds the parts up, in an order that is always the same. */
#ifndef UDUMP_KERNELS_ATTENTION_TIMES_CUH
#define UDUMP_KERNELS_ATTENTION_TIMES_CUH

#include "attention_logs.cuh"
#include "vectors.cuh"

static_assert((int)UDUMP_PASSING_OWN == (int)UDUMP_SCORE_ROWS, "one grid for both");

enum { UDUMP_TIMES_THREADS = 256, UDUMP_TIMES_BLOCKS = 2048 /* that fill a card */, UDUMP_TIMES_PASSING = 256 /* at least, for a block that reads as many own rows once */ };

/* parts[slice, head, own, c] = sum over the slice's passing rows of p * vectors[passing, c]. A thread's own row is a query, passing rows are keys; or,
 * transposed, the other way round. done: if not NULL and not 0, there is nothing to do. grid: [own / ROWS, heads, slices] */
static __global__ void udump_attention_times(
    float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, own);
    float *columns = own + a.d * UDUMP_SCORE_ROWS;
    __shared__ float passing[UDUMP_SCORE_COLUMNS][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    const void *own_data = transposed ? a.k : a.q, *other_data = transposed ? a.q : a.k;
    int64_t own_stride = transposed ? a.k_stride : a.q_stride, other_stride = transposed ? a.q_stride : a.k_stride;
    int own_count = transposed ? a.keys : a.queries, other_count = transposed ? a.queries : a.keys;
    int head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_SCORE_ROWS, at = first + (int)threadIdx.x;
    int begin = (int)blockIdx.z * slice, end = begin + slice < other_count ? begin + slice : other_count;
    const float *log = logs + (int64_t)head * a.queries;
    float sums[UDUMP_KERNEL_LOOK_COLUMNS_MOST];
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] = 0;
    if (done && *done) return;
    udump_scores_load(own, UDUMP_SCORE_ROWS, own_data, a.dtype, own_stride, head, a.d, first, own_count);
    for (int other = begin; other < end; other += UDUMP_SCORE_COLUMNS) {
        float scores[UDUMP_SCORE_COLUMNS];
        __syncthreads();
        udump_scores_load(columns, UDUMP_SCORE_COLUMNS, other_data, a.dtype, other_stride, head, a.d, other, end);
        for (int i = (int)threadIdx.x; i < UDUMP_SCORE_COLUMNS * UDUMP_KERNEL_LOOK_COLUMNS_MOST; i += UDUMP_SCORE_ROWS) {
            int j = i / UDUMP_KERNEL_LOOK_COLUMNS_MOST, c = i % UDUMP_KERNEL_LOOK_COLUMNS_MOST;
            passing[j][c] = other + j < end && c < count ? vectors[(int64_t)(other + j) * count + c] : 0;
        }
        __syncthreads();
        udump_scores(scores, own, columns, a.d);
#pragma unroll
        for (int j = 0; j < UDUMP_SCORE_COLUMNS; j++) {
            int query = transposed ? other + j : at;
            if (other + j >= end || query >= a.queries) continue;
            float p = expf(scores[j] - log[query]);
#pragma unroll
            for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] += p * passing[j][c];
        }
    }
    float *out = parts + (((int64_t)blockIdx.z * a.heads + head) * own_count + at) * count;
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++)
        if (at < own_count && c < count) out[c] = sums[c];
}

enum { UDUMP_TIMES_STEPS = 5 /* of channels at most, beside whose tiles shared memory has room */, UDUMP_TIMES_ROW = UDUMP_KERNEL_LOOK_COLUMNS_MOST + 4 /* off the banks */ };

typedef udump_vector<float, 4> udump_times_row[UDUMP_TIMES_ROW / 4];

/* Begins to load the passing rows' vectors, from row `first` on; zeros behind the last row and column. */
static __device__ __forceinline__ void udump_times_load(udump_times_row *to, const float *vectors, int count, int first, int end) {
    const int rows = UDUMP_PASSING_WARPS * UDUMP_WARP / UDUMP_KERNEL_LOOK_COLUMNS_MOST; /* at a time */
    int row = (int)threadIdx.x / UDUMP_KERNEL_LOOK_COLUMNS_MOST, c = (int)threadIdx.x % UDUMP_KERNEL_LOOK_COLUMNS_MOST, left = c < count ? end - first - row : 0;
    const float *source = vectors + (int64_t)(first + row) * count + c;
#pragma unroll
    for (int i = 0; i < UDUMP_PASSING_TILE; i += rows)
        udump_copy<4>(&to[row + i][c / 4].at[c % 4], i < left ? source + i * count : vectors, i < left);
}

/* The same on the matrix units; p times the vectors is not: they are fp32. A lane adds up what its own columns of two rows give; lanes are joined once, at the
 * end. */
template <typename T, int STEPS>
static __global__ void __launch_bounds__(UDUMP_PASSING_WARPS *UDUMP_WARP, 3) udump_attention_times_matrix(
    float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(T, tiles);
    __shared__ udump_times_row passing[2][UDUMP_PASSING_TILE];
    __shared__ udump_vector<float, 2> passing_logs[2][UDUMP_PASSING_TILE / 2];
    const int tile_elements = UDUMP_PASSING_TILE * (STEPS * UDUMP_MATRIX_STEP + UDUMP_PASSING_PAD);
    int own_stride = (int)(transposed ? a.k_stride : a.q_stride), other_stride = (int)(transposed ? a.q_stride : a.k_stride);
    int own_count = transposed ? a.keys : a.queries, other_count = transposed ? a.queries : a.keys;
    int lane = (int)threadIdx.x % UDUMP_WARP, head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_PASSING_OWN + (int)threadIdx.x / UDUMP_WARP * UDUMP_MATRIX_ROWS;
    int from = (int)blockIdx.z * slice, end = from + slice < other_count ? from + slice : other_count;
    const T *own_data = (const T *)(transposed ? a.k : a.q) + head * a.d, *other_data = (const T *)(transposed ? a.q : a.k) + head * a.d;
    const float *log = logs + (int64_t)head * a.queries;
    float scale = UDUMP_LOG2_E / sqrtf((float)a.d), own_logs[2], sums[2][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    uint32_t own[STEPS][4];
    if (done && *done) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int query = first + lane / 4 + i * 8;
        own_logs[i] = transposed || query >= a.queries ? 0 : log[query] * UDUMP_LOG2_E;
#pragma unroll
        for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[i][c] = 0;
    }
    udump_passing_load<STEPS>(tiles, other_data, other_stride, a.d, from, end);
    udump_times_load(passing[0], vectors, count, from, end);
    udump_passing_load_logs(passing_logs[0][0].at, log, from, transposed ? end : from); /* or zeros: the queries' logs are the own rows' */
    udump_own_load<STEPS>(own, own_data, own_stride, a.d, first, own_count);
    for (int begin = from, turn = 0; begin < end; begin += UDUMP_PASSING_TILE, turn ^= 1) {
        float scores[UDUMP_PASSING_TILE / 8][4];
        int next = begin + UDUMP_PASSING_TILE;
        udump_copies_wait();
        __syncthreads(); /* this tile is there, and the other's readers are done */
        if (next < end) {
            udump_passing_load<STEPS>(tiles + (turn ^ 1) * tile_elements, other_data, other_stride, a.d, next, end);
            udump_times_load(passing[turn ^ 1], vectors, count, next, end);
            udump_passing_load_logs(passing_logs[turn ^ 1][0].at, log, next, transposed ? end : next);
        }
        udump_passing_scores<STEPS>(scores, own, tiles + turn * tile_elements, end - begin);
#pragma unroll
        for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++) {
            udump_vector<float, 2> two = passing_logs[turn][j * 4 + lane % 4];
#pragma unroll
            for (int k = 0; k < 2; k++) { /* the lane's two passing rows */
                float p[2];
#pragma unroll
                for (int i = 0; i < 2; i++) p[i] = udump_exp2(scores[j][i * 2 + k] * scale - (two.at[k] * UDUMP_LOG2_E + own_logs[i]));
#pragma unroll
                for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c += 4) {
                    udump_vector<float, 4> v = passing[turn][j * 8 + lane % 4 * 2 + k][c / 4];
#pragma unroll
                    for (int i = 0; i < 8; i++) sums[i / 4][c + i % 4] += p[i / 4] * v.at[i % 4];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int at = first + lane / 4 + i * 8;
        float *out = parts + (((int64_t)blockIdx.z * a.heads + head) * own_count + at) * count;
#pragma unroll
        for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) {
            for (int step = 1; step < 4; step *= 2) sums[i][c] += __shfl_xor_sync(0xFFFFFFFFu, sums[i][c], step);
            if (c % 4 == lane % 4 && at < own_count && c < count) out[c] = sums[i][c];
        }
    }
}

/* out[i] = sum of parts[part, i] / heads */
static __global__ void udump_attention_times_add(float *out, const float *parts, int part_count, int heads, int64_t count, const int *done) {
    int64_t i = udump_thread_index();
    if (i >= count || (done && *done)) return;
    float sum = 0;
    for (int part = 0; part < part_count; part++) sum += parts[part * count + i];
    out[i] = sum / (float)heads;
}

/* Into how many the passing rows are cut. */
static inline int udump_attention_times_slices(const udump_kernel_attended *a, int transposed) {
    int own = transposed ? a->keys : a->queries, passing = transposed ? a->queries : a->keys;
    int wanted = UDUMP_TIMES_BLOCKS / ((int)udump_blocks(own, UDUMP_SCORE_ROWS) * a->heads), most = passing / UDUMP_TIMES_PASSING;
    return wanted < 1 || most < 1 ? 1 : wanted < most ? wanted : most;
}

/* Of the parts, both ways round. */
static inline size_t udump_attention_times_floats(const udump_kernel_attended *a, int count) {
    size_t straight = (size_t)udump_attention_times_slices(a, 0) * (size_t)a->queries, turned = (size_t)udump_attention_times_slices(a, 1) * (size_t)a->keys;
    return (straight > turned ? straight : turned) * (size_t)a->heads * (size_t)count;
}

template <typename T, int STEPS>
static inline void udump_launch_times_matrix(dim3 grid, float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    if constexpr (STEPS <= UDUMP_TIMES_STEPS)
        UDUMP_LAUNCH((udump_attention_times_matrix<T, STEPS>), grid, UDUMP_PASSING_WARPS * UDUMP_WARP, udump_passing_bytes(STEPS), stream, parts, vectors, count, logs,
            transposed, slice, done, a);
}

static inline void udump_launch_attention_times(float *out, float *parts, const float *vectors, int count, const float *logs, int transposed, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    int own = transposed ? a.keys : a.queries, passing = transposed ? a.queries : a.keys, slices = udump_attention_times_slices(&a, transposed);
    int slice = (passing + slices - 1) / slices;
    dim3 grid(udump_blocks(own, UDUMP_SCORE_ROWS), (unsigned)a.heads, (unsigned)slices);
    if (udump_matrix_fits(&a) && a.d <= UDUMP_TIMES_STEPS * UDUMP_MATRIX_STEP) {
        UDUMP_FOR_MATRIX(a.dtype, a.d, T, STEPS, udump_launch_times_matrix<T, STEPS>(grid, parts, vectors, count, logs, transposed, slice, done, a, stream));
    } else UDUMP_LAUNCH(udump_attention_times, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, parts, vectors, count, logs, transposed, slice, done, a);
    int64_t values = (int64_t)own * count;
    UDUMP_LAUNCH(udump_attention_times_add, udump_blocks(values, UDUMP_TIMES_THREADS), UDUMP_TIMES_THREADS, 0, stream, out, (const float *)parts, slices * a.heads, a.heads, values, done);
}

#endif
