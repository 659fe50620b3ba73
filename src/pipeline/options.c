/* Options: defaults, checks, and the copy that a run keeps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "output/infotext.h"
#include "pipeline/session.h"

enum { SIDE_MOST_PX = 16384, BATCH_MOST = 1024, IMAGES_MOST = 1000, TILE_LEAST_PX = 128 };

static udump_status check_side(const char *name, int32_t px, udump_error *error) {
    if (px >= UDUMP_PIXELS_PER_LATENT && px <= SIDE_MOST_PX && px % UDUMP_PIXELS_PER_LATENT == 0) return UDUMP_OK;
    char found[32];
    snprintf(found, sizeof found, "%d", (int)px);
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, name, "not a size for a picture", "a multiple of 8 from 8 to 16384", found);
}

/* What belongs to a picture to begin from, tiles and batches. */
static udump_status check_extras(const udump_generate_options *o, const udump_sizes *sizes, udump_error *error) {
    char expected[64], found[64];
    if (o->vae_tile_px && (o->vae_tile_px < TILE_LEAST_PX || o->vae_tile_px > SIDE_MOST_PX || o->vae_tile_px % UDUMP_PIXELS_PER_LATENT)) {
        snprintf(found, sizeof found, "%d", (int)o->vae_tile_px);
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "vae tile", "not a size for a tile", "a multiple of 8 from 128 to 16384", found);
    }
    if (o->batch_count < 0 || (int64_t)(o->batch_count ? o->batch_count : 1) * sizes->images > (o->batch_count > 1 ? IMAGES_MOST : BATCH_MOST))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "batch count", "%d batches of %d images: %d images are possible", (int)o->batch_count,
            (int)sizes->images, IMAGES_MOST);
    if (o->noise && (o->batch_count > 1 || o->variation_strength > 0))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise", "given noise has no variations, and is for one batch");
    if (o->strength && !o->init) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "strength", "there is no picture to begin from");
    if (!o->init || (o->init->width_px == sizes->width_px && o->init->height_px == sizes->height_px && o->init->channels == 3)) return UDUMP_OK;
    snprintf(expected, sizeof expected, "%dx%d in RGB", (int)sizes->width_px, (int)sizes->height_px);
    snprintf(found, sizeof found, "%dx%d, %d channels", (int)o->init->width_px, (int)o->init->height_px, (int)o->init->channels);
    return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "init", "the picture to begin from has another size", expected, found);
}

/* The more rows an image takes, the fewer a batch holds. In a sweep its pictures are the variants; a diff between models has a batch for each. */
static udump_status check_rows(const udump_session *session, const udump_sizes *sizes, udump_error *error) {
    int32_t each = sizes->sides * (session->swept || session->other ? 1 : sizes->variants);
    int32_t asked = session->swept ? sizes->latents : sizes->images;
    if (asked <= UDUMP_TABLE_ROWS_MOST / each) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "batch size",
        "%d images: each takes %d rows of the U-Net's batch here, so that 1 to %d are possible", (int)asked, (int)each,
        (int)(UDUMP_TABLE_ROWS_MOST / each));
}

/* The rows of the U-Net's batch. */
static udump_status resolve_rows(
    const udump_session *session, const udump_generate_options *o, const udump_table *table, udump_sizes *sizes, udump_error *error) {
    const udump_model *model = session->model;
    udump_status status = UDUMP_OK;
    if (table) sizes->parts = table->parts;
    else if (session->swept) status = udump_parts_find_swept(model, session->swept, session->swept_count, &sizes->parts, error);
    else status = udump_parts_find(model, o->prompt ? o->prompt : "", sizes->variants, &sizes->parts, error);
    if (status) return status;
    const udump_parts *parts = &sizes->parts;
    sizes->joined = parts->most > 1 || parts->weights[0][0] != 1 || (sizes->variants > 1 && parts->weights[1][0] != 1);
    bool distilled = model->unet.guidance.packed != NULL;
    if (distilled && sizes->joined) return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND needs guidance, which a distilled model has not");
    sizes->uncond = !distilled && (sizes->cfg != 1.0f || sizes->joined);
    sizes->sides = parts->most + sizes->uncond;
    sizes->latents = sizes->variants * sizes->images;
    sizes->rows = sizes->sides * sizes->latents;
    if ((o->features || o->attention || o->diff) && o->side != UDUMP_SIDE_COND && !sizes->uncond)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "side", "%s the negative prompt is not run: there is no uncond side",
            distilled ? "with a distilled model" : "with cfg 1");
    return check_rows(session, sizes, error);
}

