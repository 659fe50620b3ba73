/* The model's noise levels, and the schedules through them.
 * sigma is the noise's standard deviation beside an image of unit scale; a timestep counts the model's training levels from 0. */
#ifndef UDUMP_SAMPLE_SCHEDULE_H
#define UDUMP_SAMPLE_SCHEDULE_H

#include "unetdump.h"

/* "scaled_linear" betas, as LDM: linspace(sqrt(start), sqrt(end), count)^2 and the running product of 1 - beta in double, rounded
 * to float32. What follows is computed from those floats in double, where k-diffusion rounds to float32 at each operation: sigmas
 * agree to 1e-6 relative, timesteps to 3e-4 (the float32 logarithm's last bit over the distance of neighbouring levels). */
typedef struct udump_noise_levels {
    int32_t count;         /* 1000 */
    float *alphas_cumprod; /* [count], falling */
    double *sigmas;        /* [count], rising: sqrt((1 - a) / a) */
    double *log_sigmas;    /* [count] */
} udump_noise_levels;

/* Errors: ARGUMENT (not 0 < beta_start <= beta_end < 1, count not in 2..100000, or levels equal in float32), MEMORY; levels is empty
 * then. Immutable afterwards: shared by threads. Free accepts empty levels. */
udump_status udump_noise_levels_make(udump_noise_levels *levels, int32_t count, double beta_start, double beta_end, udump_error *error);
void udump_noise_levels_free(udump_noise_levels *levels);

/* k-diffusion's DiscreteSchedule.sigma_to_t (not quantized) and t_to_sigma: linear between the levels' log sigmas, clamped to them. */
double udump_sigma_to_timestep(const udump_noise_levels *levels, double sigma);
double udump_timestep_to_sigma(const udump_noise_levels *levels, double timestep);

typedef enum udump_schedule_kind {
    UDUMP_SCHEDULE_AUTOMATIC = 0, /* the sampler's own; not a schedule to compute */
    UDUMP_SCHEDULE_UNIFORM = 1,   /* DiscreteSchedule.get_sigmas: evenly spaced timesteps, from the last to 0 */
    UDUMP_SCHEDULE_KARRAS = 2     /* get_sigmas_karras: rho 7 between the largest and the smallest sigma (Karras et al. 2022, eq. 5) */
} udump_schedule_kind;
enum { UDUMP_SCHEDULE_COUNT = 3 };

/* "Automatic", "Uniform", "Karras". */
const char *udump_schedule_name(udump_schedule_kind kind);

/* Fills sigmas [steps + 1], falling; the last is 0. kind is not AUTOMATIC; steps >= 1. */
void udump_schedule_sigmas(const udump_noise_levels *levels, udump_schedule_kind kind, int32_t steps, double *sigmas);

/* The webui's timesteps for DDIM: clip(range(0, count, count // steps) + 1, 0, count - 1), rising. The list can be longer than
 * steps. Returns its length; writes timestep i to timesteps[i] unless that is NULL. steps in 1..count. */
int32_t udump_schedule_ddim(const udump_noise_levels *levels, int32_t steps, int32_t *timesteps);

#endif
