/* P transposed: every key's map. */
#include "scores.cuh"
#include "scores_matrix.cuh"
#include "vectors.cuh"

enum {
    QUERIES = UDUMP_MATRIX_ROWS, COLUMNS = 4 /* queries of a lane */, TILES_FEW = 1, TILES_MANY = 5 /* of 16 keys, that a warp has: a prompt's 77 keys */,
    WARPS_FEW = 16 /* at most, with few tiles */, WARPS_MANY = 8, MANY_STEPS = 5 /* of channels, beside which registers have room for many tiles */,
    FULL = 512 /* blocks of one warp, that give every part of a card something */
};

/* A row's pairs of channels as both operands have them: those of lane % 4. A lane reads neighbours, which is not the units' order of channels; but to a sum
 * it is all the same, if both operands have them in the same. */
template <int STEPS, typename T> static __device__ __forceinline__ void load_row(uint32_t (&pairs)[STEPS][2], const T *data, int64_t at, int d) {
    int part = (int)threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < STEPS; i += 2) {
        int channel = i * UDUMP_MATRIX_STEP + part * (i + 1 < STEPS ? 8 : 4);
        udump_vector<uint32_t, 4> both = { { 0, 0, 0, 0 } };
        udump_vector<uint32_t, 2> last = { { 0, 0 } };
        if (channel < d && i + 1 < STEPS) both = *(const udump_vector<uint32_t, 4> *)(data + channel + at);
        if (channel < d && i + 1 == STEPS) last = *(const udump_vector<uint32_t, 2> *)(data + channel + at);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            pairs[i][j] = i + 1 < STEPS ? both.at[j] : last.at[j];
            if (i + 1 < STEPS) pairs[i + 1][j] = both.at[2 + j];
        }
    }
}

/* scores[i][j], not yet divided: of key first + i * 8 + lane / 4 and the lane's query j; -infinity behind the last key. A lane's queries are four neighbours.
 * Behind the last row the last is read again: nothing branches, so that all loads are on their way before the first is needed. */
template <typename T, int STEPS, int TILES>
static __device__ __forceinline__ void score(float (&scores)[TILES * 2][COLUMNS], const udump_kernel_attended &a, int first) {
    int lane = (int)threadIdx.x % UDUMP_WARP, q_stride = (int)a.q_stride, k_stride = (int)a.k_stride; /* an address is one multiplication */
    const T *queries = (const T *)a.q + (int)blockIdx.y * a.d, *keys = (const T *)a.k + (int)blockIdx.y * a.d;
    uint32_t query[2][STEPS][2], rows[TILES * 2][STEPS][2];
#pragma unroll
    for (int i = 0; i < 2; i++) { /* so that a lane's columns of both products are neighbours */
        int at = (int)blockIdx.x * QUERIES + lane / 8 * COLUMNS + i * 2 + lane / 4 % 2;
        load_row<STEPS>(query[i], queries, (int64_t)(at < a.queries ? at : a.queries - 1) * q_stride, a.d);
    }
#pragma unroll
    for (int i = 0; i < TILES * 2; i++) {
        int at = first + i * 8 + lane / 4;
        load_row<STEPS>(rows[i], keys, (int64_t)(at < a.keys ? at : a.keys - 1) * k_stride, a.d);
    }
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        float sums[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
#pragma unroll
        for (int i = 0; i < STEPS; i++) {
            uint32_t key[4] = { rows[tile * 2][i][0], rows[tile * 2 + 1][i][0], rows[tile * 2][i][1], rows[tile * 2 + 1][i][1] };
            udump_mma<T>(sums[0], key, query[0][i]);
            udump_mma<T>(sums[1], key, query[1][i]);
        }
#pragma unroll
        for (int i = 0; i < 2 * COLUMNS; i++) scores[tile * 2 + i / COLUMNS][i % COLUMNS] = sums[i % COLUMNS / 2][i / COLUMNS * 2 + i % 2];
    }
    if (first + TILES * UDUMP_MATRIX_ROWS <= a.keys) return;
#pragma unroll
    for (int i = 0; i < TILES * 2; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) scores[i][j] = first + i * 8 + lane / 4 < a.keys ? scores[i][j] : -INFINITY;
}

/* From each lane's maximum and total of four queries to all keys': lanes 4 apart have the same queries; then the warps. */
static __device__ __forceinline__ void join(udump_four *most, udump_four *total) {
    __shared__ udump_four warp_most[WARPS_FEW][QUERIES / COLUMNS], warp_total[WARPS_FEW][QUERIES / COLUMNS];
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP, warps = (int)blockDim.x / UDUMP_WARP;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
        float larger = most->at[j];
        for (int step = 4; step < UDUMP_WARP; step *= 2) larger = fmaxf(larger, __shfl_xor_sync(0xFFFFFFFFu, larger, step));
        total->at[j] *= udump_exp2(most->at[j] - udump_base_of(larger));
        for (int step = 4; step < UDUMP_WARP; step *= 2) total->at[j] += __shfl_xor_sync(0xFFFFFFFFu, total->at[j], step);
        most->at[j] = larger;
    }
    if (warps == 1) return;
    if (lane < QUERIES / COLUMNS) warp_most[warp][lane] = *most, warp_total[warp][lane] = *total;
    __syncthreads();
    for (int i = 0; i < warps; i++) {
        udump_four other = warp_most[i][lane % 4];
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) most->at[j] = fmaxf(most->at[j], other.at[j]), total->at[j] = 0;
    }
    for (int i = 0; i < warps; i++) {
        udump_four other = warp_most[i][lane % 4], part = warp_total[i][lane % 4];
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) total->at[j] += part.at[j] * udump_exp2(other.at[j] - udump_base_of(most->at[j]));
    }
}

