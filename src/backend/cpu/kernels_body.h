/* The kernels, for vectors of LANES floats and matrix tiles of TILE_ROWS rows. Included by one file for each instruction set. */
#include "backend/cpu/kernels_vectors.h"

INLINE vf sigmoid_times(vf x, float slope) { return x / (1.0f + exp_of(x * -slope)); }

/* x (1 + erf(x / sqrt 2)) / 2 with erf by Abramowitz and Stegun 7.1.26: absolute error below 2e-7 |x|. */
INLINE vf gelu(vf x) {
    vf z = x * 0.70710678118654752f;
    vf size = (vf)((vi)z & 0x7FFFFFFF);
    vf t = 1.0f / (1.0f + size * 0.3275911f);
    vf p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vf erf_size = 1.0f - p * t * exp_of(size * size * -1.0f);
    vf erf_z = (vf)((vi)erf_size | ((vi)z & INT32_MIN));
    return x * 0.5f * (1.0f + erf_z);
}

/* Calls body with constant dtypes, so that the loops inside have no branches. */
#define FOR_DTYPE(dtype, body)                      \
    do {                                            \
        if ((dtype) == UDUMP_F32) { body(UDUMP_F32); } \
        else { body(UDUMP_BF16); }                  \
    } while (0)
#define FOR_DTYPES(out_dtype, in_dtype, body)                                    \
    do {                                                                         \
        if ((out_dtype) == UDUMP_F32 && (in_dtype) == UDUMP_F32) { body(UDUMP_F32, UDUMP_F32); }        \
        else if ((out_dtype) == UDUMP_F32) { body(UDUMP_F32, UDUMP_BF16); }      \
        else if ((in_dtype) == UDUMP_F32) { body(UDUMP_BF16, UDUMP_F32); }       \
        else { body(UDUMP_BF16, UDUMP_BF16); }                                   \
    } while (0)

/* ---------------------------------------------------------------- element by element */

INLINE vf activated(vf x, udump_activation activation) {
    switch (activation) {
    case UDUMP_ACTIVATION_SILU: return sigmoid_times(x, 1.0f);
    case UDUMP_ACTIVATION_GELU: return gelu(x);
    case UDUMP_ACTIVATION_QUICK_GELU: return sigmoid_times(x, 1.702f);
    case UDUMP_ACTIVATION_NONE: break;
    }
    return x;
}

INLINE void map(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count, udump_activation activation) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out, out_dtype, i, activated(load(in, in_dtype, i), activation));
    if (i < count) store_part(out, out_dtype, i, activated(load_part(in, in_dtype, i, count - i), activation), count - i);
}

static void activate(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count, udump_activation activation) {
#define BODY(o, i)                                                                                                     \
    if (activation == UDUMP_ACTIVATION_SILU) map(out, o, in, i, count, UDUMP_ACTIVATION_SILU);                         \
    else if (activation == UDUMP_ACTIVATION_GELU) map(out, o, in, i, count, UDUMP_ACTIVATION_GELU);                    \
    else if (activation == UDUMP_ACTIVATION_QUICK_GELU) map(out, o, in, i, count, UDUMP_ACTIVATION_QUICK_GELU);        \
    else map(out, o, in, i, count, UDUMP_ACTIVATION_NONE)
    FOR_DTYPES(out_dtype, in_dtype, BODY);
#undef BODY
}

static void convert(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t count) {
    activate(out, out_dtype, in, in_dtype, count, UDUMP_ACTIVATION_NONE);
}

struct differences {
    vd squares, a_squares, b_squares, products;
    vf most; /* once NaN, always NaN */
};

INLINE vd doubles(vf v, int half) {
    vn part;
    memcpy(&part, (const float *)&v + half * (LANES / 2), sizeof part);
    return __builtin_convertvector(part, vd);
}

