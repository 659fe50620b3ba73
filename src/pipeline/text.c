#include "pipeline/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "text/merges.h"

/* The webui's "Original" emphasis: multiply each token's encoding by its weight, then bring the chunk's mean back to what it was. A mean
 * that is 0 but for rounding (a final norm without bias makes it so) says nothing: then the products stay as they are. */
static void emphasise(float *values, const float *weights, size_t tokens, size_t dim) {
    double before = 0, after = 0, magnitude = 0;
    bool plain = true;
    for (size_t t = 0; t < tokens; t++) plain &= weights[t] == 1.0f;
    if (plain) return;
    for (size_t i = 0; i < tokens * dim; i++) {
        before += (double)values[i];
        magnitude += fabs((double)values[i]);
        values[i] *= weights[i / dim];
        after += (double)values[i];
    }
    if (fabs(before) <= 1e-6 * magnitude || after == 0) return;
    for (size_t i = 0; i < tokens * dim; i++) values[i] *= (float)(before / after);
}

/* The chunks' ids with the encoder's own padding after each one's first end token. */
static void pad(const udump_chunks *chunks, int32_t padding, int32_t *ids) {
    for (int32_t chunk = 0; chunk < chunks->count; chunk++) {
        bool ended = false;
        for (int32_t i = chunk * UDUMP_CHUNK_TOKENS; i < (chunk + 1) * UDUMP_CHUNK_TOKENS; i++) {
            ids[i] = ended ? padding : chunks->ids[i];
            ended |= chunks->ids[i] == UDUMP_CLIP_END;
        }
    }
}

/* One encoder's ids and values. */
struct encoding {
    const udump_chunks *chunks;
    int32_t skip;
    int32_t *ids;  /* [chunks, 77] */
    float *values; /* [chunks, 77, width] */
};

/* values, and the pooled vector of an encoder that makes one. */
static udump_status encode_one(
    udump_session *session, const udump_clip *clip, const struct encoding *e, udump_context *context, udump_error *error) {
    udump_exec *x = &session->x;
    udump_tensor pooled, *wanted = context->pooled ? &pooled : NULL;
    size_t chunk_values = (size_t)UDUMP_CHUNK_TOKENS * (size_t)clip->width;
    pad(e->chunks, clip->pad, e->ids);
    udump_exec_begin_dry(x);
    udump_clip_forward(x, clip, e->chunks->count, e->ids, e->skip, wanted);
    udump_status status = udump_exec_end_dry(x, error);
    if (status) return status;
    udump_download(x, e->values, udump_clip_forward(x, clip, e->chunks->count, e->ids, e->skip, wanted));
    if (wanted && clip->projection.packed) udump_download(x, context->pooled, pooled);
    for (int32_t i = 0; i < e->chunks->count; i++)
        emphasise(e->values + (size_t)i * chunk_values, e->chunks->weights + i * UDUMP_CHUNK_TOKENS, UDUMP_CHUNK_TOKENS, (size_t)clip->width);
    return udump_exec_status(x, error);
}

int32_t udump_text_width(const udump_model *model) {
    int32_t width = 0;
    for (int32_t i = 0; i < model->family->text_count; i++) width += model->clips[i].width;
    return width;
}

udump_status udump_text_encode(
    udump_session *session, const udump_chunks *chunks, int32_t skip, udump_context *context, udump_error *error) {
    const udump_model *model = session->model;
    size_t tokens = (size_t)context->tokens, dim = (size_t)context->dim, column = 0;
    struct encoding e = { .chunks = chunks, .skip = model->family->clip_skip ? skip : 0 };
    e.ids = malloc(tokens * sizeof *e.ids);
    e.values = malloc(tokens * dim * sizeof *e.values);
    udump_status status = e.ids && e.values ? UDUMP_OK : udump_fail_memory(error, "context", tokens * dim * sizeof *e.values);
    if (!status && model->pooled_dim) status = udump_context_add_pooled(context, model->pooled_dim, error);
    for (int32_t i = 0; !status && i < model->family->text_count; i++) {
        size_t width = (size_t)model->clips[i].width;
        status = encode_one(session, &model->clips[i], &e, context, error);
        for (size_t t = 0; !status && t < tokens; t++)
            memcpy(context->values + t * dim + column, e.values + t * width, width * sizeof *e.values);
        for (size_t t = 0; i == 0 && context->columns && t < tokens; t++) context->columns[t].id = e.ids[t];
        column += width;
    }
    free(e.ids);
    free(e.values);
    return status;
}
