#include "backend/cpu/panels.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"

enum {
    PIECE = 1024
}; /* values of a column converted together */

struct packing {
    const udump_kernels *kernels;
    const float *source; /* [columns, depth, taps] */
    udump_panels *to;
    bool rounded;
    volatile bool lossy; /* any thread's: the others may stop */
};

static void put_bits(const udump_panels *to, const void *bits, size_t i, size_t at) {
    if (to->dtype == UDUMP_F32) ((uint32_t *)to->values)[at] = ((const uint32_t *)bits)[i];
    else ((uint16_t *)to->values)[at] = ((const uint16_t *)bits)[i];
}

/* One column of a panel: [depth, taps] to [taps, depth, .]. False if a value is not kept. */
static bool pack_column(const struct packing *p, const float *source, size_t panel, size_t column) {
    const udump_panels *to = p->to;
    uint32_t bits[PIECE];
    for (size_t first = 0, rows = PIECE / to->taps; first < to->depth; first += rows) {
        if (rows > to->depth - first) rows = to->depth - first;
        bool kept = p->kernels->narrow(bits, to->dtype, source + first * to->taps, rows * to->taps);
        if (!kept && !p->rounded) return false;
        for (size_t tap = 0; tap < to->taps; tap++) {
            size_t at = ((panel * to->taps + tap) * to->depth + first) * to->width + column;
            for (size_t k = 0; k < rows; k++) put_bits(to, bits, k * to->taps + tap, at + k * to->width);
        }
    }
    return true;
}

static void clear_column(const udump_panels *to, size_t panel, size_t column) {
    size_t at = panel * to->taps * to->depth * to->width + column;
    for (size_t k = 0; k < to->taps * to->depth; k++) put_bits(to, &(uint32_t){ 0 }, 0, at + k * to->width);
}

static void pack_range(void *arg, int64_t begin, int64_t end, int thread) { /* of panels */
    struct packing *p = arg;
    const udump_panels *to = p->to;
    (void)thread;
    for (size_t panel = (size_t)begin; panel < (size_t)end && !p->lossy; panel++)
        for (size_t column = 0; column < to->width && !p->lossy; column++) {
            size_t from = panel * to->width + column;
            if (from >= to->columns) clear_column(to, panel, column);
            else if (!pack_column(p, p->source + from * to->depth * to->taps, panel, column)) p->lossy = true;
        }
}

/* In the first of the dtypes that keeps every value. */
static udump_status pack(struct packing *p, int threads, udump_error *error) {
    static const udump_dtype dtypes[] = { UDUMP_F16, UDUMP_BF16, UDUMP_F32 };
    udump_panels *to = p->to;
    size_t count = udump_panels_count(to) * to->width * to->depth * to->taps;
    for (int i = p->rounded ? 1 : 0; i < 3; i++) {
        to->dtype = dtypes[i];
        to->bytes = count * udump_dtype_bytes(to->dtype);
        to->values = udump_aligned_alloc(to->bytes);
        if (!to->values) return udump_fail_memory(error, "weights", to->bytes);
        p->lossy = false;
        udump_parallel_for(threads, (int64_t)udump_panels_count(to), pack_range, p);
        if (!p->lossy) return UDUMP_OK;
        udump_aligned_free(to->values);
        to->values = NULL;
    }
    return udump_fail(error, UDUMP_ERROR_INTERNAL, "weights", "fp32 does not keep fp32");
}

udump_panels *udump_panels_new(const udump_kernels *kernels, size_t columns, size_t depth, size_t taps, const float *source,
    const float *bias, bool rounded, int threads, udump_error *error) {
    udump_panels *to = calloc(1, sizeof *to);
    if (!to) {
        udump_fail_memory(error, "weights", sizeof *to);
        return NULL;
    }
    if (taps > PIECE) {
        udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "weights", "a kernel of %zu values", taps);
        free(to);
        return NULL;
    }
    *to = (udump_panels){ .columns = columns, .depth = depth, .taps = taps, .width = udump_panel_width(kernels) };
    size_t bias_bytes = udump_panels_count(to) * to->width * sizeof *bias;
    to->bias = udump_aligned_alloc(bias_bytes);
    udump_status status = to->bias ? UDUMP_OK : udump_fail_memory(error, "weights", bias_bytes);
    if (!status) {
        memset(to->bias, 0, bias_bytes);
        if (bias) memcpy(to->bias, bias, columns * sizeof *bias);
        struct packing p = { .kernels = kernels, .source = source, .to = to, .rounded = rounded };
        status = pack(&p, udump_threads_worth(threads, (int64_t)(columns * depth * taps)), error);
    }
    if (!status) return to;
    udump_panels_free(to);
    return NULL;
}

void udump_panels_free(udump_panels *panels) {
    if (!panels) return;
    udump_aligned_free(panels->values);
    udump_aligned_free(panels->bias);
    free(panels);
}