INLINE vf difference_of(vf a, vf b, bool absolute, struct differences *sums) {
    vf off = a - b, size = (vf)((vi)off & 0x7FFFFFFF);
    for (int half = 0; half < 2; half++) {
        vd left = doubles(a, half), right = doubles(b, half), apart = doubles(off, half);
        sums->squares += apart * apart;
        sums->a_squares += left * left;
        sums->b_squares += right * right;
        sums->products += left * right;
    }
    sums->most = choose((size > sums->most) | (size != size), size, sums->most);
    return absolute ? size : off;
}

INLINE double double_sum_of(vd v) {
    double lanes[LANES / 2], sum = 0;
    memcpy(lanes, &v, sizeof v);
    for (int i = 0; i < LANES / 2; i++) sum += lanes[i];
    return sum;
}

INLINE void subtract_of(float *out, const void *a, udump_dtype a_dtype, const void *b, udump_dtype b_dtype, size_t count, bool absolute,
    udump_difference *raw) {
    struct differences sums = { 0 };
    float most[LANES];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store_f32(out + i, difference_of(load(a, a_dtype, i), load(b, b_dtype, i), absolute, &sums));
    if (i < count) {
        vf off = difference_of(load_part(a, a_dtype, i, count - i), load_part(b, b_dtype, i, count - i), absolute, &sums);
        store_part(out, UDUMP_F32, i, off, count - i);
    }
    *raw = (udump_difference){ .l2 = double_sum_of(sums.squares),
        .a_l2 = double_sum_of(sums.a_squares),
        .b_l2 = double_sum_of(sums.b_squares),
        .dot = double_sum_of(sums.products) };
    store_f32(most, sums.most);
    for (int lane = 0; lane < LANES; lane++)
        if ((double)most[lane] > raw->max || most[lane] != most[lane]) raw->max = (double)most[lane];
}

static void subtract(float *out, const void *a, udump_dtype a_dtype, const void *b, udump_dtype b_dtype, size_t count, bool absolute,
    udump_difference *raw) {
#define BODY(first, second) subtract_of(out, a, first, b, second, count, absolute, raw)
    FOR_DTYPES(a_dtype, b_dtype, BODY);
#undef BODY
}

/* ---------------------------------------------------------------- norms */

/* Sum of f(x) over a row, f(x) = x - centre, squared if squared. */
INLINE float row_sum(const void *in, udump_dtype dtype, size_t at, size_t c, float centre, bool squared) {
    vf sums[2] = { { 0 }, { 0 } };
    size_t i = 0;
    for (; i + 2 * LANES <= c; i += 2 * LANES)
        for (int k = 0; k < 2; k++) {
            vf off = load(in, dtype, at + i + (size_t)k * LANES) - centre;
            sums[k] += squared ? off * off : off;
        }
    for (; i < c; i += LANES) {
        size_t count = c - i < LANES ? c - i : LANES;
        vf off = choose(first_lanes(count), load_part(in, dtype, at + i, count) - centre, splat(0));
        sums[0] += squared ? off * off : off;
    }
    return sum_of(sums[0] + sums[1]);
}

INLINE void layer_norm_rows(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t rows, size_t c,
    const float *scale, const float *shift, float eps) {
    for (size_t row = 0; row < rows; row++) {
        size_t at = row * c, i = 0;
        float mean = row_sum(in, in_dtype, at, c, 0, false) / (float)c;
        float inverse = 1.0f / sqrtf(row_sum(in, in_dtype, at, c, mean, true) / (float)c + eps);
        for (; i + LANES <= c; i += LANES)
            store(out, out_dtype, at + i, (load(in, in_dtype, at + i) - mean) * inverse * load_f32(scale + i) + load_f32(shift + i));
        if (i < c) {
            vf value = (load_part(in, in_dtype, at + i, c - i) - mean) * inverse;
            store_part(
                out, out_dtype, at + i, value * load_part(scale, UDUMP_F32, i, c - i) + load_part(shift, UDUMP_F32, i, c - i), c - i);
        }
    }
}

