/* Group normalisation (Wu and He 2018), the time embedding's row added before and SiLU applied after. Three launches: sums over stretches of
 * pixels, which are many blocks even for one image; their combination; the result. Moments are taken around each stretch's own first value, so
 * that a mean far from 0 loses nothing, and combined as Chan et al. (1979) do. */
#include "activations.cuh"

enum { THREADS = 256, STRETCHES = 32 };

struct moments {
    float count, mean, squares; /* squares: of what is off the mean */
};

static __device__ __forceinline__ moments join(moments a, moments b) {
    float count = a.count + b.count;
    if (count == 0) return a;
    float off = b.mean - a.mean, share = b.count / count;
    moments both = { count, a.mean + off * share, a.squares + b.squares + off * off * a.count * share };
    return both;
}

static __device__ __forceinline__ moments warp_join(moments m) {
    for (int lane = UDUMP_WARP / 2; lane; lane /= 2) {
        moments other;
        other.count = __shfl_xor_sync(0xFFFFFFFFu, m.count, lane);
        other.mean = __shfl_xor_sync(0xFFFFFFFFu, m.mean, lane);
        other.squares = __shfl_xor_sync(0xFFFFFFFFu, m.squares, lane);
        m = join(m, other);
    }
    return m;
}

/* grid: [stretches, groups, n]; a thread sums every THREADS-th value of the stretch's part of the group. */
template <typename T>
__global__ void group_moments(moments *partial, const T *in, const T *row, int row_each, int64_t pixels, int c, int width, int64_t stretch_pixels) {
    __shared__ moments warps[THREADS / UDUMP_WARP];
    int group = (int)blockIdx.y, image = (int)blockIdx.z;
    int64_t first = (int64_t)blockIdx.x * stretch_pixels, last = first + stretch_pixels < pixels ? first + stretch_pixels : pixels;
    int64_t count = last > first ? (last - first) * width : 0;
    const T *base = in + ((int64_t)image * pixels + first) * c + group * width;
    const T *added = row ? row + (row_each ? (int64_t)image * c : 0) + group * width : NULL;
    float origin = 0, sum = 0, squares = 0, taken = 0;
    for (int64_t i = threadIdx.x; i < count; i += THREADS) {
        int channel = (int)(i % width);
        float v = udump_f32(base[i / width * c + channel]) + (added ? udump_f32(added[channel]) : 0);
        if (taken == 0) origin = v;
        sum += v - origin;
        squares += (v - origin) * (v - origin);
        taken++;
    }
    moments m = { taken, taken ? origin + sum / taken : 0, taken ? squares - sum * sum / taken : 0 };
    m = warp_join(m);
    if (threadIdx.x % UDUMP_WARP == 0) warps[threadIdx.x / UDUMP_WARP] = m;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < THREADS / UDUMP_WARP; i++) m = join(m, warps[i]);
    partial[((int64_t)image * gridDim.y + group) * STRETCHES + blockIdx.x] = m;
}

/* A warp a group: [n * groups] of mean and 1 / sqrt(variance + eps). */
static __global__ void group_combine(float *scales, const moments *partial, int stretches, float eps) {
    moments m = { 0, 0, 0 };
    int at = (int)blockIdx.x;
    if ((int)threadIdx.x < stretches) m = partial[(int64_t)at * STRETCHES + threadIdx.x];
    m = warp_join(m);
    if (threadIdx.x != 0) return;
    scales[2 * at] = m.mean;
    scales[2 * at + 1] = 1.0f / sqrtf(m.squares / m.count + eps);
}

template <typename T>
__global__ void group_apply(T *out, const T *in, const float *w, const T *row, int row_each, const float *scales, int64_t pixels, int c,
    int width, int groups, int silu, int64_t count) {
    int64_t i = udump_thread_index();
    if (i >= count) return;
    int channel = (int)(i % c);
    int64_t image = i / c / pixels;
    const float *scale = scales + 2 * (image * groups + channel / width);
    float v = udump_f32(in[i]) + (row ? udump_f32(row[(row_each ? image * c : 0) + channel]) : 0);
    v = (v - scale[0]) * scale[1] * w[channel] + w[c + channel];
    out[i] = udump_from<T>(silu ? udump_silu(v) : v);
}

template <typename T>
static void group_norm(T *out, const T *in, const float *w, const T *row, int row_each, int n, int64_t pixels, int c, int groups, float eps,
    int silu, void *scratch, udump_stream stream) {
    moments *partial = (moments *)scratch;
    float *scales = (float *)(partial + (int64_t)n * groups * STRETCHES);
    int width = c / groups;
    int64_t values = pixels * width, wanted = values / (THREADS * 8) + 1, stretches = wanted < STRETCHES ? wanted : (int64_t)STRETCHES;
    int64_t stretch_pixels = (pixels + stretches - 1) / stretches, count = (int64_t)n * pixels * c;
    dim3 grid((unsigned)stretches, (unsigned)groups, (unsigned)n);
    UDUMP_LAUNCH((group_moments<T>), grid, THREADS, 0, stream, partial, in, row, row_each, pixels, c, width, stretch_pixels);
    UDUMP_LAUNCH(group_combine, (unsigned)(n * groups), UDUMP_WARP, 0, stream, scales, (const moments *)partial, (int)stretches, eps);
    UDUMP_LAUNCH((group_apply<T>), udump_blocks(count, THREADS), THREADS, 0, stream, out, in, w, row, row_each, (const float *)scales, pixels, c,
        width, groups, silu, count);
}

size_t udump_kernel_group_norm_scratch_bytes(int n, int groups) {
    return (size_t)n * (size_t)groups * (STRETCHES * sizeof(moments) + 2 * sizeof(float));
}

void udump_kernel_group_norm(void *out, const void *in, int dtype, const float *w, const void *row, int row_each, int n, int64_t pixels, int c,
    int groups, float eps, int silu, void *scratch, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T,
        group_norm((T *)out, (const T *)in, w, (const T *)row, row_each, n, pixels, c, groups, eps, silu, scratch, stream))
}
