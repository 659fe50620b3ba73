/* The samplers' updates. The sums' order and roundings are the reference's, so that all devices step alike. */
#include "kernel.cuh"

static __global__ void linear_combination(float *out, UDUMP_CONSTANT_PARAM udump_kernel_terms terms, int64_t count) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    float sum = 0;
    for (int k = 0; k < terms.count; k++) sum += terms.coefficients[k] * terms.in[k][i];
    out[i] = sum;
}

void udump_kernel_linear_combination(float *out, const udump_kernel_terms *terms, int64_t count, udump_stream stream) {
    udump_kernel_terms copy = *terms;
    UDUMP_LAUNCH(linear_combination, udump_blocks(count, 256), 256, 0, stream, out, copy, count);
}
