/* Weights of products in fp32: panels of two vectors of columns, [panels, taps, depth, width], zeros in the last panel's spare columns.
 * They are kept in the narrowest dtype that keeps every value, which is most often the checkpoint's own: half the memory, and half of
 * what small products read. They are widened, a piece of a panel at a time, where they are multiplied. */
#ifndef UDUMP_CPU_PANELS_H
#define UDUMP_CPU_PANELS_H

#include "backend/cpu/kernels.h"

typedef struct udump_panels {
    udump_dtype dtype;
    size_t columns, depth, taps, width; /* taps: 1, or 9 of a 3 x 3 convolution */
    void *values;
    float *bias; /* [panels, width], zeros without one */
    size_t bytes;
} udump_panels;

/* source: fp32, [columns, depth, taps], as checkpoints have it; bias: [columns] or NULL. rounded: to bf16 first. NULL without memory. */
udump_panels *udump_panels_new(const udump_kernels *kernels, size_t columns, size_t depth, size_t taps, const float *source,
    const float *bias, bool rounded, int threads, udump_error *error);
void udump_panels_free(udump_panels *panels);

static inline size_t udump_panels_count(const udump_panels *p) { return (p->columns + p->width - 1) / p->width; }
/* The values of a panel's tap from row `first` of its depth. */
static inline const void *udump_panels_at(const udump_panels *p, size_t panel, size_t tap, size_t first) {
    size_t at = ((panel * p->taps + tap) * p->depth + first) * p->width;
    return (const char *)p->values + at * (p->dtype == UDUMP_F32 ? 4 : 2);
}

#endif
