#include "text/spec.h"

#include "base/status.h"
#include "text/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

udump_status udump_spec_fail(const udump_spec_reader *reader, size_t at, size_t length, const char *what, const char *expected) {
    udump_error *error = reader->error;
    udump_fail_syntax(error, reader->kind->where, reader->text, at, what, expected);
    if (!error) return UDUMP_ERROR_SYNTAX;
    const char *place = reader->text + at;
    size_t left = strlen(place), character = 0;
    if (left == 0) snprintf(error->found, sizeof error->found, "the end");
    else if (length > 0) snprintf(error->found, sizeof error->found, "%.*s", length < 32 ? (int)length : 32, place);
    else if (udump_utf8_next(place, left, &character) >= 0) snprintf(error->found, sizeof error->found, "'%.*s'", (int)character, place);
    else snprintf(error->found, sizeof error->found, "the byte 0x%02X", (unsigned char)*place);
    return UDUMP_ERROR_SYNTAX;
}

udump_status udump_spec_read_number(udump_spec_reader *reader, const char *expected, int64_t *number) {
    size_t begin = reader->at;
    int64_t value = 0;
    for (char c; (c = reader->text[reader->at]) >= '0' && c <= '9'; reader->at++) {
        value = value * 10 + (c - '0');
        if (value > UDUMP_SPEC_NUMBER_MAX) value = UDUMP_SPEC_NUMBER_MAX;
    }
    size_t length = reader->at - begin;
    if (value == 0) return udump_spec_fail(reader, begin, length, length ? "0 is not allowed here" : "not a number", expected);
    *number = value;
    return UDUMP_OK;
}

static void skip_spaces(udump_spec_reader *reader) { reader->at += strspn(reader->text + reader->at, " \t\r\n"); }

/* Takes the character if it is next, spaces before it included. */
static bool take(udump_spec_reader *reader, char character) {
    skip_spaces(reader);
    if (reader->text[reader->at] != character) return false;
    reader->at++;
    skip_spaces(reader);
    return true;
}

/* Behind the "(". */
static udump_status read_step(udump_spec_reader *reader, int64_t *step) {
    bool plus = take(reader, '+');
    udump_status status = udump_spec_read_number(reader, plus ? "a step from 1" : "a step from 1, as in (+2)", step);
    if (status) return status;
    return take(reader, ')') ? UDUMP_OK : udump_spec_fail(reader, reader->at, 0, "the step is not closed", "')'");
}

static udump_status read_item(udump_spec_reader *reader) {
    int64_t first, last, step = 1;
    const char *expected = "',' or '-'";
    udump_status status = reader->kind->read_value(reader, &first);
    if (status) return status;
    last = first;
    if (take(reader, '-')) {
        if ((status = reader->kind->read_value(reader, &last))) return status;
        expected = "',' or '('";
        if (take(reader, '(')) {
            if ((status = read_step(reader, &step))) return status;
            expected = "','";
        }
    }
    if (reader->text[reader->at] && reader->text[reader->at] != ',')
        return udump_spec_fail(reader, reader->at, 0, "unexpected character", expected);
    if (first <= last) reader->kind->select_range(reader->user, first, last, step);
    else reader->kind->select_range(reader->user, last, first, step);
    return UDUMP_OK;
}

udump_status udump_spec_parse(const udump_spec_kind *kind, const char *spec, void *user, udump_error *error) {
    udump_spec_reader reader = { .kind = kind, .user = user, .text = spec, .error = error };
    bool any = false;
    for (;;) {
        while (take(&reader, ',')) continue;
        if (!spec[reader.at]) break;
        udump_status status = read_item(&reader);
        if (status) return status;
        any = true;
    }
    if (!any) kind->select_all(user);
    return UDUMP_OK;
}
