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
#include "sample/brownian.h"
#include "sample/random.h"
#include "sample/schedule.h"

/* One evaluation of the U-Net on the whole batch. */
typedef struct udump_evaluation {
    int32_t index;      /* from 0 */
    int32_t step; /* the sampler step it belongs to, from 0 */
    double sigma;
    double timestep;    /* not rounded, but for DDIM, PLMS and LCM, whose timesteps are whole */
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

enum { UDUMP_SAMPLER_ALIASES = 4, UDUMP_SAMPLER_HISTORY_MAX = 5, UDUMP_SAMPLER_STAGES_MAX = 3 };

/* Which noise levels a sampler walks through. */
typedef enum udump_level_source {
    UDUMP_LEVELS_SCHEDULE = 0,  /* the schedule's */
    UDUMP_LEVELS_LCM = 1,       /* the schedule's on LCM's 50 levels: see lcm.c */
    UDUMP_LEVELS_TIMESTEPS = 2, /* udump_schedule_timesteps, whichever schedule is named */
    UDUMP_LEVELS_UNIPC = 3,     /* evenly spaced timesteps down to 0, whichever schedule is named: see unipc.c */
    UDUMP_LEVELS_RESTART = 4,   /* the schedule's, or Karras' between its ends with a part of them walked again: see restart.c */
    UDUMP_LEVELS_FAST = 5       /* evenly spaced log sigma over the model's levels, whichever schedule is named: see dpm_fast.c */
} udump_level_source;

typedef enum udump_noise_source {
    UDUMP_NOISE_NONE = 0,
    UDUMP_NOISE_DRAWN = 1,   /* the next draw of each image's generator */
    UDUMP_NOISE_BROWNIAN = 2 /* a stretch of each image's Brownian path: brownian.h */
} udump_noise_source;

typedef struct udump_sampler {
    const char *name; /* the webui's */
    const char *aliases[UDUMP_SAMPLER_ALIASES]; /* NULL where there are fewer */
    udump_schedule_kind automatic;
    udump_level_source levels;
    bool own_timesteps;  /* levels TIMESTEPS or UNIPC: the latent has unit variance throughout */
    bool second_order; /* the webui's: it counts on two evaluations a step, and a prompt's "half of the steps" is of twice the steps */
    bool discards_level; /* a step more is scheduled, and the level before the last left out: the webui's discard_next_to_last_sigma */
    udump_noise_source noise;
    bool takes_eta;      /* else the noise is the same for every eta */
    double eta;          /* the default */
    int32_t history;     /* tensors kept from step to step, or from a step's first evaluation to its second */
    /* Where the model is evaluated in a step: fills sigmas [UDUMP_SAMPLER_STAGES_MAX], returns their number. NULL: once, at the level
     * before the step. */
    int32_t (*stages)(const udump_sampling *s, int32_t index, double *sigmas);
    void (*step)(udump_sampling *s, int32_t index, const udump_denoiser *denoiser);
} udump_sampler;

extern const udump_sampler udump_sampler_euler_a, udump_sampler_euler, udump_sampler_lms, udump_sampler_heun, udump_sampler_dpm2,
    udump_sampler_dpm2_a, udump_sampler_dpmpp_2s_a, udump_sampler_dpmpp_2m, udump_sampler_dpmpp_sde, udump_sampler_dpmpp_2m_sde,
    udump_sampler_dpmpp_2m_sde_heun, udump_sampler_dpmpp_3m_sde, udump_sampler_ddim, udump_sampler_plms, udump_sampler_unipc,
    udump_sampler_lcm, udump_sampler_restart, udump_sampler_dpm_fast;

typedef struct udump_sampler_choice {
    const udump_sampler *sampler;
    udump_schedule_kind chosen;   /* as asked for: the infotext's */
    udump_schedule_kind schedule; /* what runs: never AUTOMATIC */
} udump_sampler_choice;

/* Finds a sampler and a schedule by the webui's names, upper and lower case alike, or by k-diffusion's ("dpm_2_ancestral"). NULL means
 * "Euler a" and "Automatic". The older joined names ("DPM++ 2M Karras", "k_dpmpp_2m_ka", "k_dpmpp_3m_sde_exp") bring their schedule;
 * another one may then not be named beside it. In schedules' names an underline is a space ("sgm_uniform").
 * Errors: ARGUMENT (unknown: the detail lists what is known; contradicting). Thread-safe. */
udump_status udump_sampler_find(const char *sampler, const char *schedule, udump_sampler_choice *choice, udump_error *error);

typedef struct udump_sampling_options {
    udump_sampler_choice choice;
    const udump_noise_levels *levels; /* must outlive the run */
    int32_t steps;                    /* 1..levels->count; one less where the sampler discards a level */
    int32_t batch, h, w, c;           /* the latent's shape */
    int32_t images;                   /* 1..batch: row i of the batch has the noise of image i modulo images */
    udump_rng rng;
    uint64_t seed; /* of image 0 */
    /* The noise of ancestral and SDE samplers and of DDIM, relative to what keeps the variance of the model's own process; 0 to 1, at 0
     * nothing is random. NULL: the sampler's default, 1, but for DDIM 0. Samplers without the parameter (takes_eta) ignore it. */
    const double *eta;
    const double *s_noise; /* what the fresh noise is multiplied by in the same samplers but DDIM; 0 or more. NULL: 1 */
    /* "Eta noise seed delta": after the initial latent, image i draws from a new generator of seed + i + ensd (modulo 2^64). 0: the
     * initial latent's generators draw on. Brownian paths are not moved by it. As in the webui, where 31337 is a usual value. */
    int64_t ensd;
    /* The webui's variation (variation.c): where strength is not 0, every image has seed's initial noise, turned by it towards that of
     * variation_seed + i. 0..1. */
    uint64_t variation_seed;
    double variation_strength;
    /* Of img2img, 0..1: how much of the schedule is run, see udump_sampling_init. NULL: all of it, from noise alone. */
    const double *strength;
} udump_sampling_options;

struct udump_sampling {
    const udump_sampler *sampler;
    const udump_noise_levels *levels;
    int32_t steps;              /* may differ from what was asked for: see udump_sampling_init */
    double *sigmas;             /* [steps + 1]: before each step, and after the last */
    double *raised;             /* [steps]: Restart's: the level that noise is added up to before a step, or the same; else NULL */
    udump_evaluation *evaluations; /* [evaluation_count], in order */
    int32_t evaluation_count;   /* one or two a step */
    int32_t *firsts;            /* [steps]: the index of each step's first evaluation */
    double eta, s_noise;
    bool noisy;                 /* the steps draw noise */
    double start_sigma;         /* the level of the initial latent: the first one's, but for img2img with DDIM, PLMS and UniPC */
    double path_sigma;          /* where Brownian paths begin: the whole schedule's first level */
    double first_timestep;      /* UniPC's */
    int32_t evaluations_asked;  /* DPM fast's */
    int32_t batch, images, h, w, c;
    udump_rng rng;
    uint64_t seed;
    int64_t ensd;
    uint64_t variation_seed;
    double variation_strength;
    udump_random *randoms;      /* [batch] */
    udump_brownian brownian;    /* empty unless the sampler's noise is of that kind */
    float *drawn, *varied, *staged; /* host: [c, h, w] of one image, twice; [batch, h, w, c] */

    udump_exec *x;              /* from here on set by reserve */
    udump_tensor latent;        /* F32, [batch, h, w, c]; its address stays */
    udump_tensor noise;         /* the same shape; where noisy */
    udump_tensor history[UDUMP_SAMPLER_HISTORY_MAX];
    int32_t next_step;
};

/* Plans a run. DDIM and PLMS as the webui: of their list of timesteps the first is only stepped to, so that 20 steps are 19, and
 * counts that do not divide the levels may be more (30 steps: 31 timesteps, 30 steps). One step, where the webui would return the
 * noise, is one step here. UniPC takes as many steps as that list is long, the schedule DDIM as many as it has levels.
 * Samplers of second order evaluate the model twice a step, but once in a step to sigma 0.
 * DPM fast takes as many evaluations as steps are asked for, one to three a step.
 * With a strength, as the webui's setup_img2img_steps: of the steps asked for, the last t + 1 are run, t = floor(min(strength, 0.999) *
 * steps), from the level before them. DDIM, PLMS and UniPC begin at the list's timestep t and are evaluated from timestep t - 1 on; where
 * nothing would be left to do (t < 2; the webui returns the noise) one step is taken, from timestep 1. UniPC takes t steps.
 * Errors: ARGUMENT (steps, a shape that is not positive, eta, s_noise, a strength), MEMORY. After a failure s is empty. */
udump_status udump_sampling_init(udump_sampling *s, const udump_sampling_options *options, udump_error *error);
void udump_sampling_free(udump_sampling *s);

/* Takes the run's tensors from x's arena (they stay until the arena is released below them) and sets the run back to its first
 * step. Failures stick in x. */
void udump_sampling_reserve(udump_sampling *s, udump_exec *x);

/* The scale of the initial noise: the first sigma; for samplers with their own timesteps 1, or less beside a picture. */
double udump_sampling_initial_scale(const udump_sampling *s);

/* Draws the initial noise, or takes given, [images, c, h, w] of unit variance; either way scaled. The generators advance in both
 * cases, so that giving a generator's own noise changes nothing. With a strength, init is the picture's latent, [h, w, c], to which the noise
 * of every image is added; else NULL. Failures stick in x. In a dry pass nothing is drawn. */
void udump_sampling_start(udump_sampling *s, const float *given, const float *init);

/* variation.c: noise = the webui's slerp(amount, noise, other), [c, h, w]: on the sphere, column by column of each channel; where the two are
 * nearly the same direction, in a straight line (and from the other end, as there). */
void udump_noise_turn(float *noise, const float *other, size_t c, size_t h, size_t w, double amount);

/* Runs step `index`; steps run in order. Errors: STATE (another index than the next, or past the last), what the denoiser or an
 * operation left in x. */
udump_status udump_sampling_step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser, udump_error *error);

/* For samplers: the model's noise at evaluation `stage` of step `index`. */
udump_tensor udump_sampling_predict(
    udump_sampling *s, int32_t index, int32_t stage, udump_tensor latent, const udump_denoiser *denoiser);

/* For samplers: draws [c, h, w] from each image's generator into s->noise. */
void udump_sampling_draw(udump_sampling *s);

/* For samplers with Brownian noise: s->noise = the path's change from sigma to next, of unit variance. Both are levels of the run, or
 * lie between them. */
void udump_sampling_draw_between(udump_sampling *s, double sigma, double next);

/* For samplers: k-diffusion's get_ancestral_step. Of the variance to^2, up^2 is new noise, and down^2 is stepped down to; eta scales up,
 * at 0 there is none. 0 <= to <= from. */
void udump_sampling_ancestral_step(double from, double to, double eta, double *down, double *up);

/* For samplers: out = sum of coefficients[k] * in[k], the coefficients rounded once. out may be one of in. */
void udump_sampling_combine(udump_sampling *s, udump_tensor out, int32_t count, const udump_tensor *in, const double *coefficients);

#endif
