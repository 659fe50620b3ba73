/* Group normalisation (Wu and He 2018), the time embedding's row added before and SiLU applied after. A thread owns a few neighbouring channels, and
 * takes them in pixel after pixel. Where a group is small, a block does all of it, in one launch: it reads it three times, of which the first fills the
 * cache. Else three launches, of blocks that read whole rows: moments of each strip; the groups', as what every channel is to be multiplied with; the
 * result. Moments are taken around each channel's own first value, so that a mean far from 0 loses nothing, and combined as Chan et al. (1979) do; the
 * row adds to a channel's mean. */
#include "activations.cuh"
#include "vectors.cuh"

enum {
    THREADS = 256,
    BLOCKS = 1024 /* that fill a card */,
    PIXELS_LEAST = 4 /* of a thread */,
    SMALL_THREADS = 512,
    SMALL_BYTES = 8 /* at a time: groups' channels are seldom whole pieces of 16 */,
    SMALL_VALUES = 1 << 16 /* of a group; 128 KB in 16 bits: a multiprocessor's cache holds it */
};

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

/* How a tensor is cut up. A block has `columns` vectors of a row, and takes `lines` rows at once. */
struct cut {
    int64_t pixels, strip_pixels;
    int c, groups, width /* of a group */, vector, chunks, strips, columns, lines;
};

static cut cut_up(int n, int64_t pixels, int c, int groups, int element_bytes) {
    cut s = { pixels, 0, c, groups, c / groups, c % (16 / element_bytes) ? 1 : 16 / element_bytes, 0, 0, 0, 0 };
    int vectors = c / s.vector;
    s.chunks = (vectors + THREADS - 1) / THREADS;
    s.columns = (vectors + s.chunks - 1) / s.chunks;
    s.lines = THREADS / s.columns;
    int64_t most = pixels / (s.lines * PIXELS_LEAST), wanted = BLOCKS / ((int64_t)n * s.chunks);
    int64_t strips = most < wanted ? most : wanted;
    strips = strips < 1 ? 1 : strips;
    s.strip_pixels = (pixels + strips - 1) / strips;
    s.strips = (int)((pixels + s.strip_pixels - 1) / s.strip_pixels);
    return s;
}

/* Where a thread is. */
struct place {
    int line, channel; /* the first of its channels; channel c: it has nothing to do */
    int64_t first, last; /* pixels of the strip */
};
static __device__ __forceinline__ place place_of(const cut &s) {
    int column = (int)threadIdx.x % s.columns, at = ((int)blockIdx.y * s.columns + column) * s.vector, line = (int)threadIdx.x / s.columns;
    int64_t first = (int64_t)blockIdx.x * s.strip_pixels, last = first + s.strip_pixels;
    place p = { line, line < s.lines && at < s.c ? at : s.c, first + line, last < s.pixels ? last : s.pixels };
    return p;
}

/* grid: [strips, chunks, n]. partial: [n, chunks, strips, groups], of which a block fills those that it has a part of. */
template <typename T, int V> __global__ void group_moments(moments *partial, const T *in, const T *row, int row_each, UDUMP_CONSTANT_PARAM cut s) {
    UDUMP_SHARED(float, shared); /* [lines, columns * V] of means, then of squares */
    place p = place_of(s);
    int image = (int)blockIdx.z, length = s.columns * V, chunk = (int)blockIdx.y * length;
    const T *base = in + (int64_t)image * s.pixels * s.c + p.channel;
    float origin[V], sum[V], squares[V];
#pragma unroll
    for (int j = 0; j < V; j++) origin[j] = sum[j] = squares[j] = 0;
    if (p.channel < s.c && p.first < p.last) {
        udump_vector<T, V> v = *(const udump_vector<T, V> *)(base + p.first * s.c);
#pragma unroll
        for (int j = 0; j < V; j++) origin[j] = udump_f32(v.at[j]);
#pragma unroll 4
        for (int64_t pixel = p.first; pixel < p.last; pixel += s.lines) {
            v = *(const udump_vector<T, V> *)(base + pixel * s.c);
#pragma unroll
            for (int j = 0; j < V; j++) {
                float off = udump_f32(v.at[j]) - origin[j];
                sum[j] += off;
                squares[j] += off * off;
            }
        }
    }
    float *means = shared, *spreads = shared + s.lines * length;
    float taken = p.first < p.last ? (float)((p.last - p.first + s.lines - 1) / s.lines) : 0;
#pragma unroll
    for (int j = 0; j < V; j++) {
        if (p.channel >= s.c) continue;
        int at = p.line * length + p.channel - chunk + j;
        float added = row ? udump_f32(row[(row_each ? (int64_t)image * s.c : 0) + p.channel + j]) : 0;
        means[at] = taken > 0 ? origin[j] + sum[j] / taken + added : 0;
        spreads[at] = taken > 0 ? squares[j] - sum[j] * sum[j] / taken : 0;
    }
    __syncthreads();

    /* a warp a group: what of it is in this chunk */
    int lane = (int)threadIdx.x % UDUMP_WARP, warps = (int)blockDim.x / UDUMP_WARP, end = chunk + length < s.c ? chunk + length : s.c;
    int64_t strip_first = (int64_t)blockIdx.x * s.strip_pixels;
    for (int group = chunk / s.width + (int)threadIdx.x / UDUMP_WARP; group * s.width < end; group += warps) {
        int from = group * s.width > chunk ? group * s.width : chunk, to = (group + 1) * s.width < end ? (group + 1) * s.width : end;
        moments m = { 0, 0, 0 };
        for (int i = lane; i < s.lines * (to - from); i += UDUMP_WARP) {
            int line = i / (to - from), at = line * length + from - chunk + i % (to - from);
            int64_t left = p.last - strip_first - line;
            moments channel = { left > 0 ? (float)((left + s.lines - 1) / s.lines) : 0, means[at], spreads[at] };
            m = join(m, channel);
        }
        m = warp_join(m);
        if (lane == 0) partial[(((int64_t)image * s.chunks + blockIdx.y) * s.strips + blockIdx.x) * s.groups + group] = m;
    }
}

