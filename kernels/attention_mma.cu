/* Attention on the matrix units, in the manner of FlashAttention-2 (Dao 2023): a block takes 64 queries of one head, a warp 16 of them; keys and values
 * come by in tiles through shared memory; scores, and the probabilities that they become, never leave registers. */
#include "attention.h"
#include "matrix.cuh"

enum { WARPS = 4, WARP_QUERIES = 16, QUERIES = WARPS * WARP_QUERIES, PAD = 8 /* elements behind a row of a tile: off the banks */ };

/* Rows [first, first + rows) of d channels to shared memory, zeros behind what is there. D: d rounded up to 16. */
template <typename T, int D>
__device__ __forceinline__ void load_tile(T *tile, const T *from, int64_t row_elements, int rows, int count, int d) {
    const int pieces = D / 8; /* of 16 bytes */
    for (int i = (int)threadIdx.x; i < rows * pieces; i += WARPS * UDUMP_WARP) {
        int row = i / pieces, column = i % pieces * 8;
        uint4 piece = { 0, 0, 0, 0 };
        if (row < count && column < d) piece = *(const uint4 *)(from + row * row_elements + column); /* d is a multiple of 8 */
        *(uint4 *)(tile + row * (D + PAD) + column) = piece;
    }
}

template <typename T, int D, int KEYS>
__global__ void __launch_bounds__(WARPS *UDUMP_WARP, D <= 80 ? 3 : 2) /* blocks at once: the registers for so many, no fewer */
    attention_mma(T *out, const T *q, const T *k, const T *v, UDUMP_CONSTANT_PARAM udump_kernel_attention_shape s) {
    UDUMP_SHARED(T, shared);
    T *key_tile = shared, *value_tile = shared + KEYS * (D + PAD); /* [KEYS, D + PAD]; at first both hold the queries */
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP;
    int head = (int)blockIdx.y, row = (int)blockIdx.z, first_query = (int)blockIdx.x * QUERIES;
    int64_t first = s.keys ? (int64_t)row * s.keys : s.first[row];
    int keys = s.keys ? s.keys : s.count[row];
    float scale = 1.44269504f / sqrtf((float)s.d); /* powers of 2 instead of e: one instruction */

    /* Q's fragments: [D / 16] of 16 queries by 16 channels */
    uint32_t query[D / 16][4];
    load_tile<T, D>(shared, q + ((int64_t)row * s.queries + first_query) * s.q_row + head * s.d, s.q_row, QUERIES, s.queries - first_query, s.d);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < D / 16; i++)
        udump_load_matrices(query[i], shared + (warp * WARP_QUERIES + lane % 16) * (D + PAD) + i * 16 + lane / 16 * 8);
    __syncthreads();

    float sums[D / 8][4], most[2] = { -INFINITY, -INFINITY }, total[2] = { 0, 0 }; /* of rows lane / 4 and lane / 4 + 8 */
#pragma unroll
    for (int i = 0; i < D / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = 0;

    int last_key = s.causal && first_query + QUERIES < keys ? first_query + QUERIES : keys;
    for (int begin = 0; begin < last_key; begin += KEYS) {
        load_tile<T, D>(key_tile, k + (first + begin) * s.kv_row + head * s.d, s.kv_row, KEYS, keys - begin, s.d);
        load_tile<T, D>(value_tile, v + (first + begin) * s.kv_row + head * s.d, s.kv_row, KEYS, keys - begin, s.d);
        __syncthreads();

        float scores[KEYS / 8][4];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) scores[j][i] = 0;
#pragma unroll
        for (int i = 0; i < D / 16; i++)
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) { /* 16 keys: matrices of keys 0-7 and 8-15 by channels 0-7 and 8-15 */
                uint32_t four[4];
                udump_load_matrices(four, key_tile + (j * 16 + lane / 16 * 8 + lane % 8) * (D + PAD) + i * 16 + lane / 8 % 2 * 8);
                uint32_t low[2] = { four[0], four[1] }, high[2] = { four[2], four[3] };
                udump_mma<T>(scores[2 * j], query[i], low);
                udump_mma<T>(scores[2 * j + 1], query[i], high);
            }

        float larger[2] = { most[0], most[1] };
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = begin + j * 8 + lane % 4 * 2 + i % 2, at = first_query + warp * WARP_QUERIES + lane / 4 + i / 2 * 8;
                bool seen = key < keys && (!s.causal || key <= at);
                scores[j][i] = seen ? scores[j][i] * scale : -INFINITY;
                larger[i / 2] = fmaxf(scores[j][i], larger[i / 2]); /* NaN is passed over */
            }
        float base[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            for (int step = 1; step < 4; step *= 2) /* the four lanes of a row */
                larger[h] = fmaxf(larger[h], __shfl_xor_sync(0xFFFFFFFFu, larger[h], step));
            base[h] = larger[h] == -INFINITY ? 0 : larger[h]; /* a row of nothing so far */
            float shrink = exp2f(most[h] - base[h]);
            most[h] = larger[h];
            total[h] *= shrink;
#pragma unroll
            for (int i = 0; i < D / 8; i++) {
                sums[i][2 * h] *= shrink;
                sums[i][2 * h + 1] *= shrink;
            }
        }
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[j][i] = exp2f(scores[j][i] - base[i / 2]);
                total[i / 2] += scores[j][i];
            }

