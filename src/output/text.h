/* A text that grows at its end. */
#ifndef UDUMP_OUTPUT_TEXT_H
#define UDUMP_OUTPUT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Zeros are an empty text; release with free(data). data is NULL or terminated. */
typedef struct udump_text {
    char *data;
    size_t size, capacity; /* bytes, without the terminator; with it */
} udump_text;

/* false without memory: the text then is as it was. */
bool udump_text_add(udump_text *text, const char *bytes, size_t size);
bool udump_text_print(udump_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Nine digits, with a point in every locale. */
enum { UDUMP_NUMBER_BYTES = 48 };
void udump_number_print(char text[UDUMP_NUMBER_BYTES], double value);

#endif
