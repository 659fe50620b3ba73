/* The host program's own device: what a thread has current when it calls is what it has current afterwards. */
#ifndef UDUMP_BACKEND_CURRENT_H
#define UDUMP_BACKEND_CURRENT_H

#include "backend/backend.h"

typedef struct udump_current {
    const udump_backend *backend; /* NULL: nothing was kept */
    void *device;
} udump_current;

/* backend may be NULL. */
static inline udump_current udump_current_of(const udump_backend *backend) {
    return backend && backend->current ? (udump_current){ backend, backend->current() } : (udump_current){ NULL, NULL };
}

static inline void udump_current_restore(const udump_current *kept) {
    if (kept->backend && kept->device) kept->backend->set_current(kept->device);
}

/* Declares a place for it, from which it is restored on every way out. */
#define UDUMP_KEEP_CURRENT(name) __attribute__((cleanup(udump_current_restore), unused)) udump_current name

#endif
