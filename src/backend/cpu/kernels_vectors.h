/* Vectors of LANES floats: written with the vector extensions of GCC and Clang, so that the same source is tested wherever it runs. */
#include <math.h>
#include <string.h>

#include "backend/cpu/kernels.h"
#include "base/half.h"
#include "base/memory.h"
#ifdef __F16C__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint16_t vh __attribute__((vector_size(LANES * 2)));
typedef float vn __attribute__((vector_size(LANES * 2))); /* half a vector */
typedef double vd __attribute__((vector_size(LANES * 4)));

/* ---------------------------------------------------------------- vectors */

INLINE vf splat(float value) { return value - (vf){ 0 }; }
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
/* a > b ? a : b, and a < b ? a : b; with a NaN b: what one instruction does, which the compiler does not see in the comparison. */
#if defined(__AVX512F__) && LANES == 16
INLINE vf larger(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__) && LANES == 8
INLINE vf larger(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#else
INLINE vf larger(vf a, vf b) { return choose(a > b, a, b); }
INLINE vf smaller(vf a, vf b) { return choose(a < b, a, b); }
#endif

INLINE vf load_f32(const float *from) {
    vf v;
    memcpy(&v, from, sizeof v);
    return v;
}
INLINE void store_f32(float *to, vf v) { memcpy(to, &v, sizeof v); }

INLINE vf load(const void *from, udump_dtype dtype, size_t at) {
    if (dtype == UDUMP_F32) return load_f32((const float *)from + at);
    vh halves;
    memcpy(&halves, (const uint16_t *)from + at, sizeof halves);
    return (vf)(__builtin_convertvector(halves, vu) << 16);
}

/* To bf16: to nearest, ties to even; NaN stays NaN. */
#if defined(__AVX512BF16__) && LANES == 16
INLINE vh round_bf16(vf v) { return (vh)_mm512_cvtneps_pbh((__m512)v); }
#else
INLINE vh round_bf16(vf v) {
    vu bits = (vu)v;
    vu rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    vu nan = (vu)(v != v);
    return __builtin_convertvector((rounded & ~nan) | (((bits >> 16) | 0x40) & nan), vh);
}
#endif

INLINE void store(void *to, udump_dtype dtype, size_t at, vf v) {
    if (dtype == UDUMP_F32) {
        store_f32((float *)to + at, v);
        return;
    }
    vh halves = round_bf16(v);
    memcpy((uint16_t *)to + at, &halves, sizeof halves);
}

/* The first `count` lanes; the rest is zero, or is left alone. */
INLINE vf load_part(const void *from, udump_dtype dtype, size_t at, size_t count) {
    float lanes[LANES] = { 0 };
    for (size_t i = 0; i < count; i++)
        lanes[i] = dtype == UDUMP_F32 ? ((const float *)from)[at + i] : udump_bf16_to_f32(((const uint16_t *)from)[at + i]);
    return load_f32(lanes);
}
INLINE void store_part(void *to, udump_dtype dtype, size_t at, vf v, size_t count) {
    float lanes[LANES];
    store_f32(lanes, v);
    for (size_t i = 0; i < count; i++) {
        if (dtype == UDUMP_F32) ((float *)to)[at + i] = lanes[i];
        else ((uint16_t *)to)[at + i] = udump_f32_to_bf16(lanes[i]);
    }
}

/* Lanes below count. */
INLINE vi first_lanes(size_t count) {
    int32_t lanes[LANES];
    vi mask;
    for (int i = 0; i < LANES; i++) lanes[i] = (size_t)i < count ? -1 : 0;
    memcpy(&mask, lanes, sizeof mask);
    return mask;
}

INLINE bool any(vi mask) {
    int32_t lanes[LANES], some = 0;
    memcpy(lanes, &mask, sizeof mask);
    for (int i = 0; i < LANES; i++) some |= lanes[i];
    return some != 0;
}
INLINE float sum_of(vf v) {
    float lanes[LANES], sum = 0;
    store_f32(lanes, v);
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
}
INLINE float largest_of(vf v) {
    float lanes[LANES], most;
    store_f32(lanes, v);
    most = lanes[0];
    for (int i = 1; i < LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

/* e^x, relative error below 2e-7 on [-87.3, 88]; beyond, the value at the border (so never 0, never infinite). NaN stays NaN.
 * x = n ln 2 + r with |r| <= ln 2 / 2, and the polynomial of Cephes' expf (Moshier 1989) for e^r. */
INLINE vf exp_of(vf x) {
    x = smaller(splat(88.0f), larger(splat(-87.3f), x));
    vf n = (x * 1.44269504088896341f + 0x1.8p23f) - 0x1.8p23f; /* to the nearest integer */
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vf)((__builtin_convertvector(n, vi) + 127) << 23);
}

/* 2^x, relative error below 1e-7 from -126 to 127; below, 2^-126 (so never 0). NaN stays NaN.
 * The polynomial of degree 6 whose largest relative error for 2^r, |r| <= 1/2, is the least (Remez' exchange): 1.9e-9 before rounding. */
INLINE vf exp2_of(vf x) {
    x = larger(splat(-126.0f), x);
    vf n = x + 0x1.8p23f; /* the nearest integer, in the lowest bits */
    vf r = x - (n - 0x1.8p23f);
    vf p = splat(1.5345812e-4f);
    p = p * r + 1.3399931e-3f;
    p = p * r + 9.6184890e-3f;
    p = p * r + 5.5503288e-2f;
    p = p * r + 2.4022647e-1f;
    p = p * r + 6.9314721e-1f;
    p = p * r + 1.0f;
    return p * (vf)(((vi)n << 23) + 0x3F800000);
}
