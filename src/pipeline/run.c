/* One run: begin, step, end. The same straight code sizes the arena in a dry pass and then runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "pipeline/session.h"

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* What a callback that says stop leads to. */
static udump_status stopped(udump_error *error) { return udump_fail(error, UDUMP_ERROR_CANCELLED, "", "stopped by a callback"); }

/* The hook sees the host's memory: the arena's own, or a copy that goes back. */
static void call_hook(udump_session *session, const udump_tapped *tapped) {
    const udump_evaluation *now = session->run.now;
    const udump_hook *hook = &session->hooks[tapped->index];
    udump_exec *x = &session->x;
    udump_tensor out = tapped->out;
    void *data = udump_tensor_data(x, out), *seen = x->backend->host_memory ? data : session->run.hooked;
    if (seen != data) x->backend->read(x, seen, data, udump_tensor_bytes(out));
    if (udump_exec_stopped(x)) return;
    udump_view view = udump_view_make(seen, out.dtype, 4, (int64_t[]){ out.n, out.h, out.w, out.c });
    udump_place place = { .image = -1, .block = session->model->unet.blocks[tapped->index].name, .block_index = tapped->index,
        .step = now->index + 1, .sampler_step = now->step + 1, .sigma = now->sigma, .timestep = now->timestep, .side = UDUMP_SIDE_BOTH,
        .context = -1 };
    if (hook->call(hook->user, &place, &view) == UDUMP_STOP) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "stopped by a hook");
    else if (seen != data) x->backend->write(x, data, seen, udump_tensor_bytes(out));
}

/* Room for the largest block's output, where hooks need a copy. */
static void reserve_hooked(udump_session *session, udump_tensor out) {
    udump_run *run = &session->run;
    size_t bytes = udump_tensor_bytes(out);
    if (session->x.backend->host_memory || bytes <= run->hooked_bytes) return;
    void *grown = realloc(run->hooked, bytes);
    if (!grown) {
        udump_exec_fail(&session->x, UDUMP_ERROR_MEMORY, "hook", "out of memory: %zu bytes", bytes);
        return;
    }
    run->hooked = grown;
    run->hooked_bytes = bytes;
}

/* First whoever may change the tensor, then whoever looks at it. */
static void on_tap(void *user, udump_exec *x, const udump_tapped *tapped) {
    udump_session *session = user;
    bool hooked = tapped->kind == UDUMP_TAP_BLOCK && session->hooks[tapped->index].call;
    if (hooked && x->dry) reserve_hooked(session, tapped->out);
    else if (hooked) call_hook(session, tapped);
    if (!udump_exec_stopped(x)) udump_look_at(&session->run.look, x, tapped, session->run.now);
}

/* v (Salimans and Ho 2022) to eps, with the scaled latent the U-Net saw: eps = (v + sigma * scaled) / sqrt(sigma^2 + 1). */
static void convert_prediction(udump_session *session, const udump_evaluation *evaluation) {
    if (session->model->prediction != UDUMP_PREDICTION_V) return;
    float norm = (float)(1 / sqrt(1 + evaluation->sigma * evaluation->sigma));
    udump_run *run = &session->run;
    udump_into_linear_combination(
        &session->x, run->eps, 2, (udump_tensor[]){ run->eps, run->scaled }, (float[]){ norm, norm * (float)evaluation->sigma });
}

/* Which pooled vector each row of the batch takes in each block; NULL in families without. */
static const int32_t *pooled_now(const udump_session *session) {
    const udump_conditioning *c = &session->run.conditioning;
    if (!session->model->pooled_dim) return NULL;
    return c->which + udump_conditioning_entry(c, udump_conditioning_table(c, session->run.now->prompt_step), 0, 0);
}

static udump_tensor predict_eps(void *user, udump_tensor latent, const udump_evaluation *evaluation) {
    udump_session *session = user;
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    run->now = evaluation;
    udump_conditioning_select(&run->conditioning, &session->model->unet, evaluation->prompt_step);
    udump_into_linear_combination(x, run->scaled, 1, &latent, &(float){ (float)evaluation->input_scale });
    for (int32_t row = 0; row < run->sizes.rows; row += run->sizes.latents)
        udump_into_convert(x, udump_tensor_rows(run->unet_in, row, run->sizes.latents), run->scaled);
    udump_unet_forward(x, &session->model->unet, run->unet_out, run->unet_in, &(udump_unet_inputs){ .kvs = run->conditioning.kvs,
        .times = run->times, .evaluation = evaluation->index, .vectors = run->vectors, .which = pooled_now(session) });
    if (run->sizes.sides > 1) udump_into_cfg_combine(x, run->eps, run->unet_out, run->sizes.cfg);
    else udump_into_convert(x, run->eps, run->unet_out);
    convert_prediction(session, evaluation);
    if (!x->dry) udump_outbox_sweep(&run->look, x);
    return run->eps;
}

