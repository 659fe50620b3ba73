#include "capture/conditioning.h"

#include <stdlib.h>

#include "base/status.h"

/* The context's index among the distinct ones. */
static int32_t place_context(udump_conditioning *c, udump_context *context) {
    for (int32_t i = 0; i < c->context_count; i++)
        if (c->contexts[i] == context) return i;
    udump_context_retain(context);
    c->contexts[c->context_count] = context;
    c->begins[c->context_count] = c->tokens;
    c->tokens += context->tokens;
    return c->context_count++;
}

static udump_status place_all(udump_conditioning *c, const udump_table *table, int32_t at, udump_error *error) {
    for (int32_t i = 0; i < c->blocks * c->rows; i++, at++) {
        udump_context *context = table->entries[i];
        if (!context)
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "block %s, row %d has no context",
                udump_block_name(table->model, i / c->rows), (int)(i % c->rows));
        c->which[at] = place_context(c, context);
        c->first[at] = c->begins[c->which[at]];
        c->count[at] = context->tokens;
    }
    return UDUMP_OK;
}

udump_status udump_conditioning_create(
    udump_conditioning *c, int32_t table_count, udump_table *const *tables, const int32_t *until, udump_error *error) {
    const udump_unet *unet = &tables[0]->model->unet;
    *c = (udump_conditioning){ .blocks = tables[0]->blocks, .rows = tables[0]->rows, .dim = unet->context_dim, .table_count = table_count };
    size_t own = (size_t)c->blocks * (size_t)c->rows, entries = own * (size_t)table_count, layers = (size_t)unet->attention_count;
    c->contexts = malloc(entries * sizeof(*c->contexts));
    c->begins = malloc(entries * sizeof *c->begins);
    c->until = malloc((size_t)table_count * sizeof *c->until);
    c->which = malloc(entries * sizeof *c->which);
    c->first = malloc(entries * sizeof *c->first);
    c->count = malloc(entries * sizeof *c->count);
    c->kvs = calloc(layers, sizeof *c->kvs);
    c->tensors = calloc(layers, sizeof *c->tensors);
    bool there = c->contexts && c->begins && c->until && c->which && c->first && c->count && c->kvs && c->tensors;
    udump_status status = there ? UDUMP_OK : udump_fail_memory(error, "contexts", entries * sizeof(*c->contexts));
    for (int32_t i = 0; !status && i < table_count; i++) {
        c->until[i] = until[i];
        status = place_all(c, tables[i], i * (int32_t)own, error);
    }
    if (status) udump_conditioning_free(c);
    return status;
}

void udump_conditioning_free(udump_conditioning *c) {
    for (int32_t i = 0; i < c->context_count; i++) udump_context_release(c->contexts[i]);
    free(c->contexts);
    free(c->begins);
    free(c->until);
    free(c->which);
    free(c->first);
    free(c->count);
    free(c->kvs);
    free(c->tensors);
    *c = (udump_conditioning){ 0 };
}

/* The tables' indices to the arena, and K and V with the places where those that hold will stand. */
static void place_tables(udump_conditioning *c, udump_exec *x, const udump_unet *unet) {
    int32_t own = c->blocks * c->rows;
    c->firsts = udump_tensor_new(x, UDUMP_F32, c->table_count, 1, 1, own); /* of as many bytes as int32 */
    c->counts = udump_tensor_new(x, UDUMP_F32, c->table_count, 1, 1, own);
    c->first_now = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, own);
    c->count_now = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, own);
    c->selected = -1;
    for (int32_t a = 0; a < unet->attention_count; a++) c->kvs[a] = (udump_kv){ .kv = c->tensors[a] };
    if (x->dry || udump_exec_stopped(x)) return;
    x->backend->write(x, udump_tensor_data(x, c->firsts), c->first, udump_tensor_bytes(c->firsts));
    x->backend->write(x, udump_tensor_data(x, c->counts), c->count, udump_tensor_bytes(c->counts));
    for (int32_t a = 0; a < unet->attention_count; a++) {
        int32_t at = udump_conditioning_entry(c, 0, unet->attention_blocks[a], 0);
        c->kvs[a].first = (const int32_t *)udump_tensor_data(x, c->first_now) + at;
        c->kvs[a].count = (const int32_t *)udump_tensor_data(x, c->count_now) + at;
    }
}

void udump_conditioning_project(udump_conditioning *c, udump_exec *x, const udump_unet *unet) {
    udump_tensor contexts = udump_tensor_new(x, x->compute, 1, c->tokens, 1, c->dim);
    for (int32_t i = 0; i < c->context_count; i++) {
        udump_tensor own = contexts;
        own.offset_bytes += (size_t)c->begins[i] * (size_t)c->dim * udump_dtype_bytes(contexts.dtype);
        own.h = c->contexts[i]->tokens;
        udump_upload(x, own, c->contexts[i]->values);
    }
    udump_unet_project_contexts(x, unet, contexts, c->tensors);
    place_tables(c, x, unet);
    udump_conditioning_select(c, x, 1);
}

udump_tensor udump_conditioning_upload_pooled(const udump_conditioning *c, udump_exec *x, int32_t dim) {
    udump_tensor pooled = udump_tensor_new(x, x->compute, c->context_count, 1, 1, dim);
    for (int32_t i = 0; i < c->context_count; i++) udump_upload(x, udump_tensor_rows(pooled, i, 1), c->contexts[i]->pooled);
    return pooled;
}

int32_t udump_conditioning_table(const udump_conditioning *c, int32_t step) {
    int32_t table = 0;
    while (table + 1 < c->table_count && c->until[table] < step) table++;
    return table;
}

int32_t udump_conditioning_entry(const udump_conditioning *c, int32_t table, int32_t block, int32_t row) {
    return (table * c->blocks + block) * c->rows + row;
}

void udump_conditioning_select(udump_conditioning *c, udump_exec *x, int32_t step) {
    int32_t table = udump_conditioning_table(c, step);
    if (x->dry || udump_exec_stopped(x) || table == c->selected) return;
    size_t bytes = udump_tensor_bytes(c->first_now);
    x->backend->copy(x, udump_tensor_data(x, c->first_now), udump_tensor_data(x, udump_tensor_rows(c->firsts, table, 1)), bytes);
    x->backend->copy(x, udump_tensor_data(x, c->count_now), udump_tensor_data(x, udump_tensor_rows(c->counts, table, 1)), bytes);
    c->selected = table;
}
