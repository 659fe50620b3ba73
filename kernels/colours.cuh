/* Transforms and colours of one value. fp32, in the order written here, without fused operations (-fmad=false): the bytes depend on it, and are
 * the CPU's. */
#ifndef UDUMP_KERNELS_COLOURS_CUH
#define UDUMP_KERNELS_COLOURS_CUH

#include "expression.cuh"

__device__ __forceinline__ float udump_transform_value(float v, const udump_style_program *style, const udump_kernel_range *range) {
    const udump_transform *t = &style->transform;
    bool grey = style->colour == UDUMP_COLOUR_WHITE_BLACK;
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

/* A transformed value's bytes, the first lowest. registers: of this thread, for expressions. */
__device__ __forceinline__ uint32_t udump_colour(float v, const udump_style_program *style, float *registers, int threads) {
    float channels[3];
    switch (style->colour) {
    case UDUMP_COLOUR_WHITE_BLACK: return udump_byte(v);
    case UDUMP_COLOUR_RED_BLUE: return udump_byte(v) | udump_byte(-v) << 16;
    case UDUMP_COLOUR_DEFAULT: {
        float hue = (2.0f + v) / 3.0f;
        return udump_rgb(udump_pure_component(hue + 1.0f / 3.0f), udump_pure_component(hue), udump_pure_component(hue - 1.0f / 3.0f));
    }
    default: break;
    }
    for (int k = 0; k < 3; k++) {
        registers[0] = v;
        channels[k] = udump_run_expression(&style->expression[k], registers, threads);
    }
    return style->colour == UDUMP_COLOUR_RGB ? udump_rgb(channels[0], channels[1], channels[2]) : udump_hsl(channels[0], channels[1], channels[2]);
}

#endif
