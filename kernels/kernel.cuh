/* What every kernel needs: number types, launching, and sums over a warp or a block. The same source compiles for the device (nvcc) and, for
 * the tests, for the CPU (tests/emulation): a block's threads are then fibers, and warps exchange values through memory. */
#ifndef UDUMP_KERNELS_KERNEL_CUH
#define UDUMP_KERNELS_KERNEL_CUH

#include "kernels.h"

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef __half udump_f16;
typedef __nv_bfloat16 udump_bf16;

#define UDUMP_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
/* Memory of a block whose size the launch gives. */
#define UDUMP_SHARED(type, name)                         \
    extern __shared__ __align__(16) unsigned char udump_shared_bytes[]; \
    type *name = (type *)udump_shared_bytes
#define UDUMP_CONSTANT_PARAM const __grid_constant__

__device__ __forceinline__ float udump_f32(float v) { return v; }
__device__ __forceinline__ float udump_f32(udump_f16 v) { return __half2float(v); }
__device__ __forceinline__ float udump_f32(udump_bf16 v) { return __bfloat162float(v); }
template <typename T> __device__ __forceinline__ T udump_from(float v);
template <> __device__ __forceinline__ float udump_from<float>(float v) { return v; }
template <> __device__ __forceinline__ udump_f16 udump_from<udump_f16>(float v) { return __float2half_rn(v); }
template <> __device__ __forceinline__ udump_bf16 udump_from<udump_bf16>(float v) { return __float2bfloat16_rn(v); }

#else
#include "emulation.h"
#endif

enum { UDUMP_WARP = 32 };

/* Calls the template `function<T, ...>(...)` for the type that dtype names. */
#define UDUMP_FOR_DTYPE(dtype, T, ...)                                          \
    switch (dtype) {                                                            \
    case UDUMP_KERNEL_F32: { typedef float T; __VA_ARGS__; break; }             \
    case UDUMP_KERNEL_F16: { typedef udump_f16 T; __VA_ARGS__; break; }         \
    default: { typedef udump_bf16 T; __VA_ARGS__; break; }                      \
    }

/* An element of an array whose type is known only while running. */
__device__ __forceinline__ float udump_load(const void *data, int dtype, int64_t at) {
    if (dtype == UDUMP_KERNEL_F32) return ((const float *)data)[at];
    if (dtype == UDUMP_KERNEL_F16) return udump_f32(((const udump_f16 *)data)[at]);
    return udump_f32(((const udump_bf16 *)data)[at]);
}
__device__ __forceinline__ void udump_store(void *data, int dtype, int64_t at, float value) {
    if (dtype == UDUMP_KERNEL_F32) ((float *)data)[at] = value;
    else if (dtype == UDUMP_KERNEL_F16) ((udump_f16 *)data)[at] = udump_from<udump_f16>(value);
    else ((udump_bf16 *)data)[at] = udump_from<udump_bf16>(value);
}

__device__ __forceinline__ int64_t udump_thread_index(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }

static inline unsigned udump_blocks(int64_t count, int64_t each) { return (unsigned)((count + each - 1) / each); }

template <typename V> __device__ __forceinline__ V udump_warp_sum(V v) {
    for (int lane = UDUMP_WARP / 2; lane; lane /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, lane);
    return v;
}
/* NaN is passed over: what has one is found elsewhere. */
__device__ __forceinline__ float udump_warp_max(float v) {
    for (int lane = UDUMP_WARP / 2; lane; lane /= 2) {
        float other = __shfl_xor_sync(0xFFFFFFFFu, v, lane);
        v = other > v ? other : v;
    }
    return v;
}

/* The sum over a block of whole warps, in every thread. partial: shared, a value for each warp; free to be used again after a barrier. */
template <typename V> __device__ __forceinline__ V udump_block_sum(V v, V *partial) {
    int warps = (int)blockDim.x / UDUMP_WARP, lane = (int)threadIdx.x % UDUMP_WARP;
    v = udump_warp_sum(v);
    if (lane == 0) partial[threadIdx.x / UDUMP_WARP] = v;
    __syncthreads();
    V total = 0;
    for (int i = 0; i < warps; i++) total += partial[i];
    __syncthreads();
    return total;
}
__device__ __forceinline__ float udump_block_max(float v, float *partial) {
    int warps = (int)blockDim.x / UDUMP_WARP, lane = (int)threadIdx.x % UDUMP_WARP;
    v = udump_warp_max(v);
    if (lane == 0) partial[threadIdx.x / UDUMP_WARP] = v;
    __syncthreads();
    float most = partial[0];
    for (int i = 1; i < warps; i++) most = partial[i] > most ? partial[i] : most;
    __syncthreads();
    return most;
}

#endif
