/* Operations that touch each element once, spread over threads. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/half.h"
#include "base/parallel.h"

struct mapping {
    udump_exec *x;
    udump_tensor out, in, second; /* second: concat_channels only */
    udump_activation activation;
};

/* Moving an element costs about as much as 8 multiply-adds. */
static int worth(const udump_exec *x, udump_tensor tensor) {
    return udump_threads_worth(x->threads, 8 * (int64_t)udump_tensor_count(tensor));
}

static size_t pixel_bytes(udump_tensor tensor) { return (size_t)tensor.c * udump_dtype_bytes(tensor.dtype); }

/* Ranges are of pixels: all channels of one position. */
static void activation_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct mapping *m = arg;
    (void)thread;
    char *out = (char *)udump_tensor_data(m->x, m->out) + (size_t)begin * pixel_bytes(m->out);
    const char *in = (const char *)udump_tensor_data(m->x, m->in) + (size_t)begin * pixel_bytes(m->in);
    udump_cpu_kernels(m->x)->activate(out, m->out.dtype, in, m->in.dtype, (size_t)(end - begin) * (size_t)m->in.c, m->activation);
}

void udump_cpu_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation) {
    udump_parallel_for(worth(x, out), (int64_t)in.n * in.h * in.w, activation_range,
        &(struct mapping){ .x = x, .out = out, .in = in, .activation = activation });
}

void udump_cpu_convert(udump_exec *x, udump_tensor out, udump_tensor in) { udump_cpu_activation(x, out, in, UDUMP_ACTIVATION_NONE); }

void udump_cpu_upload(udump_exec *x, udump_tensor out, const float *host) {
    udump_cpu_kernels(x)->convert(udump_tensor_data(x, out), out.dtype, host, UDUMP_F32, udump_tensor_count(out));
}

void udump_cpu_download(udump_exec *x, float *host, udump_tensor in) {
    udump_cpu_kernels(x)->convert(host, UDUMP_F32, udump_tensor_data(x, in), in.dtype, udump_tensor_count(in));
}

static void concat_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct mapping *m = arg;
    size_t a_bytes = pixel_bytes(m->in), b_bytes = pixel_bytes(m->second);
    const char *a = udump_tensor_data(m->x, m->in), *b = udump_tensor_data(m->x, m->second);
    char *out = udump_tensor_data(m->x, m->out);
    (void)thread;
    for (size_t pixel = (size_t)begin; pixel < (size_t)end; pixel++) {
        memcpy(out + pixel * (a_bytes + b_bytes), a + pixel * a_bytes, a_bytes);
        memcpy(out + pixel * (a_bytes + b_bytes) + a_bytes, b + pixel * b_bytes, b_bytes);
    }
}

void udump_cpu_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b) {
    udump_parallel_for(
        worth(x, out), (int64_t)a.n * a.h * a.w, concat_range, &(struct mapping){ .x = x, .out = out, .in = a, .second = b });
}

static void upsample_range(void *arg, int64_t begin, int64_t end, int thread) { /* of rows of pixels */
    const struct mapping *m = arg;
    size_t bytes = pixel_bytes(m->in);
    const char *in = udump_tensor_data(m->x, m->in);
    char *out = (char *)udump_tensor_data(m->x, m->out) + (size_t)begin * (size_t)m->out.w * bytes;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        int64_t image = row / m->out.h, y = row % m->out.h * m->in.h / m->out.h;
        for (int64_t column = 0; column < m->out.w; column++, out += bytes)
            memcpy(out, in + (size_t)((image * m->in.h + y) * m->in.w + column * m->in.w / m->out.w) * bytes, bytes);
    }
}

void udump_cpu_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in) {
    udump_parallel_for(worth(x, out), (int64_t)out.n * out.h, upsample_range, &(struct mapping){ .x = x, .out = out, .in = in });
}

void udump_cpu_embed_tokens(
    udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids) {
    size_t c = (size_t)out.c, length = (size_t)out.h * (size_t)out.w;
    void *target = udump_tensor_data(x, out);
    for (size_t t = 0; t < (size_t)out.n * length; t++)
        for (size_t i = 0; i < c; i++) {
            float value = tokens->values[(size_t)ids[t] * c + i] + positions->values[t % length * c + i];
            if (out.dtype == UDUMP_F32) ((float *)target)[t * c + i] = value;
            else ((uint16_t *)target)[t * c + i] = udump_f32_to_bf16(value);
        }
}
