#include "output/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LEAST_CAPACITY = 256 };

static bool reserve(udump_text *text, size_t size) {
    size_t needed;
    if (!udump_size_add(text->size, size, &needed) || !udump_size_add(needed, 1, &needed)) return false;
    if (needed <= text->capacity) return true;
    size_t capacity = text->capacity ? text->capacity : LEAST_CAPACITY;
    while (capacity < needed) capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    char *grown = realloc(text->data, capacity);
    if (!grown) return false;
    text->data = grown;
    text->capacity = capacity;
    return true;
}

bool udump_text_add(udump_text *text, const char *bytes, size_t size) {
    if (!reserve(text, size)) return false;
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
    return true;
}

void udump_number_print(char text[UDUMP_NUMBER_BYTES], double value) {
    snprintf(text, UDUMP_NUMBER_BYTES, "%.9g", value);
    static const char plain[] = "0123456789+-einfa";
    char *point = text + strspn(text, plain);
    if (!*point) return;
    size_t length = strcspn(point, plain); /* the C library's point follows the locale, and may be several bytes */
    *point = '.';
    memmove(point + 1, point + length, strlen(point + length) + 1);
}

bool udump_text_print(udump_text *text, const char *format, ...) {
    va_list arguments;
    char *printed = NULL;
    va_start(arguments, format);
    int length = vasprintf(&printed, format, arguments);
    va_end(arguments);
    if (length < 0) return false;
    bool added = udump_text_add(text, printed, (size_t)length);
    free(printed);
    return added;
}
