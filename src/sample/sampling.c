#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "sample/plan.h"
#include "sample/sampler.h"

static udump_status check_options(const udump_sampling_options *options, udump_error *error) {
    int32_t most = options->levels->count - options->choice.sampler->discards_level;
    if (options->steps < 1 || options->steps > most)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "steps", "%d steps, 1 to %d can be taken", (int)options->steps, (int)most);
    if (options->batch < 1 || options->images < 1 || options->h < 1 || options->w < 1 || options->c < 1)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "latent", "a latent of shape [%d, %d, %d, %d]", (int)options->batch, (int)options->c,
            (int)options->h, (int)options->w);
    if (options->eta && !(*options->eta >= 0 && *options->eta <= 1))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "eta", "%g is not from 0 to 1", *options->eta);
    if (options->s_noise && !(*options->s_noise >= 0 && isfinite(*options->s_noise)))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "s_noise", "%g is not a number from 0 up", *options->s_noise);
    if (options->strength && !(*options->strength >= 0 && *options->strength <= 1))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "strength", "%g is not from 0 to 1", *options->strength);
    if (!(options->variation_strength >= 0 && options->variation_strength <= 1))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "variation strength", "%g is not from 0 to 1", options->variation_strength);
    return UDUMP_OK;
}

static void take_options(udump_sampling *s, const udump_sampling_options *options) {
    const udump_sampler *sampler = options->choice.sampler;
    s->sampler = sampler;
    s->levels = options->levels;
    s->eta = sampler->takes_eta && options->eta ? *options->eta : sampler->eta;
    s->s_noise = options->s_noise ? *options->s_noise : 1;
    s->noisy = sampler->noise != UDUMP_NOISE_NONE && (!sampler->takes_eta || s->eta > 0);
    s->batch = options->batch;
    s->images = options->images;
    s->h = options->h;
    s->w = options->w;
    s->c = options->c;
    s->rng = options->rng;
    s->seed = options->seed;
    s->ensd = options->ensd;
    s->variation_seed = options->variation_seed;
    s->variation_strength = options->variation_strength;
}

/* The path reaches from the schedule's first level to the last that is not 0. */
static udump_status begin_path(udump_sampling *s, size_t count, udump_error *error) {
    if (s->sampler->noise != UDUMP_NOISE_BROWNIAN || !s->noisy) return UDUMP_OK;
    double last = s->sigmas[s->steps] > 0 ? s->sigmas[s->steps] : s->sigmas[s->steps - 1];
    return udump_brownian_init(&s->brownian, s->rng, count, (float)last, (float)s->path_sigma, error);
}

static udump_status allocate(udump_sampling *s, udump_error *error) {
    size_t image, all, bytes, batch = (size_t)s->batch;
    if (!udump_size_mul((size_t)s->h, (size_t)s->w, &image) || !udump_size_mul(image, (size_t)s->c, &image)
        || !udump_size_mul(image, batch, &all) || !udump_size_mul(all, sizeof(float), &bytes))
        return udump_fail_memory(error, "latent", SIZE_MAX);
    s->randoms = calloc(batch, sizeof *s->randoms);
    s->drawn = malloc(image * sizeof(float));
    s->varied = s->variation_strength > 0 ? malloc(image * sizeof(float)) : NULL;
    s->staged = malloc(bytes);
    if (s->randoms && s->drawn && s->staged && (s->varied || !(s->variation_strength > 0))) return begin_path(s, image, error);
    return udump_fail_memory(error, "latent", bytes + image * sizeof(float) + batch * sizeof *s->randoms);
}

/* As in the webui, images that are variations share one seed. */
static uint64_t seed_of(const udump_sampling *s, int32_t row) {
    return s->seed + (s->variation_strength > 0 ? 0 : (uint64_t)(row % s->images));
}

static void seed_generators(udump_sampling *s, int64_t delta) {
    for (int32_t row = 0; row < s->batch; row++) udump_random_init(&s->randoms[row], s->rng, seed_of(s, row) + (uint64_t)delta);
}

udump_status udump_sampling_init(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    memset(s, 0, sizeof *s);
    udump_status status = check_options(options, error);
    if (status) return status;
    take_options(s, options);
    status = udump_sampling_plan(s, options, error);
    if (!status) status = allocate(s, error);
    if (status) udump_sampling_free(s);
    else seed_generators(s, 0);
    return status;
}

void udump_sampling_free(udump_sampling *s) {
    free(s->sigmas);
    free(s->raised);
    free(s->evaluations);
    free(s->firsts);
    free(s->randoms);
    free(s->drawn);
    free(s->varied);
    free(s->staged);
    udump_brownian_free(&s->brownian);
    memset(s, 0, sizeof *s);
}

void udump_sampling_reserve(udump_sampling *s, udump_exec *x) {
    s->x = x;
    s->next_step = 0;
    s->latent = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
    if (s->noisy) s->noise = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
    for (int32_t i = 0; i < s->sampler->history; i++) s->history[i] = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
}

