#include "backend/exec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/available.h"
#include "base/memory.h"
#include "base/status.h"

static const size_t ENDLESS_BYTES = (size_t)1 << 46; /* a measuring pass's arena: more than any machine has */

udump_status udump_exec_open(
    udump_exec *x, const udump_backend *backend, void *device, int32_t threads, udump_dtype compute, udump_error *error) {
    memset(x, 0, sizeof *x);
    x->backend = backend;
    x->device = device;
    x->threads = threads;
    x->compute = compute;
    udump_status status = backend->exec_open(x, error);
    if (status) x->backend = NULL; /* it is not open */
    return status;
}

void udump_exec_close(udump_exec *x) {
    if (!x->backend) return;
    x->backend->exec_close(x);
    if (x->arena) x->backend->memory_free(x->device, x->arena);
    x->arena = NULL;
}

void udump_exec_reset(udump_exec *x) {
    x->low_bytes = x->high_bytes = x->peak_bytes = 0;
    x->status = UDUMP_OK;
}

void udump_exec_begin_dry(udump_exec *x) {
    udump_exec_reset(x);
    x->dry = true;
}

static void format_bytes(char *text, size_t size_bytes, size_t bytes) {
    if (bytes < (size_t)1 << 30) snprintf(text, size_bytes, "%.1f MiB", (double)bytes / (1 << 20));
    else snprintf(text, size_bytes, "%.2f GiB", (double)bytes / (1 << 30));
}

udump_status udump_device_has_room(const udump_backend *backend, void *device, size_t need_bytes, const char *what, udump_error *error) {
    size_t free_bytes, total_bytes;
    char need[32], left[32], total[32], expected[128], found[128];
    if (!need_bytes || !backend->memory_left || !backend->memory_left(device, &free_bytes, &total_bytes) || need_bytes <= free_bytes) return UDUMP_OK;
    format_bytes(need, sizeof need, need_bytes);
    format_bytes(left, sizeof left, free_bytes);
    format_bytes(total, sizeof total, total_bytes);
    snprintf(expected, sizeof expected, "%s more for %s", need, what);
    snprintf(found, sizeof found, "%s free of %s", left, total);
    return udump_fail_values(error, UDUMP_ERROR_MEMORY, "device memory", "not enough", expected, found);
}

udump_status udump_exec_end_dry(udump_exec *x, udump_error *error) {
    size_t need_bytes = x->peak_bytes;
    x->dry = false;
    if (x->status) return udump_exec_status(x, error);
    udump_exec_reset(x);
    bool grows = need_bytes > x->arena_bytes;
    size_t more_bytes = x->beside_bytes + (grows ? need_bytes - x->arena_bytes : 0); /* the arena that is there is given back first */
    x->beside_bytes = 0;
    udump_status status = udump_device_has_room(x->backend, x->device, more_bytes, "activations and canvases", error);
    if (status || !grows) return status;
    if (x->arena) x->backend->memory_free(x->device, x->arena);
    x->arena_bytes = 0;
    x->generation++;
    x->arena = NULL;
    status = x->backend->host_memory ? udump_memory_check("activations", need_bytes, error) : UDUMP_OK;
    if (status) return status;
    x->arena = x->backend->memory_alloc(x->device, need_bytes);
    if (!x->arena) return udump_fail_memory(error, "activations", need_bytes);
    x->arena_bytes = need_bytes;
    return UDUMP_OK;
}

void udump_exec_fail(udump_exec *x, udump_status status, const char *where, const char *format, ...) {
    if (x->status) return;
    char what[sizeof x->error.what];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    x->status = udump_fail(&x->error, status, where, "%s", what);
}

bool udump_exec_stopped(udump_exec *x) {
    if (!x->status && x->cancel && __atomic_load_n(&x->cancel->raised, __ATOMIC_RELAXED)) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "cancelled");
    return x->status != UDUMP_OK;
}

udump_status udump_exec_status(const udump_exec *x, udump_error *error) {
    if (x->status && error) *error = x->error;
    return x->status;
}

size_t udump_tensor_count(udump_tensor tensor) {
    return (size_t)tensor.n * (size_t)tensor.h * (size_t)tensor.w * (size_t)tensor.c;
}

size_t udump_tensor_bytes(udump_tensor tensor) { return udump_tensor_count(tensor) * udump_dtype_bytes(tensor.dtype); }

udump_tensor udump_tensor_rows(udump_tensor tensor, int32_t first, int32_t count) {
    tensor.offset_bytes += udump_row_bytes(tensor) * (size_t)first;
    tensor.n = count;
    return tensor;
}

/* Rounded up so that every tensor starts on a cache line. */
static size_t padded_bytes(udump_tensor tensor) {
    return (udump_tensor_bytes(tensor) + UDUMP_ALIGNMENT_BYTES - 1) / UDUMP_ALIGNMENT_BYTES * UDUMP_ALIGNMENT_BYTES;
}

static bool reserve(udump_exec *x, size_t bytes) {
    size_t limit_bytes = x->dry ? ENDLESS_BYTES : x->arena_bytes, used_bytes = x->low_bytes + x->high_bytes;
    if (bytes > limit_bytes - used_bytes) {
        if (x->dry) udump_exec_fail(x, UDUMP_ERROR_MEMORY, "activations", "out of memory: more than %zu GB are needed", ENDLESS_BYTES / 1000000000);
        else
            udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "activations", "the arena is too small: %zu bytes used, %zu more asked for, %zu there",
                used_bytes, bytes, limit_bytes);
        return false;
    }
    if (used_bytes + bytes > x->peak_bytes) x->peak_bytes = used_bytes + bytes;
    return true;
}

udump_tensor udump_tensor_new(udump_exec *x, udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c) {
    udump_tensor tensor = { .n = n, .h = h, .w = w, .c = c, .dtype = dtype };
    if (x->status || !reserve(x, padded_bytes(tensor))) return tensor;
    tensor.offset_bytes = x->low_bytes;
    x->low_bytes += padded_bytes(tensor);
    return tensor;
}

udump_tensor udump_skip_push(udump_exec *x, int32_t n, int32_t h, int32_t w, int32_t c) {
    udump_tensor tensor = { .n = n, .h = h, .w = w, .c = c, .dtype = x->compute };
    if (x->status || !reserve(x, padded_bytes(tensor))) return tensor;
    x->high_bytes += padded_bytes(tensor);
    tensor.offset_bytes = (x->dry ? ENDLESS_BYTES : x->arena_bytes) - x->high_bytes;
    return tensor;
}

void udump_skip_pop(udump_exec *x, udump_tensor skip) {
    if (!x->status) x->high_bytes -= padded_bytes(skip);
}

size_t udump_arena_mark(const udump_exec *x) { return x->low_bytes; }
void udump_arena_release(udump_exec *x, size_t mark) { x->low_bytes = mark; }
