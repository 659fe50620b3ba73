/* Group normalisation (Wu and He 2018), the time embedding's row added before and SiLU applied after. A thread owns a few neighbouring channels, and
 * takes them in pixel after pixel. Where a group fits into the registers of a block, that block does all of it: it is read once and written once. Else two
 * launches, of blocks that take a strip of pixels by a few channels: moments of each; the result, each block joining the moments that its groups are made
 * of. Moments are taken around values that are there, so that a mean far from 0 loses nothing; the row adds to a channel's mean. */
#include "activations.cuh"
#include "vectors.cuh"

enum {
    THREADS = 256,
    COLUMNS = 8 /* vectors of a row that a block takes: 128 bytes */,
    PIXELS = 8 /* of a thread, on their way at once */,
    STRIPS_MOST = 128 /* whose moments each block of the second launch joins */,
    STRIPS_LEAST = 32 /* that may be, however many blocks there are */,
    BLOCKS = 512 /* that fill a card with moments */,
    APPLY_BLOCKS = 1024,
    HELD_THREADS = 1024,
    HELD_BYTES = 88 /* of a thread, in 22 of its 64 registers */,
    HELD_FEW_BYTES = 32
};

struct moments {
    float count, mean, squares; /* squares: of what is off the mean */
};

/* How a tensor is cut up. A block has `columns` vectors of a row, and takes `lines` rows at once. */
struct cut {
    int64_t pixels, strip_pixels;
    int c, groups, width /* of a group */, vector, chunks, strips, columns, lines;
};

static int64_t between(int64_t value, int64_t least, int64_t most) { return value < least ? least : value > most ? most : value; }

static void cut_strips(cut *s, int64_t most) {
    int64_t strips = between(s->pixels / (s->lines * PIXELS), 1, most);
    s->strip_pixels = (s->pixels + strips - 1) / strips;
    s->strips = (int)((s->pixels + s->strip_pixels - 1) / s->strip_pixels);
}

/* For the moments. */
static cut cut_up(int n, int64_t pixels, int c, int groups, int element_bytes) {
    cut s = { pixels, 0, c, groups, c / groups, c % (16 / element_bytes) ? 1 : 16 / element_bytes, 0, 0, 0, 0 };
    int vectors = c / s.vector;
    s.chunks = (vectors + COLUMNS - 1) / COLUMNS;
    s.columns = (vectors + s.chunks - 1) / s.chunks;
    s.lines = THREADS / s.columns;
    cut_strips(&s, between(BLOCKS / ((int64_t)n * s.chunks), STRIPS_LEAST, STRIPS_MOST));
    return s;
}

/* Where a thread is. */
struct place {
    int line, channel; /* the first of its channels; channel c: it has nothing to do */
    int block_pixels, pixels; /* of the block, and of the thread: every lines-th */
    int64_t at, step; /* elements: of its first pixel and channel, and between its pixels */
};
static __device__ __forceinline__ place place_of(const cut &s) {
    int column = (int)threadIdx.x % s.columns, channel = ((int)blockIdx.y * s.columns + column) * s.vector, line = (int)threadIdx.x / s.columns;
    int64_t first = (int64_t)blockIdx.x * s.strip_pixels, left = s.pixels - first;
    int pixels = (int)(s.strip_pixels < left ? s.strip_pixels : left);
    place p = { line, line < s.lines && channel < s.c ? channel : s.c, pixels, (pixels - line + s.lines - 1) / s.lines,
        ((int64_t)blockIdx.z * s.pixels + first + line) * s.c + channel, (int64_t)s.lines * s.c };
    return p;
}

/* PIXELS of a thread's pixels, or as many as are left. */
template <typename T, int V> struct some_pixels {
    udump_vector<T, V> at[PIXELS];
};
template <typename T, int V> static __device__ __forceinline__ void load_pixels(some_pixels<T, V> &some, const T *in, int64_t step, int left) {
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
        if (k < left) some.at[k] = *(const udump_vector<T, V> *)(in + k * step);
}

