/* A backend that is loaded while running: a shared library with the function udump_module_entry. Once loaded it stays. */
#ifndef UDUMP_BACKEND_MODULE_H
#define UDUMP_BACKEND_MODULE_H

#include "backend/backend.h"

typedef struct udump_module {
    size_t module_bytes, backend_bytes; /* sizeof this, and of udump_backend: others belong to another version */
    const udump_backend *backend;
    /* Whether the device is there and can be used; its name and memory for the reader. Loads nothing that a machine without it lacks.
     * Errors: DEVICE. */
    udump_status (*probe)(int32_t ordinal, char *note, size_t note_bytes, udump_error *error);
} udump_module;

/* What a module exports. */
const udump_module *udump_module_entry(void);

/* Loads the module `name` ("cuda"): the file at path, or, with NULL, libunetdump-cuda.so beside the library or program that this is part of, or where the
 * system looks. Errors: DEVICE. */
udump_status udump_module_load(const char *name, const char *path, const udump_module **module, udump_error *error);

#endif
