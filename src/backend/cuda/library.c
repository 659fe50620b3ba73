#include "backend/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>

#include "base/status.h"

static void *open_one(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s%s%s", folder ? folder : "", folder ? "/" : "", name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

udump_status udump_library_load(
    const char *folder, const char *const *names, int32_t name_count, const udump_symbol *symbols, int32_t symbol_count, udump_error *error) {
    void *library = NULL;
    for (int32_t i = 0; i < name_count && !library; i++) library = open_one(folder, names[i]);
    if (!library) return udump_fail(error, UDUMP_ERROR_DEVICE, names[0], "%s", dlerror());
    for (int32_t i = 0; i < symbol_count; i++) {
        *symbols[i].place = dlsym(library, symbols[i].name);
        if (!*symbols[i].place) return udump_fail(error, UDUMP_ERROR_DEVICE, names[0], "the library has no %s", symbols[i].name);
    }
    return UDUMP_OK;
}
