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

static udump_place place_now(const udump_session *session, int32_t block) {
    const udump_evaluation *now = session->run.now;
    return (udump_place){ .image = -1, .block = session->model->unet.blocks[block].name, .block_index = block, .step = now->index + 1,
        .sampler_step = now->step + 1, .sigma = now->sigma, .timestep = now->timestep, .side = UDUMP_SIDE_BOTH };
}

/* First whoever may change the tensor, then whoever looks at it. */
static void on_tap(void *user, udump_exec *x, int32_t block, udump_tensor tensor) {
    udump_session *session = user;
    udump_place place = place_now(session, block);
    const udump_hook *hook = &session->hooks[block];
    if (hook->call) {
        udump_view view = udump_view_make(
            udump_tensor_data(x, tensor), tensor.dtype, 4, (int64_t[]){ tensor.n, tensor.h, tensor.w, tensor.c });
        if (hook->call(hook->user, &place, &view) == UDUMP_STOP) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "stopped by a hook");
    }
    if (!udump_exec_stopped(x)) udump_look_at(&session->run.look, x, &place, tensor, &session->run.sink, session->run.infotexts);
}

/* v (Salimans and Ho 2022) to eps, with the scaled latent the U-Net saw: eps = (v + sigma * scaled) / sqrt(sigma^2 + 1). */
static void convert_prediction(udump_session *session, const udump_evaluation *evaluation) {
    if (session->model->prediction != UDUMP_PREDICTION_V) return;
    float norm = (float)(1 / sqrt(1 + evaluation->sigma * evaluation->sigma));
    udump_run *run = &session->run;
    udump_into_linear_combination(
        &session->x, run->eps, 2, (udump_tensor[]){ run->eps, run->scaled }, (float[]){ norm, norm * (float)evaluation->sigma });
}

static udump_tensor predict_eps(void *user, udump_tensor latent, const udump_evaluation *evaluation) {
    udump_session *session = user;
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    run->now = evaluation;
    udump_into_linear_combination(x, run->scaled, 1, &latent, &(float){ (float)evaluation->input_scale });
    for (int32_t row = 0; row < run->rows; row += run->batch)
        udump_into_convert(x, udump_tensor_rows(run->unet_in, row, run->batch), run->scaled);
    udump_unet_forward(x, &session->model->unet, run->unet_out, run->unet_in,
        &(udump_unet_inputs){ run->conditioning.kvs, run->times, evaluation->index });
    if (run->rows > run->batch) udump_into_cfg_combine(x, run->eps, run->unet_out, run->cfg);
    else udump_into_convert(x, run->eps, run->unet_out);
    convert_prediction(session, evaluation);
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
    udump_unet_embed_times(&session->x, &session->model->unet, count, timesteps, run->times);
    free(timesteps);
}

/* Everything that is computed once, and that stays in the arena for the whole run. */
static void lay_out(udump_session *session) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    int32_t h = run->latent_h, w = run->latent_w, c = session->model->unet.latent_channels;
    udump_sampling_reserve(&run->sampling, x);
    run->scaled = udump_tensor_new(x, UDUMP_F32, run->batch, h, w, c);
    run->eps = udump_tensor_new(x, UDUMP_F32, run->batch, h, w, c);
    run->unet_in = udump_tensor_new(x, x->compute, run->rows, h, w, c);
    run->unet_out = udump_tensor_new(x, x->compute, run->rows, h, w, c);
    embed_times(session);
    udump_conditioning_project(&run->conditioning, x, &session->model->unet);
    run->mark = udump_arena_mark(x);
}

static void decode_image(udump_session *session, int32_t image) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    udump_tensor latent = udump_tensor_rows(run->sampling.latent, image, 1);
    size_t mark = udump_arena_mark(x);
    udump_tensor picture = udump_tensor_new(x, x->compute, 1, run->height_px, run->width_px, 3);
    udump_tensor unscaled = udump_tensor_new(x, UDUMP_F32, 1, latent.h, latent.w, latent.c),
                 in = udump_tensor_new(x, x->compute, 1, latent.h, latent.w, latent.c);
    udump_into_linear_combination(x, unscaled, 1, &latent, &(float){ (float)(1 / session->model->vae.scaling_factor) });
    udump_into_convert(x, in, unscaled);
    udump_vae_decode(x, &session->model->vae, picture, in);
    udump_download(x, run->decoded, picture);
    udump_arena_release(x, mark);
}

/* Sizes the arena with the whole run's code, then fills what stays. */
static udump_status prepare(udump_session *session, udump_error *error) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    const udump_denoiser denoiser = { session, predict_eps };
    udump_exec_begin_dry(x);
    lay_out(session);
    udump_sampling_start(&run->sampling, run->noise);
    udump_status status = udump_sampling_step(&run->sampling, 0, &denoiser, error);
    decode_image(session, 0);
    if (!status) status = udump_exec_end_dry(x, error);
    x->dry = false;
    if (status) return status;
    lay_out(session);
    udump_sampling_start(&run->sampling, run->noise);
    return udump_exec_status(x, error);
}