/* A warp a group. coefficients: [3, n, c]: what is added to a value, what that is multiplied with, what is added then. */
template <typename T>
__global__ void group_combine(float *coefficients, const moments *partial, const float *w, const T *row, int row_each, float eps, UDUMP_CONSTANT_PARAM cut s) {
    int group = (int)blockIdx.x, image = (int)blockIdx.y, first = group * s.width, length = s.columns * s.vector;
    int chunk = first / length, chunks = (first + s.width - 1) / length - chunk + 1;
    const moments *from = partial + ((int64_t)image * s.chunks + chunk) * s.strips * s.groups + group;
    moments m = { 0, 0, 0 };
    for (int i = (int)threadIdx.x; i < chunks * s.strips; i += UDUMP_WARP) m = join(m, from[(int64_t)i * s.groups]);
    m = warp_join(m);
    float scale = 1.0f / sqrtf(m.squares / m.count + eps);
    int64_t each = (int64_t)gridDim.y * s.c;
    for (int channel = first + (int)threadIdx.x; channel < first + s.width; channel += UDUMP_WARP) {
        float *to = coefficients + (int64_t)image * s.c + channel;
        to[0] = (row ? udump_f32(row[(row_each ? (int64_t)image * s.c : 0) + channel]) : 0) - m.mean;
        to[each] = scale * w[channel];
        to[2 * each] = w[s.c + channel];
    }
}

/* What is added to a thread's values, what that is multiplied with, what is added then. */
template <int V> struct coefficients_of {
    udump_vector<float, V> shift, scale, last;
};

/* Pixels [first, last), every lines-th, of the thread's channels, where in and out point. Some at once are on their way: out may be in, so that the compiler
 * reads nothing before what it must write before. */
template <typename T, int V>
static __device__ __forceinline__ void apply(T *out, const T *in, int64_t first, int64_t last, int lines, int c, const coefficients_of<V> &by, int silu) {
    enum { AT_ONCE = 2 };
    for (int64_t pixel = first; pixel < last; pixel += AT_ONCE * lines) {
        udump_vector<T, V> v[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (pixel + k * lines < last) v[k] = *(const udump_vector<T, V> *)(in + (pixel + k * lines) * c);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            if (pixel + k * lines >= last) continue;
#pragma unroll
            for (int j = 0; j < V; j++) {
                float value = (udump_f32(v[k].at[j]) + by.shift.at[j]) * by.scale.at[j] + by.last.at[j];
                v[k].at[j] = udump_from<T>(silu ? udump_silu(value) : value);
            }
            *(udump_vector<T, V> *)(out + (pixel + k * lines) * c) = v[k];
        }
    }
}

template <typename T, int V>
__global__ void __launch_bounds__(THREADS) group_apply(T *out, const T *in, const float *coefficients, int silu, UDUMP_CONSTANT_PARAM cut s) {
    place p = place_of(s);
    int64_t each = (int64_t)gridDim.z * s.c, image = blockIdx.z, base = image * s.pixels * s.c + p.channel;
    if (p.channel >= s.c) return;
    const udump_vector<float, V> *from = (const udump_vector<float, V> *)(coefficients + image * s.c + p.channel);
    coefficients_of<V> by = { from[0], from[each / V], from[2 * each / V] };
    apply<T, V>(out + base, in + base, p.first, p.last, s.lines, s.c, by, silu);
}

