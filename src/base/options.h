/* Options structs begin with their size, and only grow: a program and a library of other versions go together. */
#ifndef UDUMP_BASE_OPTIONS_H
#define UDUMP_BASE_OPTIONS_H

#include "unetdump.h"

/* A struct of this library's size from a caller's. What a shorter one lacks is 0, the default; NULL: all of it. to: its type begins with struct_bytes.
 * Errors: ARGUMENT (`where` was not initialised; it is longer, and the rest says something). */
udump_status udump_options_take(void *to, size_t to_bytes, const void *from, const char *where, udump_error *error);
/* Back to the caller's, as much as it has room for. */
void udump_options_give(void *to, const void *from, size_t from_bytes);

#endif
