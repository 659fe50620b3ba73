/* Batches of a sweep: what is not there is made, and each cell's record is written when its files are. */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "output/budget.h"
#include "output/json.h"
#include "output/name.h"
#include "output/npy.h"
#include "output/png.h"
#include "pipeline/sweep.h"
#include "pipeline/sweep_record.h"

enum { CELL_FILES = 3, SUMMARY_FILES = 5 };

/* A call of udump_sweep_run, and the batch that it is at. */
struct making {
    udump_sweep *sweep;
    const char *folder;
    const udump_sweep_observer *observer;
    udump_sweep_progress progress;
    bool *whole; /* [made cells of the sweep] */
    int32_t missing; /* of this call's: equal ones once */

    const udump_sweep_batch *batch;
    float *latents;              /* [rows, h, w, c] */
    int64_t shape[3];            /* c, h, w */
    udump_sweep_record *records; /* [rows] */
    udump_error error;           /* of a callback; status UDUMP_OK until then */
};

static int32_t rows_of(const udump_sweep_batch *batch) { return batch->count + batch->base_beside; }

/* What a row makes; -1: the base beside, whose files another batch writes. */
static int32_t made_of(const udump_sweep_batch *batch, int32_t row) {
    return batch->base_beside && row == 0 ? -1 : batch->first + row - batch->base_beside;
}

static const udump_sweep_plan_cell *cell_of(const udump_sweep *sweep, int32_t made) { return &sweep->plan.cells[sweep->made[made].cell]; }

static const char *prompt_of(const udump_sweep *sweep, const udump_sweep_batch *batch, int32_t row) {
    int32_t made = made_of(batch, row);
    return made < 0 ? sweep->plan.cells[cell_of(sweep, batch->first)->base].prompt : cell_of(sweep, made)->prompt;
}

static udump_flow answer(struct making *m, udump_status status) {
    if (status) m->error.status = status;
    return status ? UDUMP_STOP : UDUMP_CONTINUE;
}

/* Saves bytes, which it frees, and notes their hash. */
static udump_status save(struct making *m, const char *key, const char *suffix, udump_bytes bytes, char hash[UDUMP_DIGEST_TEXT]) {
    char *path = udump_sweep_file(m->folder, key, suffix);
    udump_status status = path ? udump_file_save(path, bytes.data, bytes.size, &m->error) : udump_fail_memory(&m->error, m->folder, 0);
    udump_digest_of(bytes.data, bytes.size, hash);
    free(path);
    free(bytes.data);
    return status;
}

static udump_status save_latent(struct making *m, const char *key, int32_t row, char hash[UDUMP_DIGEST_TEXT]) {
    int64_t c = m->shape[0], w = m->shape[2];
    udump_view view = udump_view_make(m->latents + row * c * m->shape[1] * w, UDUMP_F32, 3, m->shape);
    view.stride[0] = 1; /* channels last */
    view.stride[1] = w * c;
    view.stride[2] = c;
    udump_bytes bytes;
    udump_status status = udump_npy_encode(&view, &bytes, &m->error);
    return status ? status : save(m, key, ".npy", bytes, hash);
}

static udump_status save_cell(struct making *m, int32_t made, int32_t row, const udump_picture *picture, const char *infotext) {
    const char *key = cell_of(m->sweep, made)->key;
    udump_sweep_record *record = &m->records[row];
    char *identity = NULL;
    udump_bytes bytes;
    udump_status status = udump_png_encode(picture, infotext, &bytes, &m->error);
    if (!status) status = save(m, key, ".png", bytes, record->picture);
    if (!status) status = save_latent(m, key, row, record->latent);
    if (!status) status = udump_sweep_identify(m->sweep, m->sweep->made[made].cell, &identity, &m->error);
    if (!status) status = udump_sweep_record_write(m->folder, key, identity, record, &m->error);
    record->blocks = status ? record->blocks : NULL; /* written, it is gone */
    free(identity);
    if (!status) m->whole[made] = true;
    if (!status) m->progress.cells_done += m->sweep->made[made].equal;
    return status;
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    struct making *m = user;
    int32_t made = made_of(m->batch, image);
    (void)variant;
    return made < 0 || m->whole[made] ? UDUMP_CONTINUE : answer(m, save_cell(m, made, image, picture, infotext));
}

