#include <math.h>

#include "sample/sampler.h"

/* k-diffusion's times go to t = -log(sigma) and back, rounding to float32 on the way: the Brownian path is asked for at just these. */
static float t_of(double sigma) { return -(float)log(sigma); }
static double sigma_of(float t) { return (double)(float)exp(-(double)t); }

/* Halfway in log sigma. */
static double middle_of(const udump_sampling *s, int32_t index) {
    if (s->sigmas[index + 1] == 0) return 0;
    float t = t_of(s->sigmas[index]), step = t_of(s->sigmas[index + 1]) - t;
    return sigma_of(t + step * 0.5f);
}

static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    sigmas[0] = s->sigmas[index];
    sigmas[1] = middle_of(s, index);
    return sigmas[1] > 0 ? 2 : 1;
}

/* k-diffusion: sample_dpmpp_sde with r = 1/2 (DPM-Solver++(2S) for the reverse SDE): an ancestral step to the middle, and with what is
 * denoised there an ancestral step over the whole, both with the path's noise:
 *   x2 = x + (down_m - sigma) eps + up_m noise(sigma, middle)
 *   x' = (down/sigma) x + (1 - down/sigma) denoised2 + up noise(sigma, next),  denoised2 = x2 - middle eps2 */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], middle = middle_of(s, index), down, up;
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), ahead = s->history[0];
    if (next == 0) {
        udump_sampling_combine(s, s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, -sigma });
        return;
    }
    double from = sigma_of(t_of(sigma)), to = sigma_of(t_of(next));
    udump_sampling_ancestral_step(sigma, middle, s->eta, &down, &up);
    if (s->noisy) udump_sampling_draw_between(s, from, middle);
    udump_sampling_combine(
        s, ahead, s->noisy ? 3 : 2, (udump_tensor[]){ s->latent, eps, s->noise }, (double[]){ 1, down - sigma, s->s_noise * up });

    udump_sampling_ancestral_step(sigma, next, s->eta, &down, &up);
    eps = udump_sampling_predict(s, index, 1, ahead, denoiser);
    if (s->noisy) udump_sampling_draw_between(s, from, to);
    double ratio = down / sigma;
    udump_sampling_combine(s, s->latent, s->noisy ? 4 : 3, (udump_tensor[]){ s->latent, ahead, eps, s->noise },
        (double[]){ ratio, 1 - ratio, (ratio - 1) * middle, s->s_noise * up });
}

const udump_sampler udump_sampler_dpmpp_sde = {
    .name = "DPM++ SDE",
    .aliases = { "k_dpmpp_sde", "dpmpp_sde" },
    .automatic = UDUMP_SCHEDULE_KARRAS,
    .noise = UDUMP_NOISE_BROWNIAN,
    .takes_eta = true,
    .eta = 1,
    .history = 1,
    .stages = stages,
    .second_order = true,
    .step = step,
};
