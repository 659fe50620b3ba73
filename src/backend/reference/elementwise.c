/* Operations that touch each element once. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

void udump_reference_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in) {
    size_t pixel_bytes = (size_t)in.c * udump_dtype_bytes(in.dtype);
    const char *source = udump_tensor_data(x, in);
    char *target = udump_tensor_data(x, out);
    for (int64_t n = 0; n < out.n; n++)
        for (int64_t y = 0; y < out.h; y++)
            for (int64_t column = 0; column < out.w; column++, target += pixel_bytes) {
                int64_t from = (n * in.h + y * in.h / out.h) * in.w + column * in.w / out.w;
                memcpy(target, source + (size_t)from * pixel_bytes, pixel_bytes);
            }
}

void udump_reference_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b) {
    size_t a_bytes = (size_t)a.c * udump_dtype_bytes(a.dtype), b_bytes = (size_t)b.c * udump_dtype_bytes(b.dtype);
    const char *from_a = udump_tensor_data(x, a), *from_b = udump_tensor_data(x, b);
    char *target = udump_tensor_data(x, out);
    for (size_t pixel = 0; pixel < udump_tensor_count(a) / (size_t)a.c; pixel++) {
        memcpy(target + pixel * (a_bytes + b_bytes), from_a + pixel * a_bytes, a_bytes);
        memcpy(target + pixel * (a_bytes + b_bytes) + a_bytes, from_b + pixel * b_bytes, b_bytes);
    }
}

void udump_reference_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation) {
    for (size_t i = 0; i < udump_tensor_count(in); i++)
        udump_reference_set(udump_tensor_data(x, out), out.dtype, i,
            udump_reference_activate(udump_reference_get(udump_tensor_data(x, in), in.dtype, i), activation));
}

void udump_reference_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which) {
    for (int32_t i = 0; i < count; i++)
        for (int32_t row = 0; row < out[i].n; row++)
            memcpy(udump_tensor_data(x, udump_tensor_rows(out[i], row, 1)), udump_tensor_data(x, udump_tensor_rows(in[i], first + (which ? which[i][row] : 0), 1)),
                udump_row_bytes(out[i]));
}

void udump_reference_embed_tokens(
    udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids) {
    size_t c = (size_t)out.c, length = (size_t)out.h * (size_t)out.w;
    for (size_t t = 0; t < (size_t)out.n * length; t++)
        for (size_t i = 0; i < c; i++)
            udump_reference_set(udump_tensor_data(x, out), out.dtype, t * c + i,
                tokens->values[(size_t)ids[t] * c + i] + positions->values[t % length * c + i]);
}

void udump_reference_timestep_embedding(udump_exec *x, udump_tensor out, const float *timesteps) {
    size_t half = (size_t)out.c / 2;
    for (size_t t = 0; t < (size_t)out.n; t++)
        for (size_t i = 0; i < half; i++) { /* fp32 throughout, as the original: the angle's rounding is part of the model */
            float angle = timesteps[t] * expf(-logf(10000.0f) * (float)i / (float)half);
            udump_reference_set(udump_tensor_data(x, out), out.dtype, t * 2 * half + i, cosf(angle));
            udump_reference_set(udump_tensor_data(x, out), out.dtype, t * 2 * half + half + i, sinf(angle));
        }
}

void udump_reference_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients) {
    float *target = udump_tensor_data(x, out);
    for (size_t i = 0; i < udump_tensor_count(out); i++) {
        float sum = 0;
        for (int32_t k = 0; k < count; k++) sum += coefficients[k] * ((const float *)udump_tensor_data(x, in[k]))[i];
        target[i] = sum;
    }
}

void udump_reference_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale) {
    size_t count = udump_tensor_count(out);
    const void *source = udump_tensor_data(x, cond_uncond);
    for (size_t i = 0; i < count; i++) {
        float cond = udump_reference_get(source, cond_uncond.dtype, i), uncond = udump_reference_get(source, cond_uncond.dtype, count + i);
        udump_reference_set(udump_tensor_data(x, out), out.dtype, i, uncond + (cond - uncond) * scale);
    }
}

void udump_reference_convert(udump_exec *x, udump_tensor out, udump_tensor in) {
    for (size_t i = 0; i < udump_tensor_count(in); i++)
        udump_reference_set(udump_tensor_data(x, out), out.dtype, i, udump_reference_get(udump_tensor_data(x, in), in.dtype, i));
}

void udump_reference_upload(udump_exec *x, udump_tensor out, const float *host) {
    for (size_t i = 0; i < udump_tensor_count(out); i++) udump_reference_set(udump_tensor_data(x, out), out.dtype, i, host[i]);
}

void udump_reference_download(udump_exec *x, float *host, udump_tensor in) {
    for (size_t i = 0; i < udump_tensor_count(in); i++) host[i] = udump_reference_get(udump_tensor_data(x, in), in.dtype, i);
}

void udump_reference_write(udump_exec *x, void *arena, const void *host, size_t bytes) {
    (void)x;
    memcpy(arena, host, bytes);
}

void udump_reference_read(udump_exec *x, void *host, const void *arena, size_t bytes) {
    (void)x;
    memcpy(host, arena, bytes);
}

void udump_reference_copy(udump_exec *x, void *to, const void *from, size_t bytes) {
    (void)x;
    memcpy(to, from, bytes);
}
