/* Attention's blocking: blocks of queries of one head of one row of the batch, spread over threads. Inside, kernels_attend.h, or where
 * there are tiles for bf16 kernels_tiles.h. */
#include "backend/cpu/cpu.h"
#include "base/parallel.h"

struct attention {
    udump_exec *x;
    const udump_attend_kernels *kernels;
    udump_tensor out, q, kv;      /* q: [n, h, w, q_row], kv: [., ., ., kv_row] */
    size_t q_row, kv_row;         /* elements from one token to the next */
    size_t k_column, v_column;    /* where K and V start in a token of kv */
    size_t heads, d;
    size_t tokens, query_blocks;  /* of one row of the batch */
    size_t key_blocks;            /* most that a row of the batch has */
    const int32_t *first, *count; /* cross: [n], tokens of kv */
    bool causal;
    float *packed;  /* self: [n * heads, key_blocks, block_floats]; cross: [threads, the same] */
    float *scratch; /* [threads, scratch_floats] */
};

static size_t packed_floats(const struct attention *a) { return a->key_blocks * a->kernels->block_floats(a->d); }

static const char *element_at(const udump_exec *x, udump_tensor tensor, size_t index) {
    return (const char *)udump_tensor_data(x, tensor) + index * udump_dtype_bytes(tensor.dtype);
}

static void pack_block(const struct attention *a, float *packed, size_t token, size_t head, size_t block, size_t keys) {
    size_t first = block * UDUMP_ATTEND_KEYS, at = (token + first) * a->kv_row + head * a->d,
           count = keys - first < UDUMP_ATTEND_KEYS ? keys - first : UDUMP_ATTEND_KEYS;
    a->kernels->pack(element_at(a->x, a->kv, at + a->k_column), element_at(a->x, a->kv, at + a->v_column), a->kv.dtype, a->kv_row, count, a->d,
        packed + block * a->kernels->block_floats(a->d));
}

static void attend_block(const struct attention *a, float *packed, size_t row, size_t head, size_t block, size_t keys, int thread) {
    size_t first = block * UDUMP_ATTEND_QUERIES, query = row * a->tokens + first;
    char *out = (char *)udump_tensor_data(a->x, a->out) + (query * (size_t)a->out.c + head * a->d) * udump_dtype_bytes(a->out.dtype);
    udump_attend job = { .q = element_at(a->x, a->q, query * a->q_row + head * a->d),
        .out = out,
        .dtype = a->q.dtype,
        .q_stride = a->q_row,
        .out_stride = (size_t)a->out.c,
        .queries = a->tokens - first < UDUMP_ATTEND_QUERIES ? a->tokens - first : UDUMP_ATTEND_QUERIES,
        .d = a->d,
        .packed = packed,
        .keys = keys,
        .causal = a->causal,
        .first_query = first,
        .scratch = a->scratch + (size_t)thread * a->kernels->scratch_floats(a->d) };
    a->kernels->attend(&job);
}

static void self_pack_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct attention *a = arg;
    (void)thread;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t row_head = at / a->key_blocks;
        pack_block(a, a->packed + row_head * packed_floats(a), row_head / a->heads * a->tokens, row_head % a->heads, at % a->key_blocks,
            a->tokens);
    }
}

static void self_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct attention *a = arg;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t row_head = at / a->query_blocks;
        attend_block(
            a, a->packed + row_head * packed_floats(a), row_head / a->heads, row_head % a->heads, at % a->query_blocks, a->tokens, thread);
    }
}

/* Keys are short here: each thread packs what it needs, when it comes to another head or row. */
static void cross_range(void *arg, int64_t begin, int64_t end, int thread) {
    const struct attention *a = arg;
    float *packed = a->packed + (size_t)thread * packed_floats(a);
    size_t packed_row_head = SIZE_MAX;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t row_head = at / a->query_blocks, row = row_head / a->heads, head = row_head % a->heads, keys = (size_t)a->count[row];
        for (size_t block = 0; row_head != packed_row_head && block * UDUMP_ATTEND_KEYS < keys; block++)
            pack_block(a, packed, (size_t)a->first[row], head, block, keys);
        packed_row_head = row_head;
        attend_block(a, packed, row, head, at % a->query_blocks, keys, thread);
    }
}

static const udump_attend_kernels *attend_kernels(const struct attention *a) {
    const udump_cpu_device *device = a->x->device;
    return device->tiles && a->q.dtype == UDUMP_BF16 ? device->tiles : &device->kernels->attention;
}

/* Takes scratch for copies heads' packed keys and values. False in a dry pass and after a failure. */
static bool attention_prepare(struct attention *a, size_t keys, int32_t copies) {
    udump_exec *x = a->x;
    a->kernels = attend_kernels(a);
    a->d = (size_t)a->out.c / a->heads;
    a->tokens = (size_t)a->out.h * (size_t)a->out.w;
    a->query_blocks = (a->tokens + UDUMP_ATTEND_QUERIES - 1) / UDUMP_ATTEND_QUERIES;
    a->key_blocks = (keys + UDUMP_ATTEND_KEYS - 1) / UDUMP_ATTEND_KEYS;
    udump_tensor packed = udump_tensor_new(x, UDUMP_F32, copies, (int32_t)a->key_blocks, 1, (int32_t)a->kernels->block_floats(a->d));
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, x->threads, 1, 1, (int32_t)a->kernels->scratch_floats(a->d));
    if (x->dry || x->status) return false;
    a->packed = udump_tensor_data(x, packed);
    a->scratch = udump_tensor_data(x, scratch);
    return true;
}

/* Q K^T and P V, and the softmax's exponentials between. */
static int attention_threads(const struct attention *a, size_t keys) {
    return udump_threads_worth(a->x->threads,
        (int64_t)udump_tensor_count(a->out) * (int64_t)keys * 2 + (int64_t)a->out.n * (int64_t)(a->heads * a->tokens * keys) * 8);
}

void udump_cpu_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal) {
    size_t mark = udump_arena_mark(x), c = (size_t)out.c;
    struct attention a = { .x = x,
        .out = out,
        .q = qkv,
        .kv = qkv,
        .q_row = 3 * c,
        .kv_row = 3 * c,
        .k_column = c,
        .v_column = 2 * c,
        .heads = (size_t)heads,
        .causal = causal };
    if (attention_prepare(&a, (size_t)out.h * (size_t)out.w, out.n * heads)) {
        int64_t row_heads = (int64_t)out.n * heads;
        int threads = attention_threads(&a, a.tokens);
        udump_parallel_for(threads, row_heads * (int64_t)a.key_blocks, self_pack_range, &a);
        udump_parallel_for(threads, row_heads * (int64_t)a.query_blocks, self_range, &a);
    }
    udump_arena_release(x, mark);
}

void udump_cpu_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads) {
    size_t mark = udump_arena_mark(x), c = (size_t)out.c;
    struct attention a = { .x = x,
        .out = out,
        .q = q,
        .kv = kv->kv,
        .q_row = c,
        .kv_row = 2 * c,
        .v_column = c,
        .heads = (size_t)heads,
        .first = kv->first,
        .count = kv->count };
    /* in a dry pass the table of contexts may not be there yet: room for a row that attends to all of them */
    if (attention_prepare(&a, (size_t)kv->kv.n * (size_t)kv->kv.h * (size_t)kv->kv.w, x->threads))
        udump_parallel_for(attention_threads(&a, (size_t)kv->count[0]), (int64_t)out.n * heads * (int64_t)a.query_blocks, cross_range, &a);
    udump_arena_release(x, mark);
}
