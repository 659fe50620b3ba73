#include "render/lexer.h"

#include <string.h>

#include "base/decimal.h"
#include "base/status.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80; }

static size_t skip_digits(const char *text, size_t at, size_t end) {
    while (at < end && is_digit(text[at])) at++;
    return at;
}

/* The end of the number at `at`, or `at` if none is there. */
static size_t number_end(const char *text, size_t at, size_t end) {
    size_t whole = skip_digits(text, at, end), last = whole;
    if (last < end && text[last] == '.') last = skip_digits(text, last + 1, end);
    if (last - at == (whole < last ? 1u : 0u)) return at; /* nothing, or a point alone */
    if (last < end && (text[last] == 'e' || text[last] == 'E')) {
        size_t digits = last + 1;
        if (digits < end && (text[digits] == '+' || text[digits] == '-')) digits++;
        size_t exponent = skip_digits(text, digits, end);
        if (exponent > digits) last = exponent;
    }
    return last;
}

bool udump_number_read(const char *text, size_t *at, size_t end, double *number) {
    char copy[128];
    size_t last = number_end(text, *at, end), length = last - *at;
    if (length == 0 || length >= sizeof copy) return false;
    memcpy(copy, text + *at, length);
    copy[length] = 0;
    *at = last;
    return udump_decimal_read(copy, NULL, number);
}

bool udump_lexer_at(const udump_lexer *lexer, const char *spelling) {
    return (lexer->kind == UDUMP_LEX_OPERATOR || lexer->kind == UDUMP_LEX_NAME) && strlen(spelling) == lexer->length
        && memcmp(lexer->text + lexer->begin, spelling, lexer->length) == 0;
}

udump_status udump_lexer_fail(const udump_lexer *lexer, const char *what, const char *expected) {
    return udump_fail_syntax(lexer->error, lexer->where, lexer->text, lexer->begin, what, expected);
}

static udump_status read_number(udump_lexer *lexer) {
    lexer->kind = UDUMP_LEX_NUMBER;
    if (!udump_number_read(lexer->text, &lexer->next, lexer->end, &lexer->number))
        return udump_lexer_fail(lexer, "the number is too long", "at most 127 characters");
    lexer->length = lexer->next - lexer->begin;
    if (lexer->next < lexer->end && is_letter(lexer->text[lexer->next])) {
        lexer->begin = lexer->next;
        return udump_lexer_fail(lexer, "a letter behind a number", "an operator or the end");
    }
    return UDUMP_OK;
}

static udump_status read_operator(udump_lexer *lexer) {
    static const char *const operators[] = { "**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", "," };
    const char *text = lexer->text + lexer->next;
    lexer->kind = UDUMP_LEX_OPERATOR;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        size_t length = strlen(operators[i]);
        if (length > lexer->end - lexer->next || memcmp(text, operators[i], length)) continue;
        lexer->length = length;
        lexer->next += length;
        return UDUMP_OK;
    }
    if (*text == '.') return udump_lexer_fail(lexer, "attributes are not allowed", "a digit behind the point");
    if (*text == '=') return udump_lexer_fail(lexer, "keywords and assignments are not allowed", "== to compare");
    if (*text == '&' || *text == '|' || *text == '~' || *text == '!')
        return udump_lexer_fail(lexer, "not an operator here", "and, or, not");
    return udump_lexer_fail(lexer, "unexpected character", "a number, a name or an operator");
}

udump_status udump_lexer_next(udump_lexer *lexer) {
    while (lexer->next < lexer->end && strchr(" \t\r\n", lexer->text[lexer->next])) lexer->next++;
    lexer->begin = lexer->next;
    lexer->length = 0;
    lexer->kind = UDUMP_LEX_END;
    if (lexer->next == lexer->end) return UDUMP_OK;
    char c = lexer->text[lexer->next];
    if (number_end(lexer->text, lexer->next, lexer->end) > lexer->next) return read_number(lexer);
    if (!is_letter(c)) return read_operator(lexer);
    lexer->kind = UDUMP_LEX_NAME;
    while (lexer->next < lexer->end && (is_letter(lexer->text[lexer->next]) || is_digit(lexer->text[lexer->next]))) lexer->next++;
    lexer->length = lexer->next - lexer->begin;
    return UDUMP_OK;
}

udump_status udump_lexer_start(udump_lexer *lexer, const char *where, const char *text, size_t begin, size_t end, udump_error *error) {
    *lexer = (udump_lexer){ .where = where, .text = text, .next = begin, .end = end, .error = error };
    return udump_lexer_next(lexer);
}
