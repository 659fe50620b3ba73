/* Two models in step: a diff between them. The other one has a session of its own, inside; both run the same options, one step after the
 * other, and a block's difference is taken when the second of the two comes to it. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/session.h"

static udump_status refuse(udump_error *error, const char *what, const char *expected, const char *found) {
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "other model", what, expected, found);
}

static udump_status check_number(const char *what, int32_t expected, int32_t found, udump_error *error) {
    char before[32], text[32];
    snprintf(before, sizeof before, "%d", (int)expected);
    snprintf(text, sizeof text, "%d", (int)found);
    return expected == found ? UDUMP_OK : refuse(error, what, before, text);
}

/* Whether the two can be compared block by block, on one device and from one noise. */
static udump_status check_models(const udump_model *a, const udump_model *b, udump_error *error) {
    const udump_unet *x = &a->unet, *y = &b->unet;
    udump_status status = check_number("it has another number of blocks", x->block_count, y->block_count, error);
    if (!status) status = check_number("its contexts have another width", x->context_dim, y->context_dim, error);
    if (!status) status = check_number("its pooled vectors have another width", a->pooled_dim, b->pooled_dim, error);
    if (!status) status = check_number("it has another number of latent channels", x->latent_channels, y->latent_channels, error);
    if (!status && (a->beta_start != b->beta_start || a->beta_end != b->beta_end || a->zero_snr != b->zero_snr))
        status = refuse(error, "it has other noise levels", NULL, NULL);
    if (!status && (a->backend != b->backend || a->compute != b->compute)) status = refuse(error, "it is on another device, or of another precision", NULL, NULL);
    for (int32_t i = 0; !status && i < x->block_count; i++) {
        if (strcmp(x->blocks[i].name, y->blocks[i].name) != 0 || x->blocks[i].depth != y->blocks[i].depth)
            status = refuse(error, "its blocks are others", x->blocks[i].name, y->blocks[i].name);
        else if (x->blocks[i].channels != y->blocks[i].channels)
            status = check_number("a block has another number of channels", x->blocks[i].channels, y->blocks[i].channels, error);
    }
    return status;
}

static udump_status set_other(udump_session *session, udump_model *model, udump_error *error) {
    if (session->run.active) return udump_session_running("other model", error);
    udump_session *other = NULL;
    udump_status status = model ? check_models(session->model, model, error) : UDUMP_OK;
    if (!status && model) status = udump_session_create(model, &other, error);
    if (status) return status;
    udump_session_destroy(session->other);
    session->other = other;
    return UDUMP_OK;
}

udump_status udump_session_set_other(udump_session *session, udump_model *model, udump_error *error) {
    if (!session) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "other model", "a null pointer");
    udump_status status = udump_session_enter(session, "other model", error);
    return status ? status : udump_session_leave(session, set_other(session, model, error));
}

udump_status udump_pair_create(udump_session *session, const udump_generate_options *options, udump_error *error) {
    udump_session *other = session->other;
    udump_look *looks[2] = { &session->run.look, &other->run.look };
    udump_status status = UDUMP_OK;
    for (int i = 0; i < 2 && !status; i++) {
        const udump_session *own = i ? other : session;
        udump_selection_free(&looks[i]->diff);
        status = udump_selection_create(
            &looks[i]->diff, own->model, "diff", options->diff, options->diff_steps, own->run.sampling.evaluation_count, error);
        looks[i]->kept = &session->run.kept;
    }
    looks[1]->is_other = true;
    session->run.paired = true;
    return status;
}
