/* Prompts to contexts, contexts to a table. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/session.h"
#include "text/prompt.h"

/* The last hidden state of one chunk, on the session's device; sizes the arena first. */
static udump_status encode_ids(udump_session *session, const int32_t *ids, udump_context *context, udump_error *error) {
    udump_exec *x = &session->x;
    udump_exec_begin_dry(x);
    udump_clip_forward(x, &session->model->clip, 1, ids);
    udump_status status = udump_exec_end_dry(x, error);
    if (status) return status;
    udump_download(x, context->values, udump_clip_forward(x, &session->model->clip, 1, ids));
    return udump_exec_status(x, error);
}

udump_status udump_context_encode(udump_session *session, const char *prompt, udump_context **result, udump_error *error) {
    if (!session || !prompt || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "a null pointer");
    if (session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "context", "a run is going on in this session");
    int32_t ids[UDUMP_CLIP_POSITIONS];
    udump_context *context = NULL;
    udump_status status = udump_prompt_encode_ids(prompt, ids, NULL, error);
    if (!status) status = udump_context_create(UDUMP_CLIP_POSITIONS, session->model->clip.width, &context, error);
    session->x.cancel = NULL;
    if (!status) status = encode_ids(session, ids, context, error);
    if (status) udump_context_release(context);
    else *result = context;
    return status;
}

/* The same, with errors that tell which of the two prompts it was. */
static udump_status encode_negative(udump_session *session, const char *prompt, udump_context **context, udump_error *error) {
    udump_status status = udump_context_encode(session, prompt, context, error);
    if (status && error && strcmp(error->where, "prompt") == 0) snprintf(error->where, sizeof error->where, "negative prompt");
    return status;
}

udump_status udump_encode_table(udump_session *session, const char *prompt, const char *negative_prompt, int32_t batch, int32_t rows,
    udump_table **result, udump_error *error) {
    udump_context *cond = NULL, *uncond = NULL;
    udump_table *table = NULL;
    udump_status status = udump_table_create(session->model, rows, &table, error);
    if (!status) status = udump_context_encode(session, prompt, &cond, error);
    if (!status && rows > batch) status = encode_negative(session, negative_prompt, &uncond, error);
    for (int32_t row = 0; !status && row < rows; row++) status = udump_table_set(table, -1, row, row < batch ? cond : uncond, error);
    udump_context_release(cond);
    udump_context_release(uncond);
    if (status) udump_table_free(table);
    else *result = table;
    return status;
}
