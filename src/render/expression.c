/* A recursive descent over the tokens that emits instructions as it goes. Registers are used as a stack: whatever a rule leaves is
 * v, a constant, or in the first register that was free when the rule began. */
#include "render/expression.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "render/lexer.h"

typedef struct operand {
    enum { OPERAND_CONSTANT, OPERAND_REGISTER } kind;
    double value; /* constant */
    int place;    /* register; 0 is v */
} operand;

typedef struct compiler {
    udump_lexer lexer;
    udump_expression *code;
    int level; /* the first free register */
    int nesting;
} compiler;

static udump_status parse_factor(compiler *c, operand *out);
static udump_status parse_expression(compiler *c, operand *out);

/* ---- emitting */

static operand constant_of(double value) { return (operand){ OPERAND_CONSTANT, value, 0 }; }

static udump_status fail_at(compiler *c, size_t place, const char *what, const char *expected) {
    c->lexer.begin = place;
    return udump_lexer_fail(&c->lexer, what, expected);
}

static udump_status append(compiler *c, udump_op op, int out, const int places[3], double constant) {
    char most[64];
    if (out >= UDUMP_EXPRESSION_REGISTERS) {
        snprintf(most, sizeof most, "at most %d intermediate results", UDUMP_EXPRESSION_REGISTERS - 1);
        return udump_lexer_fail(&c->lexer, "the expression is nested too deeply", most);
    }
    if (c->code->count == UDUMP_EXPRESSION_INSTRUCTIONS) {
        snprintf(most, sizeof most, "at most %d operations", UDUMP_EXPRESSION_INSTRUCTIONS);
        return udump_lexer_fail(&c->lexer, "the expression is too long", most);
    }
    c->code->code[c->code->count++] = (udump_instruction){ (uint8_t)op, (uint8_t)out, (uint8_t)places[0], (uint8_t)places[1],
        (uint8_t)places[2], (float)constant };
    return UDUMP_OK;
}

/* op(operands) into register `out`; constants among them go to registers from c->level on, which are free again afterwards. */
static udump_status emit(compiler *c, udump_op op, int out, const operand *operands, int count, operand *result) {
    static const int none[3];
    int places[3] = { 0 }, spare = c->level;
    for (int i = 0; i < count; i++) {
        places[i] = operands[i].place;
        if (operands[i].kind != OPERAND_CONSTANT) continue;
        places[i] = spare++;
        udump_status status = append(c, UDUMP_OP_CONSTANT, places[i], none, operands[i].value);
        if (status) return status;
    }
    *result = (operand){ OPERAND_REGISTER, 0, out };
    return append(c, op, out, places, 0);
}

/* The same, computed at once if everything is constant. `at` is where the operator stands. */
static udump_status apply(compiler *c, udump_op op, size_t at, int out, const operand *operands, int count, operand *result) {
    double values[3] = { 0 };
    int constants = 0;
    for (int i = 0; i < count; i++) {
        values[i] = operands[i].value;
        constants += operands[i].kind == OPERAND_CONSTANT;
    }
    if (constants < count) return emit(c, op, out, operands, count, result);
    *result = constant_of(0);
    const char *why = udump_expression_fold(op, values, &result->value);
    return why ? fail_at(c, at, why, "a constant with a real value") : UDUMP_OK;
}

/* numpy's shortcuts for constant exponents, which round differently from pow. */
static udump_status apply_power(compiler *c, size_t at, int out, const operand *operands, operand *result) {
    operand base = operands[0], exponent = operands[1], inverse[2] = { constant_of(1), base };
    bool shortcut = base.kind == OPERAND_REGISTER && exponent.kind == OPERAND_CONSTANT;
    if (!shortcut) return apply(c, UDUMP_OP_POWER, at, out, operands, 2, result);
    if (exponent.value == 2) return apply(c, UDUMP_OP_SQUARE, at, out, &base, 1, result);
    if (exponent.value == 0.5) return apply(c, UDUMP_OP_SQRT, at, out, &base, 1, result);
    if (exponent.value == -1) return apply(c, UDUMP_OP_DIVIDE, at, out, inverse, 2, result);
    *result = exponent.value == 0 ? constant_of(1) : base;
    return exponent.value == 0 || exponent.value == 1 ? UDUMP_OK : apply(c, UDUMP_OP_POWER, at, out, operands, 2, result);
}

