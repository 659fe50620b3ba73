#include "text/buffer.h"

#include "base/status.h"

#include <stdlib.h>
#include <string.h>

udump_status udump_text_append(udump_text_buffer *buffer, const char *text, size_t length, udump_error *error) {
    size_t needed = buffer->length + length + 1;
    if (needed > buffer->capacity) {
        size_t capacity = needed < 64 ? 64 : 2 * needed;
        char *grown = realloc(buffer->text, capacity);
        if (!grown) return udump_fail_memory(error, "text", capacity);
        buffer->text = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->text + buffer->length, text, length);
    buffer->length += length;
    buffer->text[buffer->length] = 0;
    return UDUMP_OK;
}
