/* What layer specs and step specs have in common:
 *     spec: item ("," item)*       items may be empty; a spec without items means all
 *     item: value | value "-" value | value "-" value "(" ["+"] step ")"
 * with white space between any two parts. */
#ifndef UDUMP_TEXT_SPEC_H
#define UDUMP_TEXT_SPEC_H

#include "unetdump.h"

#include <stddef.h>
#include <stdint.h>

/* Numbers above this are taken as this. */
#define UDUMP_SPEC_NUMBER_MAX ((int64_t)1 << 40)

typedef struct udump_spec_reader udump_spec_reader;

/* What the values are. */
typedef struct udump_spec_kind {
    const char *where; /* "layer spec" */
    /* Reads one value (not negative) at the reader's place, or fails with udump_spec_fail. */
    udump_status (*read_value)(udump_spec_reader *reader, int64_t *value);
    /* Called for every item in order: first <= last, step >= 1; both are the value itself for a single one. */
    void (*select_range)(void *user, int64_t first, int64_t last, int64_t step);
    void (*select_all)(void *user); /* called instead when there was no item */
} udump_spec_kind;

struct udump_spec_reader {
    const udump_spec_kind *kind;
    void *user;
    const char *text; /* terminated */
    size_t at;        /* in bytes */
    udump_error *error;
};

/* Errors: SYNTAX, with the offset of the first part that cannot continue. */
udump_status udump_spec_parse(const udump_spec_kind *kind, const char *spec, void *user, udump_error *error);

/* SYNTAX at byte `at` of the spec. length: the bytes there that are to be shown as found; 0 for one character, or the end. */
udump_status udump_spec_fail(const udump_spec_reader *reader, size_t at, size_t length, const char *what, const char *expected);

/* Reads a whole number from 1. Fails, at the number, with `expected`. */
udump_status udump_spec_read_number(udump_spec_reader *reader, const char *expected, int64_t *number);

#endif
