/* A convolution by its definition: for what the vendor's library has no engine for. A block makes a few neighbouring pixels, a thread a channel of each, so
 * that a weight is read once for all of them; what of the input they need passes through shared memory. Where there are fewer channels to make than threads
 * to make them (the last convolution's 4), a warp makes a few pixels, and its lanes share the sums. The models' own first and last convolutions, of 16-bit
 * numbers, are products on the matrix units (convolution_wide, convolution_products). */
#include "matrix.cuh"
#include "vectors.cuh"

enum { THREADS = 128, PIXELS = 8, PATCH = 512 /* of each pixel's values at a time */, NARROW_CHANNELS = 4, NARROW_PIXELS = 4 };
enum { SHARED_BYTES_MOST = 48 << 10 };

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

/* ---- few channels to make of many, 3 x 3, one pixel apart: each pixel's products with all taps' weights, read once, and from those the sums. A block makes
 * SIDE x SIDE pixels; its warps take 16 pixels of what these need, and half of the channels. */

enum { SIDE = 8, TAPS = 9, EDGE = SIDE + 2, STRIPES = (EDGE * EDGE + 15) / 16, SLICES = 2, PRODUCT_THREADS = STRIPES * SLICES * UDUMP_WARP };
enum { STEP = 32 /* channels: 16 bytes of 4 lanes */, PRODUCTS_ROW = 40 /* floats of a pixel's products: no two rows of a store in the same banks */ };

/* The part of a warp's pixels that a lane has: 8 channels of a step, of pixel lane / 4 and of the 8th after it. Channels 8 * (lane % 4) + 0, 1 and 2, 3 are its
 * columns of the first product, 4, 5 and 6, 7 of the second: which column a channel is does not matter, as long as it is the same one of the weights. */
template <typename T> struct stripe {
    const T *pixel[2]; /* NULL: outside of the image, where all is 0 */
};

static __device__ __forceinline__ uint4 load_or_zero(const void *from) { return from ? *(const uint4 *)from : uint4{ 0, 0, 0, 0 }; }

template <int AT_ONCE, typename T>
static __device__ __forceinline__ void load_steps(uint4 (&values)[AT_ONCE][2], const stripe<T> &from, int first, int steps) {
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
        for (int k = 0; k < 2; k++) {
            int step = first + i * SLICES;
            values[i][k] = load_or_zero(step < steps && from.pixel[k] ? from.pixel[k] + step * STEP : NULL);
        }
}

