/* The model's noise levels, and the schedules through them.
 * sigma is the noise's standard deviation beside an image of unit scale; a timestep counts the model's training levels from 0. */
#ifndef UDUMP_SAMPLE_SCHEDULE_H
#define UDUMP_SAMPLE_SCHEDULE_H

#include <stdbool.h>

#include "unetdump.h"

/* "scaled_linear" betas, as LDM: linspace(sqrt(start), sqrt(end), count)^2 and the running product of 1 - beta in double, rounded
 * to float32. What follows is computed from those floats in double. */
typedef struct udump_noise_levels {
    int32_t count;         /* 1000 */
    float *alphas_cumprod; /* [count], falling */
    double *sigmas;        /* [count], rising: sqrt((1 - a) / a) */
    double *log_sigmas;    /* [count] */
    bool is_sdxl;          /* whose table Align Your Steps takes: SD 1.5's, or SDXL's */
} udump_noise_levels;

/* Errors: ARGUMENT (not 0 < beta_start <= beta_end < 1, count not in 2..100000, or levels equal in float32), MEMORY; levels is empty
 * then. Immutable afterwards: shared by threads. Free accepts empty levels. */
udump_status udump_noise_levels_make(udump_noise_levels *levels, int32_t count, double beta_start, double beta_end, udump_error *error);
void udump_noise_levels_free(udump_noise_levels *levels);

/* Moves all levels so that the last is nothing but noise (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed",
 * algorithm 1): sqrt(alphas_cumprod) is shifted and scaled in float32 as the webui does; the last, which would be 0, becomes
 * 4.8973451890853435e-08 as there. To be called right after make.
 * Errors: ARGUMENT (levels that float32 could not tell apart afterwards); levels is empty then. */
udump_status udump_noise_levels_rescale(udump_noise_levels *levels, udump_error *error);

/* Every stride-th level, counted down from the last, `count` of them: 1 <= count and (count - 1) * stride < levels->count.
 * Errors: MEMORY; few is empty then. */
udump_status udump_noise_levels_thin(
    const udump_noise_levels *levels, int32_t count, int32_t stride, udump_noise_levels *few, udump_error *error);

/* A level's sigma and its logarithm as k-diffusion has them, in float32; the logarithm is that sigma's, correctly rounded. */
float udump_level_sigma(const udump_noise_levels *levels, int32_t level);
float udump_level_log_sigma(const udump_noise_levels *levels, int32_t level);

/* k-diffusion's DiscreteSchedule.sigma_to_t (not quantized): linear between the levels' log sigmas, clamped to them. k-diffusion rounds
 * to float32 at each operation; timesteps agree to 3e-4 (the float32 logarithm's last bit over the distance of neighbouring levels). */
double udump_sigma_to_timestep(const udump_noise_levels *levels, double sigma);

/* k-diffusion's DiscreteSchedule.t_to_sigma: the inverse, rounding as k-diffusion does; 0 <= timestep <= count - 1. */
float udump_timestep_to_sigma(const udump_noise_levels *levels, float timestep);

/* smallest and largest: the first and the last level's sigma; i counts from 0. The webui's sd_schedulers.py unless marked. */
typedef enum udump_schedule_kind {
    UDUMP_SCHEDULE_AUTOMATIC = 0,       /* the sampler's own; not a schedule to compute */
    UDUMP_SCHEDULE_UNIFORM = 1,         /* k-diffusion's DiscreteSchedule.get_sigmas: evenly spaced timesteps, from the last to 0 */
    UDUMP_SCHEDULE_KARRAS = 2,          /* k-diffusion's get_sigmas_karras: evenly spaced sigma^(1/7) (Karras et al. 2022, eq. 5) */
    UDUMP_SCHEDULE_EXPONENTIAL = 3,     /* k-diffusion's get_sigmas_exponential: evenly spaced log sigma */
    UDUMP_SCHEDULE_POLYEXPONENTIAL = 4, /* k-diffusion's get_sigmas_polyexponential with the webui's rho 1: the same, rounded otherwise */
    UDUMP_SCHEDULE_SGM_UNIFORM = 5,     /* evenly spaced timesteps from the last to 0, without the 0 */
    UDUMP_SCHEDULE_KL_OPTIMAL = 6,      /* evenly spaced atan(sigma) (Sabour et al. 2024); ends at the smallest sigma, not at 0 */
    UDUMP_SCHEDULE_SIMPLE = 7,          /* every (count / steps)-th level, down from the last */
    UDUMP_SCHEDULE_NORMAL = 8,          /* Uniform, by another road */
    UDUMP_SCHEDULE_DDIM = 9,            /* levels 1, 1 + count // steps, ...: as many as fit, which can be more than steps */
    UDUMP_SCHEDULE_BETA = 10,           /* quantiles of the distribution Beta(0.6, 0.6), evenly spaced probabilities (Lee et al. 2024) */
    UDUMP_SCHEDULE_ALIGN_YOUR_STEPS = 11 /* log-linear between 11 levels found for the model's family (Sabour et al. 2024) */
} udump_schedule_kind;
enum { UDUMP_SCHEDULE_COUNT = 12 };

/* "Automatic", "Uniform", ..., "SGM Uniform", ... */
const char *udump_schedule_name(udump_schedule_kind kind);

/* A schedule's length: its number of steps, `steps` but for DDIM. Writes sigmas [length + 1], falling, unless that is NULL; the last is
 * 0 but for KL_OPTIMAL. kind is not AUTOMATIC; steps in 1..count + 1 (count + 1 for a level that is then discarded).
 * The sigmas are float32, and every operation rounds as torch's, the functions (sqrt, log, exp, pow, tan) correctly. A build of torch
 * may miss that by its last bit: against torch 2.15 with MKL, over 1 to 100 steps, one sigma in 65 differs for Karras, in 120 for
 * Exponential, none for Polyexponential, in 30 for Beta, and in 5 or 6 for the others; 5e-7 relative at most. */
int32_t udump_schedule_sigmas(const udump_noise_levels *levels, udump_schedule_kind kind, int32_t steps, double *sigmas);

/* Level i of `steps` of KARRAS between other ends; 0 <= smallest <= largest. */
float udump_karras_level(double smallest, double largest, int32_t steps, int32_t i);

/* The webui's timesteps for DDIM, PLMS and UniPC: clip(range(0, count, count // steps) + 1, 0, count - 1), rising. The list can be
 * longer than steps. Returns its length; writes timestep i to timesteps[i] unless that is NULL. steps in 1..count. */
int32_t udump_schedule_timesteps(const udump_noise_levels *levels, int32_t steps, int32_t *timesteps);

/* The quantile of the distribution Beta(shape, shape): where its integral reaches `probability`, 0..1. 0 < shape. Error below 1e-12. */
double udump_beta_quantile(double probability, double shape);

#endif
