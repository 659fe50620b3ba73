/* Products' inner loops, included by kernels_body.h: a block of rows times a panel of columns, and what happens to a sum at its end. */

enum {
    WIDE = 2 * LANES
};

/* c[MULTIPLY_ROWS, WIDE] (+)= a[MULTIPLY_ROWS, depth] * b[depth, WIDE] */
INLINE void multiply_tile(const udump_multiply *job, const float *const *a, float *c, bool add) {
    vf sums[MULTIPLY_ROWS][2];
    const float *rows[MULTIPLY_ROWS], *b = job->b;
    for (int r = 0; r < MULTIPLY_ROWS; r++) {
        rows[r] = a[r] + job->first;
        for (int v = 0; v < 2; v++) sums[r][v] = add ? load_f32(c + (size_t)r * job->c_stride + (size_t)v * LANES) : splat(0);
    }
    for (size_t k = 0; k < job->depth; k++, b += WIDE) {
        vf left = load_f32(b), right = load_f32(b + LANES);
        for (int r = 0; r < MULTIPLY_ROWS; r++) {
            vf factor = splat(rows[r][k]);
            sums[r][0] += factor * left;
            sums[r][1] += factor * right;
        }
    }
    for (int r = 0; r < MULTIPLY_ROWS; r++)
        for (int v = 0; v < 2; v++) store_f32(c + (size_t)r * job->c_stride + (size_t)v * LANES, sums[r][v]);
}

static void multiply(const udump_multiply *job) {
    const char *next = job->next, *end = next ? next + job->next_bytes : NULL;
    size_t tiles = (job->rows + MULTIPLY_ROWS - 1) / MULTIPLY_ROWS, share = job->next_bytes / tiles + UDUMP_ALIGNMENT_BYTES;
    for (size_t r = 0; r < job->rows; r += MULTIPLY_ROWS) {
        for (const char *stop = next + share; next < end && next < stop; next += UDUMP_ALIGNMENT_BYTES) __builtin_prefetch(next, 0, 2);
        if (job->add) multiply_tile(job, job->a + r, job->c + r * job->c_stride, true);
        else multiply_tile(job, job->a + r, job->c + r * job->c_stride, false);
    }
}

/* Values of a panel as fp32. */
INLINE vf widen(const void *from, udump_dtype dtype, size_t at) {
    if (dtype != UDUMP_F16) return load(from, dtype, at);
#if defined(__F16C__) && LANES == 8
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)from + at)));
#elif defined(__F16C__) && LANES == 16
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)from + at)));
#else
    float lanes[LANES];
    for (int i = 0; i < LANES; i++) lanes[i] = udump_f16_to_f32(((const uint16_t *)from)[at + (size_t)i]);
    return load_f32(lanes);
#endif
}

#define FOR_STORED(dtype, body)                        \
    do {                                               \
        if ((dtype) == UDUMP_F16) { body(UDUMP_F16); } \
        else FOR_DTYPE(dtype, body);                   \
    } while (0)

static void unpack(float *to, const void *from, udump_dtype dtype, size_t count) {
#define BODY(stored)                                                                                                                       \
    for (size_t i = 0; i < count; i += LANES) store_f32(to + i, widen(from, stored, i))
    FOR_STORED(dtype, BODY);
#undef BODY
}

static bool narrow(void *to, udump_dtype dtype, const float *from, size_t count) {
    size_t i = 0;
    uint32_t lost = 0;
    if (dtype == UDUMP_F32) {
        memcpy(to, from, count * sizeof *from);
        return true;
    }
#ifdef __F16C__
    __m256i lost_lanes = _mm256_setzero_si256();
    for (; dtype == UDUMP_F16 && i + 8 <= count; i += 8) {
        __m256 value = _mm256_loadu_ps(from + i);
        __m128i half = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)((uint16_t *)to + i), half);
        lost_lanes = _mm256_or_si256(lost_lanes, _mm256_xor_si256(_mm256_castps_si256(value), _mm256_castps_si256(_mm256_cvtph_ps(half))));
    }
    if (!_mm256_testz_si256(lost_lanes, lost_lanes)) lost = 1;
#endif
    for (; i < count; i++) {
        uint16_t half = dtype == UDUMP_F16 ? udump_f32_to_f16(from[i]) : udump_f32_to_bf16(from[i]);
        ((uint16_t *)to)[i] = half;
        lost |= udump_f32_to_bits(from[i]) ^ udump_f32_to_bits(dtype == UDUMP_F16 ? udump_f16_to_f32(half) : udump_bf16_to_f32(half));
    }
    return !lost;
}

INLINE vf finished(const udump_finish *job, const float *c, size_t at, udump_activation activation) {
    vf value = activated(load_f32(c + at) + load_f32(job->bias + at), activation);
    return job->gate ? value * gelu(load_f32(c + job->gate + at) + load_f32(job->gate_bias + at)) : value;
}

INLINE void finish_rows(const udump_finish *job, udump_activation activation) {
    for (size_t r = 0; r < job->rows; r++) {
        const float *c = job->c + r * job->c_stride, *other = job->other ? job->other + r * job->out_stride : NULL;
        float *out = job->out + r * job->out_stride;
        size_t i = 0;
        for (; i + LANES <= job->columns; i += LANES) {
            vf value = finished(job, c, i, activation);
            store_f32(out + i, other ? value + load_f32(other + i) : value);
        }
        if (i < job->columns) {
            size_t count = job->columns - i;
            vf value = finished(job, c, i, activation);
            store_part(out, UDUMP_F32, i, other ? value + load_part(other, UDUMP_F32, i, count) : value, count);
        }
    }
}

static void finish(const udump_finish *job) {
    switch (job->activation) {
    case UDUMP_ACTIVATION_NONE: finish_rows(job, UDUMP_ACTIVATION_NONE); break;
    case UDUMP_ACTIVATION_SILU: finish_rows(job, UDUMP_ACTIVATION_SILU); break;
    case UDUMP_ACTIVATION_GELU: finish_rows(job, UDUMP_ACTIVATION_GELU); break;
    case UDUMP_ACTIVATION_QUICK_GELU: finish_rows(job, UDUMP_ACTIVATION_QUICK_GELU); break;
    }
}
