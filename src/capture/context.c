#include "capture/context.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

enum { TOKENS_MOST = 1 << 20 };

udump_status udump_context_create(
    int32_t tokens, int32_t dim, const char *text, const udump_column *columns, udump_context **result, udump_error *error) {
    size_t bytes = (size_t)tokens * (size_t)dim * sizeof(float), columns_bytes = (size_t)tokens * sizeof *columns;
    udump_context *context = calloc(1, sizeof *context);
    if (!context) return udump_fail_memory(error, "context", sizeof *context);
    atomic_init(&context->references, 1);
    context->tokens = tokens;
    context->dim = dim;
    context->values = malloc(bytes);
    context->text = text ? strdup(text) : NULL;
    context->columns = columns ? malloc(columns_bytes) : NULL;
    if (!context->values || !context->text != !text || !context->columns != !columns) {
        udump_context_release(context);
        return udump_fail_memory(error, "context", bytes + columns_bytes);
    }
    if (columns) memcpy(context->columns, columns, columns_bytes);
    *result = context;
    return UDUMP_OK;
}

udump_status udump_context_add_pooled(udump_context *context, int32_t dim, udump_error *error) {
    context->pooled = calloc((size_t)dim, sizeof *context->pooled);
    if (!context->pooled) return udump_fail_memory(error, "context", (size_t)dim * sizeof *context->pooled);
    context->pooled_dim = dim;
    return UDUMP_OK;
}

udump_status udump_context_pad(const udump_context *from, int32_t tokens, udump_context **result, udump_error *error) {
    udump_column *columns = malloc((size_t)tokens * sizeof *columns);
    if (!columns) return udump_fail_memory(error, "context", (size_t)tokens * sizeof *columns);
    for (int32_t t = 0; t < tokens; t++) columns[t] = from->columns[t < from->tokens ? t : from->tokens - 1];
    udump_context *context = NULL;
    udump_status status = udump_context_create(tokens, from->dim, from->text, columns, &context, error);
    free(columns);
    if (!status && from->pooled) status = udump_context_add_pooled(context, from->pooled_dim, error);
    if (status) return udump_context_release(context), status;
    size_t dim = (size_t)from->dim;
    for (int32_t t = 0; t < tokens; t++)
        memcpy(context->values + (size_t)t * dim, from->values + (size_t)(t < from->tokens ? t : from->tokens - 1) * dim, dim * sizeof *from->values);
    if (from->pooled) memcpy(context->pooled, from->pooled, (size_t)from->pooled_dim * sizeof *from->pooled);
    context->padded = true;
    *result = context;
    return UDUMP_OK;
}

udump_status udump_context_clear(udump_context *context, int32_t pooled_dim, udump_error *error) {
    memset(context->values, 0, (size_t)context->tokens * (size_t)context->dim * sizeof *context->values);
    context->zero = true;
    return pooled_dim ? udump_context_add_pooled(context, pooled_dim, error) : UDUMP_OK;
}

/* shape: what is expected, in words. */
static udump_status refuse_shape(const char *where, const udump_view *tensor, const char *shape, udump_error *error) {
    char found[64];
    udump_shape_format(found, sizeof found, tensor->rank, tensor->shape);
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, where, "tensor has the wrong shape", shape, found);
}

/* values: [the tensor's count]. */
static udump_status read_finite(const char *where, const udump_view *tensor, float *values, udump_error *error) {
    udump_view_read_f32(tensor, values);
    size_t count = (size_t)udump_view_count(tensor);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "value %zu is not finite", i);
    return UDUMP_OK;
}

udump_status udump_context_from_tensor(udump_model *model, const udump_view *tensor, udump_context **result, udump_error *error) {
    if (!model || !tensor || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "a null pointer");
    if (!udump_view_valid(tensor)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "not a valid tensor");
    if (tensor->rank != 2 || tensor->shape[0] < 1 || tensor->shape[0] > TOKENS_MOST || tensor->shape[1] != model->unet.context_dim) {
        char expected[96];
        snprintf(expected, sizeof expected, "[tokens, %d] with 1 to %d tokens", (int)model->unet.context_dim, TOKENS_MOST);
        return refuse_shape("context", tensor, expected, error);
    }
    udump_context *context = NULL;
    udump_status status = udump_context_create((int32_t)tensor->shape[0], model->unet.context_dim, NULL, NULL, &context, error);
    if (!status && model->pooled_dim) status = udump_context_add_pooled(context, model->pooled_dim, error);
    if (!status) status = read_finite("context", tensor, context->values, error);
    if (status) return udump_context_release(context), status;
    *result = context;
    return UDUMP_OK;
}

udump_status udump_context_replace(const udump_context *from, const udump_view *tensor, udump_context **result, udump_error *error) {
    if (!from || !tensor || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "a null pointer");
    if (!udump_view_valid(tensor)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "not a valid tensor");
    if (tensor->rank != 2 || tensor->shape[0] != from->tokens || tensor->shape[1] != from->dim) {
        char expected[64];
        udump_shape_format(expected, sizeof expected, 2, (int64_t[]){ from->tokens, from->dim });
        return refuse_shape("context", tensor, expected, error);
    }
    udump_context *context = NULL;
    udump_status status = udump_context_create(from->tokens, from->dim, from->text, from->columns, &context, error);
    if (!status && from->pooled) status = udump_context_add_pooled(context, from->pooled_dim, error);
    if (!status) status = read_finite("context", tensor, context->values, error);
    if (status) return udump_context_release(context), status;
    if (from->pooled) memcpy(context->pooled, from->pooled, (size_t)from->pooled_dim * sizeof *from->pooled);
    *result = context;
    return UDUMP_OK;
}

udump_status udump_context_set_pooled(udump_context *context, const udump_view *tensor, udump_error *error) {
    if (!context || !tensor || !udump_view_valid(tensor))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "pooled vector", "not a valid tensor");
    if (!context->pooled) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "pooled vector", "the model reads none");
    if (tensor->rank != 1 || tensor->shape[0] != context->pooled_dim) {
        char expected[64];
        udump_shape_format(expected, sizeof expected, 1, &(int64_t){ context->pooled_dim });
        return refuse_shape("pooled vector", tensor, expected, error);
    }
    size_t bytes = (size_t)context->pooled_dim * sizeof *context->pooled;
    float *values = malloc(bytes);
    if (!values) return udump_fail_memory(error, "pooled vector", bytes);
    udump_status status = read_finite("pooled vector", tensor, values, error);
    if (!status) memcpy(context->pooled, values, bytes);
    free(values);
    return status;
}

int32_t udump_context_get_pooled(const udump_context *context, udump_view *view) {
    *view = udump_view_make(context->pooled, UDUMP_F32, 1, &(int64_t){ context->pooled_dim });
    return context->pooled != NULL;
}

const char *udump_context_text(const udump_context *context) { return context->text; }
const udump_column *udump_context_columns(const udump_context *context) { return context->columns; }

void udump_context_get_view(const udump_context *context, udump_view *view) {
    *view = udump_view_make(context->values, UDUMP_F32, 2, (int64_t[]){ context->tokens, context->dim });
}

void udump_context_retain(udump_context *context) { atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed); }

void udump_context_release(udump_context *context) {
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1) return;
    free(context->values);
    free(context->pooled);
    free(context->text);
    free(context->columns);
    free(context);
}
