/* Tokens of an expression: numbers, names, operators as Python writes them. */
#ifndef UDUMP_RENDER_LEXER_H
#define UDUMP_RENDER_LEXER_H

#include <stdbool.h>

#include "unetdump.h"

typedef enum udump_lexeme {
    UDUMP_LEX_END,
    UDUMP_LEX_NUMBER,
    UDUMP_LEX_NAME, /* keywords too */
    UDUMP_LEX_OPERATOR
} udump_lexeme;

typedef struct udump_lexer {
    const char *where; /* for errors: "color" */
    const char *text;  /* the whole option, in which errors count */
    size_t next, end;  /* bytes not read yet */
    udump_error *error;

    /* The token ahead. */
    udump_lexeme kind;
    size_t begin, length; /* in text */
    double number;
} udump_lexer;

/* Starts on text[begin..end) and reads the first token. Errors of both: SYNTAX. */
udump_status udump_lexer_start(udump_lexer *lexer, const char *where, const char *text, size_t begin, size_t end, udump_error *error);
/* Reads the next token; at the end stays there. */
udump_status udump_lexer_next(udump_lexer *lexer);

/* Whether the token ahead is the operator or name spelt so. */
bool udump_lexer_at(const udump_lexer *lexer, const char *spelling);
/* SYNTAX at the token ahead. */
udump_status udump_lexer_fail(const udump_lexer *lexer, const char *what, const char *expected);

/* Reads a decimal number (digits, a point, an exponent; no sign) at text[*at..end), moves *at behind it; false if none is there.
 * The same in every locale. */
bool udump_number_read(const char *text, size_t *at, size_t end, double *number);

#endif
