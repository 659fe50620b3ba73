/* With M the mean of P over the heads: y = M v, then z = M^T y. */
#include "attention_logs.cuh"
#include "attention_times.cuh"

size_t udump_kernel_attention_covariance_scratch_bytes(const udump_kernel_attended *a, int count) {
    return ((size_t)a->heads * (size_t)a->queries + udump_attention_times_floats(a, count)) * sizeof(float);
}

void udump_kernel_attention_covariance(float *y, float *z, const float *v, int count, float *scratch, const udump_kernel_attended *attended,
    udump_stream stream) {
    float *logs = scratch, *parts = logs + (int64_t)attended->heads * attended->queries;
    udump_launch_attention_logs(logs, NULL, *attended, stream);
    udump_launch_attention_times(y, parts, v, count, logs, 0, NULL, *attended, stream);
    udump_launch_attention_times(z, parts, y, count, logs, 1, NULL, *attended, stream);
}
