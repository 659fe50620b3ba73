/* One run: begin, step, end. The same straight code sizes the arena in a dry pass and then runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/available.h"
#include "base/options.h"
#include "base/status.h"
#include "pipeline/session.h"

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* What a callback that says stop leads to. */
static udump_status stopped(udump_error *error) { return udump_fail(error, UDUMP_ERROR_CANCELLED, "", "stopped by a callback"); }

/* Room for a block's output, where hooks need a copy: from the dry pass on for those that are there then. */
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

/* The hook sees the host's memory: the arena's own, or a copy that goes back. */
static void call_hook(udump_session *session, const udump_tapped *tapped) {
    const udump_evaluation *now = session->run.now;
    const udump_hook *hook = &session->hooks[tapped->index];
    udump_exec *x = &session->x;
    udump_tensor out = tapped->out;
    reserve_hooked(session, out);
    if (x->dry || udump_exec_stopped(x)) return;
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

/* Whether anything comes of a tap at this evaluation; index as in udump_tapped. */
static bool acts(const udump_session *session, udump_tap_kind kind, int32_t index) {
    int32_t block = kind == UDUMP_TAP_BLOCK ? index : session->model->unet.attention_blocks[index];
    return (kind == UDUMP_TAP_BLOCK && session->hooks[index].call) || udump_look_acts(&session->run.look, kind, block, session->run.now);
}

/* First whoever may change the tensor, then whoever looks at it. */
static void on_tap(void *user, udump_exec *x, const udump_tapped *tapped) {
    udump_session *session = user;
    bool cuts = !x->dry && !session->run.within;
    if (!x->dry && !acts(session, tapped->kind, tapped->index)) return;
    if (cuts && !udump_graphs_cut(&session->graphs, x)) return;
    if (tapped->kind == UDUMP_TAP_BLOCK && session->hooks[tapped->index].call) call_hook(session, tapped);
    if (!udump_exec_stopped(x)) udump_look_at(&session->run.look, x, tapped, session->run.now);
    if (cuts) udump_graphs_resume(&session->graphs, x);
}

/* v (Salimans and Ho 2022) to eps, with the scaled latent the U-Net saw: eps = (v + sigma * scaled) / sqrt(sigma^2 + 1). */
static void convert_prediction(udump_session *session, const udump_evaluation *evaluation) {
    if (session->model->prediction != UDUMP_PREDICTION_V) return;
    float norm = (float)(1 / sqrt(1 + evaluation->sigma * evaluation->sigma));
    udump_run *run = &session->run;
    udump_into_linear_combination(
        &session->x, run->eps, 2, (udump_tensor[]){ run->eps, run->scaled }, (float[]){ norm, norm * (float)evaluation->sigma });
}

/* uncond + cfg * the sum of weight * (cond - uncond), over the prompts that AND joins (Liu et al. 2022), for one of the batch's variants. */
static void join_parts(udump_session *session, int32_t variant) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    const udump_sizes *sizes = &run->sizes;
    size_t mark = udump_arena_mark(x);
    int32_t first = variant * sizes->images;
    udump_tensor sum = udump_tensor_rows(run->eps, first, sizes->images), uncond = udump_tensor_new(x, UDUMP_F32, sum.n, sum.h, sum.w, sum.c),
                 cond = udump_tensor_new(x, UDUMP_F32, sum.n, sum.h, sum.w, sum.c);
    udump_into_convert(x, uncond, udump_tensor_rows(run->unet_out, sizes->parts.most * sizes->latents + first, sizes->images));
    udump_into_convert(x, sum, udump_tensor_rows(run->unet_out, sizes->parts.most * sizes->latents + first, sizes->images));
    for (int32_t part = 0; part < sizes->parts.count[variant > 0]; part++) {
        float scale = sizes->cfg * sizes->parts.weights[variant > 0][part];
        udump_into_convert(x, cond, udump_tensor_rows(run->unet_out, part * sizes->latents + first, sizes->images));
        udump_into_linear_combination(x, sum, 3, (udump_tensor[]){ sum, cond, uncond }, (float[]){ 1, scale, -scale });
    }
    udump_arena_release(x, mark);
}