double udump_sampling_initial_scale(const udump_sampling *s) {
    if (!s->sampler->own_timesteps) return s->start_sigma;
    return isinf(s->start_sigma) ? 1 : s->start_sigma / hypot(1, s->start_sigma);
}

/* Of the picture's latent beside the noise. */
static float picture_scale(const udump_sampling *s) { return s->sampler->own_timesteps ? (float)(1 / hypot(1, s->start_sigma)) : 1; }

static size_t image_count(const udump_sampling *s) { return (size_t)s->c * (size_t)s->h * (size_t)s->w; }

/* One image, [c, h, w] to channels last, into s->staged. */
static void stage(udump_sampling *s, int32_t row, const float *values, float scale) {
    size_t channels = (size_t)s->c, pixels = (size_t)s->h * (size_t)s->w;
    float *target = s->staged + (size_t)row * pixels * channels;
    for (size_t channel = 0; channel < channels; channel++)
        for (size_t i = 0; i < pixels; i++) target[i * channels + channel] = values[channel * pixels + i] * scale;
}

static bool idle(const udump_sampling *s) { return s->x->dry || udump_exec_stopped(s->x); }

/* The next draw of a row's generator, into s->drawn. */
static void draw(udump_sampling *s, int32_t row) { udump_random_normal(&s->randoms[row], s->drawn, image_count(s)); }

static void vary(udump_sampling *s, int32_t row) {
    udump_random other;
    if (!(s->variation_strength > 0)) return;
    udump_random_init(&other, s->rng, s->variation_seed + (uint64_t)(row % s->images));
    udump_random_normal(&other, s->varied, image_count(s));
    udump_noise_turn(s->drawn, s->varied, (size_t)s->c, (size_t)s->h, (size_t)s->w, s->variation_strength);
}

static void add_picture(udump_sampling *s, int32_t row, const float *init) {
    size_t count = image_count(s);
    float *target = s->staged + (size_t)row * count, scale = picture_scale(s);
    for (size_t i = 0; init && i < count; i++) target[i] += init[i] * scale;
}

void udump_sampling_start(udump_sampling *s, const float *given, const float *init) {
    if (idle(s)) return;
    for (int32_t row = 0; row < s->batch; row++) {
        draw(s, row);
        vary(s, row);
        stage(s, row, given ? given + (size_t)(row % s->images) * image_count(s) : s->drawn, (float)udump_sampling_initial_scale(s));
        add_picture(s, row, init);
    }
    udump_upload(s->x, s->latent, s->staged);
    if (s->ensd != 0) seed_generators(s, s->ensd);
}

void udump_sampling_draw(udump_sampling *s) {
    if (idle(s)) return;
    for (int32_t row = 0; row < s->batch; row++) {
        draw(s, row);
        stage(s, row, s->drawn, 1);
    }
    udump_upload(s->x, s->noise, s->staged);
}

void udump_sampling_draw_between(udump_sampling *s, double sigma, double next) {
    if (idle(s)) return;
    for (int32_t image = 0; image < s->images && image < s->batch; image++) {
        udump_brownian_noise(&s->brownian, seed_of(s, image), (float)sigma, (float)next, s->drawn);
        for (int32_t row = image; row < s->batch; row += s->images) stage(s, row, s->drawn, 1);
    }
    udump_upload(s->x, s->noise, s->staged);
}

void udump_sampling_ancestral_step(double from, double to, double eta, double *down, double *up) {
    *up = fmin(to, eta * sqrt(to * to * (from * from - to * to) / (from * from)));
    *down = sqrt(to * to - *up * *up);
}

udump_tensor udump_sampling_predict(
    udump_sampling *s, int32_t index, int32_t stage_index, udump_tensor latent, const udump_denoiser *denoiser) {
    return denoiser->predict_eps(denoiser->user, latent, &s->evaluations[s->firsts[index] + stage_index]);
}

void udump_sampling_combine(udump_sampling *s, udump_tensor out, int32_t count, const udump_tensor *in, const double *coefficients) {
    float rounded[UDUMP_SAMPLER_HISTORY_MAX + 2]; /* the latent, eps and the history or the noise */
    for (int32_t i = 0; i < count; i++) rounded[i] = (float)coefficients[i];
    udump_into_linear_combination(s->x, out, count, in, rounded);
}

udump_status udump_sampling_step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser, udump_error *error) {
    if (!s->x || index != s->next_step || index >= s->steps)
        return udump_fail(error, UDUMP_ERROR_STATE, "step", "step %d of %d asked for, step %d is next", (int)index + 1, (int)s->steps,
            (int)s->next_step + 1);
    s->next_step++;
    s->sampler->step(s, index, denoiser);
    return udump_exec_status(s->x, error);
}
