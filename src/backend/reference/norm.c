/* Group and layer normalisation (Wu and He 2018; Ba et al. 2016): (v - mean) / sqrt(variance + eps) * scale + shift. */
#include <math.h>

#include "backend/reference/reference.h"

/* Mean and 1 / sqrt(variance + eps) of `pixels` runs of `count` channels, `stride` apart; double sums, in two passes. */
static void moments(const void *data, udump_dtype dtype, size_t first, size_t pixels, size_t stride, size_t count, const float *row,
    float eps, float *mean, float *scale) {
    double sum = 0, squares = 0, total = (double)pixels * (double)count;
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < count; i++) sum += udump_reference_get(data, dtype, first + p * stride + i) + (row ? row[i] : 0.0f);
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < count; i++) {
            double off = udump_reference_get(data, dtype, first + p * stride + i) + (row ? row[i] : 0.0f) - sum / total;
            squares += off * off;
        }
    *mean = (float)(sum / total);
    *scale = (float)(1.0 / sqrt(squares / total + (double)eps));
}

void udump_reference_group_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps,
    bool silu, const udump_tensor *row) {
    const void *source = udump_tensor_data(x, in);
    void *target = udump_tensor_data(x, out);
    size_t c = (size_t)in.c, width = c / (size_t)groups, pixels = (size_t)in.h * (size_t)in.w;
    const float *scales = w->values, *shifts = w->values + c;
    float added[4096]; /* one group of the row vector; wider groups do not occur (SDXL: 60) */
    if (width > sizeof added / sizeof *added) {
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "group_norm", "groups of %zu channels", width);
        return;
    }
    for (size_t image = 0; image < (size_t)in.n; image++)
        for (size_t g = 0; g < (size_t)groups; g++) {
            size_t first = image * pixels * c + g * width, from = row && row->n > 1 ? image * c : 0;
            for (size_t i = 0; i < width; i++)
                added[i] = row ? udump_reference_get(udump_tensor_data(x, *row), row->dtype, from + g * width + i) : 0.0f;
            float mean, scale;
            moments(source, in.dtype, first, pixels, c, width, added, eps, &mean, &scale);
            for (size_t p = 0; p < pixels; p++)
                for (size_t i = 0; i < width; i++) {
                    size_t at = first + p * c + i;
                    float value = (udump_reference_get(source, in.dtype, at) + added[i] - mean) * scale * scales[g * width + i]
                        + shifts[g * width + i];
                    udump_reference_set(target, out.dtype, at, silu ? udump_reference_activate(value, UDUMP_ACTIVATION_SILU) : value);
                }
        }
}

void udump_reference_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps) {
    const void *source = udump_tensor_data(x, in);
    void *target = udump_tensor_data(x, out);
    size_t c = (size_t)in.c, tokens = udump_tensor_count(in) / c;
    for (size_t t = 0; t < tokens; t++) {
        float mean, scale;
        moments(source, in.dtype, t * c, 1, c, c, NULL, eps, &mean, &scale);
        for (size_t i = 0; i < c; i++) {
            float value = (udump_reference_get(source, in.dtype, t * c + i) - mean) * scale * w->values[i] + w->values[c + i];
            udump_reference_set(target, out.dtype, t * c + i, value);
        }
    }
}
