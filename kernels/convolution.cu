/* A convolution by its definition: for what the vendor's library has no engine for. A block makes a few neighbouring pixels, a thread a channel of each, so
 * that a weight is read once for all of them; what of the input they need passes through shared memory. Where there are fewer channels to make than threads
 * to make them (the last convolution's 4), a warp makes a few pixels, and its lanes share the sums. */
#include "vectors.cuh"

enum { THREADS = 128, PIXELS = 8, PATCH = 512 /* of each pixel's values at a time */, NARROW_CHANNELS = 4, NARROW_PIXELS = 4 };

/* Where a pixel's patch begins: y and x of its first tap, outside of the image for a pixel that is not there. */
struct corner {
    int y, x;
};
static __device__ __forceinline__ corner corner_of(const udump_kernel_conv &p, int pixel) {
    corner c = { pixel / p.out_w * p.stride - p.pad_begin, pixel % p.out_w * p.stride - p.pad_begin };
    if (pixel >= p.out_h * p.out_w) c.y = p.in_h;
    return c;
}
static __device__ __forceinline__ bool has_tap(const udump_kernel_conv &p, int y, int x) { return y >= 0 && y < p.in_h && x >= 0 && x < p.in_w; }

/* grid: [pixels / PIXELS, channels / THREADS, n] */
template <typename T>
__global__ void convolution(T *out, const T *in, const T *weight, const T *bias, const T *residual, UDUMP_CONSTANT_PARAM udump_kernel_conv p) {
    __shared__ udump_vector<float, 4> patch[PATCH][PIXELS / 4];
    int first_pixel = (int)blockIdx.x * PIXELS, channel = (int)(blockIdx.y * THREADS + threadIdx.x), values = p.kernel * p.kernel * p.in_c;
    int mine = (int)threadIdx.x % PIXELS; /* the pixel that this thread fetches for */
    corner at = corner_of(p, first_pixel + mine);
    const T *image = in + (int64_t)blockIdx.z * p.in_h * p.in_w * p.in_c;
    float sums[PIXELS];
#pragma unroll
    for (int k = 0; k < PIXELS; k++) sums[k] = channel < p.out_c ? udump_f32(bias[channel]) : 0;
    for (int first = 0; first < values; first += PATCH) {
        int count = values - first < PATCH ? values - first : PATCH;
        for (int i = (int)threadIdx.x / PIXELS; i < count; i += THREADS / PIXELS) {
            int tap = (first + i) / p.in_c, y = at.y + tap / p.kernel, x = at.x + tap % p.kernel;
            patch[i][mine / 4].at[mine % 4] = has_tap(p, y, x) ? udump_f32(image[((int64_t)y * p.in_w + x) * p.in_c + (first + i) % p.in_c]) : 0;
        }
        __syncthreads();
        for (int i = 0; i < count && channel < p.out_c; i++) {
            float w = udump_f32(weight[(int64_t)(first + i) * p.out_c + channel]);
#pragma unroll
            for (int k = 0; k < PIXELS; k++) sums[k] += patch[i][k / 4].at[k % 4] * w;
        }
        __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < PIXELS; k++) {
        if (channel >= p.out_c || first_pixel + k >= p.out_h * p.out_w) continue;
        int64_t to = ((int64_t)blockIdx.z * p.out_h * p.out_w + first_pixel + k) * p.out_c + channel;
        out[to] = udump_from<T>(sums[k] + (residual ? udump_f32(residual[to]) : 0));
    }
}

/* grid: [pixels / (warps * NARROW_PIXELS), n] */
template <typename T>
__global__ void convolution_narrow(T *out, const T *in, const T *weight, const T *bias, const T *residual, UDUMP_CONSTANT_PARAM udump_kernel_conv p) {
    int lane = (int)threadIdx.x % UDUMP_WARP, first_pixel = ((int)blockIdx.x * (THREADS / UDUMP_WARP) + (int)threadIdx.x / UDUMP_WARP) * NARROW_PIXELS;
    const T *image = in + (int64_t)blockIdx.y * p.in_h * p.in_w * p.in_c;
    corner at[NARROW_PIXELS];
    float sums[NARROW_PIXELS][NARROW_CHANNELS];
#pragma unroll
    for (int k = 0; k < NARROW_PIXELS; k++) {
        at[k] = corner_of(p, first_pixel + k);
#pragma unroll
        for (int o = 0; o < NARROW_CHANNELS; o++) sums[k][o] = 0;
    }
    for (int tap = 0; tap < p.kernel * p.kernel; tap++)
#pragma unroll 2
        for (int i = lane; i < p.in_c; i += UDUMP_WARP) {
            float w[NARROW_CHANNELS];
#pragma unroll
            for (int o = 0; o < NARROW_CHANNELS; o++) w[o] = o < p.out_c ? udump_f32(weight[(int64_t)(tap * p.in_c + i) * p.out_c + o]) : 0;
#pragma unroll
            for (int k = 0; k < NARROW_PIXELS; k++) {
                int y = at[k].y + tap / p.kernel, x = at[k].x + tap % p.kernel;
                float value = has_tap(p, y, x) ? udump_f32(image[((int64_t)y * p.in_w + x) * p.in_c + i]) : 0;
#pragma unroll
                for (int o = 0; o < NARROW_CHANNELS; o++) sums[k][o] += value * w[o];
            }
        }
#pragma unroll
    for (int k = 0; k < NARROW_PIXELS; k++)
#pragma unroll
        for (int o = 0; o < NARROW_CHANNELS; o++) {
            float sum = udump_warp_sum(sums[k][o]);
            if (lane != k * NARROW_CHANNELS + o || o >= p.out_c || first_pixel + k >= p.out_h * p.out_w) continue;
            int64_t to = ((int64_t)blockIdx.y * p.out_h * p.out_w + first_pixel + k) * p.out_c + o;
            out[to] = udump_from<T>(sum + udump_f32(bias[o]) + (residual ? udump_f32(residual[to]) : 0));
        }
}

template <typename T>
static void convolve(T *out, const T *in, const T *weight, const T *bias, const T *residual, const udump_kernel_conv *conv, udump_stream stream) {
    udump_kernel_conv p = *conv;
    int pixels = p.out_h * p.out_w;
    if (p.out_c <= NARROW_CHANNELS) {
        dim3 grid(udump_blocks(pixels, THREADS / UDUMP_WARP * NARROW_PIXELS), (unsigned)p.n);
        UDUMP_LAUNCH((convolution_narrow<T>), grid, THREADS, 0, stream, out, in, weight, bias, residual, p);
    } else {
        dim3 grid(udump_blocks(pixels, PIXELS), udump_blocks(p.out_c, THREADS), (unsigned)p.n);
        UDUMP_LAUNCH((convolution<T>), grid, THREADS, 0, stream, out, in, weight, bias, residual, p);
    }
}

void udump_kernel_convolution(void *out, const void *in, int dtype, const void *weight, const void *bias, const void *residual,
    const udump_kernel_conv *conv, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, convolve((T *)out, (const T *)in, (const T *)weight, (const T *)bias, (const T *)residual, conv, stream))
}
