/* An expression's bytecode (backend/style.h), run by each thread for its own value. Registers lie in shared memory, a column a thread. */
#ifndef UDUMP_KERNELS_EXPRESSION_CUH
#define UDUMP_KERNELS_EXPRESSION_CUH

#include "kernel.cuh"

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

static __device__ __noinline__ float udump_operate(int op, float a, float b, float c, float constant) {
    switch (op) {
    case UDUMP_OP_CONSTANT: return constant;
    case UDUMP_OP_NEGATE: return -a;
    case UDUMP_OP_NOT: return a == 0 ? 1.0f : 0.0f;
    case UDUMP_OP_ABS: return fabsf(a);
    case UDUMP_OP_SIGN: return a > 0 ? 1.0f : a < 0 ? -1.0f : a;
    case UDUMP_OP_SQUARE: return a * a;
    case UDUMP_OP_SQRT: return sqrtf(a);
    case UDUMP_OP_FLOOR: return floorf(a);
    case UDUMP_OP_CEIL: return ceilf(a);
    case UDUMP_OP_ROUND: return rintf(a);
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
    case UDUMP_OP_ADD: return a + b;
    case UDUMP_OP_SUBTRACT: return a - b;
    case UDUMP_OP_MULTIPLY: return a * b;
    case UDUMP_OP_DIVIDE: return a / b;
    case UDUMP_OP_FLOOR_DIVIDE: return udump_floor_divide(a, b);
    case UDUMP_OP_MODULO: return udump_modulo(a, b);
    case UDUMP_OP_POWER: return powf(a, b);
    case UDUMP_OP_ARCTAN2: return atan2f(a, b);
    case UDUMP_OP_HYPOT: return hypotf(a, b);
    case UDUMP_OP_MINIMUM: return a < b || a != a ? a : b;
    case UDUMP_OP_MAXIMUM: return a > b || a != a ? a : b;
    case UDUMP_OP_LESS: return a < b ? 1.0f : 0.0f;
    case UDUMP_OP_LESS_EQUAL: return a <= b ? 1.0f : 0.0f;
    case UDUMP_OP_GREATER: return a > b ? 1.0f : 0.0f;
    case UDUMP_OP_GREATER_EQUAL: return a >= b ? 1.0f : 0.0f;
    case UDUMP_OP_EQUAL: return a == b ? 1.0f : 0.0f;
    case UDUMP_OP_NOT_EQUAL: return a != b ? 1.0f : 0.0f;
    case UDUMP_OP_AND: return a != 0 ? b : a;
    case UDUMP_OP_OR: return a != 0 ? a : b;
    default: return a != 0 ? b : c; /* UDUMP_OP_SELECT */
    }
}

/* registers: [UDUMP_EXPRESSION_REGISTERS, threads], from this thread's column on; register 0 is v. */
__device__ __forceinline__ float udump_run_expression(const udump_expression *expression, float *registers, int threads) {
    for (int at = 0; at < expression->count; at++) {
        udump_instruction i = expression->code[at];
        registers[i.out * threads] = udump_operate(i.op, registers[i.a * threads], registers[i.b * threads], registers[i.c * threads], i.constant);
    }
    return registers[expression->result * threads];
}

#endif