/* A group that is small. grid: [groups, n] */
template <typename T, int V>
__global__ void __launch_bounds__(SMALL_THREADS) group_small(
    T *out, const T *in, const float *w, const T *row, int row_each, int pixels, int c, int width, float eps, int silu) {
    __shared__ float partial[SMALL_THREADS / UDUMP_WARP];
    int columns = width / V, lines = (int)blockDim.x / columns, line = (int)threadIdx.x / columns;
    int channel = (int)blockIdx.x * width + (int)threadIdx.x % columns * V, first = line < lines ? line : pixels;
    int64_t image = blockIdx.y, base = image * pixels * c + channel;
    float count = (float)pixels * (float)width, origin = udump_f32(in[image * pixels * c + blockIdx.x * width]), sum = 0, squares = 0, added[V];
#pragma unroll
    for (int j = 0; j < V; j++) added[j] = row ? udump_f32(row[(row_each ? image * c : 0) + channel + j]) : 0;
#pragma unroll 4
    for (int pixel = first; pixel < pixels; pixel += lines) {
        udump_vector<T, V> v = *(const udump_vector<T, V> *)(in + base + (int64_t)pixel * c);
#pragma unroll
        for (int j = 0; j < V; j++) sum += udump_f32(v.at[j]) + added[j] - origin;
    }
    float mean = origin + udump_block_sum(sum, partial) / count;
#pragma unroll 4
    for (int pixel = first; pixel < pixels; pixel += lines) {
        udump_vector<T, V> v = *(const udump_vector<T, V> *)(in + base + (int64_t)pixel * c);
#pragma unroll
        for (int j = 0; j < V; j++) {
            float off = udump_f32(v.at[j]) + (added[j] - mean);
            squares += off * off;
        }
    }
    float scale = 1.0f / sqrtf(udump_block_sum(squares, partial) / count + eps);
    coefficients_of<V> by;
#pragma unroll
    for (int j = 0; j < V; j++) {
        by.shift.at[j] = added[j] - mean;
        by.scale.at[j] = scale * w[channel + j];
        by.last.at[j] = w[c + channel + j];
    }
    apply<T, V>(out + base, in + base, first, pixels, lines, c, by, silu);
}

static bool is_small(int64_t pixels, int width, int element_bytes) {
    return pixels * width <= SMALL_VALUES && width <= SMALL_THREADS && width * element_bytes % SMALL_BYTES == 0;
}

/* Rounded up, so that what follows is aligned for vectors. */
static size_t partial_floats(const cut &s, int n) {
    size_t bytes = (size_t)n * (size_t)s.chunks * (size_t)s.strips * (size_t)s.groups * sizeof(moments);
    return (bytes + 63) / 64 * 64 / sizeof(float);
}

template <typename T>
static void group_norm(T *out, const T *in, const float *w, const T *row, int row_each, int n, int64_t pixels, int c, int groups, float eps,
    int silu, void *scratch, udump_stream stream) {
    if (is_small(pixels, c / groups, (int)sizeof(T))) {
        constexpr int V = SMALL_BYTES / (int)sizeof(T);
        int columns = c / groups / V, wanted = (int)pixels * columns / PIXELS_LEAST, threads = wanted < columns ? columns : wanted;
        threads = (threads + UDUMP_WARP - 1) / UDUMP_WARP * UDUMP_WARP;
        UDUMP_LAUNCH((group_small<T, V>), dim3((unsigned)groups, (unsigned)n), threads < SMALL_THREADS ? threads : SMALL_THREADS, 0, stream, out, in, w, row,
            row_each, (int)pixels, c, c / groups, eps, silu);
        return;
    }
    cut s = cut_up(n, pixels, c, groups, (int)sizeof(T));
    moments *partial = (moments *)scratch;
    float *coefficients = (float *)scratch + partial_floats(s, n);
    dim3 grid((unsigned)s.strips, (unsigned)s.chunks, (unsigned)n), block(udump_blocks(s.columns * s.lines, UDUMP_WARP) * UDUMP_WARP);
    size_t shared_bytes = 2 * (size_t)(s.columns * s.lines * s.vector) * sizeof(float);
    UDUMP_FOR_VECTOR(s.vector > 1, sizeof(T), V, UDUMP_LAUNCH((group_moments<T, V>), grid, block, shared_bytes, stream, partial, in, row, row_each, s))
    UDUMP_LAUNCH((group_combine<T>), dim3((unsigned)groups, (unsigned)n), UDUMP_WARP, 0, stream, coefficients, (const moments *)partial, w, row, row_each, eps, s);
    UDUMP_FOR_VECTOR(s.vector > 1, sizeof(T), V, UDUMP_LAUNCH((group_apply<T, V>), grid, block, 0, stream, out, in, (const float *)coefficients, silu, s))
}

static int element_bytes(int dtype) { return dtype == UDUMP_KERNEL_F32 ? 4 : 2; }

size_t udump_kernel_group_norm_scratch_bytes(int n, int64_t pixels, int c, int dtype, int groups) {
    return (partial_floats(cut_up(n, pixels, c, groups, element_bytes(dtype)), n) + 3 * (size_t)n * (size_t)c) * sizeof(float);
}

void udump_kernel_group_norm(void *out, const void *in, int dtype, const float *w, const void *row, int row_each, int n, int64_t pixels, int c,
    int groups, float eps, int silu, void *scratch, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T,
        group_norm((T *)out, (const T *)in, w, (const T *)row, row_each, n, pixels, c, groups, eps, silu, scratch, stream))
}
