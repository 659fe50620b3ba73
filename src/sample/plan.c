#include "sample/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* Latent consistency models (Luo et al. 2023) are distilled on 50 of the levels, every 20th of 1000 from the last down. */
enum { LCM_LEVELS = 50 };

static int32_t lcm_stride(const udump_noise_levels *levels) { return levels->count > LCM_LEVELS ? levels->count / LCM_LEVELS : 1; }
static int32_t lcm_count(const udump_noise_levels *levels) { return levels->count < LCM_LEVELS ? levels->count : LCM_LEVELS; }

/* The model's noise level at a timestep between the training levels, as UniPC's authors have it (and DPM-Solver's): log alpha, half the
 * logarithm of the running product, is linear in between. */
static double between_alphas(const udump_noise_levels *levels, double timestep) {
    int32_t low = (int32_t)timestep, high = low + 1 < levels->count ? low + 1 : low;
    double weight = timestep - low;
    double alpha = exp((1 - weight) * log((double)levels->alphas_cumprod[low]) + weight * log((double)levels->alphas_cumprod[high]));
    return sqrt((1 - alpha) / alpha);
}

static double unipc_timestep(const udump_sampling *s, int32_t i) { return s->first_timestep * (1 - (double)i / s->steps); }

/* setup_img2img_steps: how many of the steps asked for are run, less one. */
static int32_t part_of(const udump_sampling_options *options) { return (int32_t)(fmin(*options->strength, 0.999) * options->steps); }

/* Returns the number of steps; fills sigmas [steps + 1], and one behind them where a level is discarded, unless it is NULL. */
static int32_t list_scheduled(const udump_noise_levels *levels, const udump_sampling_options *options, double *sigmas) {
    bool discards = options->choice.sampler->discards_level;
    int32_t length = udump_schedule_sigmas(levels, options->choice.schedule, options->steps + discards, sigmas);
    if (!discards || length == 1) return length; /* the only level stays */
    if (sigmas) sigmas[length - 1] = sigmas[length];
    return length - 1;
}

/* Leaves the first levels out; a schedule shorter than was asked for keeps one step. */
static void begin_late(udump_sampling *s, int32_t first) {
    if (first > s->steps - 1) first = s->steps - 1;
    s->steps -= first;
    memmove(s->sigmas, s->sigmas + first, ((size_t)s->steps + 1) * sizeof *s->sigmas);
}

static udump_status plan_schedule(
    udump_sampling *s, const udump_noise_levels *levels, const udump_sampling_options *options, udump_error *error) {
    s->steps = list_scheduled(levels, options, NULL);
    s->sigmas = malloc(((size_t)s->steps + 2) * sizeof *s->sigmas);
    if (!s->sigmas) return udump_fail_memory(error, "sigmas", ((size_t)s->steps + 2) * sizeof *s->sigmas);
    list_scheduled(levels, options, s->sigmas);
    s->path_sigma = s->sigmas[0];
    if (options->strength) begin_late(s, options->steps - part_of(options) - 1);
    s->start_sigma = s->sigmas[0];
    return UDUMP_OK;
}

static int32_t nearest(const double *sigmas, int32_t count, float wanted) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++)
        if (fabsf((float)sigmas[i] - wanted) < fabsf((float)sigmas[best] - wanted)) best = i;
    return best;
}

/* The webui's restart_sampler (Xu et al. 2023, "Restart sampling for improving generative processes"): from 20 steps on a part of them goes
 * from near 0.1 back up to near 2 and down again. s->raised then tells where steps begin. */
static void add_restarts(udump_sampling *s, double *levels) {
    static const float bottom = 0.1f, top = 2;
    int32_t times = s->steps >= 36 ? 2 : 1, part = s->steps >= 36 ? s->steps / 4 : 9, count = s->steps - times * part, at = 0;
    for (int32_t i = 0; i < count; i++) levels[i] = (double)udump_karras_level(s->sigmas[s->steps - 1], s->sigmas[0], count, i);
    levels[count] = 0;
    int32_t low = nearest(levels, count + 1, bottom), high = nearest(levels, count + 1, top);
    for (int32_t i = 0; i < count; i++) {
        s->raised[at] = levels[i];
        s->sigmas[++at] = levels[i + 1];
        for (int32_t k = 0; i + 1 == low && high < low && k < times * part; k++) {
            s->raised[at] = (double)udump_karras_level(levels[low], levels[high], part + 1, k % part);
            s->sigmas[++at] = (double)udump_karras_level(levels[low], levels[high], part + 1, k % part + 1);
        }
    }
    s->steps = at;
}