/* In shared memory the weights are [step, 8 * TILES columns, STEP]: of tap t and channel o, column t * OUT + o. grid: [out_w / SIDE, out_h / SIDE, n] */
template <typename T, int OUT>
static __global__ void __launch_bounds__(PRODUCT_THREADS, OUT == 4 ? 1 : 2)
    convolution_products(T *out, const T *in, const T *weight, const T *bias, const T *residual, UDUMP_CONSTANT_PARAM udump_kernel_conv p) {
    constexpr int TILES = (TAPS * OUT + 7) / 8, V = OUT % 4 ? 1 : 4;
    constexpr int AT_ONCE = OUT == 4 ? 5 : 2; /* steps loaded: a U-Net's 320 channels in one go; an autoencoder's 128, with registers left for a second block */
    UDUMP_SHARED(uint4, shared); /* the weights, then the products: [SLICES, STRIPES * 16, PRODUCTS_ROW] */
    float *products = (float *)shared;
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP, first_pixel = warp % STRIPES * 16, slice = warp / STRIPES;
    int first_y = (int)blockIdx.y * SIDE, first_x = (int)blockIdx.x * SIDE, steps = p.in_c / STEP;
    const T *image = in + (int64_t)blockIdx.z * p.in_h * p.in_w * p.in_c;
    stripe<T> mine;
    uint4 values[AT_ONCE][2];
    float sums[TILES][4];
#pragma unroll
    for (int k = 0; k < 2; k++) {
        int pixel = first_pixel + 8 * k + lane / 4, y = first_y - p.pad_begin + pixel / EDGE, x = first_x - p.pad_begin + pixel % EDGE;
        bool inside = pixel < EDGE * EDGE && has_tap(p, y, x);
        mine.pixel[k] = inside ? image + ((int64_t)y * p.in_w + x) * p.in_c + lane % 4 * 8 : NULL;
    }
    load_steps(values, mine, slice, steps); /* under way while the weights are turned */
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int i = 0; i < 4; i++) sums[t][i] = 0;
    T *turned = (T *)shared;
    for (int c = (int)threadIdx.x; c < p.in_c; c += PRODUCT_THREADS) {
        T *column = turned + (int64_t)(c / STEP) * 8 * TILES * STEP + c % STEP;
#pragma unroll
        for (int i = 0; i < 8 * TILES; i += V) {
            udump_vector<T, V> w = { { udump_from<T>(0) } };
            if (i < TAPS * OUT) w = *(const udump_vector<T, V> *)(weight + (i / OUT * p.in_c + c) * OUT + i % OUT);
#pragma unroll
            for (int k = 0; k < V; k++) column[(i + k) * STEP] = i < TAPS * OUT ? w.at[k] : udump_from<T>(0);
        }
    }
    __syncthreads();
    for (int first = slice; first < steps; first += AT_ONCE * SLICES) {
        if (first != slice) load_steps(values, mine, first, steps);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            int step = first + i * SLICES;
            if (step >= steps) break;
            uint4 low = values[i][0], high = values[i][1];
#pragma unroll
            for (int t = 0; t < TILES; t++) {
                uint4 w = shared[(step * TILES + t) * UDUMP_WARP + lane];
                udump_mma<T>(sums[t], { low.x, high.x, low.y, high.y }, { w.x, w.y });
                udump_mma<T>(sums[t], { low.z, high.z, low.w, high.w }, { w.z, w.w });
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int k = 0; k < 2; k++) {
            udump_vector<float, 2> pair = { { sums[t][2 * k], sums[t][2 * k + 1] } };
            int row = (slice * STRIPES * 16 + first_pixel + 8 * k + lane / 4) * PRODUCTS_ROW;
            *(udump_vector<float, 2> *)(products + row + t * 8 + lane % 4 * 2) = pair;
        }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < SIDE * SIDE * OUT; i += PRODUCT_THREADS) {
        int o = i % OUT, y = i / OUT / SIDE, x = i / OUT % SIDE;
        if (first_y + y >= p.out_h || first_x + x >= p.out_w) continue;
        float sum = 0;
#pragma unroll
        for (int tap = 0; tap < TAPS; tap++)
#pragma unroll
            for (int k = 0; k < SLICES; k++)
                sum += products[(k * STRIPES * 16 + (y + tap / 3) * EDGE + x + tap % 3) * PRODUCTS_ROW + tap * OUT + o];
        int64_t to = (((int64_t)blockIdx.z * p.out_h + first_y + y) * p.out_w + first_x + x) * OUT + o;
        out[to] = udump_from<T>(sum + udump_f32(bias[o]) + (residual ? udump_f32(residual[to]) : 0));
    }
}

/* ---- many channels to make of few: a block's pixels' patches, side by side in shared memory, times the weights. A warp makes CHANNELS of them. */

enum { WIDE_PIXELS = 64, CHANNELS = 32, WIDE_WARPS_MOST = 10, WIDE_THREADS_MOST = WIDE_WARPS_MOST * UDUMP_WARP };

/* values: of a patch, in whole steps of 16; width: channels of a block, so many warps by CHANNELS. grid: [pixels / WIDE_PIXELS, channels / width, n]
 * In shared memory: patches, [WIDE_PIXELS, values + 8], so that no two rows of a matrix are in the same banks; and weights, [values / 2, width + 2], pairs of a
 * channel's values, likewise. Column 2 * i + j of a warp's product k is channel 8 * i + 2 * k + j, so that a lane has 8 neighbours. */