/* The U-Net's rows to one prediction for each latent. */
static void guide(udump_session *session) {
    udump_run *run = &session->run;
    const udump_sizes *sizes = &run->sizes;
    if (!sizes->uncond) udump_into_convert(&session->x, run->eps, run->unet_out);
    else if (!sizes->joined) udump_into_cfg_combine(&session->x, run->eps, run->unet_out, sizes->cfg);
    else
        for (int32_t variant = 0; variant < sizes->variants; variant++) join_parts(session, variant);
}

/* Which pooled vector each row of the batch takes in each block; NULL in families without. */
static const int32_t *pooled_now(const udump_session *session) {
    const udump_conditioning *c = &session->run.conditioning;
    if (!session->model->pooled_dim) return NULL;
    return c->which + udump_conditioning_entry(c, udump_conditioning_table(c, session->run.now->index + 1), 0, 0);
}

/* The U-Net's inputs and outputs, what stays, and where it will be cut. */
static uint64_t key_of_evaluation(const udump_session *session) {
    const udump_run *run = &session->run;
    const udump_unet *unet = &session->model->unet;
    uint64_t key = udump_graph_key_tensor(udump_graph_key_tensor(udump_graph_key_tensor(0, run->scaled), run->unet_in), run->unet_out);
    for (int32_t i = 0; i < unet->resnet_count; i++) key = udump_graph_key_tensor(key, run->times_now[i]);
    for (int32_t i = 0; i < unet->attention_count; i++) key = udump_graph_key_tensor(key, run->conditioning.tensors[i]);
    key = udump_graph_key_tensor(udump_graph_key_tensor(key, run->conditioning.first_now), run->conditioning.count_now);
    for (int32_t b = 0; session->x.tap && b < unet->block_count; b++) key = udump_graph_key(key, acts(session, UDUMP_TAP_BLOCK, b));
    for (int32_t i = 0; session->x.tap && i < unet->attention_count; i++)
        key = udump_graph_key(key, acts(session, UDUMP_TAP_CROSS, i) | acts(session, UDUMP_TAP_SELF, i) << 1);
    return run->within ? udump_graph_key(key, udump_look_key(&run->look, run->now)) : key;
}

/* What is the same at every evaluation. */
static void evaluate(void *user) {
    udump_session *session = user;
    udump_run *run = &session->run;
    if (!session->x.dry) udump_outbox_begin(&run->look.outbox);
    for (int32_t row = 0; row < run->sizes.rows; row += run->sizes.latents)
        udump_into_convert(&session->x, udump_tensor_rows(run->unet_in, row, run->sizes.latents), run->scaled);
    udump_unet_forward(&session->x, &session->model->unet, run->unet_out, run->unet_in,
        &(udump_unet_inputs){ .kvs = run->conditioning.kvs, .times = run->times_now });
}

/* For each evaluation anew, as hooks come and go between steps; in the dry pass too, as what is looked at needs scratch. */
static void set_tap(udump_session *session) {
    bool looks = udump_look_wants(&session->run.look), hooked = false;
    for (int32_t b = 0; b < session->model->unet.block_count; b++) hooked |= session->hooks[b].call != NULL;
    session->x.tap = looks || hooked ? on_tap : NULL;
    session->x.tap_user = session;
    session->run.within = looks && !hooked && udump_look_is_within(&session->run.look, session->run.now);
}