static udump_status plan_restart(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    static const int32_t least = 20;
    udump_status status = plan_schedule(s, s->levels, options, error);
    if (status) return status;
    size_t bytes = ((size_t)s->steps + 1) * sizeof *s->raised;
    double *levels = malloc(bytes);
    s->raised = malloc(bytes);
    if (levels && s->raised) {
        memcpy(s->raised, s->sigmas, bytes);
        if (s->steps >= least) add_restarts(s, levels);
    } else status = udump_fail_memory(error, "sigmas", bytes);
    free(levels);
    return status;
}

/* sample_dpm_fast: over all of the model's levels, or with a picture over those of the schedule that are left, but for the last. */
static udump_status plan_fast(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    udump_status status = plan_schedule(s, s->levels, options, error);
    if (status) return status;
    bool whole = !options->strength;
    double first = whole ? (double)udump_level_sigma(s->levels, s->levels->count - 1) : s->sigmas[0];
    double last = whole ? (double)udump_level_sigma(s->levels, 0) : s->sigmas[s->steps - 1];
    s->evaluations_asked = whole ? options->steps : s->steps;
    s->steps = s->evaluations_asked / 3 + 1;
    free(s->sigmas);
    s->sigmas = malloc(((size_t)s->steps + 1) * sizeof *s->sigmas);
    if (!s->sigmas) return udump_fail_memory(error, "sigmas", ((size_t)s->steps + 1) * sizeof *s->sigmas);
    for (int32_t i = 0; i <= s->steps; i++) s->sigmas[i] = first * pow(last / first, (double)i / s->steps);
    return UDUMP_OK;
}

static udump_status plan_lcm(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    udump_noise_levels few;
    udump_status status = udump_noise_levels_thin(s->levels, lcm_count(s->levels), lcm_stride(s->levels), &few, error);
    if (!status) status = plan_schedule(s, &few, options, error);
    udump_noise_levels_free(&few);
    return status;
}

/* Without a picture the latent is noise alone. With one it is the level at the list's timestep `part`. */
static void begin_at(udump_sampling *s, const int32_t *timesteps, int32_t length, const udump_sampling_options *options) {
    if (!options->strength) s->start_sigma = INFINITY;
    else {
        int32_t part = part_of(options), at = part < 1 && length > 1 ? 1 : part;
        s->start_sigma = s->levels->sigmas[timesteps[at < length ? at : length - 1]];
    }
}

/* How many of the list's timesteps are used. */
static int32_t length_of(int32_t length, const udump_sampling_options *options) {
    if (!options->strength) return length;
    int32_t part = part_of(options), least = length < 2 ? length : 2;
    return part > least ? part : least;
}

/* The list's timesteps rise; they are walked from the end. A list of one leads to level 0. */
static udump_status plan_timesteps(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    int32_t all = udump_schedule_timesteps(s->levels, options->steps, NULL), length = length_of(all, options);
    int32_t *timesteps = malloc((size_t)all * sizeof *timesteps);
    s->steps = length > 1 ? length - 1 : 1;
    s->sigmas = malloc(((size_t)s->steps + 1) * sizeof *s->sigmas);
    if (timesteps && s->sigmas) {
        udump_schedule_timesteps(s->levels, options->steps, timesteps);
        for (int32_t i = 0; i <= s->steps; i++) s->sigmas[i] = s->levels->sigmas[i < length ? timesteps[length - 1 - i] : 0];
        begin_at(s, timesteps, all, options);
    }
    free(timesteps);
    return timesteps && s->sigmas ? UDUMP_OK : udump_fail_memory(error, "timesteps", (size_t)all * sizeof *timesteps);
}