template <typename T>
static __global__ void __launch_bounds__(WIDE_THREADS_MOST) convolution_wide(
    T *out, const T *in, const T *weight, const T *bias, const T *residual, UDUMP_CONSTANT_PARAM udump_kernel_conv p, int values, int width) {
    UDUMP_SHARED(T, patches);
    int patch_row = values + 8, weight_row = width + 2, used = p.kernel * p.kernel * p.in_c, threads = (int)blockDim.x, me = (int)threadIdx.x;
    uint32_t *pairs = (uint32_t *)(patches + WIDE_PIXELS * patch_row);
    int lane = me % UDUMP_WARP, first_pixel = (int)blockIdx.x * WIDE_PIXELS, first_channel = (int)blockIdx.y * width;
    const T *image = in + (int64_t)blockIdx.z * p.in_h * p.in_w * p.in_c;
    for (int i = me; i < WIDE_PIXELS * (p.kernel * p.kernel + 1); i += threads) { /* a tap of a pixel; what is behind the last one is 0 */
        int pixel = i % WIDE_PIXELS, tap = i / WIDE_PIXELS;
        T *to = patches + pixel * patch_row + tap * p.in_c;
        corner at = corner_of(p, first_pixel + pixel);
        int y = at.y + tap / p.kernel, x = at.x + tap % p.kernel;
        bool inside = has_tap(p, y, x);
        const T *from = image + (inside ? ((int64_t)y * p.in_w + x) * p.in_c : 0);
        int count = tap < p.kernel * p.kernel ? p.in_c : values - used;
        if (tap == p.kernel * p.kernel) inside = false;
#pragma unroll 4
        for (int c = 0; c < count; c++) to[c] = inside ? from[c] : udump_from<T>(0);
    }
    int channels = width / 2, pair = me % channels * 2; /* two threads take turns at two channels, two values at a time */
    bool there = first_channel + pair < p.out_c;
#pragma unroll 6
    for (int value = me / channels * 2; value < values; value += 4) {
        const T *from = weight + (int64_t)value * p.out_c + first_channel + pair;
        uint32_t even = there && value < used ? *(const uint32_t *)from : 0, odd = there && value + 1 < used ? *(const uint32_t *)(from + p.out_c) : 0;
        uint32_t *to = pairs + value / 2 * weight_row + pair;
        to[0] = (even & 0xFFFF) | odd << 16;
        to[1] = even >> 16 | (odd & 0xFFFF0000u);
    }
    __syncthreads();
    float sums[WIDE_PIXELS / 16][4][4];
#pragma unroll
    for (int m = 0; m < WIDE_PIXELS / 16; m++)
#pragma unroll
        for (int k = 0; k < 16; k++) sums[m][k / 4][k % 4] = 0;
    const uint32_t *column = pairs + lane % 4 * weight_row + me / UDUMP_WARP * CHANNELS + lane / 8 * 8 + lane / 4 % 2;
    const T *row = patches + lane % 16 * patch_row + lane / 16 * 8;
    for (int value = 0; value < values; value += 16) {
        uint32_t w[4][2];
#pragma unroll
        for (int k = 0; k < 8; k++) w[k / 2][k % 2] = column[(value / 2 + k % 2 * 4) * weight_row + k / 2 * 2];
#pragma unroll
        for (int m = 0; m < WIDE_PIXELS / 16; m++) {
            uint32_t a[4];
            udump_load_matrices(a, row + 16 * m * patch_row + value);
#pragma unroll
            for (int k = 0; k < 4; k++) udump_mma<T>(sums[m][k], a, w[k]);
        }
    }
    int channel = first_channel + me / UDUMP_WARP * CHANNELS + lane % 4 * 8;
    if (channel >= p.out_c) return;
    udump_vector<T, 8> added = *(const udump_vector<T, 8> *)(bias + channel);
#pragma unroll
    for (int m = 0; m < WIDE_PIXELS / 16; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int pixel = first_pixel + 16 * m + 8 * half + lane / 4;
            if (pixel >= p.out_h * p.out_w) continue;
            int64_t to = ((int64_t)blockIdx.z * p.out_h * p.out_w + pixel) * p.out_c + channel;
            udump_vector<T, 8> made, old;
            if (residual) old = *(const udump_vector<T, 8> *)(residual + to);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                float sum = sums[m][k / 2][2 * half + k % 2] + udump_f32(added.at[k]);
                made.at[k] = udump_from<T>(residual ? sum + udump_f32(old.at[k]) : sum);
            }
            *(udump_vector<T, 8> *)(out + to) = made;
        }
}

