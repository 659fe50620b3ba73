/* Transforms and colours. All arithmetic is fp32, in the order written here: the bytes depend on it. */
#include "backend/reference/tiles_rows.h"

#include <float.h>
#include <math.h>

#include "backend/reference/tiles_expression.h"
#include "backend/reference/tiles_vector.h"
#include "base/half.h"

enum { RUN = UDUMP_BLOCK_PIXELS };

/* ---- transforms */

UDUMP_INLINE void transform_auto(float *v, const udump_tile_range *range, bool both_signs) {
    float lo = range->lo, span = range->hi - range->lo;
    if (!range->finite || range->lo == range->hi) return;
    for (int i = 0; i < RUN; i++) v[i] = (v[i] - lo) / span;
    if (both_signs)
        for (int i = 0; i < RUN; i++) v[i] = (v[i] - 0.5f) * 2.0f;
}

UDUMP_INLINE void transform_linear(float *v, const udump_transform *transform, bool grey) {
    float min = transform->min, max = transform->max, base = transform->base, span = transform->span;
    for (int i = 0; i < RUN; i++) {
        float clamped = v[i] < min ? min : v[i]; /* NaN stays */
        clamped = clamped > max ? max : clamped;
        float magnitude = grey ? fabsf(clamped) : clamped, share = (magnitude - base) / span;
        v[i] = grey ? share : (share - 0.5f) * 2.0f;
    }
}

UDUMP_INLINE void transform_sigmoid(float *v, const udump_transform *transform, bool grey) {
    float gain = -transform->gain, offset = transform->offset;
    for (int i = 0; i < RUN; i++) v[i] = udump_vector_exp(gain * (v[i] + offset));
    for (int i = 0; i < RUN; i++) {
        float centred = 1.0f / (1.0f + v[i]) - 0.5f;
        v[i] = (grey ? fabsf(centred) : centred) * 2.0f;
    }
}

UDUMP_INLINE void transform_run(const udump_style_program *style, const udump_tile_range *range, float *v) {
    bool grey = style->colour == UDUMP_COLOUR_WHITE_BLACK;
    switch (style->transform.kind) {
    case UDUMP_TRANSFORM_NONE: break;
    case UDUMP_TRANSFORM_AUTO01: transform_auto(v, range, false); break;
    case UDUMP_TRANSFORM_AUTO11: transform_auto(v, range, true); break;
    case UDUMP_TRANSFORM_LINEAR: transform_linear(v, &style->transform, grey); break;
    case UDUMP_TRANSFORM_SIGMOID: transform_sigmoid(v, &style->transform, grey); break;
    }
}

/* ---- bytes */

/* trunc(clip(v * 256, 0, 255)); NaN is 0 */
UDUMP_INLINE uint32_t byte_of(float v) {
    float scaled = v * 256.0f;
    scaled = udump_pick(scaled > 0.0f, scaled, 0.0f);
    scaled = udump_pick(scaled < 255.0f, scaled, 255.0f);
    return (uint32_t)(int32_t)scaled;
}

UDUMP_INLINE uint32_t pack(float r, float g, float b) { return byte_of(r) | byte_of(g) << 8 | byte_of(b) << 16; }

/* ---- HSL: colorsys.hls_to_rgb of Python's standard library */

static const float ONE_SIXTH = 1.0f / 6.0f, ONE_THIRD = 1.0f / 3.0f, TWO_THIRDS = 2.0f / 3.0f;

/* hue modulo 1. From 2^23 on all numbers are whole, so that clamping there changes nothing; NaN and infinity give 0 too. */
UDUMP_INLINE float hue_fraction(float hue) {
    float small = udump_pick(hue > -0x1p23f, hue, -0x1p23f);
    small = udump_pick(small < 0x1p23f, small, 0x1p23f);
    float rest = small - (float)(int32_t)small;
    return rest + udump_pick(rest < 0.0f, 1.0f, 0.0f);
}

