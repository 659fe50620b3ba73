#include "pipeline/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

udump_status udump_model_noise_levels(const udump_model *model, udump_noise_levels *levels, udump_error *error) {
    udump_status status = udump_noise_levels_make(levels, UDUMP_TRAIN_STEPS, model->beta_start, model->beta_end, error);
    levels->is_sdxl = model->family->is_sdxl;
    return !status && model->zero_snr ? udump_noise_levels_rescale(levels, error) : status;
}

udump_status udump_session_create(udump_model *model, udump_session **result, udump_error *error) {
    if (!model || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "session", "a null pointer");
    udump_session *session = calloc(1, sizeof *session);
    if (!session) return udump_fail_memory(error, "session", sizeof *session);
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(model->backend, model->device);
    udump_model_retain(model);
    session->model = model;
    udump_status status = udump_exec_open(&session->x, model->backend, model->device, model->threads, model->compute, error);
    if (!status) status = udump_model_noise_levels(model, &session->levels, error);
    if (status) udump_session_destroy(session);
    else *result = session;
    return status;
}

udump_status udump_session_running(const char *where, udump_error *error) {
    return udump_fail(error, UDUMP_ERROR_STATE, where, "a run is going on in this session");
}

udump_status udump_session_enter(udump_session *session, const char *function, udump_error *error) {
    if (__atomic_exchange_n(&session->inside, true, __ATOMIC_ACQUIRE))
        return udump_fail(error, UDUMP_ERROR_STATE, function,
            "called from a callback of the session's own run, or while another thread uses the session");
    session->before = udump_current_enter(session->model->backend, session->model->device);
    return UDUMP_OK;
}

udump_status udump_session_leave(udump_session *session, udump_status status) {
    udump_current_leave(&session->before);
    __atomic_store_n(&session->inside, false, __ATOMIC_RELEASE);
    return status;
}

void udump_session_destroy(udump_session *session) {
    if (!session) return;
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(session->model->backend, session->model->device);
    udump_session_destroy(session->other);
    udump_run_free(session);
    udump_context_cache_free(&session->contexts);
    udump_noise_levels_free(&session->levels);
    udump_graphs_free(&session->graphs, &session->x);
    udump_ring_free(&session->ring, &session->x);
    udump_exec_close(&session->x);
    udump_exec_close(&session->wide);
    udump_model_release(session->model);
    free(session);
}

udump_status udump_session_set_hook(udump_session *session, int32_t block, udump_hook_fn hook, void *user, udump_error *error) {
    if (!session) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "hook", "a null pointer");
    int32_t blocks = session->model->unet.block_count;
    if (block < -1 || block >= blocks)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "hook", "block %d: the model has %d blocks", (int)block, (int)blocks);
    udump_status status = udump_session_enter(session, "hook", error);
    if (status) return status;
    for (int32_t b = block < 0 ? 0 : block; b < (block < 0 ? blocks : block + 1); b++) session->hooks[b] = (udump_hook){ hook, user };
    return udump_session_leave(session, UDUMP_OK);
}
