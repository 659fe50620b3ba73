/* Kernels without a race or with one: that ThreadSanitizer tells them apart. Threads of a block run one after the other here, and what one of them does on its way to the
 * next barrier, before another has left this one, must not pass for ordered. Usage: emulated_races none|barriers|exchanges */
#include <stdio.h>

#include "kernel.cuh"

static __global__ void ordered(int *sum) {
    __shared__ int of[2][UDUMP_WARP], all;
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP;
    for (int turn = 0; turn < 3; turn++) {
        of[warp][lane] = turn;
        __syncwarp();
        int other = of[warp][lane ^ 1];
        __syncthreads();
        if (threadIdx.x == 0) all = other;
        __syncthreads();
        sum[threadIdx.x] += all;
    }
}

static __global__ void racing_between_barriers(int *sum) {
    __shared__ int all;
    for (int turn = 0; turn < 3; turn++) {
        __syncthreads();
        if (turn) all = turn;
    }
    __syncthreads();
    sum[threadIdx.x] = all;
}

static __global__ void racing_between_exchanges(int *sum) {
    __shared__ int of;
    for (int turn = 0; turn < 3; turn++) {
        __syncwarp();
        if (turn && threadIdx.x < 2) of = turn;
    }
    __syncwarp();
    __syncthreads();
    sum[threadIdx.x] = of;
}

int main(int argc, char **argv) {
    static int sum[2 * UDUMP_WARP];
    cudaStream_t stream;
    if (argc != 2 || cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)) return 2;
    auto kernel = strcmp(argv[1], "barriers") == 0 ? racing_between_barriers : strcmp(argv[1], "exchanges") == 0 ? racing_between_exchanges : ordered;
    udump_emulation_launch(1, 2 * UDUMP_WARP, 0, stream, [=]() { kernel(sum); });
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
    printf("%s: %d\n", argv[1], sum[0]);
    return 0;
}