UDUMP_INLINE float hsl_component(float m1, float m2, float hue) {
    float part = hue_fraction(hue), width = m2 - m1;
    float rising = m1 + width * part * 6.0f, falling = m1 + width * (TWO_THIRDS - part) * 6.0f;
    float value = udump_pick(part < TWO_THIRDS, falling, m1);
    value = udump_pick(part < 0.5f, m2, value);
    value = udump_pick(part < ONE_SIXTH, rising, value);
    return udump_pick(fabsf(hue) <= FLT_MAX, value, m1); /* NaN compares false with everything */
}

UDUMP_INLINE uint32_t hsl_pixel(float h, float s, float l) {
    float m2 = udump_pick(l <= 0.5f, l * (1.0f + s), l + s - l * s), m1 = 2.0f * l - m2;
    float r = hsl_component(m1, m2, h + ONE_THIRD), g = hsl_component(m1, m2, h), b = hsl_component(m1, m2, h - ONE_THIRD);
    return udump_pick_bits(s == 0.0f, byte_of(l) * 0x010101u, pack(r, g, b));
}

/* hsl_component for m1 = 0 and m2 = 1, up to what ends as the same byte: the lower of the rising and the falling side. */
UDUMP_INLINE float pure_component(float hue) {
    float part = hue_fraction(hue), rising = part * 6.0f, falling = (TWO_THIRDS - part) * 6.0f;
    return udump_pick(rising < falling, rising, falling);
}

/* ---- a run */

UDUMP_INLINE void colour_expressions(const udump_style_program *style, const float *v, uint32_t *restrict pixels) {
    udump_registers registers;
    _Alignas(64) float channels[3][RUN];
    memcpy(registers.values[0], v, sizeof registers.values[0]);
    for (int k = 0; k < 3; k++) memcpy(channels[k], udump_expression_run(&style->expression[k], &registers), sizeof channels[k]);
    if (style->colour == UDUMP_COLOUR_RGB)
        for (int i = 0; i < RUN; i++) pixels[i] = pack(channels[0][i], channels[1][i], channels[2][i]);
    else
        for (int i = 0; i < RUN; i++) pixels[i] = hsl_pixel(channels[0][i], channels[1][i], channels[2][i]);
}

UDUMP_INLINE void colour_run(const udump_style_program *style, const udump_tile_range *range, float *v, uint32_t *restrict pixels) {
    transform_run(style, range, v);
    switch (style->colour) {
    case UDUMP_COLOUR_WHITE_BLACK:
        for (int i = 0; i < RUN; i++) pixels[i] = byte_of(v[i]);
        break;
    case UDUMP_COLOUR_RED_BLUE:
        for (int i = 0; i < RUN; i++) pixels[i] = byte_of(v[i]) | byte_of(-v[i]) << 16;
        break;
    case UDUMP_COLOUR_DEFAULT:
        for (int i = 0; i < RUN; i++) {
            float hue = (2.0f + v[i]) / 3.0f;
            pixels[i] = pack(pure_component(hue + ONE_THIRD), pure_component(hue), pure_component(hue - ONE_THIRD));
        }
        break;
    case UDUMP_COLOUR_RGB:
    case UDUMP_COLOUR_HSL: colour_expressions(style, v, pixels); break;
    }
}

static void colour_run_plain(const udump_style_program *style, const udump_tile_range *range, float *values, uint32_t *restrict pixels) {
    colour_run(style, range, values, pixels);
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static void colour_run_avx2(const udump_style_program *style, const udump_tile_range *range, float *values, uint32_t *restrict pixels) {
    colour_run(style, range, values, pixels);
}

udump_colour_run_fn udump_colour_run(void) { return __builtin_cpu_supports("avx2") ? colour_run_avx2 : colour_run_plain; }
#else
udump_colour_run_fn udump_colour_run(void) { return colour_run_plain; }
#endif
