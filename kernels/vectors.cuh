/* Several neighbours at once: one access of up to 16 bytes. Where rows or addresses do not allow it, V is 1. */
#ifndef UDUMP_KERNELS_VECTORS_CUH
#define UDUMP_KERNELS_VECTORS_CUH

#include "kernel.cuh"

template <typename T, int V> struct alignas(sizeof(T) * V) udump_vector {
    T at[V];
};

typedef udump_vector<float, 4> udump_four;

/* data[i .. i + V), or what of it is before count. */
template <int V, typename T> __device__ __forceinline__ udump_vector<T, V> udump_load_vector(const T *data, int64_t i, int64_t count) {
    if (i + V <= count) return *(const udump_vector<T, V> *)(data + i);
    udump_vector<T, V> v;
#pragma unroll
    for (int j = 0; j < V; j++) v.at[j] = i + j < count ? data[i + j] : udump_from<T>(0);
    return v;
}
template <int V, typename T> __device__ __forceinline__ void udump_store_vector(T *data, int64_t i, int64_t count, const udump_vector<T, V> &v) {
    if (i + V <= count) {
        *(udump_vector<T, V> *)(data + i) = v;
        return;
    }
#pragma unroll
    for (int j = 0; j < V; j++)
        if (i + j < count) data[i + j] = v.at[j];
}

/* v, as if it had just been read: what was made of it so far is made again, so that 16-bit numbers wait in half the registers that fp32 would take. */
template <int V, typename T> __device__ __forceinline__ udump_vector<T, V> udump_again(udump_vector<T, V> v) {
#if defined(__CUDACC__)
    if constexpr (sizeof v % 4 == 0) {
        uint32_t words[sizeof v / 4];
        memcpy(words, &v, sizeof v);
#pragma unroll
        for (int i = 0; i < (int)(sizeof v / 4); i++) asm volatile("" : "+r"(words[i]));
        memcpy(&v, words, sizeof v);
    }
#endif
    return v;
}

/* Whether 16 bytes at a time are aligned: from these addresses on, in rows of so many bytes (0: one row). */
static inline bool udump_aligned(const void *a, const void *b, int64_t row_bytes) {
    return ((uintptr_t)a | (uintptr_t)b | (uintptr_t)row_bytes) % 16 == 0;
}

/* Calls the statement with V, elements of `size` bytes, so that an access has 16 bytes, or with V 1. */
#define UDUMP_FOR_VECTOR(aligned, size, V, ...)      \
    if (aligned) {                                   \
        constexpr int V = 16 / (int)(size);          \
        __VA_ARGS__;                                 \
    } else {                                         \
        constexpr int V = 1;                         \
        __VA_ARGS__;                                 \
    }

#endif
