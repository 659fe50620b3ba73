#include "backend/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

static void *open_in(const char *folder, size_t length, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%.*s%s%s", (int)length, folder, length ? "/" : "", name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

/* In the first of the folders that has it; folders: with colons between them. */
static void *open_one(const char *folders, const char *name) {
    void *library = NULL;
    for (const char *folder = folders ? folders : ""; folder && !library;) {
        size_t length = strcspn(folder, ":");
        library = open_in(folder, length, name);
        folder = folder[length] ? folder + length + 1 : NULL;
    }
    return library;
}

udump_status udump_library_load(
    const char *folders, const char *const *names, int32_t name_count, const udump_symbol *symbols, int32_t symbol_count, udump_error *error) {
    void *library = NULL;
    for (int32_t i = 0; i < name_count && !library; i++) library = open_one(folders, names[i]);
    if (!library) return udump_fail(error, UDUMP_ERROR_DEVICE, names[0], "%s", dlerror());
    for (int32_t i = 0; i < symbol_count; i++) {
        *symbols[i].place = dlsym(library, symbols[i].name);
        if (!*symbols[i].place) return udump_fail(error, UDUMP_ERROR_DEVICE, names[0], "the library has no %s", symbols[i].name);
    }
    return UDUMP_OK;
}