static udump_tensor predict_eps(void *user, udump_tensor latent, const udump_evaluation *evaluation) {
    udump_session *session = user;
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    run->now = evaluation;
    set_tap(session);
    udump_conditioning_select(&run->conditioning, x, evaluation->index + 1);
    udump_unet_select_times(x, &session->model->unet, run->times, evaluation->index, run->vectors, pooled_now(session), run->times_now);
    udump_into_linear_combination(x, run->scaled, 1, &latent, &(float){ (float)evaluation->input_scale });
    udump_graphs_run(&session->graphs, x, key_of_evaluation(session), evaluate, session);
    guide(session);
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
        udump_unet_embed_times(&session->x, &session->model->unet, count, timesteps, &added, run->sizes.cfg, run->times);
    } else {
        run->vectors = 1;
        udump_unet_embed_times(&session->x, &session->model->unet, count, timesteps, NULL, run->sizes.cfg, run->times);
    }
    free(timesteps);
    for (int32_t r = 0; r < session->model->unet.resnet_count; r++)
        run->times_now[r] = udump_tensor_new(&session->x, session->x.compute, session->model->pooled_dim ? run->sizes.rows : 1, 1, 1, run->times[r].c);
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

/* What the run will fill: the arena, as the dry pass measured it, and the picture on the host. */
static udump_status check_memory(const udump_session *session, udump_error *error) {
    const udump_exec *x = &session->x;
    const udump_sizes *sizes = &session->run.sizes;
    size_t picture_bytes = (size_t)sizes->width_px * (size_t)sizes->height_px * 3 * (sizeof(float) + 1);
    size_t more_bytes = x->backend->host_memory && x->peak_bytes > x->arena_bytes ? x->peak_bytes - x->arena_bytes : 0;
    return udump_memory_check("activations and picture", more_bytes + picture_bytes, error);
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
    size_t ring_bytes = udump_outbox_device_bytes(&run->look.outbox, x);
    x->beside_bytes = ring_bytes > session->ring.bytes ? ring_bytes - session->ring.bytes : 0;
    if (!status && !x->status) status = check_memory(session, error);
    if (!status) status = udump_exec_end_dry(x, error);
    x->dry = false;
    if (!status) status = udump_outbox_create(&run->look.outbox, &session->ring, x, error);
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
        status = given ? udump_conditioning_create(&run->conditioning, 1, &one, &run->sampling.evaluation_count, error)
                       : udump_conditioning_create(&run->conditioning, made.count, made.tables, made.until, error);
    udump_tables_free(&made);
    return status ? status : udump_look_find_words(&run->look, &session->x, error);
}

/* The conditioning, the arena, and what stays in it. */
static udump_status fill(udump_session *session, const udump_generate_options *options, const udump_table *table, udump_error *error) {
    session->x.cancel = options->cancel;
    udump_exec_reset(&session->x); /* what stopped the run before stays with it */
    udump_status status = options->init ? udump_encode_picture(session, options->init, session->run.init, error) : UDUMP_OK;
    if (!status) status = take_tables(session, options, table, error);
    return status ? status : prepare(session, error);
}

/* The session's and its other model's run of a diff between the two. */
static udump_status begin_pair(
    udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink, udump_error *error) {
    udump_session *other = session->other;
    udump_generate_options own = *options;
    own.diff = own.diff_steps = NULL; /* within each there are no twins */
    other->first_image = session->first_image;
    if (table) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a diff between two models has a table for each: it is made from the prompts");
    udump_sizes checked;
    udump_status status = udump_sizes_resolve(session, options, NULL, &checked, error);
    if (!status) status = udump_run_create(session, &own, NULL, sink, &session->run, error);
    if (!status) status = udump_run_create(other, &own, NULL, sink, &other->run, error);
    if (!status) status = udump_pair_create(session, options, error);
    if (!status) status = fill(session, &own, NULL, error);
    return status ? status : fill(other, &own, NULL, error);
}

/* The run, and its pair's: nothing of it is left. other: NULL without one. Returns status. */
static udump_status forget(udump_session *session, udump_session *other, udump_status status) {
    if (other) udump_run_free(other);
    udump_run_free(session);
    session->x.cancel = NULL;
    if (other) other->x.cancel = NULL;
    return status;
}

