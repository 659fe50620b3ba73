#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "sample/sampler.h"

static udump_status check_options(const udump_sampling_options *options, udump_error *error) {
    if (options->steps < 1 || options->steps > options->levels->count)
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "steps", "%d steps, 1 to %d can be taken", (int)options->steps, (int)options->levels->count);
    if (options->batch < 1 || options->h < 1 || options->w < 1 || options->c < 1)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "latent", "a latent of shape [%d, %d, %d, %d]", (int)options->batch, (int)options->c,
            (int)options->h, (int)options->w);
    return UDUMP_OK;
}

/* DDIM's list without the entry that is never evaluated. */
static int32_t plan_length(const udump_sampling_options *options) {
    if (!options->choice.sampler->own_timesteps) return options->steps;
    int32_t length = udump_schedule_ddim(options->levels, options->steps, NULL);
    return length > 1 ? length - 1 : 1;
}

static udump_status allocate(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    size_t image, all, bytes, steps = (size_t)s->steps, batch = (size_t)options->batch;
    if (!udump_size_mul((size_t)options->h, (size_t)options->w, &image) || !udump_size_mul(image, (size_t)options->c, &image)
        || !udump_size_mul(image, batch, &all) || !udump_size_mul(all, sizeof(float), &bytes))
        return udump_fail_memory(error, "latent", SIZE_MAX);
    s->sigmas = malloc((steps + 1) * sizeof *s->sigmas);
    s->evaluations = malloc(steps * sizeof *s->evaluations);
    s->randoms = calloc(batch, sizeof *s->randoms);
    s->drawn = malloc(image * sizeof(float));
    s->staged = malloc(bytes);
    if (s->sigmas && s->evaluations && s->randoms && s->drawn && s->staged) return UDUMP_OK;
    return udump_fail_memory(error, "latent", bytes + image * sizeof(float) + batch * sizeof *s->randoms);
}

static void plan(udump_sampling *s, udump_schedule_kind schedule) {
    udump_schedule_sigmas(s->levels, schedule, s->steps, s->sigmas);
    for (int32_t i = 0; i < s->steps; i++) {
        double sigma = s->sigmas[i];
        s->evaluations[i] = (udump_evaluation){ i, i, sigma, udump_sigma_to_timestep(s->levels, sigma), 1 / hypot(1, sigma) };
    }
}

/* timesteps: DDIM's list, rising; it is walked from its end. The level below the list's first entry is level 0. */
static void plan_ddim(udump_sampling *s, const int32_t *timesteps, int32_t length) {
    for (int32_t i = 0; i <= s->steps; i++) {
        int32_t timestep = i < length ? timesteps[length - 1 - i] : 0;
        s->sigmas[i] = s->levels->sigmas[timestep];
        if (i < s->steps) s->evaluations[i] = (udump_evaluation){ i, i, s->sigmas[i], timestep, 1 };
    }
}

static udump_status plan_all(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    if (!s->sampler->own_timesteps) {
        plan(s, options->choice.schedule);
        return UDUMP_OK;
    }
    int32_t length = udump_schedule_ddim(s->levels, options->steps, NULL);
    int32_t *timesteps = malloc((size_t)length * sizeof *timesteps);
    if (!timesteps) return udump_fail_memory(error, "timesteps", (size_t)length * sizeof *timesteps);
    udump_schedule_ddim(s->levels, options->steps, timesteps);
    plan_ddim(s, timesteps, length);
    free(timesteps);
    return UDUMP_OK;
}

udump_status udump_sampling_init(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    memset(s, 0, sizeof *s);
    udump_status status = check_options(options, error);
    if (status) return status;
    s->sampler = options->choice.sampler;
    s->levels = options->levels;
    s->steps = s->evaluation_count = plan_length(options);
    s->batch = options->batch;
    s->h = options->h;
    s->w = options->w;
    s->c = options->c;
    status = allocate(s, options, error);
    if (!status) status = plan_all(s, options, error);
    if (status) {
        udump_sampling_free(s);
        return status;
    }
    for (int32_t i = 0; i < s->batch; i++) udump_random_init(&s->randoms[i], options->rng, options->seed + (uint64_t)i);
    return UDUMP_OK;
}

void udump_sampling_free(udump_sampling *s) {
    free(s->sigmas);
    free(s->evaluations);
    free(s->randoms);
    free(s->drawn);
    free(s->staged);
    memset(s, 0, sizeof *s);
}

void udump_sampling_reserve(udump_sampling *s, udump_exec *x) {
    s->x = x;
    s->next_step = 0;
    s->latent = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
    if (s->sampler->ancestral) s->noise = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
    for (int32_t i = 0; i < s->sampler->history; i++) s->history[i] = udump_tensor_new(x, UDUMP_F32, s->batch, s->h, s->w, s->c);
}

double udump_sampling_initial_scale(const udump_sampling *s) { return s->sampler->own_timesteps ? 1 : s->sigmas[0]; }

/* One image, [c, h, w] to channels last, into s->staged. */
static void stage(udump_sampling *s, int32_t image, const float *values, float scale) {
    size_t channels = (size_t)s->c, pixels = (size_t)s->h * (size_t)s->w;
    float *target = s->staged + (size_t)image * pixels * channels;
    for (size_t channel = 0; channel < channels; channel++)
        for (size_t i = 0; i < pixels; i++) target[i * channels + channel] = values[channel * pixels + i] * scale;
}

/* Draws from every image's generator; given ([batch, c, h, w], or NULL) takes the place of what was drawn. */
static void fill_noise(udump_sampling *s, udump_tensor out, const float *given, float scale) {
    if (s->x->dry || udump_exec_stopped(s->x)) return;
    size_t count = (size_t)s->c * (size_t)s->h * (size_t)s->w;
    for (int32_t image = 0; image < s->batch; image++) {
        udump_random_normal(&s->randoms[image], s->drawn, count);
        stage(s, image, given ? given + (size_t)image * count : s->drawn, scale);
    }
    udump_upload(s->x, out, s->staged);
}

void udump_sampling_start(udump_sampling *s, const float *given) {
    fill_noise(s, s->latent, given, (float)udump_sampling_initial_scale(s));
}
void udump_sampling_draw(udump_sampling *s) { fill_noise(s, s->noise, NULL, 1); }

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
