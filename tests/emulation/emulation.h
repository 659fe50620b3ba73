/* CUDA C for the CPU: what kernels/ uses of it, no more. A block's threads are fibers of one thread of ours; they change at barriers and where
 * warps exchange values. Blocks run one after the other. Needs no CUDA toolkit. */
#ifndef UDUMP_EMULATION_H
#define UDUMP_EMULATION_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <functional>

#include "base/half.h"
#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
/* One block runs at a time, on one thread: what is static is the block's. The sanitizers see each variable's bounds. */
#define __shared__ static
#define UDUMP_CONSTANT_PARAM const

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) uint4 { /* as CUDA's: the sanitizers see an address that is not */
    unsigned x, y, z, w;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* ---- 16-bit numbers */

struct udump_f16 {
    uint16_t bits;
};
struct udump_bf16 {
    uint16_t bits;
};
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float v) { return 1 / sqrtf(v); }
static inline float udump_f32(float v) { return v; }
static inline float udump_f32(udump_f16 v) { return udump_f16_to_f32(v.bits); }
static inline float udump_f32(udump_bf16 v) { return udump_bf16_to_f32(v.bits); }
template <typename T> inline T udump_from(float v);
template <> inline float udump_from<float>(float v) { return v; }
template <> inline udump_f16 udump_from<udump_f16>(float v) { return udump_f16{ udump_f32_to_f16(v) }; }
template <> inline udump_bf16 udump_from<udump_bf16>(float v) { return udump_bf16{ udump_f32_to_bf16(v) }; }

static inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, 8);
    return value;
}
static inline long long __double_as_longlong(double value) {
    long long bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* ---- barriers and exchange */

void udump_emulation_barrier(void);
/* Gives `bytes` of this lane and waits for the other lanes of the warp; the 32 lanes' values, `stride` apart, until the next exchange but one. */
const unsigned char *udump_emulation_exchange(const void *value, size_t bytes, size_t *stride);
int udump_emulation_lane(void);

static inline void __syncthreads(void) { udump_emulation_barrier(); }
static inline void __syncwarp(unsigned = 0xFFFFFFFFu) {
    size_t stride;
    udump_emulation_exchange("", 1, &stride);
}
template <typename V> inline V udump_emulation_shuffle(V v, int from) {
    size_t stride;
    const unsigned char *all = udump_emulation_exchange(&v, sizeof v, &stride);
    memcpy(&v, all + (size_t)from * stride, sizeof v);
    return v;
}
template <typename V> inline V __shfl_xor_sync(unsigned, V v, int mask) { return udump_emulation_shuffle(v, udump_emulation_lane() ^ mask); }
template <typename V> inline V __shfl_sync(unsigned, V v, int lane) { return udump_emulation_shuffle(v, lane & 31); }
static inline unsigned __reduce_or_sync(unsigned, unsigned bits) {
    size_t stride;
    const unsigned char *all = udump_emulation_exchange(&bits, sizeof bits, &stride);
    for (int lane = 0; lane < 32; lane++) {
        unsigned other;
        memcpy(&other, all + (size_t)lane * stride, sizeof other);
        bits |= other;
    }
    return bits;
}

/* ---- launching */

/* Appends a launch to the stream: like the device, it happens later. kernel: whom more shared memory may have been allowed, or NULL */
void udump_emulation_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> thread, const void *kernel = NULL);
/* Whether so much from there on is one allocation's. */
bool udump_emulation_on_device(const void *memory, size_t bytes);
/* Binds something to the thread's current device, which it returns. */
int udump_emulation_bind(void);
/* Any other work of the stream. */
void udump_emulation_append(cudaStream_t stream, std::function<void()> work);
/* What the stream's work takes on the device's clock, which nothing else moves. */
void udump_emulation_spend(cudaStream_t stream, float milliseconds);
/* The block's memory of the launch's size: not a byte more, and NaN at first. */
unsigned char *udump_emulation_shared(void);

#define UDUMP_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    udump_emulation_launch(grid, block, shared_bytes, stream, [=]() { kernel(__VA_ARGS__); }, (const void *)kernel)
#define UDUMP_SHARED(type, name) type *name = (type *)udump_emulation_shared()

#endif
