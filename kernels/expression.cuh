/* An expression's bytecode (backend/style.h), run by each thread for four values of its own, so that an instruction is looked at once for all of them. Registers
 * lie in shared memory, a column a thread. */
#ifndef UDUMP_KERNELS_EXPRESSION_CUH
#define UDUMP_KERNELS_EXPRESSION_CUH

#include "vectors.cuh"

/* exp in double: 2^n times the Taylor series of the rest; the same operations as on the CPU, so the same number. */
__device__ __forceinline__ float udump_exact_exp(float x) {
    const double log2_e = 0x1.71547652b82fep0, ln_2 = 0x1.62e42fefa39efp-1, shift = 0x1.8p52;
    float bounded = x > -120.0f ? x : -120.0f;
    bounded = bounded < 90.0f ? bounded : 90.0f;
    double shifted = (double)bounded * log2_e + shift, rest = (double)bounded - (shifted - shift) * ln_2;
    double power = __longlong_as_double((long long)(((unsigned long long)__double_as_longlong(shifted) + 1023) << 52)), series = 1.0 / 362880;
    series = series * rest + 1.0 / 40320;
    series = series * rest + 1.0 / 5040;
    series = series * rest + 1.0 / 720;
    series = series * rest + 1.0 / 120;
    series = series * rest + 1.0 / 24;
    series = series * rest + 1.0 / 6;
    series = series * rest + 0.5;
    series = series * rest + 1.0;
    series = series * rest + 1.0;
    return x == x ? (float)(series * power) : x;
}

/* numpy's: the result has the sign of b; b = 0 gives NaN. */
__device__ __forceinline__ float udump_modulo(float a, float b) {
    float rest = fmodf(a, b);
    if (rest == 0) return copysignf(0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

__device__ __forceinline__ float udump_floor_divide(float a, float b) {
    if (b == 0) return a / b;
    float rest = fmodf(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysignf(0, a / b);
    float whole = floorf(quotient);
    return quotient - whole > 0.5f ? whole + 1 : whole;
}

/* What is long, or rare: once in the code. */
static __device__ __noinline__ float udump_operate_long(int op, float a, float b) {
    switch (op) {
    case UDUMP_OP_EXP: return udump_exact_exp(a);
    case UDUMP_OP_EXPM1: return expm1f(a);
    case UDUMP_OP_LOG: return logf(a);
    case UDUMP_OP_LOG2: return log2f(a);
    case UDUMP_OP_LOG10: return log10f(a);
    case UDUMP_OP_LOG1P: return log1pf(a);
    case UDUMP_OP_SIN: return sinf(a);
    case UDUMP_OP_COS: return cosf(a);
    case UDUMP_OP_TAN: return tanf(a);
    case UDUMP_OP_ARCSIN: return asinf(a);
    case UDUMP_OP_ARCCOS: return acosf(a);
    case UDUMP_OP_ARCTAN: return atanf(a);
    case UDUMP_OP_SINH: return sinhf(a);
    case UDUMP_OP_COSH: return coshf(a);
    case UDUMP_OP_TANH: return tanhf(a);
    case UDUMP_OP_FLOOR_DIVIDE: return udump_floor_divide(a, b);
    case UDUMP_OP_MODULO: return udump_modulo(a, b);
    case UDUMP_OP_POWER: return powf(a, b);
    case UDUMP_OP_ARCTAN2: return atan2f(a, b);
    default: return hypotf(a, b); /* UDUMP_OP_HYPOT */
    }
}

/* The cases of one operand, and of two. */
#define UDUMP_ONE(operation, ...)                                            \
    operation:                                                               \
    for (int i = 0; i < 4; i++) {                                            \
        float a = all_a.at[i];                                               \
        out.at[i] = __VA_ARGS__;                                             \
    }                                                                        \
    break
#define UDUMP_TWO(operation, ...)                                            \
    operation:                                                               \
    for (int i = 0; i < 4; i++) {                                            \
        float a = all_a.at[i], b = all_b.at[i];                              \
        out.at[i] = __VA_ARGS__;                                             \
    }                                                                        \
    break
static __device__ __forceinline__ udump_four udump_operate(int op, const udump_four &all_a, const udump_four &all_b) {
    udump_four out;
    switch (op) {
    UDUMP_ONE(case UDUMP_OP_NEGATE, -a);
    UDUMP_ONE(case UDUMP_OP_NOT, a == 0 ? 1.0f : 0.0f);
    UDUMP_ONE(case UDUMP_OP_ABS, fabsf(a));
    UDUMP_ONE(case UDUMP_OP_SIGN, a > 0 ? 1.0f : a < 0 ? -1.0f : a);
    UDUMP_ONE(case UDUMP_OP_SQUARE, a * a);
    UDUMP_ONE(case UDUMP_OP_SQRT, sqrtf(a));
    UDUMP_ONE(case UDUMP_OP_FLOOR, floorf(a));
    UDUMP_ONE(case UDUMP_OP_CEIL, ceilf(a));
    UDUMP_ONE(case UDUMP_OP_ROUND, rintf(a));
    UDUMP_TWO(case UDUMP_OP_ADD, a + b);
    UDUMP_TWO(case UDUMP_OP_SUBTRACT, a - b);
    UDUMP_TWO(case UDUMP_OP_MULTIPLY, a * b);
    UDUMP_TWO(case UDUMP_OP_DIVIDE, a / b);
    UDUMP_TWO(case UDUMP_OP_MINIMUM, a < b || a != a ? a : b);
    UDUMP_TWO(case UDUMP_OP_MAXIMUM, a > b || a != a ? a : b);
    UDUMP_TWO(case UDUMP_OP_LESS, a < b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_LESS_EQUAL, a <= b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_GREATER, a > b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_GREATER_EQUAL, a >= b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_EQUAL, a == b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_NOT_EQUAL, a != b ? 1.0f : 0.0f);
    UDUMP_TWO(case UDUMP_OP_AND, a != 0 ? b : a);
    UDUMP_TWO(case UDUMP_OP_OR, a != 0 ? a : b);
    UDUMP_TWO(default, udump_operate_long(op, a, b));
    }
    return out;
}
#undef UDUMP_ONE
#undef UDUMP_TWO

static __device__ __forceinline__ udump_four udump_run_instruction(const udump_instruction &i, const udump_four *registers, int threads) {
    udump_four a, b;
    if (i.op == UDUMP_OP_CONSTANT) return udump_four{ { i.constant, i.constant, i.constant, i.constant } };
    b = a = registers[i.a * threads];
    if (i.op >= UDUMP_OP_ADD) b = registers[i.b * threads];
    if (i.op != UDUMP_OP_SELECT) return udump_operate(i.op, a, b);
    udump_four c = registers[i.c * threads];
#pragma unroll
    for (int k = 0; k < 4; k++) c.at[k] = a.at[k] != 0 ? b.at[k] : c.at[k];
    return c;
}

/* registers: [the program's registers, threads], from this thread's column on; register 0 is v. */
static __device__ __forceinline__ udump_four udump_run_expression(const udump_expression *expression, udump_four *registers, int threads) {
    for (int at = 0; at < expression->count; at++) registers[expression->code[at].out * threads] = udump_run_instruction(expression->code[at], registers, threads);
    return registers[expression->result * threads];
}

#endif
