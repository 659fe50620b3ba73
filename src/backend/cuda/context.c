/* The calling thread's context. The runtime has no word for "none", and asking it for a device that has no context yet would make one there, so this asks the driver. */
#include "backend/cuda/cuda.h"
#include "backend/cuda/library.h"

typedef int context_get_fn(void **context); /* cuCtxGetCurrent and cuCtxSetCurrent; 0: success */
typedef int context_set_fn(void *context);

static struct driver {
    context_get_fn *get;
    context_set_fn *set;
} driver_load(void) {
    struct driver driver = { NULL, NULL };
    const udump_symbol symbols[] = { { "cuCtxGetCurrent", (void **)&driver.get }, { "cuCtxSetCurrent", (void **)&driver.set } };
    if (udump_library_load(NULL, (const char *const[]){ "libcuda.so.1" }, 1, symbols, 2, NULL)) return (struct driver){ NULL, NULL };
    return driver;
}

void *udump_cuda_context(void) {
    void *context = NULL;
    const struct driver driver = driver_load();
    return driver.get && !driver.get(&context) ? context : NULL;
}

void udump_cuda_set_context(void *context) {
    const struct driver driver = driver_load();
    if (driver.set) driver.set(context);
}
