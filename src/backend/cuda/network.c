/* The network's and the samplers' operations on our own kernels: from tensors to launches. */
#include "backend/cuda/cuda.h"

static int64_t count_of(udump_tensor tensor) { return (int64_t)udump_tensor_count(tensor); }
static int64_t pixels_of(udump_tensor tensor) { return (int64_t)tensor.h * tensor.w; }
static void *data_of(const udump_exec *x, udump_tensor tensor) { return udump_tensor_data(x, tensor); }

void udump_cuda_group_norm(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu, const udump_tensor *row) {
    void *scratch = udump_cuda_scratch(x, udump_kernel_group_norm_scratch_bytes(in.n, pixels_of(in), in.c, udump_cuda_dtype(in.dtype), groups));
    if (!scratch) return;
    udump_kernel_group_norm(data_of(x, out), data_of(x, in), udump_cuda_dtype(in.dtype), w->values, row ? data_of(x, *row) : NULL, row && row->n > 1, in.n,
        pixels_of(in), in.c, groups, eps, silu, scratch, udump_cuda_stream(x));
    udump_cuda_check(x, "group_norm");
}

void udump_cuda_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps) {
    udump_kernel_layer_norm(data_of(x, out), data_of(x, in), udump_cuda_dtype(in.dtype), w->values, in.n * pixels_of(in), in.c, eps, udump_cuda_stream(x));
    udump_cuda_check(x, "layer_norm");
}

static int pixel_bytes(udump_tensor tensor) { return tensor.c * (int)udump_dtype_bytes(tensor.dtype); }

void udump_cuda_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in) {
    udump_kernel_upsample_nearest(data_of(x, out), data_of(x, in), in.n, in.h, in.w, out.h, out.w, pixel_bytes(in), udump_cuda_stream(x));
    udump_cuda_check(x, "upsample_nearest");
}

void udump_cuda_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b) {
    udump_kernel_concat_channels(
        data_of(x, out), data_of(x, a), pixel_bytes(a), data_of(x, b), pixel_bytes(b), a.n * pixels_of(a), udump_cuda_stream(x));
    udump_cuda_check(x, "concat_channels");
}

void udump_cuda_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation) {
    udump_kernel_activation(data_of(x, out), data_of(x, in), udump_cuda_dtype(in.dtype), count_of(in), (int)activation, udump_cuda_stream(x));
    udump_cuda_check(x, "activation");
}

void udump_cuda_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which) {
    udump_kernel_pieces pieces = { .count = 0 };
    for (int32_t i = 0; i < count; i++)
        for (int32_t row = 0; row < out[i].n; row++) {
            pieces.to[pieces.count] = data_of(x, udump_tensor_rows(out[i], row, 1));
            pieces.from[pieces.count] = data_of(x, udump_tensor_rows(in[i], first + (which ? which[i][row] : 0), 1));
            pieces.bytes[pieces.count++] = (int)udump_row_bytes(out[i]);
            if (pieces.count < UDUMP_KERNEL_PIECES_MOST && (i + 1 < count || row + 1 < out[i].n)) continue;
            udump_kernel_copy_pieces(&pieces, udump_cuda_stream(x));
            pieces.count = 0;
        }
    udump_cuda_check(x, "gather_rows");
}

/* Small host arrays cross into the session's scratch. */
static void *carry(udump_exec *x, const void *host, size_t bytes) {
    void *there = udump_cuda_scratch(x, bytes);
    if (there) udump_cuda_write(x, there, host, bytes);
    return there;
}

void udump_cuda_embed_tokens(udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids) {
    int64_t count = out.n * pixels_of(out);
    const int32_t *there = carry(x, ids, (size_t)count * sizeof *ids);
    if (!there) return;
    udump_kernel_embed_tokens(data_of(x, out), udump_cuda_dtype(out.dtype), tokens->values, positions->values, there, count, (int)pixels_of(out), out.c,
        udump_cuda_stream(x));
    udump_cuda_check(x, "embed_tokens");
}

void udump_cuda_timestep_embedding(udump_exec *x, udump_tensor out, const float *timesteps) {
    const float *there = carry(x, timesteps, (size_t)out.n * sizeof *timesteps);
    if (!there) return;
    udump_kernel_timestep_embedding(data_of(x, out), udump_cuda_dtype(out.dtype), there, out.n, out.c, udump_cuda_stream(x));
    udump_cuda_check(x, "timestep_embedding");
}

void udump_cuda_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients) {
    udump_kernel_terms terms = { .count = count };
    if (count > UDUMP_KERNEL_TERMS_MOST) {
        udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "linear_combination", "%d terms", (int)count);
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        terms.in[i] = data_of(x, in[i]);
        terms.coefficients[i] = coefficients[i];
    }
    udump_kernel_linear_combination(data_of(x, out), &terms, count_of(out), udump_cuda_stream(x));
    udump_cuda_check(x, "linear_combination");
}

void udump_cuda_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale) {
    udump_kernel_cfg_combine(data_of(x, out), udump_cuda_dtype(out.dtype), data_of(x, cond_uncond), udump_cuda_dtype(cond_uncond.dtype), count_of(out),
        scale, udump_cuda_stream(x));
    udump_cuda_check(x, "cfg_combine");
}

void udump_cuda_convert(udump_exec *x, udump_tensor out, udump_tensor in) {
    udump_kernel_convert(data_of(x, out), udump_cuda_dtype(out.dtype), data_of(x, in), udump_cuda_dtype(in.dtype), count_of(in), udump_cuda_stream(x));
    udump_cuda_check(x, "convert");
}