static void layer_norm(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t rows, size_t c, const float *scale,
    const float *shift, float eps) {
#define BODY(o, i) layer_norm_rows(out, o, in, i, rows, c, scale, shift, eps)
    FOR_DTYPES(out_dtype, in_dtype, BODY);
#undef BODY
}

enum {
    GROUP_PIXELS = 64,   /* summed in fp32 before they join the double sums: read twice, the second time from the cache */
    GROUP_CHANNELS = 512 /* looked at together; tables of this size live on the stack */
};

INLINE float element(const void *data, udump_dtype dtype, size_t at) {
    return dtype == UDUMP_F32 ? ((const float *)data)[at] : udump_bf16_to_f32(((const uint16_t *)data)[at]);
}

/* sums[i] = sum over pixels of (in - centre[i]), squared if squared, of `count` channels from `first`. */
INLINE void channel_sums(const void *in, udump_dtype dtype, size_t pixels, size_t c, size_t first, size_t count, const float *centre,
    bool squared, float *sums) {
    memset(sums, 0, GROUP_CHANNELS * sizeof *sums);
    for (size_t p = 0; p < pixels; p++) {
        size_t at = p * c + first, i = 0;
        for (; i + LANES <= count; i += LANES) {
            vf off = load(in, dtype, at + i) - load_f32(centre + i);
            store_f32(sums + i, load_f32(sums + i) + (squared ? off * off : off));
        }
        for (; i < count; i++) {
            float off = element(in, dtype, at + i) - centre[i];
            sums[i] += squared ? off * off : off;
        }
    }
}

/* Adds to totals[group] the sums around `centre` (of the group; NULL: zero) of one run of pixels. */
INLINE void group_sums(const void *in, udump_dtype dtype, const void *row, udump_dtype row_dtype, size_t pixels, size_t c, size_t groups,
    const double *centre, double *totals) {
    size_t width = c / groups;
    float centres[GROUP_CHANNELS], sums[GROUP_CHANNELS];
    memset(totals, 0, groups * sizeof *totals);
    for (size_t first = 0; first < c; first += GROUP_CHANNELS) {
        size_t count = c - first < GROUP_CHANNELS ? c - first : GROUP_CHANNELS;
        for (size_t i = 0; i < count; i++)
            centres[i] = (centre ? (float)centre[(first + i) / width] : 0.0f) - (row ? element(row, row_dtype, first + i) : 0.0f);
        channel_sums(in, dtype, pixels, c, first, count, centres, centre != NULL, sums);
        for (size_t i = 0; i < count; i++) totals[(first + i) / width] += (double)sums[i];
    }
}

INLINE void group_moments_of(const void *in, udump_dtype dtype, const void *row, udump_dtype row_dtype, size_t pixels, size_t c,
    size_t groups, double *mean, double *squares) {
    double run_mean[UDUMP_MOST_GROUPS], run_squares[UDUMP_MOST_GROUPS], width = (double)(c / groups);
    for (size_t done = 0; done < pixels;) {
        size_t run = pixels - done < GROUP_PIXELS ? pixels - done : GROUP_PIXELS;
        const char *at = (const char *)in + done * c * (dtype == UDUMP_F32 ? 4 : 2);
        double count = (double)run * width, before = (double)done * width;
        group_sums(at, dtype, row, row_dtype, run, c, groups, NULL, run_mean);
        for (size_t g = 0; g < groups; g++)
            run_mean[g] = (double)(float)(run_mean[g] / count); /* the very value that is subtracted below */
        group_sums(at, dtype, row, row_dtype, run, c, groups, run_mean, run_squares);
        for (size_t g = 0; g < groups; g++) { /* Chan, Golub and LeVeque 1979 */
            double off = run_mean[g] - (done ? mean[g] : 0), all = count + before;
            mean[g] = done ? mean[g] + off * count / all : run_mean[g];
            squares[g] = done ? squares[g] + run_squares[g] + off * off * before * count / all : run_squares[g];
        }
        done += run;
    }
}

