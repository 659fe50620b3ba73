/* Filling the caller's udump_error. Each returns the status it was given, so that `return udump_fail(...)` reads straight. */
#ifndef UDUMP_BASE_STATUS_H
#define UDUMP_BASE_STATUS_H

#include "unetdump.h"

/* error may be NULL. where may be NULL for "". The format makes `what`. */
udump_status udump_fail(udump_error *error, udump_status status, const char *where, const char *what_format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same, with what was expected and what was found (either may be NULL). */
udump_status udump_fail_values(
    udump_error *error, udump_status status, const char *where, const char *what, const char *expected, const char *found);

/* For a text that does not parse: offset_bytes is where in text; line, column and the offset in code points are counted here. */
udump_status udump_fail_syntax(
    udump_error *error, const char *where, const char *text, size_t offset_bytes, const char *what, const char *expected);

/* Where it is becomes a place within something: "outer: where". error may be NULL. */
void udump_fail_within(udump_error *error, const char *outer);

/* Out of memory, with the number of bytes asked for. */
udump_status udump_fail_memory(udump_error *error, const char *where, size_t bytes);

#endif
