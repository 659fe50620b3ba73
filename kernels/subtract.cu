/* A difference, and its norms in double: blocks' sums, then the sum of those in their order, so that a run repeats to the bit. */
#include "kernel.cuh"

enum { THREADS = 256, BLOCKS = 256, SUMS = 5 };

static __device__ __forceinline__ double larger_or_nan(double a, double b) { return b > a || b != b ? b : a; }

static __device__ __forceinline__ void block_sums(double (&sums)[SUMS]) {
    __shared__ double warps[SUMS][THREADS / UDUMP_WARP];
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP;
#pragma unroll
    for (int i = 0; i < SUMS; i++)
        for (int step = UDUMP_WARP / 2; step; step /= 2) {
            double other = __shfl_xor_sync(0xFFFFFFFFu, sums[i], step);
            sums[i] = i == SUMS - 1 ? larger_or_nan(sums[i], other) : sums[i] + other;
        }
    for (int i = 0; i < SUMS && lane == 0; i++) warps[i][warp] = sums[i];
    __syncthreads();
    for (int i = 0; i < SUMS; i++) {
        sums[i] = warps[i][0];
        for (int w = 1; w < THREADS / UDUMP_WARP; w++) sums[i] = i == SUMS - 1 ? larger_or_nan(sums[i], warps[i][w]) : sums[i] + warps[i][w];
    }
}

static __global__ void subtract(float *out, const void *a, int a_dtype, const void *b, int b_dtype, int64_t count, int absolute, double *partial) {
    double sums[SUMS] = { 0, 0, 0, 0, 0 };
    for (int64_t i = udump_thread_index(); i < count; i += (int64_t)gridDim.x * THREADS) {
        float left = udump_load(a, a_dtype, i), right = udump_load(b, b_dtype, i), off = left - right;
        sums[0] += (double)off * (double)off;
        sums[1] += (double)left * (double)left;
        sums[2] += (double)right * (double)right;
        sums[3] += (double)left * (double)right;
        sums[4] = larger_or_nan(sums[4], (double)fabsf(off));
        out[i] = absolute ? fabsf(off) : off;
    }
    block_sums(sums);
    for (int i = 0; i < SUMS && threadIdx.x == 0; i++) partial[blockIdx.x * SUMS + i] = sums[i];
}

static __global__ void finish(double *result, const double *partial, int blocks) {
    double sums[SUMS] = { 0, 0, 0, 0, 0 };
    for (int i = 0; i < SUMS && (int)threadIdx.x < blocks; i++) sums[i] = partial[threadIdx.x * SUMS + i];
    block_sums(sums);
    if (threadIdx.x != 0) return;
    for (int i = 0; i < 3; i++) result[i] = sqrt(sums[i]);
    result[3] = sums[3];
    result[4] = sums[4];
}

size_t udump_kernel_subtract_scratch_bytes(void) { return BLOCKS * SUMS * sizeof(double); }

void udump_kernel_subtract(float *out, const void *a, int a_dtype, const void *b, int b_dtype, int64_t count, int absolute, double *sums,
    double *scratch, udump_stream stream) {
    unsigned wanted = udump_blocks(count, THREADS), blocks = wanted < (unsigned)BLOCKS ? wanted : (unsigned)BLOCKS;
    UDUMP_LAUNCH(subtract, blocks, THREADS, 0, stream, out, a, a_dtype, b, b_dtype, count, absolute, scratch);
    UDUMP_LAUNCH(finish, 1, THREADS, 0, stream, sums, (const double *)scratch, (int)blocks);
}
