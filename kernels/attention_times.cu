/* Products of the mean of P over the heads, or of its transpose, with a few vectors. P is made anew each time; it is never in memory. A block makes one part: of
 * one head, and of a slice of the rows that pass; a second launch adds the parts up, in an order that is always the same. */
#include "attention_times.cuh"

#include "scores.cuh"
#include "scores_matrix.cuh"
#include "vectors.cuh"

static_assert((int)UDUMP_PASSING_OWN == (int)UDUMP_SCORE_ROWS, "one grid for both");

enum { THREADS = 256, BLOCKS_WANTED = 2048 /* that fill a card */, PASSING_LEAST = 256 /* for a block that reads as many own rows once */ };

/* parts[slice, head, own, c] = sum over the slice's passing rows of p * vectors[passing, c]. A thread's own row is a query, passing rows are keys; or,
 * transposed, the other way round. done: if not NULL and not 0, there is nothing to do. grid: [own / ROWS, heads, slices] */
static __global__ void attention_times(
    float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, tiles);
    __shared__ float passing[UDUMP_SCORE_COLUMNS][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    int own_count = transposed ? a.keys : a.queries, other_count = transposed ? a.queries : a.keys;
    int head = (int)blockIdx.y, at = (int)blockIdx.x * UDUMP_SCORE_ROWS + (int)threadIdx.x;
    int from = (int)blockIdx.z * slice, end = from + slice < other_count ? from + slice : other_count;
    const float *log = logs + (int64_t)head * a.queries;
    float sums[UDUMP_KERNEL_LOOK_COLUMNS_MOST];
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] = 0;
    if (done && *done) return;
    auto load = [&](int begin) {
        for (int i = (int)threadIdx.x; i < UDUMP_SCORE_COLUMNS * UDUMP_KERNEL_LOOK_COLUMNS_MOST; i += UDUMP_SCORE_ROWS) {
            int j = i / UDUMP_KERNEL_LOOK_COLUMNS_MOST, c = i % UDUMP_KERNEL_LOOK_COLUMNS_MOST;
            passing[j][c] = begin + j < end && c < count ? vectors[(int64_t)(begin + j) * count + c] : 0;
        }
    };
    auto look = [&](int other, int j, float score) {
        int query = transposed ? other : at;
        if (query >= a.queries) return;
        float p = expf(score - log[query]);
#pragma unroll
        for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[c] += p * passing[j][c];
    };
    udump_scores_pass(tiles, a, transposed, from, end, load, look);
    float *out = parts + (((int64_t)blockIdx.z * a.heads + head) * own_count + at) * count;
#pragma unroll
    for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++)
        if (at < own_count && c < count) out[c] = sums[c];
}

enum { STEPS_MOST = 5 /* of channels at most, beside whose tiles shared memory has room */, ROW_FLOATS = UDUMP_KERNEL_LOOK_COLUMNS_MOST + 4 /* off the banks */ };

typedef udump_four passing_row[ROW_FLOATS / 4];

/* Begins to load the passing rows' vectors, from row `first` on; zeros behind the last row and column. */
static __device__ __forceinline__ void load_vectors(passing_row *to, const float *vectors, int count, int first, int end) {
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
static __global__ void __launch_bounds__(UDUMP_PASSING_WARPS *UDUMP_WARP, 3) attention_times_matrix(
    float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(T, tiles);
    __shared__ passing_row passing[2][UDUMP_PASSING_TILE];
    __shared__ udump_vector<float, 2> passing_logs[2][UDUMP_PASSING_TILE / 2];
    int lane = (int)threadIdx.x % UDUMP_WARP, head = (int)blockIdx.y, first = (int)blockIdx.x * UDUMP_PASSING_OWN + (int)threadIdx.x / UDUMP_WARP * UDUMP_MATRIX_ROWS;
    udump_rows<T> queries = { (const T *)a.q + head * a.d, (int)a.q_stride, a.queries }, keys = { (const T *)a.k + head * a.d, (int)a.k_stride, a.keys };
    udump_rows<T> own = transposed ? keys : queries, other = transposed ? queries : keys;
    int from = (int)blockIdx.z * slice, end = from + slice < other.count ? from + slice : other.count;
    const float *log = logs + (int64_t)head * a.queries;
    float scale = UDUMP_LOG2_E / sqrtf((float)a.d), own_logs[2], sums[2][UDUMP_KERNEL_LOOK_COLUMNS_MOST];
    if (done && *done) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int query = first + lane / 4 + i * 8;
        own_logs[i] = transposed || query >= a.queries ? 0 : log[query] * UDUMP_LOG2_E;
#pragma unroll
        for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) sums[i][c] = 0;
    }
    auto load = [&](int half, int begin) {
        load_vectors(passing[half], vectors, count, begin, end);
        udump_passing_load_logs(passing_logs[half][0].at, log, begin, transposed ? end : begin); /* or zeros: the queries' logs are the own rows' */
    };
    auto look = [&](int half, const udump_passing_tile &scores) {
#pragma unroll
        for (int j = 0; j < UDUMP_PASSING_TILE / 8; j++) {
            udump_vector<float, 2> two = passing_logs[half][j * 4 + lane % 4];
#pragma unroll
            for (int k = 0; k < 2; k++) { /* the lane's two passing rows */
                float p[2];
#pragma unroll
                for (int i = 0; i < 2; i++) p[i] = udump_exp2(scores[j][i * 2 + k] * scale - (two.at[k] * UDUMP_LOG2_E + own_logs[i]));
#pragma unroll
                for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c += 4) {
                    udump_four v = passing[half][j * 8 + lane % 4 * 2 + k][c / 4];
#pragma unroll
                    for (int i = 0; i < 8; i++) sums[i / 4][c + i % 4] += p[i / 4] * v.at[i % 4];
                }
            }
        }
    };
    udump_rows_pass<STEPS>(tiles, own, first, other, from, end, a.d, load, look);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int at = first + lane / 4 + i * 8;
        float *out = parts + (((int64_t)blockIdx.z * a.heads + head) * own.count + at) * count;
