/* An execution context: the activation arena, the sticky error, the cancel flag and the tap of one session. */
#ifndef UDUMP_BACKEND_EXEC_H
#define UDUMP_BACKEND_EXEC_H

#include "backend/backend.h"

typedef enum udump_tap_kind {
    UDUMP_TAP_BLOCK,
    UDUMP_TAP_CROSS, /* after cross-attention */
    UDUMP_TAP_SELF   /* after self-attention */
} udump_tap_kind;

/* What model code shows at a tap. */
typedef struct udump_tapped {
    udump_tap_kind kind;
    int32_t index;      /* BLOCK: the block; else the attention layer */
    udump_tensor out;   /* [rows, h, w, c]: the block's output, which may be rewritten; the attention's before its output projection */
    int32_t heads;      /* 0 at a block, as what follows */
    udump_tensor q;     /* CROSS: Q, [rows, h, w, c]; SELF: Q, K and V, [rows, h, w, 3 * c] */
    const udump_kv *kv; /* CROSS */
} udump_tapped;

/* Called where model code names a tap; in a dry pass too, to reserve what it needs. */
typedef void (*udump_tap_fn)(void *user, udump_exec *x, const udump_tapped *tapped);

struct udump_exec {
    const udump_backend *backend;
    void *device; /* the model's */
    void *state;  /* the backend's, for this session */
    int32_t threads;
    udump_dtype compute;

    /* The arena. Temporaries grow from the bottom and are released to a mark; skips grow from the top, last in, first out. */
    uint8_t *arena;
    size_t arena_bytes;
    size_t low_bytes, high_bytes; /* in use */
    size_t peak_bytes;            /* most of low + high so far */
    size_t beside_bytes;          /* device memory that the run will take besides; known before the dry pass ends */
    bool dry;                     /* measuring: no memory, no data */

    const udump_cancel *cancel; /* NULL: none */
    udump_status status;        /* the first failure; later operations do nothing */
    udump_error error;

    bool replaying;     /* what operations would begin is begun already: they do nothing. graph.h */
    int64_t generation; /* counts how often addresses that operations use have moved: the arena's, the backend's own */

    udump_tap_fn tap; /* NULL: none */
    void *tap_user;
};

/* Opens a session's context on a device. Close also frees the arena. */
udump_status udump_exec_open(
    udump_exec *x, const udump_backend *backend, void *device, int32_t threads, udump_dtype compute, udump_error *error);
void udump_exec_close(udump_exec *x);

/* Starts a measuring pass: the arena is empty and endless. */
void udump_exec_begin_dry(udump_exec *x);
/* Ends it: makes the arena at least as large as the peak, and empty. What the device has no room for is not begun, and the arena stays as it was.
 * Errors: MEMORY, with both figures; what stuck in the pass. */
udump_status udump_exec_end_dry(udump_exec *x, udump_error *error);
/* Errors: MEMORY, with both figures, where the device has less than so much room. what: "activations and canvases" */
udump_status udump_device_has_room(const udump_backend *backend, void *device, size_t need_bytes, const char *what, udump_error *error);
/* Empties the arena and forgets an earlier failure. */
void udump_exec_reset(udump_exec *x);

/* Records the first failure. */
void udump_exec_fail(udump_exec *x, udump_status status, const char *where, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* True if operations shall do nothing: after a failure or a cancel (which becomes one). */
bool udump_exec_stopped(udump_exec *x);
/* The sticky failure, copied to error. */
udump_status udump_exec_status(const udump_exec *x, udump_error *error);

/* Arena. A tensor without memory (after a failure) has the right shape and offset 0. */
udump_tensor udump_tensor_new(udump_exec *x, udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c);
udump_tensor udump_skip_push(udump_exec *x, int32_t n, int32_t h, int32_t w, int32_t c);
void udump_skip_pop(udump_exec *x, udump_tensor skip);
size_t udump_arena_mark(const udump_exec *x);
void udump_arena_release(udump_exec *x, size_t mark);

size_t udump_tensor_count(udump_tensor tensor); /* elements */
size_t udump_tensor_bytes(udump_tensor tensor);
static inline void *udump_tensor_data(const udump_exec *x, udump_tensor tensor) { return x->arena + tensor.offset_bytes; }
/* 0 of a tensor without rows, which is what there is of one for which memory was wanting. */
static inline size_t udump_row_bytes(udump_tensor tensor) { return tensor.n ? udump_tensor_bytes(tensor) / (size_t)tensor.n : 0; }
/* Rows [first, first + count) of a tensor: the same memory. */
udump_tensor udump_tensor_rows(udump_tensor tensor, int32_t first, int32_t count);

#endif
