/* The transforms of Winograd's convolutions (Lavin and Gray 2015), included by kernels_body.h behind kernels_multiply.h: tiles of m x m outputs from
 * n x n inputs, n = m + 2, by n * n products where the plain sum has 9 * m * m. m = 2 has the points 0, 1, -1 and infinity, and factors of 1 and 1/2 alone:
 * it rounds about as the plain sum does. m = 4 has 0, 3/4, -3/4, 3/2, -3/2 and infinity, whose error is half of that of the usual 0, 1, -1, 2, -2
 * (Barabasz et al. 2020 on how points matter) and three to four times that of m = 2. */

#define A 0.75f /* the points */
#define B 1.5f

/* B^T d: n inputs to n values. */
INLINE void winograd_d(int m, const vf *d, vf *to) {
    if (m == 2) {
        to[0] = d[0] - d[2], to[1] = d[1] + d[2], to[2] = d[2] - d[1], to[3] = d[1] - d[3];
        return;
    }
    vf even_a = d[4] - d[2] * (B * B), odd_a = (d[3] - d[1] * (B * B)) * A, even_b = d[4] - d[2] * (A * A), odd_b = (d[3] - d[1] * (A * A)) * B;
    to[0] = d[0] * (A * A * B * B) - d[2] * (A * A + B * B) + d[4];
    to[1] = even_a + odd_a, to[2] = even_a - odd_a;
    to[3] = even_b + odd_b, to[4] = even_b - odd_b;
    to[5] = d[1] * (A * A * B * B) - d[3] * (A * A + B * B) + d[5];
}

/* G g: 3 factors to n values. */
INLINE void winograd_g(int m, const vf *g, vf *to) {
    if (m == 2) {
        vf outer = (g[0] + g[2]) * 0.5f, inner = g[1] * 0.5f;
        to[0] = g[0], to[1] = outer + inner, to[2] = outer - inner, to[3] = g[2];
        return;
    }
    const float by_a = 1 / (2 * A * A * (A * A - B * B)), by_b = 1 / (2 * B * B * (B * B - A * A));
    vf even_a = (g[0] + g[2] * (A * A)) * by_a, odd_a = g[1] * (A * by_a), even_b = (g[0] + g[2] * (B * B)) * by_b, odd_b = g[1] * (B * by_b);
    to[0] = g[0] * (1 / (A * A * B * B));
    to[1] = even_a + odd_a, to[2] = even_a - odd_a;
    to[3] = even_b + odd_b, to[4] = even_b - odd_b;
    to[5] = g[2];
}

/* A^T m: n sums to m outputs. */
INLINE void winograd_m(int m, const vf *sums, vf *to) {
    if (m == 2) {
        to[0] = sums[0] + sums[1] + sums[2], to[1] = sums[1] - sums[2] - sums[3];
        return;
    }
    vf even_a = sums[1] + sums[2], odd_a = sums[1] - sums[2], even_b = sums[3] + sums[4], odd_b = sums[3] - sums[4];
    to[0] = sums[0] + even_a + even_b;
    to[1] = odd_a * A + odd_b * B;
    to[2] = even_a * (A * A) + even_b * (B * B);
    to[3] = odd_a * (A * A * A) + odd_b * (B * B * B) + sums[5];
}

#undef A
#undef B

enum { MOST_N = UDUMP_WINOGRAD_MOST + 2 };

/* B^T d B. */
INLINE void winograd_in_of(int m, const float *const *pixels, size_t channels, float *to, size_t to_stride) {
    int n = m + 2;
    for (size_t i = 0; i < channels; i += LANES) {
        vf half[MOST_N][MOST_N] /* [x, y] */, column[MOST_N], row[MOST_N];
        for (int x = 0; x < n; x++) {
            for (int y = 0; y < n; y++) column[y] = load_f32(pixels[n * y + x] + i);
            winograd_d(m, column, half[x]);
        }
        for (int y = 0; y < n; y++) {
            for (int x = 0; x < n; x++) row[x] = half[x][y];
            winograd_d(m, row, column);
            for (int x = 0; x < n; x++) store_f32(to + (size_t)(n * y + x) * to_stride + i, column[x]);
        }
    }
}

/* G g G^T. */
INLINE void winograd_weights_of(int m, const void *from, udump_dtype dtype, size_t count, float *to) {
    int n = m + 2;
    for (size_t i = 0; i < count; i += LANES) {
        vf half[3][MOST_N] /* [x, y] */, column[3], row[MOST_N];
        for (size_t x = 0; x < 3; x++) {
            for (size_t y = 0; y < 3; y++) column[y] = widen(from, dtype, (3 * y + x) * count + i);
            winograd_g(m, column, half[x]);
        }
        for (int y = 0; y < n; y++) {
            for (int x = 0; x < 3; x++) column[x] = half[x][y];
            winograd_g(m, column, row);
            for (int x = 0; x < n; x++) store_f32(to + (size_t)(n * y + x) * count + i, row[x]);
        }
    }
}

/* A^T m A, plus bias and residual, of `count` channels from `at`. */
INLINE void winograd_out_at(int m, const udump_winograd_out *job, size_t at, size_t count) {
    int n = m + 2;
    vf half[MOST_N][UDUMP_WINOGRAD_MOST] /* [x, y] */, column[MOST_N], row[UDUMP_WINOGRAD_MOST], bias = load_f32(job->bias + at);
    for (int x = 0; x < n; x++) {
        for (int y = 0; y < n; y++) column[y] = load_f32(job->m + (size_t)(n * y + x) * job->m_stride + at);
        winograd_m(m, column, half[x]);
    }
    for (int i = 0; i < m * m; i++) {
        if (i % m == 0) {
            for (int x = 0; x < n; x++) column[x] = half[x][i / m];
            winograd_m(m, column, row);
        }
        if (!job->out[i]) continue;
        vf value = row[i % m] + bias;
        if (count == LANES) store_f32(job->out[i] + at, job->other[i] ? value + load_f32(job->other[i] + at) : value);
        else store_part(job->out[i], UDUMP_F32, at, job->other[i] ? value + load_part(job->other[i], UDUMP_F32, at, count) : value, count);
    }
}

#define WINOGRAD(m)                                                                                             \
    static void winograd_in_##m(const float *const *pixels, size_t channels, float *to, size_t to_stride) {     \
        winograd_in_of(m, pixels, channels, to, to_stride);                                                     \
    }                                                                                                           \
    static void winograd_weights_##m(const void *from, udump_dtype dtype, size_t count, float *to) {            \
        FOR_STORED(dtype, WINOGRAD_BODY_##m);                                                                   \
    }                                                                                                           \
    static void winograd_out_##m(const udump_winograd_out *job) {                                               \
        size_t at = 0;                                                                                          \
        for (; at + LANES <= job->columns; at += LANES) winograd_out_at(m, job, at, LANES);                     \
        if (at < job->columns) winograd_out_at(m, job, at, job->columns - at);                                  \
    }
#define WINOGRAD_BODY_2(stored) winograd_weights_of(2, from, stored, count, to)
#define WINOGRAD_BODY_4(stored) winograd_weights_of(4, from, stored, count, to)
WINOGRAD(2)
WINOGRAD(4)