/* The end of a rule that began with `base` free: its result is `result`, and no other register is in use. */
static void settle(compiler *c, int base, const operand *result) {
    c->level = result->kind == OPERAND_REGISTER && result->place > 0 ? base + 1 : base;
}

/* ---- the grammar, innermost first */

static udump_status enter(compiler *c) {
    char most[48];
    if (++c->nesting <= UDUMP_EXPRESSION_NESTING) return UDUMP_OK;
    snprintf(most, sizeof most, "at most %d levels", UDUMP_EXPRESSION_NESTING);
    return udump_lexer_fail(&c->lexer, "the expression is nested too deeply", most);
}

typedef struct function_entry {
    const char *name;
    udump_op op;
    int arguments; /* 0: two or more, joined one after the other */
} function_entry;

static const function_entry functions[] = {
    { "abs", UDUMP_OP_ABS, 1 }, { "sqrt", UDUMP_OP_SQRT, 1 }, { "exp", UDUMP_OP_EXP, 1 }, { "log", UDUMP_OP_LOG, 1 },
    { "log2", UDUMP_OP_LOG2, 1 }, { "log10", UDUMP_OP_LOG10, 1 }, { "log1p", UDUMP_OP_LOG1P, 1 }, { "expm1", UDUMP_OP_EXPM1, 1 },
    { "sin", UDUMP_OP_SIN, 1 }, { "cos", UDUMP_OP_COS, 1 }, { "tan", UDUMP_OP_TAN, 1 }, { "tanh", UDUMP_OP_TANH, 1 },
    { "arcsin", UDUMP_OP_ARCSIN, 1 }, { "arccos", UDUMP_OP_ARCCOS, 1 }, { "arctan", UDUMP_OP_ARCTAN, 1 },
    { "arctan2", UDUMP_OP_ARCTAN2, 2 }, { "sinh", UDUMP_OP_SINH, 1 }, { "cosh", UDUMP_OP_COSH, 1 }, { "floor", UDUMP_OP_FLOOR, 1 },
    { "ceil", UDUMP_OP_CEIL, 1 }, { "round", UDUMP_OP_ROUND, 1 }, { "sign", UDUMP_OP_SIGN, 1 },
    { "clip", UDUMP_OP_MAXIMUM, 3 }, /* minimum(maximum(x, low), high) */
    { "where", UDUMP_OP_SELECT, 3 }, { "minimum", UDUMP_OP_MINIMUM, 2 }, { "maximum", UDUMP_OP_MAXIMUM, 2 },
    { "min", UDUMP_OP_MINIMUM, 0 }, { "max", UDUMP_OP_MAXIMUM, 0 }, { "power", UDUMP_OP_POWER, 2 }, { "hypot", UDUMP_OP_HYPOT, 2 },
    { "square", UDUMP_OP_SQUARE, 1 },
};

static const function_entry *function_at(const udump_lexer *lexer) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (udump_lexer_at(lexer, functions[i].name)) return &functions[i];
    return NULL;
}

static udump_status fail_name(const compiler *c) {
    static const char *const keywords[] = { "and", "or", "not", "if", "else" };
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (udump_lexer_at(&c->lexer, keywords[i]))
            return udump_lexer_fail(&c->lexer, "a value is missing", "a number, v, a function or (");
    char what[128], expected[256];
    int length = (int)(c->lexer.length < 64 ? c->lexer.length : 64);
    while (length > 0 && length < (int)c->lexer.length && ((unsigned char)c->lexer.text[c->lexer.begin + (size_t)length] & 0xC0) == 0x80)
        length--;
    snprintf(what, sizeof what, "unknown name \"%.*s\"", length, c->lexer.text + c->lexer.begin);
    size_t used = (size_t)snprintf(expected, sizeof expected, "v, pi, e,");
    for (size_t i = 0; i < sizeof functions / sizeof *functions && used < sizeof expected; i++)
        used += (size_t)snprintf(expected + used, sizeof expected - used, " %s", functions[i].name);
    return udump_lexer_fail(&c->lexer, what, expected);
}

