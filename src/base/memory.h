/* Checked sizes and aligned memory. */
#ifndef UDUMP_BASE_MEMORY_H
#define UDUMP_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* *product = a * b, or false if that overflows. */
static inline bool udump_size_mul(size_t a, size_t b, size_t *product) { return !__builtin_mul_overflow(a, b, product); }
static inline bool udump_size_add(size_t a, size_t b, size_t *sum) { return !__builtin_add_overflow(a, b, sum); }

/* A cache line, and the widest vector register. */
enum { UDUMP_ALIGNMENT_BYTES = 64 };

/* At least bytes bytes, not cleared; NULL without memory. Free with udump_aligned_free. */
void *udump_aligned_alloc(size_t bytes);
void udump_aligned_free(void *memory);

#endif
