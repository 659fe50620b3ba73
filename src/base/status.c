#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_inside(char byte) { return ((unsigned char)byte & 0xC0) == 0x80; } /* a code point */

/* Of a text that is too long both ends: what is said of a long word comes after it. */
static void put(char *to, size_t size, const char *text) {
    static const char gap[] = " ... ";
    size_t length = text ? strlen(text) : 0, head = (size - sizeof gap) / 2, tail = length - (size - sizeof gap - head);
    if (length < size) {
        memcpy(to, text ? text : "", length + 1);
        return;
    }
    while (head && is_inside(text[head])) head--;
    while (is_inside(text[tail])) tail++;
    snprintf(to, size, "%.*s%s%s", (int)head, text, gap, text + tail);
}

static void error_clear(udump_error *error, udump_status status, const char *where) {
    memset(error, 0, sizeof *error);
    error->status = status;
    error->offset = -1;
    put(error->where, sizeof error->where, where);
}

udump_status udump_fail(udump_error *error, udump_status status, const char *where, const char *what_format, ...) {
    if (error) {
        char what[4096];
        va_list args;
        va_start(args, what_format);
        vsnprintf(what, sizeof what, what_format, args);
        va_end(args);
        error_clear(error, status, where);
        put(error->what, sizeof error->what, what);
    }
    return status;
}

udump_status udump_fail_values(
    udump_error *error, udump_status status, const char *where, const char *what, const char *expected, const char *found) {
    if (error) {
        error_clear(error, status, where);
        put(error->what, sizeof error->what, what);
        put(error->expected, sizeof error->expected, expected);
        put(error->found, sizeof error->found, found);
    }
    return status;
}

udump_status udump_fail_syntax(
    udump_error *error, const char *where, const char *text, size_t offset_bytes, const char *what, const char *expected) {
    if (!error) return UDUMP_ERROR_SYNTAX;
    error_clear(error, UDUMP_ERROR_SYNTAX, where);
    put(error->what, sizeof error->what, what);
    put(error->expected, sizeof error->expected, expected);
    error->offset = 0;
    error->line = error->column = 1;
    for (size_t i = 0; i < offset_bytes && text[i]; i++) {
        if (is_inside(text[i])) continue;
        error->offset++;
        error->column++;
        if (text[i] == '\n') {
            error->line++;
            error->column = 1;
        }
    }
    return UDUMP_ERROR_SYNTAX;
}

void udump_fail_within(udump_error *error, const char *outer) {
    char whole[4096];
    if (!error) return;
    snprintf(whole, sizeof whole, "%.3800s: %s", outer, error->where); /* the place fits behind whatever stands before it */
    put(error->where, sizeof error->where, whole);
}

udump_status udump_fail_memory(udump_error *error, const char *where, size_t bytes) {
    return udump_fail(error, UDUMP_ERROR_MEMORY, where, "out of memory: %zu bytes could not be had", bytes);
}

const char *udump_status_name(udump_status status) {
    static const char *const names[] = { "ok", "bad argument", "syntax error", "malformed file", "bad weights", "unsupported",
        "file error", "out of memory", "device error", "cancelled", "call out of order", "internal error" };
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

size_t udump_error_format(const udump_error *error, char *buffer, size_t size_bytes) {
    char place[96] = "";
    if (error->line > 1) snprintf(place, sizeof place, " at line %lld, column %lld", (long long)error->line, (long long)error->column);
    else if (error->line == 1) snprintf(place, sizeof place, " at column %lld", (long long)error->column);
    else if (error->offset >= 0) snprintf(place, sizeof place, " at byte %lld", (long long)error->offset);
    int length = snprintf(buffer, size_bytes, "%s%s%s%s%s%s%s%s", error->where, error->where[0] ? ": " : "", error->what, place,
        error->expected[0] ? ": expected " : "", error->expected, error->found[0] ? (error->expected[0] ? ", found " : ": found ") : "",
        error->found);
    return length < 0 ? 0 : (size_t)length;
}

void udump_cancel_raise(udump_cancel *cancel) { __atomic_store_n(&cancel->raised, 1, __ATOMIC_RELAXED); }

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const char *udump_version(void) { return TEXT(UDUMP_VERSION_MAJOR) "." TEXT(UDUMP_VERSION_MINOR) "." TEXT(UDUMP_VERSION_PATCH); }