/* ---- which */

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

/* Whether 3 x 3 weights for OUT channels fit, and what is read at once lies right. */
template <typename T, int OUT>
static bool convolve_products(T *out, const T *in, const T *weight, const T *bias, const T *residual, const udump_kernel_conv *conv, udump_stream stream) {
    udump_kernel_conv p = *conv;
    size_t weight_bytes = (size_t)p.in_c * ((TAPS * OUT + 7) / 8 * 8) * sizeof(T), product_bytes = (size_t)SLICES * STRIPES * 16 * PRODUCTS_ROW * sizeof(float);
    size_t bytes = weight_bytes > product_bytes ? weight_bytes : product_bytes;
    if (p.out_c != OUT || p.kernel != 3 || p.stride != 1 || p.in_c % STEP || bytes > (size_t)SHARED_BYTES_MOST || !udump_aligned(in, weight, 0)) return false;
    dim3 grid(udump_blocks(p.out_w, SIDE), udump_blocks(p.out_h, SIDE), (unsigned)p.n);
    UDUMP_LAUNCH((convolution_products<T, OUT>), grid, PRODUCT_THREADS, bytes, stream, out, in, weight, bias, residual, p);
    return true;
}

static size_t wide_bytes(int values, int width) { return ((size_t)WIDE_PIXELS * (size_t)(values + 8) + (size_t)values * (size_t)(width + 2)) * 2; }

template <typename T>
static bool convolve_wide(T *out, const T *in, const T *weight, const T *bias, const T *residual, const udump_kernel_conv *conv, udump_stream stream) {
    udump_kernel_conv p = *conv;
    int values = (p.kernel * p.kernel * p.in_c + 15) / 16 * 16, blocks = 1, width;
    bool aligned = udump_aligned(out, residual, 0) && udump_aligned(bias, weight, 0);
    if (p.out_c % 8 || p.out_c < CHANNELS || !aligned || wide_bytes(values, CHANNELS) > (size_t)SHARED_BYTES_MOST) return false;
    do width = (p.out_c + blocks * CHANNELS - 1) / (blocks * CHANNELS) * CHANNELS;
    while ((width > WIDE_WARPS_MOST * CHANNELS || wide_bytes(values, width) > (size_t)SHARED_BYTES_MOST) && blocks++);
    dim3 grid(udump_blocks(p.out_h * p.out_w, WIDE_PIXELS), udump_blocks(p.out_c, width), (unsigned)p.n);
    UDUMP_LAUNCH((convolution_wide<T>), grid, width / CHANNELS * UDUMP_WARP, wide_bytes(values, width), stream, out, in, weight, bias, residual, p, values, width);
    return true;
}

/* 16 bits: on the matrix units, if they are there for the shape. */
template <typename T>
static bool convolve_matrices(T *out, const T *in, const T *weight, const T *bias, const T *residual, const udump_kernel_conv *conv, udump_stream stream) {
    return convolve_products<T, 3>(out, in, weight, bias, residual, conv, stream) || convolve_products<T, 4>(out, in, weight, bias, residual, conv, stream)
        || convolve_wide(out, in, weight, bias, residual, conv, stream);
}
static bool convolve_matrices(float *, const float *, const float *, const float *, const float *, const udump_kernel_conv *, udump_stream) { return false; }

template <typename T>
static void convolve_any(T *out, const T *in, const T *weight, const T *bias, const T *residual, const udump_kernel_conv *conv, udump_stream stream) {
    if (!convolve_matrices(out, in, weight, bias, residual, conv, stream)) convolve(out, in, weight, bias, residual, conv, stream);
}

void udump_kernel_convolution(void *out, const void *in, int dtype, const void *weight, const void *bias, const void *residual,
    const udump_kernel_conv *conv, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, convolve_any((T *)out, (const T *)in, (const T *)weight, (const T *)bias, (const T *)residual, conv, stream))
}
