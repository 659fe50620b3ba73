/* Products of the mean of P over the heads, or of its transpose, with a few vectors. */
#ifndef UDUMP_KERNELS_ATTENTION_TIMES_CUH
#define UDUMP_KERNELS_ATTENTION_TIMES_CUH

#include "kernel.cuh"

/* out: [queries, count], of vectors [keys, count]; transposed: [keys, count], of vectors [queries, count]. count: up to LOOK_COLUMNS_MOST. logs: of
 * attention_logs. parts: so many floats. done: on the device; if it is not NULL and what is there not 0, nothing is done. */
void udump_launch_attention_times(float *out, float *parts, const float *vectors, int count, const float *logs, int transposed, const int *done,
    const udump_kernel_attended &a, udump_stream stream);
size_t udump_attention_times_floats(const udump_kernel_attended *a, int count);

#endif
