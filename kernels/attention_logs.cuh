/* The logarithm of each row's total, with which any entry of P is one exponential: p = exp(score - log). */
#ifndef UDUMP_KERNELS_ATTENTION_LOGS_CUH
#define UDUMP_KERNELS_ATTENTION_LOGS_CUH

#include "kernel.cuh"

/* logs, entropy: [heads, queries]. The queries' entropies, in nats, are log - mean of the scores under P. */
void udump_launch_attention_logs(float *logs, float *entropy /* or NULL */, const udump_kernel_attended &a, udump_stream stream);

#endif
