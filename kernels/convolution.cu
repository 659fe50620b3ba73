/* A convolution by its definition. A block makes one output pixel's channels from a patch that it keeps in shared memory. */
#include "kernel.cuh"

enum { THREADS = 128, PATCH = 2048 }; /* values of the patch at a time */

template <typename T>
__global__ void convolution(T *out, const T *in, const T *weight, const T *bias, const T *residual, UDUMP_CONSTANT_PARAM udump_kernel_conv p) {
    __shared__ float patch[PATCH];
    int x = (int)blockIdx.x % p.out_w, y = (int)(blockIdx.x / p.out_w), image = (int)blockIdx.z;
    int channel = (int)(blockIdx.y * THREADS + threadIdx.x), values = p.kernel * p.kernel * p.in_c;
    float sum = channel < p.out_c ? udump_f32(bias[channel]) : 0;
    for (int first = 0; first < values; first += PATCH) {
        int count = values - first < PATCH ? values - first : PATCH;
        for (int i = (int)threadIdx.x; i < count; i += THREADS) {
            int tap = (first + i) / p.in_c, from_y = y * p.stride + tap / p.kernel - p.pad_begin, from_x = x * p.stride + tap % p.kernel - p.pad_begin;
            bool inside = from_y >= 0 && from_y < p.in_h && from_x >= 0 && from_x < p.in_w;
            patch[i] = inside ? udump_f32(in[(((int64_t)image * p.in_h + from_y) * p.in_w + from_x) * p.in_c + (first + i) % p.in_c]) : 0;
        }
        __syncthreads();
        for (int i = 0; i < count && channel < p.out_c; i++) sum += patch[i] * udump_f32(weight[(int64_t)(first + i) * p.out_c + channel]);
        __syncthreads();
    }
    if (channel >= p.out_c) return;
    int64_t at = (((int64_t)image * p.out_h + y) * p.out_w + x) * p.out_c + channel;
    out[at] = udump_from<T>(sum + (residual ? udump_f32(residual[at]) : 0));
}

void udump_kernel_convolution(void *out, const void *in, int dtype, const void *weight, const void *bias, const void *residual,
    const udump_kernel_conv *conv, udump_stream stream) {
    udump_kernel_conv p = *conv;
    dim3 grid((unsigned)(p.out_h * p.out_w), udump_blocks(p.out_c, THREADS), (unsigned)p.n);
    UDUMP_FOR_DTYPE(dtype, T,
        UDUMP_LAUNCH((convolution<T>), grid, THREADS, 0, stream, (T *)out, (const T *)in, (const T *)weight, (const T *)bias, (const T *)residual, p))
}