static udump_flow on_diff(void *user, const udump_place *place, const udump_diff_norms *norms) {
    struct making *m = user;
    udump_sweep_record *record = &m->records[place->image];
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "block", place->block);
    udump_json_put_integer(&json, "step", place->step);
    udump_json_put_text(&json, "side", udump_side_name(place->side));
    if (place->part) udump_json_put_integer(&json, "part", place->part);
    udump_json_put_real(&json, "l2", norms->l2);
    udump_json_put_real(&json, "relative_l2", norms->relative_l2);
    udump_json_put_real(&json, "max", norms->max);
    udump_json_put_real(&json, "cosine", norms->cosine);
    if (!record->blocks) record->blocks = json_array();
    bool added = !json.failed && json_array_append(record->blocks, json.object) == 0;
    json_decref(json.object);
    return answer(m, added ? UDUMP_OK : udump_fail_memory(&m->error, "sweep", 0));
}

static udump_flow on_progress(void *user, const udump_progress *progress) {
    struct making *m = user;
    m->progress.run = *progress;
    return m->observer->progress ? m->observer->progress(m->observer->user, &m->progress) : UDUMP_CONTINUE;
}

/* Between batches, where no run passes on what the observer answers. */
static udump_status tell(const struct making *m, udump_error *error) {
    const udump_sweep_observer *observer = m->observer;
    if (!observer->progress || observer->progress(observer->user, &m->progress) != UDUMP_STOP) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_CANCELLED, "", "stopped by a callback");
}

/* Copies what sampling came to; decoding follows. */
static udump_status take_latents(struct making *m, udump_error *error) {
    udump_view view;
    udump_status status = udump_latent_view(m->sweep->session, &view, error);
    if (status) return status;
    size_t bytes = (size_t)udump_view_count(&view) * sizeof(float);
    m->latents = malloc(bytes);
    if (!m->latents) return udump_fail_memory(error, "sweep", bytes);
    memcpy(m->latents, view.data, bytes);
    memcpy(m->shape, (int64_t[]){ view.shape[3], view.shape[1], view.shape[2] }, sizeof m->shape);
    return UDUMP_OK;
}

/* Which of the batch's rows differ from the first is for the session to know: they are the variants of one image. */
static udump_status sample(struct making *m, const udump_generate_options *options, udump_error *error) {
    udump_session *session = m->sweep->session;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = m, .image = on_image, .diff = on_diff, .progress = on_progress };
    udump_status status = udump_begin(session, options, NULL, &sink, error);
    if (status) return status;
    int32_t remaining = session->run.sampling.steps;
    while (!status && remaining > 0) status = udump_step(session, &remaining, error);
    if (!status) status = take_latents(m, error);
    if (!status) return udump_end(session, 1, error);
    udump_end(session, 0, NULL);
    return status;
}

static udump_status run_prompts(struct making *m, const char **prompts, udump_error *error) {
    udump_sweep *sweep = m->sweep;
    udump_generate_options options = sweep->base;
    options.prompt = prompts[0];
    options.seed = sweep->plan.seeds[cell_of(sweep, m->batch->first)->seed];
    options.no_canvas = 1;
    sweep->session->swept = prompts;
    sweep->session->swept_count = rows_of(m->batch);
    udump_status status = sample(m, &options, error);
    sweep->session->swept = NULL;
    if (m->error.status && error) *error = m->error; /* the cause of what only says that it was stopped */
    return m->error.status ? m->error.status : status;
}

static udump_status run_batch(struct making *m, udump_error *error) {
    size_t rows = (size_t)rows_of(m->batch);
    const char **prompts = malloc(rows * sizeof(*prompts));
    m->records = calloc(rows, sizeof *m->records);
    m->latents = NULL;
    m->error.status = UDUMP_OK;
    udump_status status = prompts && m->records ? UDUMP_OK : udump_fail_memory(error, "sweep", rows * sizeof *m->records);
    for (size_t row = 0; prompts && row < rows; row++) prompts[row] = prompt_of(m->sweep, m->batch, (int32_t)row);
    if (!status) status = udump_sweep_take_model(m->sweep, m->batch->weight, m->batch->blocks, error);
    if (!status) status = run_prompts(m, prompts, error);
    for (size_t row = 0; m->records && row < rows; row++) json_decref(m->records[row].blocks);
    free(m->records);
    free(m->latents);
    free(prompts);
    return status;
}

