/* An error in a text: the line, and a caret under the column. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* How many columns a terminal gives a character: East Asian wide ones and emoji 2, combining ones 0. */
static int columns_of(uint32_t code) {
    static const struct {
        uint32_t first, last;
        int columns;
    } ranges[] = { { 0x0300, 0x036F, 0 }, { 0x0483, 0x0489, 0 }, { 0x0591, 0x05BD, 0 }, { 0x064B, 0x065F, 0 }, { 0x093A, 0x093C, 0 },
        { 0x0E34, 0x0E3A, 0 }, { 0x0E47, 0x0E4E, 0 }, { 0x1100, 0x115F, 2 }, { 0x1AB0, 0x1AFF, 0 }, { 0x1DC0, 0x1DFF, 0 },
        { 0x200B, 0x200F, 0 }, { 0x20D0, 0x20FF, 0 }, { 0x2E80, 0x303E, 2 }, { 0x3041, 0xA4CF, 2 }, { 0xAC00, 0xD7A3, 2 },
        { 0xF900, 0xFAFF, 2 }, { 0xFE00, 0xFE0F, 0 }, { 0xFE30, 0xFE6F, 2 }, { 0xFF00, 0xFF60, 2 }, { 0xFFE0, 0xFFE6, 2 },
        { 0x1F300, 0x1F64F, 2 }, { 0x1F680, 0x1F6FF, 2 }, { 0x1F900, 0x1FAFF, 2 }, { 0x20000, 0x3FFFD, 2 }, { 0xE0100, 0xE01EF, 0 } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return ranges[i].columns;
    return 1;
}

/* One character of UTF-8. */
static uint32_t read_character(const char **text) {
    unsigned char lead = (unsigned char)*(*text)++;
    uint32_t code = lead >= 0xF0 ? lead & 7 : lead >= 0xE0 ? lead & 15 : lead >= 0xC0 ? lead & 31 : lead;
    while (((unsigned char)**text & 0xC0) == 0x80) code = code << 6 | ((unsigned char)*(*text)++ & 63);
    return code;
}

/* The line of the error, and a caret under its column; tabs are kept. */
static void print_caret(const char *text, const udump_error *error) {
    for (int64_t line = 1; line < error->line && text; line++) text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    if (!text || error->line < 1) return;
    print_plain(stderr, text, strcspn(text, "\n"), true);
    fputc('\n', stderr);
    for (int64_t column = 1; column < error->column && *text; column++) {
        uint32_t code = read_character(&text);
        for (int i = columns_of(code); i > 0; i--) fputc(code == '\t' ? '\t' : ' ', stderr);
    }
    fputs("^\n", stderr);
}

int fail_text(const udump_error *error, const char *text) {
    int status = fail_error(error);
    if (text && error->column > 0) print_caret(text, error);
    return status;
}

int fail_option(const char *option, const udump_error *error, const char *text) {
    udump_error own = *error;
    char where[sizeof own.where + 32];
    snprintf(where, sizeof where, "%s%s%s", option, *error->where ? ": " : "", error->where);
    memcpy(own.where, where, sizeof own.where - 1);
    return fail_text(&own, text);
}
