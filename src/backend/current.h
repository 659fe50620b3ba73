/* The host program's own device: what a thread has current when it calls is what it has current afterwards. */
#ifndef UDUMP_BACKEND_CURRENT_H
#define UDUMP_BACKEND_CURRENT_H

#include "backend/backend.h"

typedef struct udump_current {
    const udump_backend *backend; /* NULL: there is nothing to give back */
    void *before;
} udump_current;

/* Enters; backend may be NULL, and device where it is not open yet. */
static inline udump_current udump_current_enter(const udump_backend *backend, void *device) {
    return backend && backend->enter ? (udump_current){ backend, backend->enter(device) } : (udump_current){ NULL, NULL };
}

static inline void udump_current_leave(const udump_current *kept) {
    if (kept->backend && kept->before) kept->backend->leave(kept->before);
}

/* Declares a place for it, which is left on every way out. */
#define UDUMP_KEEP_CURRENT(name) __attribute__((cleanup(udump_current_leave), unused)) udump_current name

#endif