udump_status udump_sizes_resolve(
    const udump_session *session, const udump_generate_options *o, const udump_table *table, udump_sizes *sizes, udump_error *error) {
    *sizes = (udump_sizes){ .width_px = o->width_px ? o->width_px : 512,
        .height_px = o->height_px ? o->height_px : 512,
        .images = o->batch_size ? o->batch_size : 1,
        .variants = session->swept ? session->swept_count : o->diff ? 2 : 1,
        .tile = o->vae_tile_px / UDUMP_PIXELS_PER_LATENT,
        .steps = o->steps ? o->steps : UDUMP_DEFAULT_STEPS,
        .cfg = o->cfg == 0 ? 7.0f : o->cfg };
    udump_status status = udump_sampler_find(o->sampler, o->schedule, &sizes->choice, error);
    if (!status) status = check_side("width", sizes->width_px, error);
    if (!status) status = check_side("height", sizes->height_px, error);
    if (status) return status;
    sizes->prompt_steps = sizes->choice.sampler->second_order && sizes->steps < INT32_MAX / 2 ? 2 * sizes->steps : sizes->steps;
    if (sizes->images < 1 || sizes->images > BATCH_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "batch size", "%d images: 1 to %d are possible", (int)sizes->images, BATCH_MOST);
    if (!isfinite(sizes->cfg)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "cfg", "not a finite number");
    if ((unsigned)o->rng > UDUMP_RNG_CPU || (unsigned)o->side > UDUMP_SIDE_BOTH)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "options", "an unknown rng or side");
    status = check_extras(o, sizes, error);
    if (status) return status;
    sizes->latent_h = sizes->height_px / UDUMP_PIXELS_PER_LATENT;
    sizes->latent_w = sizes->width_px / UDUMP_PIXELS_PER_LATENT;
    return resolve_rows(session, o, table, sizes, error);
}

static udump_status copy_noise(const udump_view *noise, udump_run *run, int32_t channels, udump_error *error) {
    int64_t shape[4] = { run->sizes.images, channels, run->sizes.latent_h, run->sizes.latent_w };
    bool fits = udump_view_valid(noise) && noise->rank == 4;
    for (int i = 0; fits && i < 4; i++) fits = noise->shape[i] == shape[i];
    if (!fits) {
        char expected[64], found[64] = "an invalid tensor";
        udump_shape_format(expected, sizeof expected, 4, shape);
        if (udump_view_valid(noise)) udump_shape_format(found, sizeof found, noise->rank, noise->shape);
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, "noise", "tensor has the wrong shape", expected, found);
    }
    size_t count = (size_t)udump_view_count(noise);
    run->noise = malloc(count * sizeof(float));
    if (!run->noise) return udump_fail_memory(error, "noise", count * sizeof(float));
    udump_view_read_f32(noise, run->noise);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(run->noise[i])) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise", "value %zu is not finite", i);
    return UDUMP_OK;
}

static udump_status plan_sampling(udump_session *session, const udump_generate_options *o, udump_run *run, udump_error *error) {
    return udump_sampling_init(&run->sampling,
        &(udump_sampling_options){ .choice = run->sizes.choice,
            .levels = &session->levels,
            .steps = run->sizes.steps,
            .batch = run->sizes.latents,
            .images = run->sizes.images,
            .h = run->sizes.latent_h,
            .w = run->sizes.latent_w,
            .c = session->model->unet.latent_channels,
            .rng = o->rng,
            .eta = o->eta,
            .s_noise = o->s_noise,
            .ensd = o->ensd,
            .seed = run->seed,
            .variation_seed = run->variation_seed,
            .variation_strength = run->variation_strength,
            .strength = o->init ? &run->strength : NULL },
        error);
}

/* Every image of a batch has its own text: the seed differs. The twins of a diff have the prompts that they were made with. What the sampler does not use is
 * left out. */
