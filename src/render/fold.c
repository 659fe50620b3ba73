/* Operations on constants. Operators fail where Python's do; functions give NaN and infinities, as numpy's. */
#include <math.h>
#include <stddef.h>

#include "render/expression.h"

static double fold_sign(double a) { return a > 0 ? 1 : a < 0 ? -1 : a; }

static double fold_modulo(double a, double b) {
    double rest = fmod(a, b);
    if (rest == 0) return copysign(0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

static double fold_floor_divide(double a, double b) {
    double quotient = (a - fold_modulo(a, b)) / b, whole = floor(quotient); /* a whole number up to rounding */
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static double fold_extreme(double a, double b, int largest) {
    if (isnan(a) || isnan(b)) return NAN;
    return (a > b) == largest ? a : b;
}

static double fold_unary(udump_op op, double a) {
    switch (op) {
    case UDUMP_OP_NEGATE: return -a;
    case UDUMP_OP_NOT: return a == 0;
    case UDUMP_OP_ABS: return fabs(a);
    case UDUMP_OP_SIGN: return fold_sign(a);
    case UDUMP_OP_SQUARE: return a * a;
    case UDUMP_OP_SQRT: return sqrt(a);
    case UDUMP_OP_FLOOR: return floor(a);
    case UDUMP_OP_CEIL: return ceil(a);
    case UDUMP_OP_ROUND: return rint(a);
    case UDUMP_OP_EXP: return exp(a);
    case UDUMP_OP_EXPM1: return expm1(a);
    case UDUMP_OP_LOG: return log(a);
    case UDUMP_OP_LOG2: return log2(a);
    case UDUMP_OP_LOG10: return log10(a);
    case UDUMP_OP_LOG1P: return log1p(a);
    case UDUMP_OP_SIN: return sin(a);
    case UDUMP_OP_COS: return cos(a);
    case UDUMP_OP_TAN: return tan(a);
    case UDUMP_OP_ARCSIN: return asin(a);
    case UDUMP_OP_ARCCOS: return acos(a);
    case UDUMP_OP_ARCTAN: return atan(a);
    case UDUMP_OP_SINH: return sinh(a);
    case UDUMP_OP_COSH: return cosh(a);
    default: return tanh(a);
    }
}

static double fold_binary(udump_op op, double a, double b) {
    switch (op) {
    case UDUMP_OP_ADD: return a + b;
    case UDUMP_OP_SUBTRACT: return a - b;
    case UDUMP_OP_MULTIPLY: return a * b;
    case UDUMP_OP_DIVIDE: return a / b;
    case UDUMP_OP_FLOOR_DIVIDE: return fold_floor_divide(a, b);
    case UDUMP_OP_MODULO: return fold_modulo(a, b);
    case UDUMP_OP_POWER: return pow(a, b);
    case UDUMP_OP_ARCTAN2: return atan2(a, b);
    case UDUMP_OP_HYPOT: return hypot(a, b);
    case UDUMP_OP_MINIMUM: return fold_extreme(a, b, 0);
    case UDUMP_OP_MAXIMUM: return fold_extreme(a, b, 1);
    case UDUMP_OP_LESS: return a < b;
    case UDUMP_OP_LESS_EQUAL: return a <= b;
    case UDUMP_OP_GREATER: return a > b;
    case UDUMP_OP_GREATER_EQUAL: return a >= b;
    case UDUMP_OP_EQUAL: return a == b;
    case UDUMP_OP_NOT_EQUAL: return a != b;
    case UDUMP_OP_AND: return a != 0 ? b : a;
    default: return a != 0 ? a : b;
    }
}

const char *udump_expression_fold(udump_op op, const double *operands, double *result) {
    double a = operands[0];
    if (op == UDUMP_OP_SELECT) *result = a != 0 ? operands[1] : operands[2];
    else if (op < UDUMP_OP_ADD) *result = fold_unary(op, a);
    else {
        double b = operands[1];
        int divides = op == UDUMP_OP_DIVIDE || op == UDUMP_OP_FLOOR_DIVIDE || op == UDUMP_OP_MODULO;
        if (b == 0 && divides) return "division by zero";
        if (op == UDUMP_OP_POWER && a == 0 && b < 0) return "division by zero";
        if (op == UDUMP_OP_POWER && a < 0 && isfinite(b) && b != floor(b)) return "a root of a negative number";
        *result = fold_binary(op, a, b);
    }
    return NULL;
}