static void embed_times(udump_session *session) {
    udump_run *run = &session->run;
    int32_t count = run->sampling.evaluation_count;
    float *timesteps = malloc((size_t)count * sizeof *timesteps);
    if (!timesteps) {
        udump_exec_fail(&session->x, UDUMP_ERROR_MEMORY, "timesteps", "out of memory");
        return;
    }
    for (int32_t i = 0; i < count; i++) timesteps[i] = (float)run->sampling.evaluations[i].timestep;
    if (session->model->pooled_dim) {
        float h = (float)run->sizes.height_px, w = (float)run->sizes.width_px;
        udump_unet_added added = { udump_conditioning_upload_pooled(&run->conditioning, &session->x, session->model->pooled_dim),
            { h, w, 0, 0, h, w } };
        run->vectors = added.pooled.n;
        udump_unet_embed_times(&session->x, &session->model->unet, count, timesteps, &added, run->times);
    } else {
        run->vectors = 1;
        udump_unet_embed_times(&session->x, &session->model->unet, count, timesteps, NULL, run->times);
    }
    free(timesteps);
}

/* Everything that is computed once, and that stays in the arena for the whole run. */
static void lay_out(udump_session *session) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    int32_t h = run->sizes.latent_h, w = run->sizes.latent_w, c = session->model->unet.latent_channels;
    udump_sampling_reserve(&run->sampling, x);
    run->scaled = udump_tensor_new(x, UDUMP_F32, run->sizes.latents, h, w, c);
    run->eps = udump_tensor_new(x, UDUMP_F32, run->sizes.latents, h, w, c);
    run->unet_in = udump_tensor_new(x, x->compute, run->sizes.rows, h, w, c);
    run->unet_out = udump_tensor_new(x, x->compute, run->sizes.rows, h, w, c);
    embed_times(session);
    udump_conditioning_project(&run->conditioning, x, &session->model->unet);
    run->mark = udump_arena_mark(x);
}

/* Sizes the arena with the whole run's code, then fills what stays. */
static udump_status prepare(udump_session *session, udump_error *error) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    const udump_denoiser denoiser = { session, predict_eps };
    udump_exec_begin_dry(x);
    lay_out(session);
    udump_sampling_start(&run->sampling, run->noise, run->init);
    udump_status status = udump_sampling_step(&run->sampling, 0, &denoiser, error);
    udump_decode_latent(session, 0);
    for (int32_t latent = 0; latent < run->sizes.latents; latent++) udump_look_finish(&run->look, x, latent, NULL);
    if (!status) status = udump_exec_end_dry(x, error);
    x->dry = false;
    if (!status) status = udump_outbox_create(&run->look.outbox, x, error);
    if (status) return status;
    lay_out(session);
    udump_sampling_start(&run->sampling, run->noise, run->init);
    return udump_exec_status(x, error);
}

static udump_status check_table(const udump_session *session, const udump_table *table, udump_error *error) {
    int32_t rows = session->run.sizes.rows;
    if (table->model != session->model) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "it belongs to another model");
    if (table->rows == rows) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "it has %d rows: this run has %d", (int)table->rows, (int)rows);
}

/* The caller's table, or those of the prompts. */
static udump_status take_tables(
    udump_session *session, const udump_generate_options *options, const udump_table *given, udump_error *error) {
    udump_run *run = &session->run;
    udump_tables made = { 0 };
    udump_table *one = (udump_table *)given;
    udump_status status = given
        ? check_table(session, given, error)
        : udump_tables_encode(session, options, &run->sizes, &made, error);
    if (!status)
        status = given ? udump_conditioning_create(&run->conditioning, 1, &one, &run->sizes.steps, error)
                       : udump_conditioning_create(&run->conditioning, made.count, made.tables, made.until, error);
    udump_tables_free(&made);
    return status ? status : udump_look_find_words(&run->look, error);
}

static udump_status take_picture(udump_session *session, const udump_generate_options *options, udump_error *error) {
    if (!options->init) return UDUMP_OK;
    session->x.tap = NULL;
    session->x.cancel = options->cancel;
    return udump_encode_picture(session, options->init, session->run.init, error);
}

/* The tap is there from the dry pass on: what is looked at needs scratch. */
static void set_tap(udump_session *session) {
    bool wanted = udump_look_wants(&session->run.look);
    for (int32_t b = 0; b < session->model->unet.block_count; b++) wanted |= session->hooks[b].call != NULL;
    session->x.tap = wanted ? on_tap : NULL;
    session->x.tap_user = session;
}