static udump_status make_infotexts(
    const udump_session *session, const udump_generate_options *o, const udump_prompt *prompts[2], udump_run *run, udump_error *error) {
    const udump_model *model = session->model;
    run->infotexts = calloc((size_t)run->sizes.latents, sizeof(*run->infotexts));
    const udump_sampling *s = &run->sampling;
    bool varied = run->variation_strength > 0, drawn = s->noisy && s->sampler->noise != UDUMP_NOISE_BROWNIAN; /* step by step, from ENSD's seed */
    for (int32_t i = 0; run->infotexts && i < run->sizes.latents; i++) {
        bool erased = !session->swept && i >= run->sizes.images;
        uint64_t image = (uint64_t)(i % run->sizes.images), variation_seed = run->variation_seed + image;
        run->infotexts[i] = udump_infotext_format(&(udump_infotext){
            .prompt = erased ? udump_prompt_erased(prompts[0]) : session->swept ? session->swept[i / run->sizes.images] : run->prompt,
            .negative_prompt = erased && prompts[1] ? udump_prompt_erased(prompts[1]) : run->negative_prompt,
            .loras = model->lora_tags,
            .steps = run->sizes.steps,
            .sampler = run->sizes.choice.sampler->name,
            .schedule = udump_schedule_name(run->sizes.choice.chosen),
            .cfg = run->sizes.cfg,
            .seed = run->seed + (varied ? 0 : image),
            .width_px = run->sizes.width_px,
            .height_px = run->sizes.height_px,
            .model_hash = model->hash,
            .model = model->name,
            .vae_hash = model->vae_hash,
            .vae = model->vae_name,
            .lora_blocks = model->lora_blocks,
            .variation_seed = varied ? &variation_seed : NULL,
            .variation_strength = run->variation_strength,
            .strength = o->init ? &run->strength : NULL,
            .clip_skip = o->clip_skip,
            .ensd = drawn ? o->ensd : 0,
            .rng = o->noise ? "given" : o->rng == UDUMP_RNG_CPU ? "CPU" : NULL,
            .eta = s->eta != s->sampler->eta ? &s->eta : NULL,
            .eta_is_ddim = run->sizes.choice.sampler == &udump_sampler_ddim,
            .s_noise = s->noisy && s->s_noise != 1 && s->sampler != &udump_sampler_ddim ? &s->s_noise : NULL,
            .vae_tile_px = o->vae_tile_px,
            .version = udump_version() });
        if (!run->infotexts[i]) return udump_fail_memory(error, "infotext", 0);
    }
    return run->infotexts ? UDUMP_OK : udump_fail_memory(error, "infotext", (size_t)run->sizes.latents * sizeof(*run->infotexts));
}

/* One that is not run may be anything: then *prompt stays NULL. */
static udump_status parse_negative(const udump_session *session, const udump_run *run, udump_prompt **prompt, udump_error *error) {
    udump_error own;
    udump_status status = udump_prompt_parse(session->model, run->negative_prompt, 1, 1, prompt, &own);
    if (!status || (!run->sizes.uncond && status != UDUMP_ERROR_MEMORY)) return UDUMP_OK;
    snprintf(own.where, sizeof own.where, "negative prompt");
    if (error) *error = own;
    return status;
}

/* The prompts are parsed for what their twins' texts are; with a table of the caller's they are only text. */
static udump_status write_infotexts(const udump_session *session, const udump_generate_options *o, udump_run *run, udump_error *error) {
    udump_prompt *prompts[2] = { NULL, NULL };
    udump_status status = UDUMP_OK;
    bool erased = run->sizes.variants > 1 && !session->swept;
    if (erased) status = udump_prompt_parse(session->model, run->prompt, 1, 0, &prompts[0], error);
    if (!status && erased) status = parse_negative(session, run, &prompts[1], error);
    if (!status) status = make_infotexts(session, o, (const udump_prompt *[2]){ prompts[0], prompts[1] }, run, error);
    udump_prompt_free(prompts[0]);
    udump_prompt_free(prompts[1]);
    return status;
}

static bool allocate_tile(const udump_model *model, udump_run *run) {
    size_t side = (size_t)run->sizes.tile * UDUMP_PIXELS_PER_LATENT;
    if (!side) return true;
    run->tile = malloc(side * side * 3 * sizeof *run->tile);
    run->latent = malloc((size_t)run->sizes.latent_h * (size_t)run->sizes.latent_w * (size_t)model->unet.latent_channels * sizeof *run->latent);
    return run->tile && run->latent;
}

static udump_status prepare_picture(const udump_model *model, const udump_generate_options *o, udump_run *run, udump_error *error) {
    if (!o->init) return UDUMP_OK;
    if (!model->vae.encoder.present)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "init", "the checkpoint's autoencoder has no encoder: it cannot begin from a picture");
    if (!o->init->pixels || o->init->row_bytes < (size_t)o->init->width_px * 3)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "init", "a picture without pixels, or whose rows overlap");
    size_t bytes = (size_t)run->sizes.latent_h * (size_t)run->sizes.latent_w * (size_t)model->unet.latent_channels * sizeof *run->init;
    run->init = malloc(bytes);
    return run->init ? UDUMP_OK : udump_fail_memory(error, "init", bytes);
}

