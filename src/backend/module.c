#include "backend/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

/* The folder of the file that this function is in, with its slash. */
static void own_folder(char *folder, size_t size_bytes) {
    Dl_info info;
    folder[0] = 0;
    if (!dladdr((void *)own_folder, &info) || !info.dli_fname) return;
    const char *slash = strrchr(info.dli_fname, '/');
    if (slash) snprintf(folder, size_bytes, "%.*s", (int)(slash - info.dli_fname + 1), info.dli_fname);
}

static void *open_beside(const char *name) {
    static const char *const formats[] = { "%slibunetdump-%s.so", "%s../lib/libunetdump-%s.so" };
    char folder[2048], file[4096];
    own_folder(folder, sizeof folder);
    void *library = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats && !library && folder[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(file, sizeof file, formats[i], folder, name);
#pragma GCC diagnostic pop
        library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    }
    if (library) return library;
    snprintf(file, sizeof file, "libunetdump-%s.so", name);
    return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

udump_status udump_module_load(const char *name, const char *path, const udump_module **module, udump_error *error) {
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : open_beside(name);
    if (!library) return udump_fail(error, UDUMP_ERROR_DEVICE, name, "no module: %s", dlerror());
    const udump_module *(*entry)(void);
    *(void **)&entry = dlsym(library, "udump_module_entry"); /* as POSIX says to */
    const udump_module *found = entry ? entry() : NULL;
    if (!found || found->module_bytes != sizeof *found || found->backend_bytes != sizeof(udump_backend))
        return udump_fail(error, UDUMP_ERROR_DEVICE, name, "the module belongs to another version of libunetdump");
    *module = found;
    return UDUMP_OK;
}