udump_status udump_begin(
    udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink, udump_error *error) {
    if (!session || !options) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_begin", "a null pointer");
    if (session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_begin", "a run is going on in this session");
    udump_run *run = &session->run;
    if (session->first_image == 0) session->bad_values = 0;
    udump_status status = udump_run_create(session, options, sink, run, error);
    if (!status) status = take_picture(session, options, error);
    if (!status) status = take_tables(session, options, table, error);
    set_tap(session);
    session->x.cancel = options->cancel;
    if (!status) status = prepare(session, error);
    if (!status) status = udump_run_announce(session, error);
    if (status) {
        udump_run_free(session);
        return status;
    }
    run->active = true;
    run->begin_seconds = now_seconds();
    return UDUMP_OK;
}

static int compare_doubles(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static udump_status report_progress(udump_run *run, int32_t done, udump_error *error) {
    if (!run->sink.progress) return UDUMP_OK;
    qsort(run->step_seconds, (size_t)done, sizeof *run->step_seconds, compare_doubles); /* kept sorted: the median is in the middle */
    udump_progress progress = { .step = done,
        .steps = run->sampling.steps,
        .seconds = now_seconds() - run->begin_seconds,
        .seconds_per_step = run->step_seconds[done / 2] };
    return run->sink.progress(run->sink.user, &progress) == UDUMP_STOP ? stopped(error) : UDUMP_OK;
}

udump_status udump_step(udump_session *session, int32_t *remaining, udump_error *error) {
    if (!session || !session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_step", "no run has begun");
    udump_run *run = &session->run;
    double begin = now_seconds();
    int32_t index = run->sampling.next_step;
    udump_status status = udump_sampling_step(&run->sampling, index, &(udump_denoiser){ session, predict_eps }, error);
    if (status) return status;
    /* A device may run one step behind, so that it never waits for the host; no further, so that a cancel comes through. */
    udump_await(&session->x, run->stepped);
    run->stepped = udump_mark(&session->x);
    run->step_seconds[index] = now_seconds() - begin;
    if (remaining) *remaining = run->sampling.steps - index - 1;
    return report_progress(run, index + 1, error);
}

udump_status udump_latent_view(udump_session *session, udump_view *view, udump_error *error) {
    if (!session || !session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_latent_view", "no run has begun");
    udump_exec *x = &session->x;
    udump_tensor latent = session->run.sampling.latent;
    void *data = udump_tensor_data(x, latent), *seen = x->backend->host_memory ? data : session->run.sampling.staged;
    if (seen != data) x->backend->read(x, seen, data, udump_tensor_bytes(latent));
    if (udump_exec_stopped(x)) return udump_exec_status(x, error);
    *view = udump_view_make(seen, UDUMP_F32, 4, (int64_t[]){ latent.n, latent.h, latent.w, latent.c });
    return UDUMP_OK;
}

/* To bytes as the webui: clamp((v + 1) / 2, 0, 1) * 255, cut off. NaN becomes 0. */
static void quantize(const float *decoded, uint8_t *pixels, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float v = (decoded[i] + 1) / 2 * 255;
        pixels[i] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
    }
}

static udump_status show_image(udump_session *session, int32_t latent, udump_error *error) {
    udump_run *run = &session->run;
    const udump_sizes *sizes = &run->sizes;
    size_t values = (size_t)sizes->width_px * (size_t)sizes->height_px * 3;
    for (size_t i = 0; i < values; i++) session->bad_values += !isfinite(run->decoded[i]);
    quantize(run->decoded, run->pixels, values);
    udump_picture picture = { run->pixels, sizes->width_px, sizes->height_px, 3, (size_t)sizes->width_px * 3 };
    udump_variant variant = latent < sizes->images ? UDUMP_VARIANT_ENABLED : UDUMP_VARIANT_ERASED;
    if (run->sink.image
        && run->sink.image(run->sink.user, run->first_image + latent % sizes->images, variant, &picture, run->infotexts[latent]) == UDUMP_STOP)
        return stopped(error);
    udump_look_finish(&run->look, &session->x, latent, &picture);
    return udump_exec_status(&session->x, error);
}

static udump_status decode_all(udump_session *session, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t latent = 0; !status && latent < session->run.sizes.latents; latent++) {
        udump_decode_latent(session, latent);
        status = udump_exec_status(&session->x, error);
        if (!status) status = show_image(session, latent, error);
    }
    return status;
}

udump_status udump_end(udump_session *session, int32_t decode, udump_error *error) {
    if (!session || !session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_end", "no run has begun");
    session->x.tap = NULL;
    udump_outbox_flush(&session->run.look, &session->x);
    udump_status status = udump_exec_status(&session->x, error);
    if (!status && decode) status = decode_all(session, error);
    udump_run_free(session);
    session->x.cancel = NULL;
    return status;
}

int64_t udump_session_bad_values(const udump_session *session) { return session ? session->bad_values : 0; }

static udump_status generate_batch(
    udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_error *error) {
    udump_status status = udump_begin(session, options, NULL, sink, error);
    if (status) return status;
    int32_t remaining = session->run.sampling.steps;
    while (!status && remaining > 0) status = udump_step(session, &remaining, error);
    if (!status) return udump_end(session, 1, error);
    udump_end(session, 0, NULL);
    return status;
}

udump_status udump_generate(udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_error *error) {
    if (!session || !options) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_generate", "a null pointer");
    udump_status status = UDUMP_OK;
    int32_t batch = 0;
    do {
        session->first_image = batch * (options->batch_size ? options->batch_size : 1);
        status = generate_batch(session, options, sink, error);
    } while (!status && ++batch < options->batch_count);
    session->first_image = 0;
    return status;
}
