/* Scaled dot-product attention (Vaswani et al. 2017): softmax(Q K^T / sqrt(d)) V, one query at a time. */
#include <math.h>

#include "backend/reference/reference.h"
#include "base/parallel.h"

struct attend {
    udump_exec *x;
    udump_tensor out;
    int32_t heads;
    bool causal;
    udump_tensor q, kv;               /* q: [n, h, w, q's row]; kv: the tensor that holds K and V */
    size_t q_row, kv_row;             /* elements from one token to the next */
    size_t k_column, v_column;        /* where K and V start in a token of kv */
    const int32_t *first, *count;     /* tokens of kv for each row of the batch; NULL: the row's own */
    size_t most_keys;
    float *scratch;                   /* [threads, most_keys] */
};

static float score(const struct attend *a, const void *q, size_t q_at, const void *kv, size_t k_at, size_t d) {
    float sum = 0;
    for (size_t i = 0; i < d; i++) sum += udump_reference_get(q, a->q.dtype, q_at + i) * udump_reference_get(kv, a->kv.dtype, k_at + i);
    return sum / sqrtf((float)d);
}

/* scores become probabilities in place. */
static void softmax(float *scores, size_t count) {
    float most = scores[0], sum = 0;
    for (size_t i = 1; i < count; i++) most = scores[i] > most ? scores[i] : most;
    for (size_t i = 0; i < count; i++) sum += scores[i] = expf(scores[i] - most);
    for (size_t i = 0; i < count; i++) scores[i] /= sum;
}

static void attend_query(const struct attend *a, size_t batch_row, size_t head, size_t token, float *scores) {
    const void *q = udump_tensor_data(a->x, a->q), *kv = udump_tensor_data(a->x, a->kv);
    void *out = udump_tensor_data(a->x, a->out);
    size_t c = (size_t)a->out.c, d = c / (size_t)a->heads, tokens = (size_t)a->out.h * (size_t)a->out.w;
    size_t query = batch_row * tokens + token;
    size_t key = a->first ? (size_t)a->first[batch_row] : batch_row * tokens;
    size_t keys = a->count ? (size_t)a->count[batch_row] : a->causal ? token + 1 : tokens;
    for (size_t k = 0; k < keys; k++)
        scores[k] = score(a, q, query * a->q_row + head * d, kv, (key + k) * a->kv_row + a->k_column + head * d, d);
    softmax(scores, keys);
    for (size_t i = 0; i < d; i++) {
        float sum = 0;
        for (size_t k = 0; k < keys; k++)
            sum += scores[k] * udump_reference_get(kv, a->kv.dtype, (key + k) * a->kv_row + a->v_column + head * d + i);
        udump_reference_set(out, a->out.dtype, query * c + head * d + i, sum);
    }
}

static void attend_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct attend *a = arg;
    size_t tokens = (size_t)a->out.h * (size_t)a->out.w, heads = (size_t)a->heads;
    for (size_t at = (size_t)begin; at < (size_t)end; at++)
        attend_query(a, at / tokens / heads, at / tokens % heads, at % tokens, a->scratch + (size_t)thread * a->most_keys);
}

static void attend_run(struct attend *a) {
    size_t mark = udump_arena_mark(a->x);
    a->scratch = udump_reference_scratch(a->x, a->most_keys);
    if (a->scratch) udump_parallel_for(a->x->threads, (int64_t)a->out.n * a->heads * a->out.h * a->out.w, attend_range, a);
    udump_arena_release(a->x, mark);
}

void udump_reference_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal) {
    size_t c = (size_t)out.c;
    attend_run(&(struct attend){ .x = x, .out = out, .heads = heads, .causal = causal, .q = qkv, .kv = qkv, .q_row = 3 * c, .kv_row = 3 * c,
        .k_column = c, .v_column = 2 * c, .most_keys = (size_t)out.h * (size_t)out.w });
}

void udump_reference_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads) {
    size_t c = (size_t)out.c;
    attend_run(&(struct attend){ .x = x, .out = out, .heads = heads, .q = q, .kv = kv->kv, .q_row = c, .kv_row = 2 * c, .v_column = c,
        .first = kv->first, .count = kv->count, .most_keys = (size_t)kv->kv.h * (size_t)kv->kv.w });
}