static udump_status begin(
    udump_session *session, const udump_generate_options *options, const udump_table *table, const udump_sink *sink, udump_error *error) {
    if (session->run.active) return udump_session_running("udump_begin", error);
    udump_run *run = &session->run;
    for (udump_session *each = session; each && session->first_image == 0; each = each->other) each->bad_values = 0;
    bool paired = session->other && options->diff;
    udump_status status = paired ? begin_pair(session, options, table, sink, error) : udump_run_create(session, options, table, sink, run, error);
    if (!status && !paired) status = fill(session, options, table, error);
    if (!status) udump_run_fingerprint(session, options, table, run->fingerprint);
    if (!status) status = udump_run_announce(session, error);
    if (status) return forget(session, paired ? session->other : NULL, status);
    run->active = true;
    run->begin_seconds = now_seconds();
    return UDUMP_OK;
}

udump_status udump_begin(
    udump_session *session, const udump_generate_options *given, const udump_table *table, const udump_sink *sink, udump_error *error) {
    udump_generate_options options;
    if (!session || !given) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_begin", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "generate options", error);
    if (!status && options.batch_count > 1)
        status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "batch count", "%d: udump_generate makes several, here it is one", (int)options.batch_count);
    if (!status) status = udump_session_enter(session, "udump_begin", error);
    return status ? status : udump_session_leave(session, begin(session, &options, table, sink, error));
}