/* What shards write is the same: whoever comes first or last. */
static udump_status write_plan(const struct making *m, udump_error *error) {
    udump_text text = { 0 };
    udump_bytes found = { 0 };
    char *path = udump_file_join(m->folder, "sweep.json");
    udump_status status = path && udump_sweep_plan_write(&m->sweep->plan, &text) ? UDUMP_OK : udump_fail_memory(error, m->folder, text.size);
    if (!status) status = udump_sweep_read_file(path, UDUMP_SWEEP_PLAN_BYTES_MOST, &found, error);
    bool same = found.data && found.size == text.size && memcmp(found.data, text.data, text.size) == 0;
    if (!status && !same) status = udump_file_save(path, text.data, text.size, error);
    free(found.data);
    free(text.data);
    free(path);
    return status;
}

static udump_status find_whole(struct making *m, int32_t first, int32_t end, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t made = first; !status && made < end; made++) {
        int32_t equal = m->sweep->made[made].equal;
        status = udump_sweep_record_read(m->folder, cell_of(m->sweep, made)->key, &m->whole[made], NULL, error);
        m->progress.cells += equal;
        m->progress.cells_there += m->whole[made] ? equal : 0;
        m->missing += !m->whole[made];
    }
    m->progress.cells_done = m->progress.cells_there;
    return status;
}

/* Pictures, latents and records of what is missing, and the sheet, which is smaller than all pictures. */
static udump_status check_budget(const struct making *m, udump_error *error) {
    const udump_sweep_plan *plan = &m->sweep->plan;
    int64_t missing = m->missing, area = (int64_t)plan->width_px * plan->height_px,
            latent = area / (UDUMP_PIXELS_PER_LATENT * UDUMP_PIXELS_PER_LATENT) * m->sweep->model->unet.latent_channels;
    const udump_run_info info = { .picture_count = missing * (CELL_FILES - 1) + SUMMARY_FILES, .picture_bytes = (missing + plan->cell_count) * area * 3,
        .tensor_count = missing, .tensor_bytes = missing * latent * (int64_t)sizeof(float) };
    return m->sweep->force ? UDUMP_OK : udump_budget_check(m->folder, &info, UDUMP_DUMP_NPY, error);
}

static udump_status prepare(struct making *m, int32_t first, int32_t end, udump_error *error) {
    char *cells = udump_file_join(m->folder, "cells");
    udump_status status = cells ? udump_file_make_folder(cells, error) : udump_fail_memory(error, m->folder, 0);
    free(cells);
    m->whole = calloc((size_t)m->sweep->made_count, sizeof *m->whole);
    if (!status && !m->whole) status = udump_fail_memory(error, "sweep", (size_t)m->sweep->made_count);
    if (!status) status = find_whole(m, first, end, error);
    if (!status) status = check_budget(m, error);
    return status ? status : write_plan(m, error);
}

static udump_status make_missing(struct making *m, int32_t first, int32_t count, udump_error *error) {
    const udump_generate_options *base = &m->sweep->base;
    udump_status status = tell(m, error);
    for (int32_t i = first; !status && i < first + count; i++) {
        bool missing = false;
        m->batch = &m->sweep->batches[i];
        for (int32_t made = m->batch->first; made < m->batch->first + m->batch->count; made++) missing |= !m->whole[made];
        if (missing && base->cancel && base->cancel->raised) return udump_fail(error, UDUMP_ERROR_CANCELLED, "", "cancelled");
        if (missing) status = run_batch(m, error);
        if (missing && !status) status = tell(m, error);
    }
    return status;
}

udump_status udump_sweep_run(
    udump_sweep *sweep, const char *folder, int32_t first, int32_t count, const udump_sweep_observer *observer, udump_error *error) {
    if (!sweep || !folder || !*folder) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "a sweep and a folder are needed");
    udump_sweep_observer known;
    udump_status status = udump_options_take(&known, sizeof known, observer, "observer", error);
    if (status) return status;
    if (first < 0 || count < 0 || count > sweep->batch_count - first)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "no %d batches from %d on: there are %d", (int)count, (int)first, (int)sweep->batch_count);
    struct making making = { .sweep = sweep, .folder = folder, .observer = &known };
    int32_t begin = first < sweep->batch_count ? sweep->batches[first].first : 0, end = begin;
    for (int32_t i = first; i < first + count; i++) end = sweep->batches[i].first + sweep->batches[i].count;
    status = prepare(&making, begin, end, error);
    if (!status) status = make_missing(&making, first, count, error);
    free(making.whole);
    return status;
}
