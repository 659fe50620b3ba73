/* Transforms and colours of one value. fp32, in the order written here, without fused operations (-fmad=false): the bytes depend on it, and are
 * the CPU's. */
#ifndef UDUMP_KERNELS_COLOURS_CUH
#define UDUMP_KERNELS_COLOURS_CUH

#include "expression.cuh"

/* grey: for white-black. range: of the value's tile, where the transform needs it. */
__device__ __forceinline__ float udump_transform_value(float v, const udump_transform *t, bool grey, const udump_kernel_range *range) {
    if (t->kind == UDUMP_TRANSFORM_AUTO01 || t->kind == UDUMP_TRANSFORM_AUTO11) {
        if (!range->finite || range->lo == range->hi) return v;
        v = (v - range->lo) / (range->hi - range->lo);
        return t->kind == UDUMP_TRANSFORM_AUTO01 ? v : (v - 0.5f) * 2.0f;
    }
    if (t->kind == UDUMP_TRANSFORM_LINEAR) {
        float clamped = v < t->min ? t->min : v; /* NaN stays */
        clamped = clamped > t->max ? t->max : clamped;
        float share = ((grey ? fabsf(clamped) : clamped) - t->base) / t->span;
        return grey ? share : (share - 0.5f) * 2.0f;
    }
    if (t->kind == UDUMP_TRANSFORM_SIGMOID) {
        float centred = 1.0f / (1.0f + udump_exact_exp(-t->gain * (v + t->offset))) - 0.5f;
        return (grey ? fabsf(centred) : centred) * 2.0f;
    }
    return v;
}

/* trunc(clip(v * 256, 0, 255)); NaN is 0 */
__device__ __forceinline__ uint32_t udump_byte(float v) {
    float scaled = v * 256.0f;
    scaled = scaled > 0.0f ? scaled : 0.0f;
    return (uint32_t)(int32_t)(scaled < 255.0f ? scaled : 255.0f);
}
__device__ __forceinline__ uint32_t udump_rgb(float r, float g, float b) { return udump_byte(r) | udump_byte(g) << 8 | udump_byte(b) << 16; }

/* hue modulo 1; NaN, infinity and what is too large to have a fraction give 0 */
__device__ __forceinline__ float udump_hue_fraction(float hue) {
    float small = hue > -0x1p23f ? hue : -0x1p23f;
    small = small < 0x1p23f ? small : 0x1p23f;
    float rest = small - (float)(int32_t)small;
    return rest + (rest < 0.0f ? 1.0f : 0.0f);
}

/* colorsys.hls_to_rgb of Python's standard library */
__device__ __forceinline__ float udump_hsl_component(float m1, float m2, float hue) {
    float part = udump_hue_fraction(hue), width = m2 - m1;
    float rising = m1 + width * part * 6.0f, falling = m1 + width * (2.0f / 3.0f - part) * 6.0f;
    float value = part < 2.0f / 3.0f ? falling : m1;
    value = part < 0.5f ? m2 : value;
    value = part < 1.0f / 6.0f ? rising : value;
    return fabsf(hue) <= 3.402823466e38f ? value : m1;
}
__device__ __forceinline__ uint32_t udump_hsl(float h, float s, float l) {
    float m2 = l <= 0.5f ? l * (1.0f + s) : l + s - l * s, m1 = 2.0f * l - m2;
    if (s == 0.0f) return udump_byte(l) * 0x010101u;
    return udump_rgb(udump_hsl_component(m1, m2, h + 1.0f / 3.0f), udump_hsl_component(m1, m2, h), udump_hsl_component(m1, m2, h - 1.0f / 3.0f));
}
/* ... for saturation 1 and lightness 1/2, up to what ends as the same byte */
__device__ __forceinline__ float udump_pure_component(float hue) {
    float part = udump_hue_fraction(hue), rising = part * 6.0f, falling = (2.0f / 3.0f - part) * 6.0f;
    return rising < falling ? rising : falling;
}

