#include "capture/conditioning.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* Where a context's tokens begin, giving it a place if it has none. seen[i] is the context that begins at begins[i]. */
static int32_t place_context(udump_conditioning *c, udump_context *context, udump_context **seen, int32_t *begins, int32_t *seen_count) {
    for (int32_t i = 0; i < *seen_count; i++)
        if (seen[i] == context) return begins[i];
    seen[*seen_count] = context;
    begins[*seen_count] = c->tokens;
    c->tokens += context->tokens;
    return begins[(*seen_count)++];
}

static udump_status copy_values(
    udump_conditioning *c, udump_context *const *seen, const int32_t *begins, int32_t seen_count, udump_error *error) {
    size_t dim = (size_t)c->dim, bytes = (size_t)c->tokens * dim * sizeof *c->values;
    c->values = malloc(bytes);
    if (!c->values) return udump_fail_memory(error, "contexts", bytes);
    for (int32_t i = 0; i < seen_count; i++)
        memcpy(c->values + (size_t)begins[i] * dim, seen[i]->values, (size_t)seen[i]->tokens * dim * sizeof *c->values);
    return UDUMP_OK;
}

static udump_status place_all(udump_conditioning *c, const udump_table *table, udump_error *error) {
    int32_t entries = table->blocks * table->rows, seen_count = 0;
    udump_context **seen = malloc((size_t)entries * sizeof(*seen));
    int32_t *begins = malloc((size_t)entries * sizeof *begins);
    udump_status status = seen && begins ? UDUMP_OK : udump_fail_memory(error, "contexts", (size_t)entries * sizeof(*seen));
    for (int32_t i = 0; !status && i < entries; i++) {
        udump_context *context = table->entries[i];
        if (!context) {
            status = udump_fail(
                error, UDUMP_ERROR_ARGUMENT, "table", "block %d, row %d has no context", (int)(i / table->rows), (int)(i % table->rows));
            break;
        }
        c->first[i] = place_context(c, context, seen, begins, &seen_count);
        c->count[i] = context->tokens;
    }
    if (!status) status = copy_values(c, seen, begins, seen_count, error);
    free(seen);
    free(begins);
    return status;
}

udump_status udump_conditioning_create(udump_conditioning *c, const udump_table *table, udump_error *error) {
    const udump_unet *unet = &table->model->unet;
    size_t entries = (size_t)table->blocks * (size_t)table->rows, layers = (size_t)unet->attention_count;
    *c = (udump_conditioning){ .rows = table->rows, .dim = unet->context_dim };
    c->first = malloc(entries * sizeof *c->first);
    c->count = malloc(entries * sizeof *c->count);
    c->kvs = calloc(layers, sizeof *c->kvs);
    c->tensors = calloc(layers, sizeof *c->tensors);
    udump_status status = c->first && c->count && c->kvs && c->tensors
        ? place_all(c, table, error)
        : udump_fail_memory(error, "contexts", 2 * entries * sizeof *c->first);
    if (status) udump_conditioning_free(c);
    return status;
}

void udump_conditioning_free(udump_conditioning *c) {
    free(c->values);
    free(c->first);
    free(c->count);
    free(c->kvs);
    free(c->tensors);
    *c = (udump_conditioning){ 0 };
}

void udump_conditioning_project(udump_conditioning *c, udump_exec *x, const udump_unet *unet) {
    udump_tensor contexts = udump_tensor_new(x, x->compute, 1, c->tokens, 1, c->dim);
    udump_upload(x, contexts, c->values);
    udump_unet_project_contexts(x, unet, contexts, c->tensors);
    for (int32_t a = 0; a < unet->attention_count; a++) {
        int32_t block = unet->attention_blocks[a];
        c->kvs[a] = (udump_kv){ c->tensors[a], c->first + block * c->rows, c->count + block * c->rows };
    }
}
