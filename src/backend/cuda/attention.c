/* Attention: by cuDNN's kernels, by our own, or as products. */
#include <math.h>
#include <stdio.h>

#include "backend/cuda/cuda.h"

enum {
    FUSED_TOKENS = 1024,   /* from here on cuDNN is asked */
    PRODUCT_TOKENS = 256,  /* from here on a product is worth its launches */
    PRODUCT_QUERIES = 1024 /* at a time: 16,384 keys' scores are then 64 MiB */
};

static int32_t tokens_of(udump_tensor tensor) { return tensor.h * tensor.w; }
static void *data_of(const udump_exec *x, udump_tensor tensor) { return udump_tensor_data(x, tensor); }

static bool head_fits(udump_exec *x, int32_t d) {
    if (d > UDUMP_KERNEL_HEAD_MOST)
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "attention", "heads of %d channels: CUDA attends to at most %d", (int)d, UDUMP_KERNEL_HEAD_MOST);
    return d <= UDUMP_KERNEL_HEAD_MOST;
}

/* By cuDNN, or by our kernel on the matrix units. */
struct contest {
    udump_fused *fused;
    udump_fused_call call;
    const udump_kernel_attention_shape *shape;
    void *workspace;
    cudaStream_t stream;
};
enum { BY_CUDNN, BY_OURS, WAYS };

static bool begin_way(void *user, int32_t way) {
    const struct contest *c = user;
    udump_error error;
    if (way == BY_CUDNN) return !udump_fused_run(c->fused, &c->call, c->workspace, c->stream, &error);
    udump_kernel_attention(c->call.out, c->call.q, c->call.k, c->call.v, udump_cuda_dtype(c->call.dtype), c->shape, c->stream);
    return cudaGetLastError() == cudaSuccess;
}

/* The call's tensors from `q` on, and `out`. */
static void place(udump_fused_call *call, void *out, const char *q) {
    size_t c_bytes = (size_t)call->heads * (size_t)call->d * udump_dtype_bytes(call->dtype);
    call->out = out;
    call->q = q;
    call->k = q + c_bytes;
    call->v = q + 2 * c_bytes;
}

/* The faster way, on zeros; -1 where it cannot be measured. */
static int32_t measure(udump_exec *x, const udump_fused_call *call, const udump_kernel_attention_shape *shape, size_t workspace_bytes) {
    struct contest contest = { udump_cuda_state_of(x)->fused, *call, shape, NULL, udump_cuda_stream(x) };
    size_t tokens = (size_t)call->n * (size_t)call->tokens * udump_dtype_bytes(call->dtype), in_bytes = tokens * (size_t)call->row,
           out_bytes = tokens * (size_t)call->out_row, rest = (workspace_bytes + 255) / 256 * 256;
    char *memory = NULL;
    cudaError_t result = cudaMalloc((void **)&memory, rest + in_bytes + out_bytes);
    if (result == cudaSuccess) result = cudaMemsetAsync(memory, 0, rest + in_bytes + out_bytes, contest.stream);
    contest.workspace = memory;
    place(&contest.call, memory + rest + in_bytes, memory + rest);
    int32_t fastest = result == cudaSuccess ? udump_fastest(contest.stream, WAYS, begin_way, &contest) : -1;
    cudaGetLastError();
    cudaFree(memory);
    return fastest;
}

/* Measured in the first dry pass of a card and shape, kept as engines are; without a measurement cuDNN's is taken. */
static bool is_faster(udump_exec *x, const udump_fused_call *call, const udump_kernel_attention_shape *shape) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    udump_plans *plans = state->device->plans;
    udump_plan_choice kept;
    size_t workspace_bytes;
    char key[UDUMP_PLANS_KEY_MOST];
    snprintf(key, sizeof key, "attention %s [%d, %d], %d heads of %d", udump_dtype_name(call->dtype), (int)call->n, (int)call->tokens, (int)call->heads, (int)call->d);
    bool known = udump_plans_find(plans, key, &kept);
    if ((known && kept.rank != BY_CUDNN) || !udump_fused_plan(state->fused, call, &workspace_bytes)) return false;
    if (known || !x->dry || !plans) return true;
    int32_t fastest = measure(x, call, shape, workspace_bytes);
    if (fastest >= 0) udump_plans_keep(plans, key, (udump_plan_choice){ fastest, 0 });
    return fastest != BY_OURS;
}

