#include <math.h>

#include "sample/sampler.h"

/* As many evaluations as are asked for in all: steps of order 3, and what is left over at the end. */
static int32_t order_of(const udump_sampling *s, int32_t index) {
    int32_t asked = s->evaluations_asked, left = s->steps - index;
    if (asked % 3) return left > 1 ? 3 : asked % 3;
    return left > 2 ? 3 : left;
}

/* Where the step without its noise ends: never below the last level. */
static double target_of(const udump_sampling *s, int32_t index) {
    double down, up;
    udump_sampling_ancestral_step(s->sigmas[index], s->sigmas[index + 1], s->eta, &down, &up);
    return fmax(down, s->sigmas[s->steps]);
}

/* Part of the way in log sigma. */
static double between(double sigma, double next, double part) { return sigma * pow(next / sigma, part); }

static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    int32_t order = order_of(s, index);
    sigmas[0] = s->sigmas[index];
    for (int32_t k = 1; k < order; k++) sigmas[k] = between(s->sigmas[index], target_of(s, index), (double)k / order);
    return order;
}

/* k-diffusion's sample_dpm_fast (Lu et al. 2022, "DPM-Solver", algorithms 1, 2 and the singlestep solver of order 3 with r1 = 1/3, r2 = 2/3),
 * with h = log(sigma / target) and e_k the noise at stage k:
 *   order 1: x' = x + (target - sigma) e0
 *   order 2: x' = x + (target - sigma) e1,  e1 at x + (middle - sigma) e0
 *   order 3: u2 = x + (s2 - sigma) e0 - 2 s2 ((exp(2h/3) - 1) / (2h/3) - 1) (e1 - e0)
 *            x' = x + (target - sigma) e0 - 3/2 target ((exp(h) - 1) / h - 1) (e2 - e0)
 * then noise up to the next level. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], target = target_of(s, index), h = log(sigma / target);
    double at[UDUMP_SAMPLER_STAGES_MAX], curve = 0;
    int32_t order = stages(s, index, at);
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), first = s->history[0], ahead = s->history[1];
    udump_sampling_combine(s, first, 1, &eps, (double[]){ 1 });
    if (order > 1) {
        udump_sampling_combine(s, ahead, 2, (udump_tensor[]){ s->latent, first }, (double[]){ 1, at[1] - sigma });
        eps = udump_sampling_predict(s, index, 1, ahead, denoiser);
        curve = target - sigma;
    }
    if (order > 2) {
        double bend = -2 * at[2] * (expm1(2 * h / 3) / (2 * h / 3) - 1);
        udump_sampling_combine(s, ahead, 3, (udump_tensor[]){ s->latent, first, eps }, (double[]){ 1, at[2] - sigma - bend, bend });
        eps = udump_sampling_predict(s, index, 2, ahead, denoiser);
        curve = -1.5 * target * (expm1(h) / h - 1);
    }
    double noise = s->noisy && next > target ? s->s_noise * sqrt(next * next - target * target) : 0;
    if (noise > 0) udump_sampling_draw(s);
    udump_sampling_combine(s, s->latent, noise > 0 ? 4 : 3, (udump_tensor[]){ s->latent, first, order > 1 ? eps : first, s->noise },
        (double[]){ 1, target - sigma - curve, curve, noise });
}

const udump_sampler udump_sampler_dpm_fast = {
    .name = "DPM fast",
    .aliases = { "k_dpm_fast", "dpm_fast" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .levels = UDUMP_LEVELS_FAST,
    .noise = UDUMP_NOISE_DRAWN,
    .takes_eta = true,
    .eta = 1,
    .history = 2,
    .stages = stages,
    .step = step,
};