/* A thread's channels: sums of what is off the first pixel's values, of all its pixels. */
template <int V> struct channel_sums {
    float origin[V], sum[V], squares[V], count;
};
template <typename T, int V> static __device__ __forceinline__ channel_sums<V> sum_channels(const T *in, const place &p) {
    some_pixels<T, V> some;
    channel_sums<V> sums;
    load_pixels<T, V>(some, in, p.step, p.pixels);
    sums.count = p.pixels > 0 ? (float)p.pixels : 0;
#pragma unroll
    for (int j = 0; j < V; j++) {
        sums.origin[j] = p.pixels > 0 ? udump_f32(some.at[0].at[j]) : 0;
        sums.sum[j] = sums.squares[j] = 0;
    }
    for (int left = p.pixels; left > 0;) {
#pragma unroll
        for (int k = 0; k < PIXELS; k++) {
            if (k >= left) continue;
            udump_vector<T, V> v = udump_again<V>(some.at[k]);
#pragma unroll
            for (int j = 0; j < V; j++) {
                float off = udump_f32(v.at[j]) - sums.origin[j];
                sums.sum[j] += off;
                sums.squares[j] += off * off;
            }
        }
        left -= PIXELS;
        in += PIXELS * p.step;
        load_pixels<T, V>(some, in, p.step, left);
    }
    return sums;
}

/* grid: [strips, chunks, n]. partial: [n, chunks, strips, groups], of which a block fills those that it has a part of. */
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, 2) group_moments(moments *partial, const T *in, const T *row, int row_each, UDUMP_CONSTANT_PARAM cut s) {
    UDUMP_SHARED(float, shared);
    int image = (int)blockIdx.z, length = s.columns * V, stride = length + 1 /* off the banks */, chunk = (int)blockIdx.y * length;
    float *origins = shared, *totals = origins + length, *squares = totals + s.lines * stride; /* [length], [lines, stride], [lines, stride] */
    place p = place_of(s);
    channel_sums<V> own;
    if (p.channel < s.c) {
        own = sum_channels<T, V>(in + p.at, p);
#pragma unroll
        for (int j = 0; j < V; j++) {
            own.origin[j] += row ? udump_f32(row[(row_each ? (int64_t)image * s.c : 0) + p.channel + j]) : 0;
            if (p.line == 0) origins[p.channel - chunk + j] = own.origin[j];
        }
    }
    __syncthreads();

    /* the same sums around the group's first channel's first value: then they may be added */
    int in_group = p.channel % s.width;
#pragma unroll
    for (int j = 0; j < V; j++, in_group++) {
        if (p.channel >= s.c) continue;
        if (in_group == s.width) in_group = 0;
        int from = p.channel + j - in_group > chunk ? p.channel + j - in_group : chunk, at = p.line * stride + p.channel - chunk + j;
        float off = own.origin[j] - origins[from - chunk];
        totals[at] = own.sum[j] + own.count * off;
        squares[at] = own.squares[j] + off * (2 * own.sum[j] + own.count * off);
    }
    __syncthreads();

    /* a warp a group: what of it is in this chunk */
    int lane = (int)threadIdx.x % UDUMP_WARP, warps = (int)blockDim.x / UDUMP_WARP, end = chunk + length < s.c ? chunk + length : s.c;
    for (int group = chunk / s.width + (int)threadIdx.x / UDUMP_WARP; group * s.width < end; group += warps) {
        int from = group * s.width > chunk ? group * s.width : chunk, to = (group + 1) * s.width < end ? (group + 1) * s.width : end;
        float total = 0, spread = 0, count = (float)p.block_pixels * (float)(to - from);
        for (int channel = from - chunk; channel < to - chunk; channel++)
            for (int line = lane; line < s.lines; line += UDUMP_WARP) {
                total += totals[line * stride + channel];
                spread += squares[line * stride + channel];
            }
        total = udump_warp_sum(total);
        spread = udump_warp_sum(spread) - total * (total / count);
        moments m = { count, origins[from - chunk] + total / count, spread > 0 || spread != spread ? spread : 0 };
        if (lane == 0) partial[(((int64_t)image * s.chunks + blockIdx.y) * s.strips + blockIdx.x) * s.groups + group] = m;
    }
}