/* UniPC's steps are as many as the timesteps that the others would walk over, evenly spaced from the first of them to 0. */
static udump_status plan_unipc(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    int32_t all = udump_schedule_timesteps(s->levels, options->steps, NULL);
    int32_t *timesteps = malloc((size_t)all * sizeof *timesteps);
    s->steps = options->strength ? (part_of(options) > 1 ? part_of(options) : 1) : all;
    s->sigmas = malloc(((size_t)s->steps + 1) * sizeof *s->sigmas);
    if (timesteps && s->sigmas) {
        udump_schedule_timesteps(s->levels, options->steps, timesteps);
        s->first_timestep = options->strength ? timesteps[s->steps - 1] : s->levels->count - 1;
        for (int32_t i = 0; i <= s->steps; i++) s->sigmas[i] = between_alphas(s->levels, unipc_timestep(s, i));
        begin_at(s, timesteps, all, options);
    }
    free(timesteps);
    return timesteps && s->sigmas ? UDUMP_OK : udump_fail_memory(error, "timesteps", (size_t)all * sizeof *timesteps);
}

/* The nearest in log sigma of LCM's levels, as the model was trained on no others. Schedules do go through the middle between two: there
 * float32 decides, or the lower level. */
static double lcm_timestep(const udump_noise_levels *levels, double sigma) {
    int32_t nearest = levels->count - 1;
    float log_sigma = (float)log(sigma), distance = INFINITY;
    for (int32_t i = 0, at = nearest; i < lcm_count(levels); i++, at -= lcm_stride(levels)) {
        float here = fabsf(log_sigma - udump_level_log_sigma(levels, at));
        if (here > distance) continue;
        distance = here;
        nearest = at;
    }
    return nearest;
}

static double timestep_of(const udump_sampling *s, int32_t step, double sigma) {
    if (s->sampler->levels == UDUMP_LEVELS_LCM) return lcm_timestep(s->levels, sigma);
    if (s->sampler->levels == UDUMP_LEVELS_UNIPC) return unipc_timestep(s, step);
    return udump_sigma_to_timestep(s->levels, sigma);
}

static int32_t stages_of(const udump_sampling *s, int32_t step, double *sigmas) {
    if (s->sampler->stages) return s->sampler->stages(s, step, sigmas);
    sigmas[0] = s->sigmas[step];
    return 1;
}

static udump_status plan_evaluations(udump_sampling *s, udump_error *error) {
    size_t steps = (uint32_t)s->steps, most = steps * UDUMP_SAMPLER_STAGES_MAX; /* unsigned first: so compilers see that it is bounded */
    s->evaluations = calloc(most, sizeof *s->evaluations);
    s->firsts = calloc(steps, sizeof *s->firsts);
    if (!s->evaluations || !s->firsts) return udump_fail_memory(error, "evaluations", most * sizeof *s->evaluations);
    for (int32_t step = 0; step < s->steps; step++) {
        double sigmas[UDUMP_SAMPLER_STAGES_MAX];
        int32_t stages = stages_of(s, step, sigmas);
        s->firsts[step] = s->evaluation_count;
        for (int32_t stage = 0; stage < stages; stage++, s->evaluation_count++)
            s->evaluations[s->evaluation_count] = (udump_evaluation){ s->evaluation_count, step, sigmas[stage],
                timestep_of(s, step, sigmas[stage]), s->sampler->own_timesteps ? 1 : 1 / hypot(1, sigmas[stage]) };
    }
    return UDUMP_OK;
}

udump_status udump_sampling_plan(udump_sampling *s, const udump_sampling_options *options, udump_error *error) {
    udump_status status = UDUMP_OK;
    switch (s->sampler->levels) {
    case UDUMP_LEVELS_SCHEDULE: status = plan_schedule(s, s->levels, options, error); break;
    case UDUMP_LEVELS_LCM: status = plan_lcm(s, options, error); break;
    case UDUMP_LEVELS_TIMESTEPS: status = plan_timesteps(s, options, error); break;
    case UDUMP_LEVELS_RESTART: status = plan_restart(s, options, error); break;
    case UDUMP_LEVELS_FAST: status = plan_fast(s, options, error); break;
    case UDUMP_LEVELS_UNIPC: status = plan_unipc(s, options, error); break;
    }
    return status ? status : plan_evaluations(s, error);
}