static int compare_doubles(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static udump_status report_progress(udump_run *run, udump_exec *x, int32_t done, udump_error *error) {
    if (!run->sink.progress) return UDUMP_OK;
    qsort(run->step_seconds, (size_t)done, sizeof *run->step_seconds, compare_doubles); /* kept sorted: the median is in the middle */
    udump_progress progress = { .step = done,
        .steps = run->sampling.steps,
        .seconds = now_seconds() - run->begin_seconds,
        .seconds_per_step = run->step_seconds[done / 2] };
    if (run->sink.progress(run->sink.user, &progress) == UDUMP_STOP) udump_exec_fail(x, UDUMP_ERROR_CANCELLED, "", "stopped by a callback");
    return udump_exec_status(x, error);
}

static void take_back_latent(udump_session *session) {
    udump_run *run = &session->run;
    udump_tensor latent = run->sampling.latent;
    if (run->latent_lent && !udump_exec_stopped(&session->x))
        session->x.backend->write(&session->x, udump_tensor_data(&session->x, latent), run->sampling.staged, udump_tensor_bytes(latent));
    run->latent_lent = false;
}

static udump_status step(udump_session *session, int32_t *remaining, udump_error *error) {
    udump_run *run = &session->run;
    if (!run->active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_step", "no run has begun");
    double began = now_seconds();
    int32_t index = run->sampling.next_step;
    take_back_latent(session);
    udump_status status = udump_sampling_step(&run->sampling, index, &(udump_denoiser){ session, predict_eps }, error);
    udump_session *other = run->paired ? session->other : NULL;
    if (!status && other) status = udump_sampling_step(&other->run.sampling, index, &(udump_denoiser){ other, predict_eps }, error);
    if (status) return status;
    /* A device may run one step behind, so that it never waits for the host; no further, so that a cancel comes through. */
    udump_await(&session->x, run->stepped);
    run->stepped = udump_mark(&session->x);
    if (other) udump_await(&other->x, other->run.stepped);
    if (other) other->run.stepped = udump_mark(&other->x);
    run->step_seconds[index] = now_seconds() - began;
    if (remaining) *remaining = run->sampling.steps - index - 1;
    return report_progress(run, &session->x, index + 1, error);
}

udump_status udump_step(udump_session *session, int32_t *remaining, udump_error *error) {
    if (!session) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_step", "a null pointer");
    udump_status status = udump_session_enter(session, "udump_step", error);
    return status ? status : udump_session_leave(session, step(session, remaining, error));
}

static udump_status latent_view(udump_session *session, udump_view *view, udump_error *error) {
    if (!session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_latent_view", "no run has begun");
    udump_exec *x = &session->x;
    udump_tensor latent = session->run.sampling.latent;
    void *data = udump_tensor_data(x, latent), *seen = x->backend->host_memory ? data : session->run.sampling.staged;
    if (seen != data && !session->run.latent_lent) x->backend->read(x, seen, data, udump_tensor_bytes(latent));
    if (udump_exec_stopped(x)) return udump_exec_status(x, error);
    session->run.latent_lent = seen != data;
    *view = udump_view_make(seen, UDUMP_F32, 4, (int64_t[]){ latent.n, latent.h, latent.w, latent.c });
    return UDUMP_OK;
}

udump_status udump_latent_view(udump_session *session, udump_view *view, udump_error *error) {
    if (!session || !view) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_latent_view", "a null pointer");
    udump_status status = udump_session_enter(session, "udump_latent_view", error);
    return status ? status : udump_session_leave(session, latent_view(session, view, error));
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
    int32_t images = session->swept ? sizes->latents : sizes->images; /* a sweep's variants are images to the sink */
    udump_variant variant = run->look.is_other ? UDUMP_VARIANT_OTHER : latent < images ? UDUMP_VARIANT_ENABLED : UDUMP_VARIANT_ERASED;
    if (run->sink.image
        && run->sink.image(run->sink.user, run->first_image + latent % images, variant, &picture, run->infotexts[latent]) == UDUMP_STOP)
        return stopped(error);
    udump_look_finish(&run->look, &session->x, latent, &picture);
    return udump_exec_status(&session->x, error);
}

static udump_status decode_all(udump_session *session, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t latent = 0; !status && latent < session->run.sizes.latents; latent++) {
        udump_decode_latent(session, latent);
        status = udump_exec_status(&session->x, error);
        if (!status) status = udump_decode_again(session, latent, error);
        if (!status) status = show_image(session, latent, error);
    }
    return status;
}

/* What is still to come of a run. */
static udump_status finish(udump_session *session, int32_t decode, udump_error *error) {
    udump_outbox_flush(&session->run.look, &session->x);
    udump_status status = udump_exec_status(&session->x, error);
    return status || !decode ? status : decode_all(session, error);
}

static udump_status end(udump_session *session, int32_t decode, udump_error *error) {
    if (!session->run.active) return udump_fail(error, UDUMP_ERROR_STATE, "udump_end", "no run has begun");
    udump_session *other = session->run.paired ? session->other : NULL;
    take_back_latent(session);
    udump_status status = finish(session, decode, error);
    if (other && !status) status = finish(other, decode, error);
    return forget(session, other, status);
}

udump_status udump_end(udump_session *session, int32_t decode, udump_error *error) {
    if (!session) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_end", "a null pointer");
    udump_status status = udump_session_enter(session, "udump_end", error);
    return status ? status : udump_session_leave(session, end(session, decode, error));
}

int64_t udump_session_bad_values(const udump_session *session) {
    return session ? session->bad_values + udump_session_bad_values(session->other) : 0;
}

static udump_status generate_batch(
    udump_session *session, const udump_generate_options *options, const udump_sink *sink, udump_error *error) {
    udump_error own; /* a batch that is skipped leaves the caller's alone */
    session->skipped = false;
    udump_status status = begin(session, options, NULL, sink, &own);
    if (status && session->skipped) return UDUMP_OK;
    if (status && error) *error = own;
    if (status) return status;
    int32_t remaining = session->run.sampling.steps;
    while (!status && remaining > 0) status = step(session, &remaining, error);
    if (!status) return end(session, 1, error);
    end(session, 0, NULL);
    return status;
}

udump_status udump_generate(udump_session *session, const udump_generate_options *given, const udump_sink *sink, udump_error *error) {
    udump_generate_options options;
    if (!session || !given) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_generate", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "generate options", error);
    if (!status) status = udump_session_enter(session, "udump_generate", error);
    if (status) return status;
    int32_t batch = 0;
    do {
        session->first_image = batch * (options.batch_size ? options.batch_size : 1);
        status = generate_batch(session, &options, sink, error);
    } while (!status && ++batch < options.batch_count);
    session->first_image = 0;
    return udump_session_leave(session, status);
}