/* What is added to a thread's values, what that is multiplied with, what is added then. */
template <int V> struct coefficients_of {
    udump_vector<float, V> shift, scale, last;
};

template <typename T, int V> static __device__ __forceinline__ udump_vector<T, V> applied(udump_vector<T, V> v, const coefficients_of<V> &by, int silu) {
#pragma unroll
    for (int j = 0; j < V; j++) {
        float value = (udump_f32(v.at[j]) + by.shift.at[j]) * by.scale.at[j] + by.last.at[j];
        v.at[j] = udump_from<T>(silu ? udump_silu(value) : value);
    }
    return v;
}

/* The time embedding's values for a thread's channels. */
template <typename T, int V> static __device__ __forceinline__ udump_vector<float, V> added_of(const T *row, int64_t at) {
    udump_vector<float, V> added;
    udump_vector<T, V> values;
    if (row) values = *(const udump_vector<T, V> *)(row + at);
#pragma unroll
    for (int j = 0; j < V; j++) added.at[j] = row ? udump_f32(values.at[j]) : 0;
    return added;
}

/* A warp: of a group, from all its parts' moments, what its values' mean is, and what they are to be multiplied with. from: [parts], `step` apart. */
static __device__ __forceinline__ void join_moments(const moments *from, int parts, int step, float eps, float *mean, float *scale) {
    int lane = (int)threadIdx.x % UDUMP_WARP;
    float origin = from[0].mean, count = 0, total = 0, squares = 0;
    for (int i = lane; i < parts; i += UDUMP_WARP) {
        count += from[(int64_t)i * step].count;
        total += from[(int64_t)i * step].count * (from[(int64_t)i * step].mean - origin);
    }
    count = udump_warp_sum(count);
    *mean = origin + udump_warp_sum(total) / count;
    for (int i = lane; i < parts; i += UDUMP_WARP) {
        moments m = from[(int64_t)i * step];
        squares += m.squares + m.count * (m.mean - *mean) * (m.mean - *mean);
    }
    *scale = rsqrtf(udump_warp_sum(squares) / count + eps);
}

/* grid: [strips, chunks, n], of strips of its own; `parts`: how many strips the moments are of. */
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, 2) group_apply(
    T *out, const T *in, const moments *partial, int parts, const float *w, const T *row, int row_each, float eps, int silu, UDUMP_CONSTANT_PARAM cut s) {
    __shared__ float means[COLUMNS * V], scales[COLUMNS * V]; /* of the groups that have a part of the chunk */
    place p = place_of(s);
    int image = (int)blockIdx.z, length = s.columns * V, chunk = (int)blockIdx.y * length, end = chunk + length < s.c ? chunk + length : s.c;
    int first_group = chunk / s.width;
    some_pixels<T, V> some;
    if (p.channel < s.c) load_pixels<T, V>(some, in + p.at, p.step, p.pixels);
    for (int group = first_group + (int)threadIdx.x / UDUMP_WARP; group * s.width < end; group += (int)blockDim.x / UDUMP_WARP) {
        int first_chunk = group * s.width / length, chunks = ((group + 1) * s.width - 1) / length - first_chunk + 1;
        const moments *from = partial + ((int64_t)image * s.chunks + first_chunk) * parts * s.groups + group;
        float mean, scale;
        join_moments(from, chunks * parts, s.groups, eps, &mean, &scale);
        if (threadIdx.x % UDUMP_WARP == 0) means[group - first_group] = mean, scales[group - first_group] = scale;
    }
    __syncthreads();
    if (p.channel >= s.c) return;
    udump_vector<float, V> added = added_of<T, V>(row, (row_each ? (int64_t)image * s.c : 0) + p.channel);
    coefficients_of<V> by = { added, *(const udump_vector<float, V> *)(w + p.channel), *(const udump_vector<float, V> *)(w + s.c + p.channel) };
    int group = p.channel / s.width, in_group = p.channel - group * s.width;
#pragma unroll
    for (int j = 0; j < V; j++, in_group++) {
        if (in_group == s.width) in_group = 0, group++;
        by.shift.at[j] -= means[group - first_group];
        by.scale.at[j] *= scales[group - first_group];
    }
    in += p.at;
    out += p.at;
    for (int left = p.pixels; left > 0;) {
#pragma unroll
        for (int k = 0; k < PIXELS; k++)
            if (k < left) *(udump_vector<T, V> *)(out + k * p.step) = applied<T, V>(udump_again<V>(some.at[k]), by, silu);
        left -= PIXELS;
        in += PIXELS * p.step; /* out may be in: none of what is read here has been written */
        out += PIXELS * p.step;
        load_pixels<T, V>(some, in, p.step, left);
    }
}