/* A block takes 16 queries of one head, a warp 16 or 80 of the keys, straight from memory to registers; there are warps for all keys. What they make of them waits
 * in registers until its row's total is known. Many warps make one block short; few have less to say to each other. */
template <typename T, int STEPS, int TILES>
static __global__ void __launch_bounds__((TILES == TILES_FEW ? WARPS_FEW : WARPS_MANY) * UDUMP_WARP, TILES == TILES_MANY && STEPS <= 3 ? 2 : 1)
    attention_maps_matrix(float *maps, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    const int rows = TILES * 2;
    int lane = (int)threadIdx.x % UDUMP_WARP, own = (int)blockIdx.x * QUERIES + lane % 4 * COLUMNS, first = (int)threadIdx.x / UDUMP_WARP * rows * 8;
    float scores[rows][COLUMNS], scale = UDUMP_LOG2_E / sqrtf((float)a.d);
    udump_four most, total, all_most, share;
    score<T, STEPS, TILES>(scores, a, first);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
        float larger = -INFINITY; /* NaN is passed over */
#pragma unroll
        for (int i = 0; i < rows; i++) larger = fmaxf(larger, scores[i][j]);
        most.at[j] = larger * scale;
        total.at[j] = 0;
        float base = udump_base_of(most.at[j]);
#pragma unroll
        for (int i = 0; i < rows; i++) total.at[j] += scores[i][j] = udump_exp2(scores[i][j] * scale - base);
    }
    all_most = most;
    join(&all_most, &total);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) share.at[j] = udump_exp2(most.at[j] - udump_base_of(all_most.at[j])) / total.at[j];

    int64_t row = (int64_t)blockIdx.y * a.keys + first + lane / 4;
    int there = own < a.queries ? a.keys - first - lane / 4 : 0; /* keys that the lane has something of */
    if (a.queries % COLUMNS == 0 && (uintptr_t)maps % sizeof(udump_four) == 0) {
#pragma unroll
        for (int i = 0; i < rows; i++) {
            udump_four p;
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) p.at[j] = scores[i][j] * share.at[j];
            if (i * 8 < there) ((udump_four *)maps)[(row + i * 8) * (a.queries / COLUMNS) + own / COLUMNS] = p; /* an index of fours: else the compiler stores one by one */
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < rows; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++)
            if (i * 8 < there && own + j < a.queries) maps[(row + i * 8) * a.queries + own + j] = scores[i][j] * share.at[j];
}

template <typename T, int STEPS, int TILES> static void launch_matrix(float *maps, const udump_kernel_attended &a, udump_stream stream) {
    dim3 grid(udump_blocks(a.queries, QUERIES), (unsigned)a.heads);
    UDUMP_LAUNCH((attention_maps_matrix<T, STEPS, TILES>), grid, udump_blocks(a.keys, TILES * UDUMP_MATRIX_ROWS) * UDUMP_WARP, 0, stream, maps, a);
}

/* Whether there are warps for all keys, and registers for many tiles. */
static bool fits(const udump_kernel_attended *a, bool *many) {
    bool full = (int64_t)udump_blocks(a->queries, QUERIES) * a->heads >= FULL, few_fit = a->keys <= WARPS_FEW * TILES_FEW * UDUMP_MATRIX_ROWS;
    *many = (full || !few_fit) && a->d <= MANY_STEPS * UDUMP_MATRIX_STEP;
    return udump_matrix_fits(a) && a->keys <= (*many ? WARPS_MANY * TILES_MANY : WARPS_FEW * TILES_FEW) * UDUMP_MATRIX_ROWS;
}

template <typename T, int STEPS> static void choose_tiles(float *maps, const udump_kernel_attended &a, bool many, udump_stream stream) {
    if constexpr (STEPS <= MANY_STEPS) {
        if (many) {
            launch_matrix<T, STEPS, TILES_MANY>(maps, a, stream);
            return;
        }
    }
    launch_matrix<T, STEPS, TILES_FEW>(maps, a, stream);
}

/* The others. A thread's query is one pixel of all maps, so neighbours write side by side; scores wait in the maps themselves until their row's total is known. */
static __global__ void attention_maps(float *maps, UDUMP_CONSTANT_PARAM udump_kernel_attended a) {
    UDUMP_SHARED(float, tiles);
    int head = (int)blockIdx.y, query = (int)blockIdx.x * UDUMP_SCORE_ROWS + (int)threadIdx.x;
    float *map = maps + (int64_t)head * a.keys * a.queries + query;
    float most = -INFINITY, total = 0;
    auto look = [&](int key, int, float score) {
        if (query >= a.queries) return;
        map[(int64_t)key * a.queries] = score;
        if (score > most) {
            total *= expf(most - score);
            most = score;
        }
        total += expf(score - most);
    };
    udump_scores_pass(tiles, a, 0, 0, a.keys, [](int) {}, look);
    for (int key = 0; key < a.keys && query < a.queries; key++) {
        float *p = &map[(int64_t)key * a.queries];
        *p = expf(*p - most) / total;
    }
}

void udump_kernel_attention_maps(float *maps, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    bool many;
    if (fits(&a, &many)) {
        UDUMP_FOR_MATRIX(a.dtype, a.d, T, STEPS, choose_tiles<T, STEPS>(maps, a, many, stream));
        return;
    }
    dim3 grid(udump_blocks(a.queries, UDUMP_SCORE_ROWS), (unsigned)a.heads);
    UDUMP_LAUNCH(attention_maps, grid, UDUMP_SCORE_ROWS, udump_scores_bytes(a.d), stream, maps, a);
}