static udump_status announce(udump_session *session, udump_error *error) {
    udump_run *run = &session->run;
    if (!run->sink.begin) return UDUMP_OK;
    udump_model_info model;
    udump_model_get_info(session->model, &model);
    udump_run_info info = { .prompt = run->prompt,
        .negative_prompt = run->negative_prompt,
        .sampler = run->choice.sampler->name,
        .schedule = run->choice.sampler->own_timesteps ? run->choice.sampler->name : udump_schedule_name(run->choice.schedule),
        .rng = run->rng_name,
        .model = session->model->name,
        .model_hash = "",
        .device = model.device,
        .precision = model.precision,
        .infotext = run->infotexts[0],
        .seed = run->seed,
        .cfg = run->cfg,
        .width_px = run->width_px,
        .height_px = run->height_px,
        .steps = run->sampling.steps,
        .batch_size = run->batch,
        .evaluations = run->sampling.evaluation_count };
    return run->sink.begin(run->sink.user, &info) == UDUMP_STOP ? stopped(error) : UDUMP_OK;
}

static udump_status take_table(udump_session *session, const udump_table *given, udump_error *error) {
    udump_run *run = &session->run;
    udump_table *made = NULL;
    if (given && (given->model != session->model || given->rows != run->rows))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table",
            given->model != session->model ? "it belongs to another model" : "it has %d rows: this run has %d", (int)given->rows,
            (int)run->rows);
    udump_status status = given ? UDUMP_OK
                                : udump_encode_table(session, run->prompt, run->negative_prompt, run->batch, run->rows, &made, error);
    if (!status) status = udump_conditioning_create(&run->conditioning, given ? given : made, error);
    udump_table_free(made);
    return status;
}

udump_status udump_begin(
    udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink, udump_error *error) {
    if (!session || !options) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_begin", "a null pointer");
    if (session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_begin", "a run is going on in this session");
    udump_run *run = &session->run;
    udump_status status = udump_run_create(session, options, sink, run, error);
    session->x.tap = NULL;
    if (!status) status = take_table(session, table, error);
    session->x.cancel = options->cancel;
    if (!status) status = prepare(session, error);
    if (!status) status = announce(session, error);
    if (status) {
        udump_run_free(run);
        return status;
    }
    bool looked_at = run->look.selection.any;
    for (int32_t b = 0; b < session->model->unet.block_count; b++) looked_at |= session->hooks[b].call != NULL;
    session->x.tap = looked_at ? on_tap : NULL;
    session->x.tap_user = session;
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
    run->step_seconds[index] = now_seconds() - begin;
    if (remaining) *remaining = run->sampling.steps - index - 1;
    return report_progress(run, index + 1, error);
}

udump_status udump_latent_view(udump_session *session, udump_view *view, udump_error *error) {
    if (!session || !session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_latent_view", "no run has begun");
    udump_tensor latent = session->run.sampling.latent;
    *view = udump_view_make(udump_tensor_data(&session->x, latent), UDUMP_F32, 4, (int64_t[]){ latent.n, latent.h, latent.w, latent.c });
    return UDUMP_OK;
}

/* To bytes as the webui: clamp((v + 1) / 2, 0, 1) * 255, cut off. NaN becomes 0. */
static void quantize(const float *decoded, uint8_t *pixels, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float v = (decoded[i] + 1) / 2 * 255;
        pixels[i] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
    }
}

static udump_status decode_all(udump_session *session, udump_error *error) {
    udump_run *run = &session->run;
    for (int32_t image = 0; image < run->batch; image++) {
        decode_image(session, image);
        udump_status status = udump_exec_status(&session->x, error);
        if (status) return status;
        if (!run->sink.image) continue;
        quantize(run->decoded, run->pixels, (size_t)run->width_px * (size_t)run->height_px * 3);
        udump_picture picture = { run->pixels, run->width_px, run->height_px, 3, (size_t)run->width_px * 3 };
        if (run->sink.image(run->sink.user, image, &picture, run->infotexts[image]) == UDUMP_STOP) return stopped(error);
    }
    return UDUMP_OK;
}

udump_status udump_end(udump_session *session, int32_t decode, udump_error *error) {
    if (!session || !session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_end", "no run has begun");
    session->x.tap = NULL;
    udump_status status = decode ? decode_all(session, error) : UDUMP_OK;
    udump_run_free(&session->run);
    session->x.cancel = NULL;
    return status;
}

udump_status udump_generate(udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_error *error) {
    udump_status status = udump_begin(session, options, NULL, sink, error);
    if (status) return status;
    int32_t remaining = session->run.sampling.steps;
    while (!status && remaining > 0) status = udump_step(session, &remaining, error);
    if (!status) return udump_end(session, 1, error);
    udump_end(session, 0, NULL);
    return status;
}