/* A group that a block holds. HELD: vectors of a thread. grid: [groups, n] */
template <typename T, int V, int HELD>
__global__ void __launch_bounds__(HELD_THREADS) group_held(
    T *out, const T *in, const float *w, const T *row, int row_each, int pixels, int c, int width, float eps, int silu) {
    __shared__ float partial[HELD_THREADS / UDUMP_WARP];
    int columns = width / V, lines = (int)blockDim.x / columns, line = (int)threadIdx.x / columns;
    int channel = (int)blockIdx.x * width + (int)threadIdx.x % columns * V, left = line < lines ? (pixels - line + lines - 1) / lines : 0;
    int64_t image = (int64_t)blockIdx.y * pixels * c, step = (int64_t)lines * c, at = image + (int64_t)line * c + channel;
    udump_vector<T, V> held[HELD];
#pragma unroll
    for (int k = 0; k < HELD; k++)
        if (k < left) held[k] = *(const udump_vector<T, V> *)(in + at + k * step);
    float count = (float)pixels * (float)width, origin = udump_f32(in[image + blockIdx.x * width]), sum = 0, squares = 0;
    udump_vector<float, V> added = added_of<T, V>(row, (row_each ? (int64_t)blockIdx.y * c : 0) + channel);
    coefficients_of<V> by = { added, *(const udump_vector<float, V> *)(w + channel), *(const udump_vector<float, V> *)(w + c + channel) };
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        udump_vector<T, V> v = udump_again<V>(held[k]);
#pragma unroll
        for (int j = 0; j < V; j++) sum += k < left ? udump_f32(v.at[j]) + (by.shift.at[j] - origin) : 0;
    }
    float mean = origin + __fdividef(udump_block_sum(sum, partial), count);
#pragma unroll
    for (int j = 0; j < V; j++) by.shift.at[j] -= mean;
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        udump_vector<T, V> v = udump_again<V>(held[k]);
#pragma unroll
        for (int j = 0; j < V; j++) {
            float off = k < left ? udump_f32(v.at[j]) + by.shift.at[j] : 0;
            squares += off * off;
        }
    }
    float scale = rsqrtf(__fdividef(udump_block_sum(squares, partial), count) + eps);
#pragma unroll
    for (int j = 0; j < V; j++) by.scale.at[j] *= scale;
#pragma unroll
    for (int k = 0; k < HELD; k++)
        if (k < left) *(udump_vector<T, V> *)(out + at + k * step) = applied<T, V>(udump_again<V>(held[k]), by, silu);
}

/* How a block holds a group: 0 threads where it does not. */
struct holding {
    int threads, vector;
    bool few; /* HELD_FEW_BYTES of a thread are enough */
};

static holding hold(int64_t pixels, int width, int element_bytes) {
    holding h = { 0, width % 4 == 0 ? 4 : 2, false };
    int columns = width / h.vector, vector_bytes = h.vector * element_bytes, lines = columns ? HELD_THREADS / columns : 0;
    if (width % 2 || !lines || (pixels + lines - 1) / lines * vector_bytes > HELD_BYTES) return h;
    int64_t few = HELD_FEW_BYTES / vector_bytes, enough = (pixels + few - 1) / few * columns;
    h.threads = (int)(((enough < lines * columns ? enough : lines * columns) + UDUMP_WARP - 1) / UDUMP_WARP * UDUMP_WARP);
    lines = h.threads / columns;
    h.few = (pixels + lines - 1) / lines <= few;
    return h;
}