static bool is_way_of(const udump_cuda_way *way, const udump_fused_call *call) {
    const udump_fused_call *of = &way->shape;
    return of->n == call->n && of->tokens == call->tokens && of->heads == call->heads && of->d == call->d && of->dtype == call->dtype;
}

/* Whether cuDNN attends: a U-Net's long rows alone, which are worth the second that compiling its kernels takes, where it has a plan, and where that is the
 * faster one. A session decides once: others, which measure at the same time, may find otherwise. */
static bool takes_fused(udump_exec *x, const udump_fused_call *call, const udump_kernel_attention_shape *shape) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    if (!state->fused || call->dtype == UDUMP_F32 || call->row % 8 != 0 || call->tokens < FUSED_TOKENS || call->d > UDUMP_KERNEL_TILED_HEAD_MOST) return false;
    for (int32_t i = 0; i < state->way_count; i++)
        if (is_way_of(&state->ways[i], call)) return state->ways[i].fused;
    if (state->way_count == UDUMP_CUDA_WAYS) return false;
    bool fused = is_faster(x, call, shape);
    state->ways[state->way_count++] = (udump_cuda_way){ *call, fused };
    return fused;
}

/* By cuDNN: false if it is not to. */
static bool attend_fused(udump_exec *x, udump_tensor out, udump_tensor qkv, const udump_kernel_attention_shape *shape) {
    udump_fused_call call = { .n = out.n, .tokens = shape->queries, .heads = shape->heads, .d = shape->d, .row = qkv.c, .out_row = out.c, .dtype = qkv.dtype };
    size_t workspace_bytes = 0, mark = udump_arena_mark(x);
    udump_error error;
    if (shape->causal || !takes_fused(x, &call, shape) || !udump_fused_plan(udump_cuda_state_of(x)->fused, &call, &workspace_bytes)) return false;
    udump_tensor workspace = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, (int32_t)((workspace_bytes + 3) / 4));
    if (!x->dry && !x->status) {
        place(&call, data_of(x, out), data_of(x, qkv));
        udump_cuda_stick(x, udump_fused_run(udump_cuda_state_of(x)->fused, &call, data_of(x, workspace), udump_cuda_stream(x), &error), &error);
    }
    udump_arena_release(x, mark);
    return true;
}

static void multiply(udump_exec *x, const udump_gemm_call *call) {
    udump_error error;
    if (!x->status) udump_cuda_stick(x, udump_gemm_run(udump_cuda_state_of(x)->gemm, call, x->dry, udump_cuda_stream(x), &error), &error);
}

/* Some queries of one head, from `out` and `q` on: softmax(q k^T / sqrt(d)) v. In a dry pass the addresses mean nothing. */
static void attend_some(udump_exec *x, char *out, const char *q, const char *k, const char *v, udump_dtype dtype, const udump_kernel_attention_shape *s,
    int32_t queries, udump_tensor scores, udump_tensor weights) {
    udump_gemm_call score = { .name = "attention's scores", .in = q, .weight = k, .rows = queries, .n = s->keys, .k = s->d, .in_row = s->q_row,
        .weight_row = s->kv_row, .out_row = scores.c, .scale = 1 / sqrtf((float)s->d), .dtype = dtype, .out_dtype = UDUMP_F32 };
    udump_gemm_call value = { .name = "attention's values", .out = out, .weight = v, .rows = queries, .n = s->d, .k = s->keys, .in_row = scores.c,
        .weight_row = s->kv_row, .out_row = s->out_row, .weight_by_k = true, .scale = 1, .dtype = dtype, .out_dtype = dtype };
    if (!x->dry && !x->status) score.out = data_of(x, scores), value.in = data_of(x, weights);
    multiply(x, &score);
    if (!x->dry && !x->status) {
        udump_kernel_softmax(data_of(x, weights), udump_cuda_dtype(dtype), score.out, queries, s->keys, scores.c, udump_cuda_stream(x));
        udump_cuda_check(x, "softmax");
    }
    multiply(x, &value);
}

