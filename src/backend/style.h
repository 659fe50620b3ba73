/* A style compiled for a device: the transform of values, and the colours, as bytecode where they are expressions. Made by
 * src/render, run by tile_colour. Plain data without pointers, so that a device can have a copy. */
#ifndef UDUMP_BACKEND_STYLE_H
#define UDUMP_BACKEND_STYLE_H

#include <stdint.h>

/* What happens to a tile's values before they are coloured. All in fp32; lo and hi are the tile's extremes. */
typedef enum udump_transform_kind {
    UDUMP_TRANSFORM_NONE,   /* v */
    UDUMP_TRANSFORM_AUTO01, /* (v - lo) / (hi - lo); a constant tile, or one with NaN or infinity, is left as it is */
    UDUMP_TRANSFORM_AUTO11, /* ((v - lo) / (hi - lo) - 0.5) * 2; the same */
    UDUMP_TRANSFORM_LINEAR, /* c = clamp(v, min, max): ((c - base) / span - 0.5) * 2; white-black: (|c| - base) / span */
    UDUMP_TRANSFORM_SIGMOID /* s = 1 / (1 + exp(-gain * (v + offset))): (s - 0.5) * 2; white-black: |s - 0.5| * 2 */
} udump_transform_kind;

typedef struct udump_transform {
    udump_transform_kind kind;
    int32_t whole;     /* auto01, auto11: lo and hi are of all tiles that are finite, not of each */
    float min, max;   /* linear */
    float base, span; /* linear: min, max - min; white-black: the smallest magnitude in min..max, the largest less that */
    float gain, offset; /* sigmoid */
} udump_transform;

/* Values to bytes: trunc(clip(x * 256, 0, 255)), NaN is 0. */
typedef enum udump_colour_kind {
    UDUMP_COLOUR_WHITE_BLACK, /* grey, 1 channel: v */
    UDUMP_COLOUR_RED_BLUE,    /* v > 0: (v, 0, 0); v < 0: (0, 0, -v) */
    UDUMP_COLOUR_RGB,         /* expressions: R, G, B */
    UDUMP_COLOUR_HSL,         /* expressions: hue, saturation, lightness, as Python's colorsys.hls_to_rgb */
    UDUMP_COLOUR_DEFAULT      /* HSL with (2 + v) / 3; 1.0; 0.5: the same bytes, without running its expressions */
} udump_colour_kind;

/* Operations of an expression, elementwise in fp32. False is 0.0, true is everything else; comparisons give 1.0 or 0.0. */
typedef enum udump_op {
    UDUMP_OP_CONSTANT, /* out = constant */
    /* out = f(a) */
    UDUMP_OP_NEGATE, UDUMP_OP_NOT, UDUMP_OP_ABS, UDUMP_OP_SIGN, UDUMP_OP_SQUARE, UDUMP_OP_SQRT,
    UDUMP_OP_FLOOR, UDUMP_OP_CEIL, UDUMP_OP_ROUND /* half to even */,
    UDUMP_OP_EXP, UDUMP_OP_EXPM1, UDUMP_OP_LOG, UDUMP_OP_LOG2, UDUMP_OP_LOG10, UDUMP_OP_LOG1P,
    UDUMP_OP_SIN, UDUMP_OP_COS, UDUMP_OP_TAN, UDUMP_OP_ARCSIN, UDUMP_OP_ARCCOS, UDUMP_OP_ARCTAN,
    UDUMP_OP_SINH, UDUMP_OP_COSH, UDUMP_OP_TANH,
    /* out = f(a, b) */
    UDUMP_OP_ADD, UDUMP_OP_SUBTRACT, UDUMP_OP_MULTIPLY, UDUMP_OP_DIVIDE,
    UDUMP_OP_FLOOR_DIVIDE, UDUMP_OP_MODULO /* as numpy: the sign of b */,
    UDUMP_OP_POWER, UDUMP_OP_ARCTAN2, UDUMP_OP_HYPOT,
    UDUMP_OP_MINIMUM, UDUMP_OP_MAXIMUM /* NaN if either is */,
    UDUMP_OP_LESS, UDUMP_OP_LESS_EQUAL, UDUMP_OP_GREATER, UDUMP_OP_GREATER_EQUAL, UDUMP_OP_EQUAL, UDUMP_OP_NOT_EQUAL,
    UDUMP_OP_AND /* b if a else a */, UDUMP_OP_OR /* a if a else b */,
    UDUMP_OP_SELECT, /* b if a else c */
    UDUMP_OP_COUNT
} udump_op;

enum {
    UDUMP_EXPRESSION_INSTRUCTIONS = 256, /* at most */
    UDUMP_EXPRESSION_REGISTERS = 24      /* register 0 is v, and never written */
};

typedef struct udump_instruction {
    uint8_t op;        /* udump_op */
    uint8_t out;       /* register 1.. */
    uint8_t a, b, c;   /* registers; out may be one of them */
    float constant;
} udump_instruction;

typedef struct udump_expression {
    int32_t count;     /* instructions; straight down, no jumps */
    int32_t result;    /* register */
    udump_instruction code[UDUMP_EXPRESSION_INSTRUCTIONS];
} udump_expression;

typedef struct udump_style_program {
    udump_transform transform;
    udump_colour_kind colour;
    udump_expression expression[3]; /* RGB, HSL and DEFAULT */
} udump_style_program;

/* Bytes a pixel. */
static inline int32_t udump_style_channels(const udump_style_program *style) {
    return style->colour == UDUMP_COLOUR_WHITE_BLACK ? 1 : 3;
}

/* Whether tile_colour needs the tiles' ranges. */
static inline int udump_style_needs_ranges(const udump_style_program *style) {
    return style->transform.kind == UDUMP_TRANSFORM_AUTO01 || style->transform.kind == UDUMP_TRANSFORM_AUTO11;
}

#endif
