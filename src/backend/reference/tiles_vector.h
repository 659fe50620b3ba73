/* Loops over runs of values, compiled for more than one instruction set: everything here is inlined into the function that carries
 * the target (tiles_rows.c). No fused multiply-adds, so that the sets agree to the bit. */
#ifndef UDUMP_BACKEND_REFERENCE_TILES_VECTOR_H
#define UDUMP_BACKEND_REFERENCE_TILES_VECTOR_H

#include <stdbool.h>

#include "base/half.h"

#define UDUMP_INLINE static inline __attribute__((always_inline))

/* Whatever the loop writes is what it reads at the same index, or apart from it. */
#if defined(__clang__)
#define UDUMP_VECTOR_LOOP
#else
#define UDUMP_VECTOR_LOOP _Pragma("GCC ivdep")
#endif

/* condition ? a : b without control flow, which would keep a compiler from making vectors of a loop */
UDUMP_INLINE uint32_t udump_pick_bits(bool condition, uint32_t a, uint32_t b) {
    uint32_t mask = -(uint32_t)condition;
    return (a & mask) | (b & ~mask);
}
UDUMP_INLINE float udump_pick(bool condition, float a, float b) {
    return udump_bits_to_f32(udump_pick_bits(condition, udump_f32_to_bits(a), udump_f32_to_bits(b)));
}

/* exp in double: 2^n times the Taylor series of the rest, |rest| <= ln 2 / 2, whose first missing term is 7e-12 of the result.
 * So nearly always the fp32 number next to the true one, on every machine. */
UDUMP_INLINE float udump_vector_exp(float x) {
    const double log2_e = 0x1.71547652b82fep0, ln_2 = 0x1.62e42fefa39efp-1, shift = 0x1.8p52; /* adding shift rounds to a whole number */
    float bounded = udump_pick(x > -120.0f, x, -120.0f); /* 0 in fp32 */
    bounded = udump_pick(bounded < 90.0f, bounded, 90.0f); /* infinity */
    double shifted = (double)bounded * log2_e + shift, rest = (double)bounded - (shifted - shift) * ln_2;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; /* the whole number, as a double's exponent */
    double power, series = 1.0 / 362880;
    memcpy(&power, &bits, sizeof power);
    series = series * rest + 1.0 / 40320;
    series = series * rest + 1.0 / 5040;
    series = series * rest + 1.0 / 720;
    series = series * rest + 1.0 / 120;
    series = series * rest + 1.0 / 24;
    series = series * rest + 1.0 / 6;
    series = series * rest + 0.5;
    series = series * rest + 1.0;
    series = series * rest + 1.0;
    return udump_pick(x == x, (float)(series * power), x);
}

#endif
