/* Running an expression's bytecode (backend/style.h) on a run of values: an instruction at a time over the whole run. */
#ifndef UDUMP_BACKEND_REFERENCE_TILES_EXPRESSION_H
#define UDUMP_BACKEND_REFERENCE_TILES_EXPRESSION_H

#include <math.h>
#include <string.h>

#include "backend/reference/tiles_gather.h"
#include "backend/reference/tiles_vector.h"
#include "backend/style.h"

typedef struct udump_registers {
    _Alignas(64) float values[UDUMP_EXPRESSION_REGISTERS][UDUMP_BLOCK_PIXELS];
} udump_registers;

UDUMP_INLINE float op_sign(float a) { return a > 0 ? 1.0f : a < 0 ? -1.0f : a; }
UDUMP_INLINE float op_minimum(float a, float b) { return a < b || a != a ? a : b; }
UDUMP_INLINE float op_maximum(float a, float b) { return a > b || a != a ? a : b; }

/* numpy's: the result has the sign of b; b = 0 gives NaN. */
UDUMP_INLINE float op_modulo(float a, float b) {
    float rest = fmodf(a, b);
    if (rest == 0) return copysignf(0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

UDUMP_INLINE float op_floor_divide(float a, float b) {
    if (b == 0) return a / b;
    float rest = fmodf(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysignf(0, a / b);
    float whole = floorf(quotient); /* the quotient is whole up to rounding */
    return quotient - whole > 0.5f ? whole + 1 : whole;
}

#define UDUMP_RUN(expression)                                                       \
    UDUMP_VECTOR_LOOP                                                               \
    for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) out[i] = (expression);             \
    break

/* registers->values[0] is v. */
UDUMP_INLINE const float *udump_expression_run(const udump_expression *expression, udump_registers *registers) {
    for (int32_t at = 0; at < expression->count; at++) {
        const udump_instruction *instruction = &expression->code[at];
        float *out = registers->values[instruction->out];
        const float *a = registers->values[instruction->a], *b = registers->values[instruction->b], *c = registers->values[instruction->c];
        float constant = instruction->constant;
        switch ((udump_op)instruction->op) {
        case UDUMP_OP_CONSTANT: UDUMP_RUN(constant);
        case UDUMP_OP_NEGATE: UDUMP_RUN(-a[i]);
        case UDUMP_OP_NOT: UDUMP_RUN(a[i] == 0 ? 1.0f : 0.0f);
        case UDUMP_OP_ABS: UDUMP_RUN(fabsf(a[i]));
        case UDUMP_OP_SIGN: UDUMP_RUN(op_sign(a[i]));
        case UDUMP_OP_SQUARE: UDUMP_RUN(a[i] * a[i]);
        case UDUMP_OP_SQRT: UDUMP_RUN(sqrtf(a[i]));
        case UDUMP_OP_FLOOR: UDUMP_RUN(floorf(a[i]));
        case UDUMP_OP_CEIL: UDUMP_RUN(ceilf(a[i]));
        case UDUMP_OP_ROUND: UDUMP_RUN(rintf(a[i]));
        case UDUMP_OP_EXP: UDUMP_RUN(udump_vector_exp(a[i]));
        case UDUMP_OP_EXPM1: UDUMP_RUN(expm1f(a[i]));
        case UDUMP_OP_LOG: UDUMP_RUN(logf(a[i]));
        case UDUMP_OP_LOG2: UDUMP_RUN(log2f(a[i]));
        case UDUMP_OP_LOG10: UDUMP_RUN(log10f(a[i]));
        case UDUMP_OP_LOG1P: UDUMP_RUN(log1pf(a[i]));
        case UDUMP_OP_SIN: UDUMP_RUN(sinf(a[i]));
        case UDUMP_OP_COS: UDUMP_RUN(cosf(a[i]));
        case UDUMP_OP_TAN: UDUMP_RUN(tanf(a[i]));
        case UDUMP_OP_ARCSIN: UDUMP_RUN(asinf(a[i]));
        case UDUMP_OP_ARCCOS: UDUMP_RUN(acosf(a[i]));
        case UDUMP_OP_ARCTAN: UDUMP_RUN(atanf(a[i]));
        case UDUMP_OP_SINH: UDUMP_RUN(sinhf(a[i]));
        case UDUMP_OP_COSH: UDUMP_RUN(coshf(a[i]));
        case UDUMP_OP_TANH: UDUMP_RUN(tanhf(a[i]));
        case UDUMP_OP_ADD: UDUMP_RUN(a[i] + b[i]);
        case UDUMP_OP_SUBTRACT: UDUMP_RUN(a[i] - b[i]);
        case UDUMP_OP_MULTIPLY: UDUMP_RUN(a[i] * b[i]);
        case UDUMP_OP_DIVIDE: UDUMP_RUN(a[i] / b[i]);
        case UDUMP_OP_FLOOR_DIVIDE: UDUMP_RUN(op_floor_divide(a[i], b[i]));
        case UDUMP_OP_MODULO: UDUMP_RUN(op_modulo(a[i], b[i]));
        case UDUMP_OP_POWER: UDUMP_RUN(powf(a[i], b[i]));
        case UDUMP_OP_ARCTAN2: UDUMP_RUN(atan2f(a[i], b[i]));
        case UDUMP_OP_HYPOT: UDUMP_RUN(hypotf(a[i], b[i]));
        case UDUMP_OP_MINIMUM: UDUMP_RUN(op_minimum(a[i], b[i]));
        case UDUMP_OP_MAXIMUM: UDUMP_RUN(op_maximum(a[i], b[i]));
        case UDUMP_OP_LESS: UDUMP_RUN(a[i] < b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_LESS_EQUAL: UDUMP_RUN(a[i] <= b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_GREATER: UDUMP_RUN(a[i] > b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_GREATER_EQUAL: UDUMP_RUN(a[i] >= b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_EQUAL: UDUMP_RUN(a[i] == b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_NOT_EQUAL: UDUMP_RUN(a[i] != b[i] ? 1.0f : 0.0f);
        case UDUMP_OP_AND: UDUMP_RUN(a[i] != 0 ? b[i] : a[i]);
        case UDUMP_OP_OR: UDUMP_RUN(a[i] != 0 ? a[i] : b[i]);
        case UDUMP_OP_SELECT: UDUMP_RUN(a[i] != 0 ? b[i] : c[i]);
        case UDUMP_OP_COUNT: break;
        }
    }
    /* cppcheck-suppress ctuuninitvar ; read is what an instruction wrote, or v */
    return registers->values[expression->result];
}

#undef UDUMP_RUN

#endif