static size_t partial_bytes(const cut &s, int n) { return (size_t)n * (size_t)s.chunks * (size_t)s.strips * (size_t)s.groups * sizeof(moments); }

template <typename T, int V>
static void launch_held(holding h, T *out, const T *in, const float *w, const T *row, int row_each, int n, int pixels, int c, int groups, float eps, int silu,
    udump_stream stream) {
    constexpr int FEW = HELD_FEW_BYTES / (V * (int)sizeof(T)), MOST = HELD_BYTES / (V * (int)sizeof(T));
    dim3 grid((unsigned)groups, (unsigned)n);
    int width = c / groups;
    if (h.few) UDUMP_LAUNCH((group_held<T, V, FEW>), grid, h.threads, 0, stream, out, in, w, row, row_each, pixels, c, width, eps, silu);
    else UDUMP_LAUNCH((group_held<T, V, MOST>), grid, h.threads, 0, stream, out, in, w, row, row_each, pixels, c, width, eps, silu);
}

template <typename T, int V>
static void launch_cut(cut s, T *out, const T *in, const float *w, const T *row, int row_each, int n, float eps, int silu, moments *partial, udump_stream stream) {
    int parts = s.strips, threads = (int)udump_blocks(s.columns * s.lines, UDUMP_WARP) * UDUMP_WARP, length = s.columns * V;
    size_t shared_bytes = ((size_t)length + 2 * (size_t)s.lines * (size_t)(length + 1)) * sizeof(float);
    UDUMP_LAUNCH((group_moments<T, V>), dim3((unsigned)s.strips, (unsigned)s.chunks, (unsigned)n), threads, shared_bytes, stream, partial, in, row, row_each, s);
    cut_strips(&s, between(APPLY_BLOCKS / ((int64_t)n * s.chunks), 1, s.pixels));
    UDUMP_LAUNCH((group_apply<T, V>), dim3((unsigned)s.strips, (unsigned)s.chunks, (unsigned)n), threads, 0, stream, out, in, (const moments *)partial, parts, w, row,
        row_each, eps, silu, s);
}

template <typename T>
static void group_norm(T *out, const T *in, const float *w, const T *row, int row_each, int n, int64_t pixels, int c, int groups, float eps,
    int silu, void *scratch, udump_stream stream) {
    holding h = hold(pixels, c / groups, (int)sizeof(T));
    if (h.threads) {
        if (h.vector == 4) launch_held<T, 4>(h, out, in, w, row, row_each, n, (int)pixels, c, groups, eps, silu, stream);
        else launch_held<T, 2>(h, out, in, w, row, row_each, n, (int)pixels, c, groups, eps, silu, stream);
        return;
    }
    cut s = cut_up(n, pixels, c, groups, (int)sizeof(T));
    UDUMP_FOR_VECTOR(s.vector > 1, sizeof(T), V, launch_cut<T, V>(s, out, in, w, row, row_each, n, eps, silu, (moments *)scratch, stream))
}

static int element_bytes(int dtype) { return dtype == UDUMP_KERNEL_F32 ? 4 : 2; }

size_t udump_kernel_group_norm_scratch_bytes(int n, int64_t pixels, int c, int dtype, int groups) {
    return partial_bytes(cut_up(n, pixels, c, groups, element_bytes(dtype)), n);
}

void udump_kernel_group_norm(void *out, const void *in, int dtype, const float *w, const void *row, int row_each, int n, int64_t pixels, int c,
    int groups, float eps, int silu, void *scratch, udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T,
        group_norm((T *)out, (const T *)in, w, (const T *)row, row_each, n, pixels, c, groups, eps, silu, scratch, stream))
}