static udump_status fail_arguments(const compiler *c, const function_entry *function) {
    char what[64];
    if (function->arguments)
        snprintf(what, sizeof what, "%s takes %d argument%s", function->name, function->arguments, function->arguments > 1 ? "s" : "");
    else snprintf(what, sizeof what, "%s takes two or more arguments", function->name);
    bool more = udump_lexer_at(&c->lexer, ")");
    return udump_lexer_fail(&c->lexer, what, more ? "another argument" : ")");
}

/* Calls a function of 1 to 3 arguments. */
static udump_status apply_function(
    compiler *c, const function_entry *function, size_t at, int base, const operand *arguments, operand *out) {
    if (function->op == UDUMP_OP_POWER) return apply_power(c, at, base, arguments, out);
    if (function->arguments < 3 || function->op == UDUMP_OP_SELECT)
        return apply(c, function->op, at, base, arguments, function->arguments, out);
    operand bounded[2] = { constant_of(0), arguments[2] };
    udump_status status = apply(c, UDUMP_OP_MAXIMUM, at, base, arguments, 2, &bounded[0]);
    if (c->level == base) c->level = base + 1; /* of the maximum; the third argument may hold more */
    return status ? status : apply(c, UDUMP_OP_MINIMUM, at, base, bounded, 2, out);
}

/* "(" expression {"," expression} [","] ")", the name being read. */
static udump_status parse_call(compiler *c, const function_entry *function, size_t at, operand *out) {
    int base = c->level, count = 0, least = function->arguments ? function->arguments : 2;
    operand arguments[3] = { { OPERAND_CONSTANT, 0, 0 } };
    if (!udump_lexer_at(&c->lexer, "(")) return udump_lexer_fail(&c->lexer, "a function without arguments", "(");
    udump_status status = udump_lexer_next(&c->lexer);
    while (!status && !udump_lexer_at(&c->lexer, ")")) {
        if (function->arguments && count == function->arguments) return fail_arguments(c, function);
        operand *argument = &arguments[function->arguments ? count : count > 0];
        status = parse_expression(c, argument);
        if (!status && !function->arguments && count > 0) {
            status = apply(c, function->op, at, base, arguments, 2, &arguments[0]);
            settle(c, base, &arguments[0]);
        }
        if (status) return status;
        count++;
        if (udump_lexer_at(&c->lexer, ",")) status = udump_lexer_next(&c->lexer);
        else if (!udump_lexer_at(&c->lexer, ")"))
            return udump_lexer_fail(&c->lexer, "an argument does not end here", ", or ) or an operator");
    }
    if (status) return status;
    if (count < least) return fail_arguments(c, function);
    *out = arguments[0];
    if (function->arguments) status = apply_function(c, function, at, base, arguments, out);
    settle(c, base, out);
    return status ? status : udump_lexer_next(&c->lexer);
}

static udump_status parse_name(compiler *c, operand *out) {
    const function_entry *function = function_at(&c->lexer);
    size_t at = c->lexer.begin;
    if (udump_lexer_at(&c->lexer, "v")) *out = (operand){ OPERAND_REGISTER, 0, 0 };
    else if (udump_lexer_at(&c->lexer, "pi")) *out = constant_of(M_PI);
    else if (udump_lexer_at(&c->lexer, "e")) *out = constant_of(M_E);
    else if (!function) return fail_name(c);
    udump_status status = udump_lexer_next(&c->lexer);
    return status || !function ? status : parse_call(c, function, at, out);
}

static udump_status parse_atom(compiler *c, operand *out) {
    if (c->lexer.kind == UDUMP_LEX_NAME) return parse_name(c, out);
    if (c->lexer.kind == UDUMP_LEX_NUMBER) {
        *out = constant_of(c->lexer.number);
        return udump_lexer_next(&c->lexer);
    }
    if (!udump_lexer_at(&c->lexer, "(")) return udump_lexer_fail(&c->lexer, "a value is missing", "a number, v, a function or (");
    udump_status status = udump_lexer_next(&c->lexer);
    if (!status) status = parse_expression(c, out);
    if (status) return status;
    return udump_lexer_at(&c->lexer, ")") ? udump_lexer_next(&c->lexer)
                                          : udump_lexer_fail(&c->lexer, "a bracket is not closed", ") or an operator");
}

