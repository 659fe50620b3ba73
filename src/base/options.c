#include "base/options.h"

#include <string.h>

#include "base/status.h"

enum { BYTES_MOST = 1 << 16 }; /* of a struct: more is something else */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

void udump_options_init(void *options, size_t struct_bytes) {
    if (!options || struct_bytes < sizeof struct_bytes) return;
    memset(options, 0, struct_bytes);
    memcpy(options, &struct_bytes, sizeof struct_bytes);
}

udump_status udump_options_take(void *to, size_t to_bytes, const void *from, const char *where, udump_error *error) {
    size_t from_bytes = to_bytes;
    if (from) memcpy(&from_bytes, from, sizeof from_bytes);
    if (from_bytes < sizeof from_bytes || from_bytes > BYTES_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "not initialised: struct_bytes is %zu", from_bytes);
    for (size_t i = to_bytes; from && i < from_bytes; i++)
        if (((const char *)from)[i]) return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "something is set that this version of the library does not know");
    udump_options_init(to, to_bytes);
    if (from) memcpy((char *)to + sizeof from_bytes, (const char *)from + sizeof from_bytes, least(from_bytes, to_bytes) - sizeof from_bytes);
    return UDUMP_OK;
}

void udump_options_give(void *to, const void *from, size_t from_bytes) {
    size_t to_bytes;
    memcpy(&to_bytes, to, sizeof to_bytes);
    memcpy((char *)to + sizeof to_bytes, (const char *)from + sizeof to_bytes, least(to_bytes, from_bytes) - sizeof to_bytes);
}