static void group_moments(const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype, size_t pixels, size_t c,
    size_t groups, double *mean, double *squares) {
#define BODY(i) group_moments_of(in, i, row, row_dtype, pixels, c, groups, mean, squares)
    FOR_DTYPE(in_dtype, BODY);
#undef BODY
}

struct group_table {
    float centre[GROUP_CHANNELS], factor[GROUP_CHANNELS], shift[GROUP_CHANNELS];
};

INLINE void group_apply_run(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, size_t pixels, size_t c, size_t first,
    size_t count, const struct group_table *t, bool silu) {
    for (size_t p = 0; p < pixels; p++) {
        size_t at = p * c + first, i = 0;
        for (; i + LANES <= count; i += LANES) {
            vf value = (load(in, in_dtype, at + i) - load_f32(t->centre + i)) * load_f32(t->factor + i) + load_f32(t->shift + i);
            store(out, out_dtype, at + i, silu ? sigmoid_times(value, 1.0f) : value);
        }
        if (i < count) {
            vf value = (load_part(in, in_dtype, at + i, count - i) - load_part(t->centre, UDUMP_F32, i, count - i))
                    * load_part(t->factor, UDUMP_F32, i, count - i)
                + load_part(t->shift, UDUMP_F32, i, count - i);
            store_part(out, out_dtype, at + i, silu ? sigmoid_times(value, 1.0f) : value, count - i);
        }
    }
}

static void group_apply(void *out, udump_dtype out_dtype, const void *in, udump_dtype in_dtype, const void *row, udump_dtype row_dtype,
    size_t pixels, size_t c, size_t groups, const float *mean, const float *inverse, const float *scale, const float *shift, bool silu) {
    struct group_table t;
    size_t width = c / groups;
    for (size_t first = 0; first < c; first += GROUP_CHANNELS) {
        size_t count = c - first < GROUP_CHANNELS ? c - first : GROUP_CHANNELS;
        for (size_t i = 0; i < count; i++) {
            size_t channel = first + i, group = channel / width;
            t.centre[i] = mean[group] - (row ? element(row, row_dtype, channel) : 0.0f);
            t.factor[i] = inverse[group] * scale[channel];
            t.shift[i] = shift[channel];
        }
#define BODY(o, i)                                                                             \
    if (silu) group_apply_run(out, o, in, i, pixels, c, first, count, &t, true);               \
    else group_apply_run(out, o, in, i, pixels, c, first, count, &t, false)
        FOR_DTYPES(out_dtype, in_dtype, BODY);
#undef BODY
    }
}

/* ---------------------------------------------------------------- attention */

#include "backend/cpu/kernels_attend.h"
#include "backend/cpu/kernels_look.h"
#include "backend/cpu/kernels_multiply.h"
#include "backend/cpu/kernels_winograd.h"

#define KERNELS(kernels_name)                                                                                        \
    {                                                                                                                \
        .name = kernels_name, .lanes = LANES, .tile_rows = TILE_ROWS, .multiply_rows = MULTIPLY_ROWS,                \
        .convert = convert, .activate = activate, .subtract = subtract, .layer_norm = layer_norm,                    \
        .group_moments = group_moments, .group_apply = group_apply,                                                  \
        .attention = { attend_block_floats, attend_scratch_floats, attend_pack, attend },                            \
        .multiply = multiply, .finish = finish, .unpack = unpack, .narrow = narrow, .look = look,                    \
        .look_covariance = look_covariance,                                                                          \
        .winograd_2 = { 2, winograd_in_2, winograd_weights_2, winograd_out_2 },                                      \
        .winograd_4 = { 4, winograd_in_4, winograd_weights_4, winograd_out_4 },                                      \
    }