/* The factor behind a sign or a "**". */
static udump_status parse_inner(compiler *c, operand *out) {
    udump_status status = enter(c);
    if (!status) status = udump_lexer_next(&c->lexer);
    if (!status) status = parse_factor(c, out);
    c->nesting--;
    return status;
}

/* ("-" | "+") factor | atom ["**" factor] */
static udump_status parse_factor(compiler *c, operand *out) {
    int base = c->level;
    size_t at = c->lexer.begin;
    bool minus = udump_lexer_at(&c->lexer, "-"), sign = minus || udump_lexer_at(&c->lexer, "+");
    operand operands[2];
    udump_status status = sign ? parse_inner(c, &operands[0]) : parse_atom(c, &operands[0]);
    if (status) return status;
    *out = operands[0];
    if (minus) status = apply(c, UDUMP_OP_NEGATE, at, base, operands, 1, out);
    at = c->lexer.begin;
    if (!sign && udump_lexer_at(&c->lexer, "**")) {
        status = parse_inner(c, &operands[1]);
        if (!status) status = apply_power(c, at, base, operands, out);
    }
    settle(c, base, out);
    return status;
}

typedef struct operator_entry {
    const char *spelling;
    udump_op op;
} operator_entry;

static const operator_entry *operator_at(const compiler *c, const operator_entry *entries) {
    for (; entries->spelling; entries++)
        if (udump_lexer_at(&c->lexer, entries->spelling)) return entries;
    return NULL;
}

typedef udump_status (*rule)(compiler *c, operand *out);

/* inner {operator inner}, to the left */
static udump_status parse_left(compiler *c, const operator_entry *entries, rule inner, operand *out) {
    int base = c->level;
    const operator_entry *entry;
    udump_status status = inner(c, out);
    while (!status && (entry = operator_at(c, entries))) {
        operand operands[2] = { *out, constant_of(0) };
        size_t at = c->lexer.begin;
        status = udump_lexer_next(&c->lexer);
        if (!status) status = inner(c, &operands[1]);
        if (!status) status = apply(c, entry->op, at, base, operands, 2, out);
        settle(c, base, out);
    }
    return status;
}

static udump_status parse_term(compiler *c, operand *out) {
    static const operator_entry entries[] = { { "*", UDUMP_OP_MULTIPLY }, { "/", UDUMP_OP_DIVIDE }, { "//", UDUMP_OP_FLOOR_DIVIDE },
        { "%", UDUMP_OP_MODULO }, { NULL, 0 } };
    return parse_left(c, entries, parse_factor, out);
}

static udump_status parse_sum(compiler *c, operand *out) {
    static const operator_entry entries[] = { { "+", UDUMP_OP_ADD }, { "-", UDUMP_OP_SUBTRACT }, { NULL, 0 } };
    return parse_left(c, entries, parse_term, out);
}

/* sum {comparison sum}: a < b < c is a < b and b < c, with b computed once: it stays in its register until the next comparison. */
static udump_status parse_comparison(compiler *c, operand *out) {
    static const operator_entry entries[] = { { "<", UDUMP_OP_LESS }, { "<=", UDUMP_OP_LESS_EQUAL }, { ">", UDUMP_OP_GREATER },
        { ">=", UDUMP_OP_GREATER_EQUAL }, { "==", UDUMP_OP_EQUAL }, { "!=", UDUMP_OP_NOT_EQUAL }, { NULL, 0 } };
    int base = c->level;
    operand sides[2] = { constant_of(0), constant_of(0) }, both[2] = { constant_of(1), constant_of(0) };
    udump_status status = parse_sum(c, &sides[0]);
    const operator_entry *entry = operator_at(c, entries);
    *out = sides[0];
    for (bool first = true; !status && entry; first = false) {
        size_t at = c->lexer.begin;
        udump_op op = entry->op;
        status = udump_lexer_next(&c->lexer);
        if (!status) status = parse_sum(c, &sides[1]);
        if (status) return status;
        entry = operator_at(c, entries);
        int place = entry || !first ? c->level++ : base; /* above what the next comparison needs */
        status = apply(c, op, at, place, sides, 2, &both[1]);
        *out = both[1];
        if (!status && !first) status = apply(c, UDUMP_OP_AND, at, entry ? place : base, both, 2, out);
        both[0] = *out;
        sides[0] = sides[1];
        if (out->kind == OPERAND_CONSTANT && place > base) c->level = place;
    }
    settle(c, base, out);
    return status;
}

