/* With M the mean of P over the heads: y = M v, then z = M^T y. */
#include "attention_times.cuh"

void udump_kernel_attention_covariance(float *y, float *z, const float *v, int count, float *logs, const udump_kernel_attended *attended,
    udump_stream stream) {
    udump_launch_attention_logs(logs, NULL, *attended, stream);
    udump_launch_attention_times(y, v, count, logs, 0, NULL, *attended, stream);
    udump_launch_attention_times(z, y, count, logs, 1, NULL, *attended, stream);
}
