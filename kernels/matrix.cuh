/* The matrix units: products of 16 x 16 by 16 x 8 by one warp, and loading their operands from shared memory. On the CPU the lanes exchange what
 * the hardware would, so that the layouts, which are where mistakes are made, are the same code. PTX ISA: mma.m16n8k16, ldmatrix. */
#ifndef UDUMP_KERNELS_MATRIX_CUH
#define UDUMP_KERNELS_MATRIX_CUH

#include "kernel.cuh"

/* e^v is 2^(v * log2 e). */
#define UDUMP_LOG2_E 1.44269504f

/* What a softmax subtracts from scores whose largest is `most`: nothing, of none so far or of nothing but -infinity. */
__device__ __forceinline__ float udump_base_of(float most) { return most == -INFINITY ? 0 : most; }

/* Two 16-bit numbers in one register, the first in the low half. */
template <typename T> __device__ __forceinline__ uint32_t udump_pack_pair(float low, float high) {
    T pair[2] = { udump_from<T>(low), udump_from<T>(high) };
    uint32_t bits;
    memcpy(&bits, pair, 4);
    return bits;
}

#if defined(__CUDACC__)

/* 2^v to two of the last places, in one instruction; what is below the least normal number is 0, which it is in 16 bits anyway. */
__device__ __forceinline__ float udump_exp2(float v) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(v));
    return power;
}

/* sums += a * b. a: rows lane / 4 and lane / 4 + 8, columns 2 * (lane % 4) and + 8; b: column lane / 4; sums: as a, 8 columns. */
template <typename T> __device__ __forceinline__ void udump_mma(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
template <> __device__ __forceinline__ void udump_mma<udump_f16>(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> __device__ __forceinline__ void udump_mma<udump_bf16>(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices: lane 8 * i + r gives the address of row r of matrix i, in shared memory and 16 bytes aligned. out[i]: row lane / 4, columns
 * 2 * (lane % 4) and the next; transposed: column lane / 4, rows likewise. */
__device__ __forceinline__ void udump_load_matrices(uint32_t (&out)[4], const void *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
}
__device__ __forceinline__ void udump_load_matrices_transposed(uint32_t (&out)[4], const void *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
}

#else

inline float udump_exp2(float v) { return exp2f(v); }

template <typename T> inline float udump_emulated_half(uint32_t pair, int which) {
    T value;
    uint16_t bits = (uint16_t)(pair >> (16 * which));
    memcpy(&value, &bits, 2);
    return udump_f32(value);
}

/* A lane's share of both operands. */
struct udump_emulated_operands {
    float a[8], b[4];
};

/* Not for sanitizers to look at: where their time goes, and `all` is the emulation's own. */
__attribute__((no_sanitize("address", "undefined", "thread"))) inline void udump_emulated_products(float (&sums)[4], const unsigned char *all, size_t stride, int lane) {
    for (int i = 0; i < 4; i++)
        for (int at = 0; at < 16; at++) {
            const udump_emulated_operands *left = (const udump_emulated_operands *)(all + (size_t)(lane / 4 * 4 + at % 8 / 2) * stride);
            const udump_emulated_operands *right = (const udump_emulated_operands *)(all + (size_t)((lane % 4 * 2 + i % 2) * 4 + at % 8 / 2) * stride);
            sums[i] += left->a[at / 8 * 4 + i / 2 * 2 + at % 2] * right->b[at / 8 * 2 + at % 2];
        }
}

template <typename T> inline void udump_mma(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    udump_emulated_operands mine;
    for (int i = 0; i < 8; i++) mine.a[i] = udump_emulated_half<T>(a[i / 2], i % 2);
    for (int i = 0; i < 4; i++) mine.b[i] = udump_emulated_half<T>(b[i / 2], i % 2);
    size_t stride;
    const unsigned char *all = udump_emulation_exchange(&mine, sizeof mine, &stride);
    udump_emulated_products(sums, all, stride, udump_emulation_lane());
}

inline void udump_emulated_load(uint32_t (&out)[4], const void *row, bool transposed) {
    size_t stride;
    if ((uintptr_t)row % 16) abort();
    const unsigned char *all = udump_emulation_exchange(&row, sizeof row, &stride);
    int lane = udump_emulation_lane();
    for (int i = 0; i < 4; i++) {
        uint16_t pair[2];
        unsigned banks = 0; /* a row is 4 of the 32; two rows of a matrix in the same ones would come one after the other */
        for (int r = 0; r < 8; r++) {
            uintptr_t at;
            memcpy(&at, all + (size_t)(8 * i + r) * stride, sizeof at);
            banks |= 1u << at / 16 % 8;
        }
        if (banks != 0xFF) abort();
        for (int j = 0; j < 2; j++) {
            int r = transposed ? lane % 4 * 2 + j : lane / 4, c = transposed ? lane / 4 : lane % 4 * 2 + j;
            const uint16_t *from;
            memcpy(&from, all + (size_t)(8 * i + r) * stride, sizeof from);
            pair[j] = from[c];
        }
        memcpy(&out[i], pair, 4);
    }
}
inline void udump_load_matrices(uint32_t (&out)[4], const void *row) { udump_emulated_load(out, row, false); }
inline void udump_load_matrices_transposed(uint32_t (&out)[4], const void *row) { udump_emulated_load(out, row, true); }

#endif
#endif
