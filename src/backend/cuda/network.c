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

static bool head_fits(udump_exec *x, int32_t d) {
    if (d > UDUMP_KERNEL_HEAD_MOST)
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "attention", "heads of %d channels: CUDA attends to at most %d", (int)d, UDUMP_KERNEL_HEAD_MOST);
    return d <= UDUMP_KERNEL_HEAD_MOST;
}

/* Whether cuDNN is to attend, where it can: a U-Net's long rows, in which its kernels for the newest cards should be ahead, and which are worth the second that
 * compiling them takes. Not measured yet: the choice by measurement, once for a card and shape, belongs here. */
static bool prefers_fused(const udump_fused_call *call) { return call->tokens >= 1024 && call->d <= 160; }

/* By cuDNN, if that is preferred and there is a plan: false if not. */
static bool attend_fused(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads) {
    udump_fused *fused = udump_cuda_state_of(x)->fused;
    udump_fused_call call = { .n = out.n, .tokens = (int32_t)pixels_of(out), .heads = heads, .d = out.c / heads, .row = qkv.c, .out_row = out.c, .dtype = qkv.dtype };
    size_t workspace_bytes = 0, mark = udump_arena_mark(x);
    udump_error error;
    if (!fused || qkv.dtype == UDUMP_F32 || out.c % 8 != 0 || !prefers_fused(&call) || !udump_fused_plan(fused, &call, &workspace_bytes)) return false;
    udump_tensor workspace = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, (int32_t)((workspace_bytes + 3) / 4));
    if (!x->dry && !x->status) {
        const char *q = data_of(x, qkv);
        size_t c_bytes = (size_t)out.c * udump_dtype_bytes(qkv.dtype);
        call.out = data_of(x, out);
        call.q = q;
        call.k = q + c_bytes;
        call.v = q + 2 * c_bytes;
        udump_status status = udump_fused_run(fused, &call, data_of(x, workspace), udump_cuda_stream(x), &error);
        if (status) udump_exec_fail(x, status, error.where, "%s", error.what);
    }
    udump_arena_release(x, mark);
    return true;
}

void udump_cuda_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal) {
    int32_t c = out.c, tokens = (int32_t)pixels_of(out);
    udump_kernel_attention_shape shape = { .n = out.n, .heads = heads, .d = c / heads, .queries = tokens, .q_row = 3 * (int64_t)c,
        .kv_row = 3 * (int64_t)c, .out_row = c, .causal = causal, .keys = tokens };
    if (!causal && attend_fused(x, out, qkv, heads)) return;
    if (!head_fits(x, shape.d) || x->dry) return;
    const char *q = data_of(x, qkv);
    size_t c_bytes = (size_t)c * udump_dtype_bytes(qkv.dtype);
    udump_kernel_attention(data_of(x, out), q, q + c_bytes, q + 2 * c_bytes, udump_cuda_dtype(qkv.dtype), &shape, udump_cuda_stream(x));
    udump_cuda_check(x, "attention");
}

void udump_cuda_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads) {
    int32_t c = out.c;
    udump_kernel_attention_shape shape = { .n = out.n, .heads = heads, .d = c / heads, .queries = (int32_t)pixels_of(out), .q_row = c,
        .kv_row = 2 * (int64_t)c, .out_row = c, .first = kv->first, .count = kv->count };
    if (!head_fits(x, shape.d) || x->dry) return;
    const char *k = data_of(x, kv->kv);
    udump_kernel_attention(
        data_of(x, out), data_of(x, q), k, k + (size_t)c * udump_dtype_bytes(q.dtype), udump_cuda_dtype(q.dtype), &shape, udump_cuda_stream(x));
    udump_cuda_check(x, "attention_cross");
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