#pragma unroll
        for (int c = 0; c < UDUMP_KERNEL_LOOK_COLUMNS_MOST; c++) {
            for (int step = 1; step < 4; step *= 2) sums[i][c] += __shfl_xor_sync(0xFFFFFFFFu, sums[i][c], step);
            if (c % 4 == lane % 4 && at < own.count && c < count) out[c] = sums[i][c];
        }
    }
}

/* out[i] = sum of parts[part, i] / heads */
static __global__ void add_parts(float *out, const float *parts, int part_count, int heads, int64_t count, const int *done) {
    int64_t i = udump_thread_index();
    if (i >= count || (done && *done)) return;
    float sum = 0;
    for (int part = 0; part < part_count; part++) sum += parts[part * count + i];
    out[i] = sum / (float)heads;
}

/* Into how many the passing rows are cut. */
static int slices_of(const udump_kernel_attended *a, int transposed) {
    int own = transposed ? a->keys : a->queries, passing = transposed ? a->queries : a->keys;
    int wanted = BLOCKS_WANTED / ((int)udump_blocks(own, UDUMP_SCORE_ROWS) * a->heads), most = passing / PASSING_LEAST;
    return wanted < 1 || most < 1 ? 1 : wanted < most ? wanted : most;
}

/* Of the parts, both ways round. */
size_t udump_attention_times_floats(const udump_kernel_attended *a, int count) {
    size_t straight = (size_t)slices_of(a, 0) * (size_t)a->queries, turned = (size_t)slices_of(a, 1) * (size_t)a->keys;
    return (straight > turned ? straight : turned) * (size_t)a->heads * (size_t)count;
}

template <typename T, int STEPS>
static void launch_matrix(dim3 grid, float *parts, const float *vectors, int count, const float *logs, int transposed, int slice, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    if constexpr (STEPS <= STEPS_MOST)
        UDUMP_LAUNCH((attention_times_matrix<T, STEPS>), grid, UDUMP_PASSING_WARPS * UDUMP_WARP, udump_passing_bytes(STEPS), stream, parts, vectors, count, logs,
            transposed, slice, done, a);
}

void udump_launch_attention_times(float *out, float *parts, const float *vectors, int count, const float *logs, int transposed, const int *done,
    const udump_kernel_attended &a, udump_stream stream) {
    int own = transposed ? a.keys : a.queries, passing = transposed ? a.queries : a.keys, slices = slices_of(&a, transposed);
    int slice = (passing + slices - 1) / slices;
    dim3 grid(udump_blocks(own, UDUMP_SCORE_ROWS), (unsigned)a.heads, (unsigned)slices);
    if (udump_matrix_fits(&a) && a.d <= STEPS_MOST * UDUMP_MATRIX_STEP) {
        UDUMP_FOR_MATRIX(a.dtype, a.d, T, STEPS, launch_matrix<T, STEPS>(grid, parts, vectors, count, logs, transposed, slice, done, a, stream));
    } else UDUMP_LAUNCH(attention_times, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, parts, vectors, count, logs, transposed, slice, done, a);
    int64_t values = (int64_t)own * count;
    UDUMP_LAUNCH(add_parts, udump_blocks(values, THREADS), THREADS, 0, stream, out, (const float *)parts, slices * a.heads, a.heads, values, done);
}