/* "not" not | comparison */
static udump_status parse_not(compiler *c, operand *out) {
    int base = c->level;
    size_t at = c->lexer.begin;
    if (!udump_lexer_at(&c->lexer, "not")) return parse_comparison(c, out);
    operand inner;
    udump_status status = enter(c);
    if (!status) status = udump_lexer_next(&c->lexer);
    if (!status) status = parse_not(c, &inner);
    if (!status) status = apply(c, UDUMP_OP_NOT, at, base, &inner, 1, out);
    if (status) return status;
    settle(c, base, out);
    c->nesting--;
    return UDUMP_OK;
}

static udump_status parse_and(compiler *c, operand *out) {
    static const operator_entry entries[] = { { "and", UDUMP_OP_AND }, { NULL, 0 } };
    return parse_left(c, entries, parse_not, out);
}

static udump_status parse_or(compiler *c, operand *out) {
    static const operator_entry entries[] = { { "or", UDUMP_OP_OR }, { NULL, 0 } };
    return parse_left(c, entries, parse_and, out);
}

/* or ["if" or "else" expression] */
static udump_status parse_expression(compiler *c, operand *out) {
    int base = c->level;
    operand operands[3];
    udump_status status = enter(c);
    if (!status) status = parse_or(c, &operands[1]);
    if (status) return status;
    *out = operands[1];
    size_t at = c->lexer.begin;
    if (udump_lexer_at(&c->lexer, "if")) {
        status = udump_lexer_next(&c->lexer);
        if (!status) status = parse_or(c, &operands[0]);
        if (!status && !udump_lexer_at(&c->lexer, "else"))
            return udump_lexer_fail(&c->lexer, "an if without its else", "else or an operator");
        if (!status) status = udump_lexer_next(&c->lexer);
        if (!status) status = parse_expression(c, &operands[2]);
        if (!status) status = apply(c, UDUMP_OP_SELECT, at, base, operands, 3, out);
    }
    settle(c, base, out);
    c->nesting--;
    return status;
}

udump_status udump_expression_compile(
    const char *where, const char *text, size_t begin, size_t end, udump_expression *expression, udump_error *error) {
    compiler c = { .code = expression, .level = 1 };
    operand result = constant_of(0);
    memset(expression, 0, sizeof *expression);
    udump_status status = udump_lexer_start(&c.lexer, where, text, begin, end, error);
    if (status) return status;
    if (end - begin > UDUMP_EXPRESSION_TEXT_BYTES) {
        char most[48];
        snprintf(most, sizeof most, "at most %d bytes", UDUMP_EXPRESSION_TEXT_BYTES);
        return fail_at(&c, begin + UDUMP_EXPRESSION_TEXT_BYTES, "the expression is too long", most);
    }
    if (c.lexer.kind == UDUMP_LEX_END) return udump_lexer_fail(&c.lexer, "the expression is empty", "an expression of v");
    status = parse_expression(&c, &result);
    if (status) return status;
    if (c.lexer.kind != UDUMP_LEX_END) return udump_lexer_fail(&c.lexer, "the expression does not end here", "an operator or the end");
    if (result.kind == OPERAND_CONSTANT) {
        static const int none[3];
        expression->result = 1;
        return append(&c, UDUMP_OP_CONSTANT, 1, none, result.value);
    }
    expression->result = result.place;
    return UDUMP_OK;
}
