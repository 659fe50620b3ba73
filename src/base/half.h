/* Conversions between fp32 and the 16-bit formats: round to nearest even, infinities and NaN kept. */
#ifndef UDUMP_BASE_HALF_H
#define UDUMP_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float udump_bits_to_f32(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t udump_f32_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float udump_bf16_to_f32(uint16_t half) { return udump_bits_to_f32((uint32_t)half << 16); }

static inline uint16_t udump_f32_to_bf16(float value) {
    uint32_t bits = udump_f32_to_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40); /* NaN stays NaN, made quiet */
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

/* Without branches, so that compilers make vectors of it: the exponent is put right by an exact product, subnormals included. */
static inline float udump_f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7FFF) << 13;
    uint32_t special = rest >= 0x7C00u << 13 ? 0x7F800000u : 0; /* infinity and NaN */
    return udump_bits_to_f32(udump_f32_to_bits(udump_bits_to_f32(rest) * 0x1p112f) | special | sign);
}

static inline uint16_t udump_f32_to_f16(float value) {
    uint32_t bits = udump_f32_to_bits(value), sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (bits >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and more round to infinity */
    if (bits < 0x38800000u) { /* subnormal: adding 0.5 leaves multiples of 2^-24 in the last bits, rounded to even */
        return (uint16_t)(sign | (udump_f32_to_bits(udump_bits_to_f32(bits) + 0.5f) & 0x7FFu));
    }
    bits += 0xFFFu + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - (112u << 23)) >> 13);
}

#endif
