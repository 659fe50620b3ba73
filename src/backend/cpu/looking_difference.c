/* How two tensors differ: in runs side by side, whose sums are then added in order, so that they do not depend on the number of threads. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "base/parallel.h"

enum { RUNS = 64 };

struct subtraction {
    const udump_kernels *kernels;
    float *out;
    const char *a, *b;
    udump_dtype a_dtype, b_dtype;
    size_t count;
    bool absolute;
    udump_difference raw[RUNS];
};

static void subtract_range(void *arg, int64_t begin, int64_t end, int thread) {
    struct subtraction *s = arg;
    (void)thread;
    for (int64_t run = begin; run < end; run++) {
        size_t first = s->count * (size_t)run / RUNS, count = s->count * (size_t)(run + 1) / RUNS - first;
        s->kernels->subtract(s->out + first, s->a + first * udump_dtype_bytes(s->a_dtype), s->a_dtype,
            s->b + first * udump_dtype_bytes(s->b_dtype), s->b_dtype, count, s->absolute, s->raw + run);
    }
}

void udump_cpu_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference) {
    struct subtraction s = { .kernels = udump_cpu_kernels(x),
        .out = udump_tensor_data(x, out),
        .a = udump_tensor_data(x, a),
        .b = udump_tensor_data(x, b),
        .a_dtype = a.dtype,
        .b_dtype = b.dtype,
        .count = udump_tensor_count(out),
        .absolute = absolute };
    udump_difference sum = { 0 };
    udump_parallel_for(udump_threads_worth(x->threads, 16 * (int64_t)s.count), RUNS, subtract_range, &s);
    for (int run = 0; run < RUNS; run++) {
        const udump_difference *raw = s.raw + run;
        sum.l2 += raw->l2;
        sum.a_l2 += raw->a_l2;
        sum.b_l2 += raw->b_l2;
        sum.dot += raw->dot;
        if (raw->max > sum.max || isnan(raw->max)) sum.max = raw->max;
    }
    *difference = (udump_difference){ .l2 = sqrt(sum.l2), .a_l2 = sqrt(sum.a_l2), .b_l2 = sqrt(sum.b_l2), .dot = sum.dot, .max = sum.max };
}