static udump_status allocate(const udump_model *model, udump_run *run, udump_error *error) {
    size_t values = (size_t)run->sizes.width_px * (size_t)run->sizes.height_px * 3;
    run->times = calloc(2 * (size_t)model->unet.resnet_count, sizeof *run->times);
    run->step_seconds = calloc((size_t)run->sampling.steps, sizeof *run->step_seconds);
    run->decoded = malloc(values * sizeof *run->decoded);
    run->pixels = malloc(values);
    bool there = run->times && run->step_seconds && run->decoded && run->pixels && allocate_tile(model, run);
    run->times_now = there ? run->times + model->unet.resnet_count : NULL;
    if (there) return UDUMP_OK;
    return udump_fail_memory(error, "picture", values * (sizeof *run->decoded + 1));
}

static udump_status begin_look(const udump_session *session, const udump_generate_options *o, udump_run *run, udump_error *error) {
    const udump_sizes *sizes = &run->sizes;
    run->look = (udump_look){ .conditioning = &run->conditioning, .sampling = &run->sampling, .sink = &run->sink, .infotexts = run->infotexts, .first_image = run->first_image,
        .images = sizes->images,
        .variants = sizes->variants, .swept = session->swept != NULL, .sides = sizes->sides, .parts = &sizes->parts, .width_px = sizes->width_px, .height_px = sizes->height_px };
    return udump_look_create(&run->look, session->model, o, error);
}

/* As in the webui, images that are variations share one seed, and their variation seeds count up. */
static void take_seeds(const udump_generate_options *o, int32_t first_image, udump_run *run) {
    bool varied = o->variation_strength > 0;
    run->first_image = first_image;
    run->batches = o->batch_count ? o->batch_count : 1;
    run->seed = o->seed + (varied ? 0 : (uint64_t)first_image);
    run->variation_seed = o->variation_seed + (uint64_t)first_image;
    run->variation_strength = o->variation_strength;
    run->strength = o->strength ? *o->strength : UDUMP_DEFAULT_STRENGTH;
}

udump_status udump_run_create(udump_session *session, const udump_generate_options *o, const udump_table *table, const udump_sink *sink,
    udump_run *run, udump_error *error) {
    udump_status status = udump_options_take(&run->sink, sizeof run->sink, sink, "sink", error);
    if (status) return status;
    take_seeds(o, session->first_image, run);
    run->prompt = strdup(o->prompt ? o->prompt : "");
    run->negative_prompt = strdup(o->negative_prompt ? o->negative_prompt : "");
    run->rng_name = o->noise ? "given" : o->rng == UDUMP_RNG_CPU ? "cpu" : "nv";
    if (!run->prompt || !run->negative_prompt) return udump_fail_memory(error, "prompt", 0);
    status = udump_sizes_resolve(session, o, table, &run->sizes, error);
    bool skips = session->model->family->clip_skip;
    if (!status && (o->clip_skip < 0 || (skips && o->clip_skip > session->model->clips[0].layer_count)))
        status = udump_fail(error, UDUMP_ERROR_ARGUMENT, "clip skip", "%d: the text encoder has %d layers", (int)o->clip_skip,
            (int)session->model->clips[0].layer_count);
    if (!status && o->noise) status = copy_noise(o->noise, run, session->model->unet.latent_channels, error);
    if (!status) status = prepare_picture(session->model, o, run, error);
    if (!status) status = plan_sampling(session, o, run, error);
    if (!status) status = write_infotexts(session, o, run, error);
    if (!status) status = begin_look(session, o, run, error);
    if (!status) status = allocate(session->model, run, error);
    return status;
}

void udump_run_free(udump_session *session) {
    udump_run *run = &session->run;
    for (int32_t i = 0; run->infotexts && i < run->sizes.latents; i++) free(run->infotexts[i]);
    free(run->infotexts);
    free(run->prompt);
    free(run->negative_prompt);
    free(run->noise);
    free(run->init);
    free(run->tile);
    free(run->latent);
    free(run->times);
    free(run->step_seconds);
    free(run->decoded);
    free(run->pixels);
    udump_sampling_free(&run->sampling);
    udump_conditioning_free(&run->conditioning);
    udump_look_free(&run->look, &session->x);
    udump_kept_free(&run->kept);
    free(run->hooked);
    memset(run, 0, sizeof *run);
}