/* Heads that no kernel tiles, the autoencoder's one of 512 channels above all, and fp32's: by products, for the cost of writing the scores down. False
 * where there is nothing to multiply with, or so little to do that a launch is the most of it. */
static bool attend_by_products(udump_exec *x, udump_tensor out, udump_tensor qkv, const udump_kernel_attention_shape *s) {
    if (!udump_cuda_state_of(x)->gemm || s->causal || s->queries < PRODUCT_TOKENS || (s->d <= UDUMP_KERNEL_TILED_HEAD_MOST && qkv.dtype != UDUMP_F32)) return false;
    size_t mark = udump_arena_mark(x), bytes = udump_dtype_bytes(qkv.dtype);
    int32_t most = s->queries < PRODUCT_QUERIES ? s->queries : PRODUCT_QUERIES;
    udump_tensor scores = udump_tensor_new(x, UDUMP_F32, 1, 1, most, (s->keys + 7) / 8 * 8); /* rows of whole vectors, whatever there are of keys */
    udump_tensor weights = qkv.dtype == UDUMP_F32 ? scores : udump_tensor_new(x, qkv.dtype, 1, 1, most, scores.c);
    char *to = x->dry || x->status ? NULL : data_of(x, out);
    const char *from = x->dry || x->status ? NULL : data_of(x, qkv);
    for (int32_t n = 0; n < s->n; n++)
        for (int32_t head = 0; head < s->heads; head++)
            for (int32_t first = 0; first < s->queries; first += most) {
                int32_t count = s->queries - first < most ? s->queries - first : most;
                size_t row = (size_t)n * (size_t)s->queries, column = (size_t)head * (size_t)s->d, c = (size_t)out.c;
                const char *q = from ? from + ((row + (size_t)first) * (size_t)s->q_row + column) * bytes : NULL;
                const char *k = from ? from + (row * (size_t)s->kv_row + c + column) * bytes : NULL;
                char *there = to ? to + ((row + (size_t)first) * c + column) * bytes : NULL;
                attend_some(x, there, q, k, k ? k + c * bytes : NULL, qkv.dtype, s, count, scores, weights);
            }
    udump_arena_release(x, mark);
    return true;
}

void udump_cuda_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal) {
    int32_t c = out.c, tokens = tokens_of(out);
    udump_kernel_attention_shape shape = { .n = out.n, .heads = heads, .d = c / heads, .queries = tokens, .q_row = 3 * (int64_t)c,
        .kv_row = 3 * (int64_t)c, .out_row = c, .causal = causal, .keys = tokens };
    if (attend_fused(x, out, qkv, &shape) || attend_by_products(x, out, qkv, &shape)) return;
    if (!head_fits(x, shape.d) || x->dry) return;
    const char *q = data_of(x, qkv);
    size_t c_bytes = (size_t)c * udump_dtype_bytes(qkv.dtype);
    udump_kernel_attention(data_of(x, out), q, q + c_bytes, q + 2 * c_bytes, udump_cuda_dtype(qkv.dtype), &shape, udump_cuda_stream(x));
    udump_cuda_check(x, "attention");
}

void udump_cuda_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads) {
    int32_t c = out.c;
    udump_kernel_attention_shape shape = { .n = out.n, .heads = heads, .d = c / heads, .queries = tokens_of(out), .q_row = c,
        .kv_row = 2 * (int64_t)c, .out_row = c, .first = kv->first, .count = kv->count };
    if (!head_fits(x, shape.d) || x->dry) return;
    const char *k = data_of(x, kv->kv);
    udump_kernel_attention(
        data_of(x, out), data_of(x, q), k, k + (size_t)c * udump_dtype_bytes(q.dtype), udump_cuda_dtype(q.dtype), &shape, udump_cuda_stream(x));
    udump_cuda_check(x, "attention_cross");
}
