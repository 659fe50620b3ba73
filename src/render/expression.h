/* Expressions of v: Python's grammar and numpy's functions, compiled to the bytecode of backend/style.h.
 *
 *   + - * / // % **     ** binds to the right and above unary minus; / is true division; // and % floor
 *   < <= > >= == !=     chained too; 1.0 or 0.0
 *   and or not          for each pixel, with Python's values: a and b is b where a is not 0, else a
 *   a if c else b       for each pixel
 *   numbers, pi, e, v   and the functions that the table in expression.c lists; min and max take two or more arguments
 *
 * v and arithmetic on it are fp32; what is constant is computed in double, while compiling. */
#ifndef UDUMP_RENDER_EXPRESSION_H
#define UDUMP_RENDER_EXPRESSION_H

#include "backend/style.h"
#include "unetdump.h"

enum {
    UDUMP_EXPRESSION_TEXT_BYTES = 4096, /* a longer text is an error */
    UDUMP_EXPRESSION_NESTING = 64       /* brackets, calls, signs, conditions in each other */
};

/* Compiles text[begin..end). text is the whole option, in which an error's position counts; where names it.
 * Errors: SYNTAX: grammar, unknown names, wrong argument counts, constants without a real value, too long or too deep. */
udump_status udump_expression_compile(
    const char *where, const char *text, size_t begin, size_t end, udump_expression *expression, udump_error *error);

/* op of constants, in double. Returns NULL, or why there is no value. */
const char *udump_expression_fold(udump_op op, const double *operands, double *result);

#endif