#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) { /* the scores' fragments are, two by two, those of a left operand */
            uint32_t p[4] = { udump_pack_pair<T>(scores[2 * j][0], scores[2 * j][1]), udump_pack_pair<T>(scores[2 * j][2], scores[2 * j][3]),
                udump_pack_pair<T>(scores[2 * j + 1][0], scores[2 * j + 1][1]), udump_pack_pair<T>(scores[2 * j + 1][2], scores[2 * j + 1][3]) };
#pragma unroll
            for (int i = 0; i < D / 16; i++) { /* 16 channels: matrices of keys 0-7 and 8-15 by channels 0-7, then 8-15 */
                uint32_t four[4];
                udump_load_matrices_transposed(four, value_tile + (j * 16 + lane % 16) * (D + PAD) + i * 16 + lane / 16 * 8);
                uint32_t low[2] = { four[0], four[1] }, high[2] = { four[2], four[3] };
                udump_mma<T>(sums[2 * i], p, low);
                udump_mma<T>(sums[2 * i + 1], p, high);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int h = 0; h < 2; h++) {
        for (int step = 1; step < 4; step *= 2) total[h] += __shfl_xor_sync(0xFFFFFFFFu, total[h], step);
        int at = first_query + warp * WARP_QUERIES + lane / 4 + h * 8;
        T *target = out + ((int64_t)row * s.queries + at) * s.out_row + head * s.d + lane % 4 * 2;
        float share = 1.0f / total[h];
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            if (at >= s.queries || i * 8 >= s.d) continue;
            *(uint32_t *)(target + i * 8) = udump_pack_pair<T>(sums[i][2 * h] * share, sums[i][2 * h + 1] * share); /* memcpy would store bytes */
        }
    }
}

int udump_kernel_attention_mma_fits(int dtype, const udump_kernel_attention_shape *s) {
    bool aligned = s->d % 8 == 0 && s->q_row % 8 == 0 && s->kv_row % 8 == 0 && s->out_row % 2 == 0;
    return dtype != UDUMP_KERNEL_F32 && aligned && s->d <= UDUMP_KERNEL_TILED_HEAD_MOST;
}

template <typename T, int D, int KEYS>
static void attend_sized(T *out, const T *q, const T *k, const T *v, const udump_kernel_attention_shape &s, udump_stream stream) {
    size_t tile = (size_t)KEYS * (D + PAD) * sizeof(T), queries = (size_t)QUERIES * (D + PAD) * sizeof(T);
    size_t shared_bytes = 2 * tile > queries ? 2 * tile : queries;
    dim3 grid(udump_blocks(s.queries, QUERIES), (unsigned)s.heads, (unsigned)s.n);
    UDUMP_LAUNCH((attention_mma<T, D, KEYS>), grid, WARPS * UDUMP_WARP, shared_bytes, stream, out, q, k, v, s);
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

void udump_kernel_attention_mma(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape,
    udump_stream stream) {
    if (dtype == UDUMP_KERNEL_F16) attend((udump_f16 *)out, (const udump_f16 *)q, (const udump_f16 *)k, (const udump_f16 *)v, shape, stream);
    else attend((udump_bf16 *)out, (const udump_bf16 *)q, (const udump_bf16 *)k, (const udump_bf16 *)v, shape, stream);
}