/* A transformed value's bytes in a colour that is no expressions, the first lowest. */
__device__ __forceinline__ uint32_t udump_colour(float v, int colour) {
    if (colour == UDUMP_COLOUR_WHITE_BLACK) return udump_byte(v);
    if (colour == UDUMP_COLOUR_RED_BLUE) return udump_byte(v) | udump_byte(-v) << 16;
    float hue = (2.0f + v) / 3.0f;
    return udump_rgb(udump_pure_component(hue + 1.0f / 3.0f), udump_pure_component(hue), udump_pure_component(hue - 1.0f / 3.0f));
}

/* ---- the same bytes in a third of the instructions, for a share of a tile's range: a quotient in 0..1, as auto01 and auto11 make of ordinary tiles */

/* Where a tile's shares begin, what they are shares of, and 1 / span, or 0 for a tile that is not ordinary. */
typedef struct udump_scale {
    float lo, span, reciprocal;
} udump_scale;

/* No power of two here is so extreme that the remainders below lose bits, but for quotients that are 0 in every colour. */
__device__ __forceinline__ udump_scale udump_scale_of(udump_kernel_range range) {
    float span = range.hi - range.lo;
    bool ordinary = range.finite && span >= 0x1p-60f && span <= 0x1p60f;
    return udump_scale{ range.lo, span, ordinary ? 1.0f / span : 0.0f };
}

/* (v - lo) / span, rounded as a division is: from a rounded reciprocal, the first remainder brings the quotient to its neighbour at most, the second one to
 * itself (P. Markstein's theorem). */
__device__ __forceinline__ float udump_share(float v, udump_scale s) {
    float a = v - s.lo, q = a * s.reciprocal;
    q = fmaf(fmaf(-q, s.span, a), s.reciprocal, q);
    return fmaf(fmaf(-q, s.span, a), s.reciprocal, q);
}

/* A number whose lowest byte is trunc(clip(v, 0, 255)), and whose highest byte is not 0. */
__device__ __forceinline__ uint32_t udump_clipped(float v) {
    float clipped = fminf(fmaxf(v, 0.0f), 255.0f);
#if defined(__CUDACC__)
    return __float_as_uint(__fadd_rz(clipped, 0x1p23f));
#else
    return (uint32_t)(int32_t)clipped | 0x4B000000u;
#endif
}

/* The bytes of (share - shift) * gain, below a byte that means nothing; but for white-black, where there is none. gain is 256 times as much but for the default
 * colours. Their bytes colours' are those of all numbers
 * v in -1..1: hue * 6 * 256 is hue * 1536, as 256 is a power of two; what has no place in the formulas is cut off in them too (the thirds: each hue's component
 * rises or falls there alone); and the division by 3 is a product with 1/3 in two parts. For each of the 12582913 values of 2 + v they were compared. */
template <int COLOUR> __device__ __forceinline__ uint32_t udump_share_colour(float share, float shift, float gain) {
    const float third = 1.0f / 3.0f, rest = (float)(1.0 / 3.0 - (double)third), two_thirds = 2.0f / 3.0f;
    float v = share - shift;
    if (COLOUR == UDUMP_COLOUR_WHITE_BLACK) return udump_clipped(v * gain) & 0xFF;
    if (COLOUR == UDUMP_COLOUR_RED_BLUE) return (udump_clipped(v * gain) & 0xFF) + (udump_clipped(-(v * gain)) << 16);
    float from_2 = fmaf(v, gain, 2.0f), hue = fmaf(from_2, third, from_2 * rest), low = hue - third;
    uint32_t red = udump_clipped((hue + third - 1.0f) * 1536.0f), green = udump_clipped((two_thirds - hue) * 1536.0f);
    return red + (green << 8) + (udump_clipped(fminf(low, two_thirds - low) * 1536.0f) << 16);
}

#endif
