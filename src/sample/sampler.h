/* From noise to a latent: the samplers, and one run of one of them.
 *
 * The order of a run:
 *   udump_sampling_init      the schedule; every evaluation of the U-Net is known from here on
 *   (dry pass)               udump_sampling_reserve, udump_sampling_start, a step, what else the model does
 *   udump_sampling_reserve   the latent and its companions in the arena
 *   udump_sampling_start     the initial noise
 *   udump_sampling_step      steps times
 *   udump_sampling_free
 * Nothing is allocated after init but in the arena, by reserve. One thread at a time. */
#ifndef UDUMP_SAMPLE_SAMPLER_H
#define UDUMP_SAMPLE_SAMPLER_H

#include "backend/ops.h"
#include "sample/random.h"
#include "sample/schedule.h"

/* One evaluation of the U-Net on the whole batch. */
typedef struct udump_evaluation {
    int32_t index;      /* from 0 */
    int32_t step;       /* the sampler step it belongs to, from 0 */
    double sigma;
    double timestep;    /* not rounded, but for DDIM, whose timesteps are whole */
    double input_scale; /* what the latent is multiplied by for the U-Net */
} udump_evaluation;

/* The model as samplers see it. */
typedef struct udump_denoiser {
    void *user;
    /* The noise (CFG combined) in latent, which the U-Net sees multiplied by evaluation->input_scale: F32, [batch, h, w, c]. It may
     * live in the arena's temporaries: it is read before the next call and before the step returns. */
    udump_tensor (*predict_eps)(void *user, udump_tensor latent, const udump_evaluation *evaluation);
} udump_denoiser;

typedef struct udump_sampling udump_sampling;

enum { UDUMP_SAMPLER_ALIASES = 4, UDUMP_SAMPLER_HISTORY_MAX = 2 };

typedef struct udump_sampler {
    const char *name; /* the webui's */
    const char *aliases[UDUMP_SAMPLER_ALIASES]; /* NULL where there are fewer */
    udump_schedule_kind automatic;
    bool own_timesteps; /* DDIM: udump_schedule_ddim, whichever schedule is named; the latent has unit variance throughout */
    bool ancestral;     /* draws noise at each step but the last */
    int32_t history;    /* tensors kept from step to step */
    void (*step)(udump_sampling *s, int32_t index, const udump_denoiser *denoiser);
} udump_sampler;

extern const udump_sampler udump_sampler_euler, udump_sampler_euler_a, udump_sampler_dpmpp_2m, udump_sampler_ddim;

typedef struct udump_sampler_choice {
    const udump_sampler *sampler;
    udump_schedule_kind chosen;   /* as asked for: the infotext's */
    udump_schedule_kind schedule; /* what runs: never AUTOMATIC */
} udump_sampler_choice;

/* Finds a sampler and a schedule by the webui's names, upper and lower case alike. NULL means "Euler a" and "Automatic". The older
 * joined names ("DPM++ 2M Karras", "k_dpmpp_2m_ka") bring their schedule; another one may then not be named beside it.
 * Errors: ARGUMENT (unknown: the detail lists what is known; contradicting). Thread-safe. */
udump_status udump_sampler_find(const char *sampler, const char *schedule, udump_sampler_choice *choice, udump_error *error);

typedef struct udump_sampling_options {
    udump_sampler_choice choice;
    const udump_noise_levels *levels; /* must outlive the run */
    int32_t steps;                    /* 1..levels->count */
    int32_t batch, h, w, c;           /* the latent's shape */
    udump_rng rng;
    uint64_t seed; /* of image 0 */
} udump_sampling_options;

struct udump_sampling {
    const udump_sampler *sampler;
    const udump_noise_levels *levels;
    int32_t steps;              /* DDIM's may differ from what was asked for: see udump_sampling_init */
    double *sigmas;             /* [steps + 1]: before each step, and after the last */
    udump_evaluation *evaluations; /* [evaluation_count], in order */
    int32_t evaluation_count;   /* one a step for these samplers */
    int32_t batch, h, w, c;
    udump_random *randoms;      /* [batch] */
    float *drawn, *staged;      /* host: [c, h, w] of one image; [batch, h, w, c] */

    udump_exec *x;              /* from here on set by reserve */
    udump_tensor latent;        /* F32, [batch, h, w, c]; its address stays */
    udump_tensor noise;         /* the same shape; ancestral samplers only */
    udump_tensor history[UDUMP_SAMPLER_HISTORY_MAX];
    int32_t next_step;
};

/* Plans a run. DDIM as the webui: of its list of timesteps the first is never evaluated, so that 20 steps have 19 evaluations, and
 * counts that do not divide the levels may have more (30 steps: 31 timesteps, 30 evaluations). One step, where the webui would
 * return the noise, has one evaluation here.
 * Errors: ARGUMENT (steps, a shape that is not positive), MEMORY. After a failure s is empty. */
udump_status udump_sampling_init(udump_sampling *s, const udump_sampling_options *options, udump_error *error);
void udump_sampling_free(udump_sampling *s);

/* Takes the run's tensors from x's arena (they stay until the arena is released below them) and sets the run back to its first
 * step. Failures stick in x. */
void udump_sampling_reserve(udump_sampling *s, udump_exec *x);

/* The scale of the initial noise: the first sigma; 1 for DDIM. */
double udump_sampling_initial_scale(const udump_sampling *s);

/* Draws the initial noise, or takes given, [batch, c, h, w] of unit variance; either way scaled. The generators advance in both
 * cases, so that giving a generator's own noise changes nothing. Failures stick in x. In a dry pass nothing is drawn. */
void udump_sampling_start(udump_sampling *s, const float *given);

/* Runs step `index`; steps run in order. Errors: STATE (another index than the next, or past the last), what the denoiser or an
 * operation left in x. */
udump_status udump_sampling_step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser, udump_error *error);

/* For samplers: draws [c, h, w] from each image's generator into s->noise. */
void udump_sampling_draw(udump_sampling *s);

/* For samplers: out = sum of coefficients[k] * in[k], the coefficients rounded once. out may be one of in. */
void udump_sampling_combine(udump_sampling *s, udump_tensor out, int32_t count, const udump_tensor *in, const double *coefficients);

#endif
