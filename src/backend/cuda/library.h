/* A vendor's library, loaded only where there is a device. */
#ifndef UDUMP_CUDA_LIBRARY_H
#define UDUMP_CUDA_LIBRARY_H

#include "unetdump.h"

typedef struct udump_symbol {
    const char *name;
    void **place;
} udump_symbol;

/* The first of names that is in one of the folders ("A:B"), or, with NULL, where the system looks; fills every symbol's place. Once loaded it stays. Errors: DEVICE. */
udump_status udump_library_load(
    const char *folders, const char *const *names, int32_t name_count, const udump_symbol *symbols, int32_t symbol_count, udump_error *error);

#endif
