/* A text that grows. Start with zeros; text is freed with free(). */
#ifndef UDUMP_TEXT_BUFFER_H
#define UDUMP_TEXT_BUFFER_H

#include "unetdump.h"

typedef struct udump_text_buffer {
    char *text; /* terminated; NULL while nothing was added */
    size_t length, capacity;
} udump_text_buffer;

/* Errors: MEMORY. */
udump_status udump_text_append(udump_text_buffer *buffer, const char *text, size_t length, udump_error *error);

#endif
