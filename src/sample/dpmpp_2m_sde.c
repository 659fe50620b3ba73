#include <math.h>

#include "sample/sampler.h"

/* k-diffusion: sample_dpmpp_2m_sde (DPM-Solver++(2M) for the reverse SDE), with h = log(sigma/sigma'), k = (1 + eta) h, r = h_before/h:
 *   x' = exp(-k) x + (1 - exp(-k)) denoised + c (denoised - denoised_before) / r + sigma' sqrt(1 - exp(-2 eta h)) noise
 *   c = (1 - exp(-k)) / 2 (midpoint), 1 - (1 - exp(-k)) / k (heun); 0 in the first step
 * and x' = denoised where sigma' = 0. denoised = x - sigma eps alternates between the two tensors of the history. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser, bool heun) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1];
    udump_tensor denoised = s->history[index % 2], before = s->history[(index + 1) % 2];
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    udump_sampling_combine(s, next > 0 ? denoised : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, -sigma });
    if (next == 0) return;

    double h = log(sigma / next), k = (1 + s->eta) * h, rest = -expm1(-k), change = 0;
    if (index > 0) change = (heun ? 1 - rest / k : rest / 2) * h / log(s->sigmas[index - 1] / sigma);
    udump_tensor in[4] = { s->latent, denoised };
    double coefficients[4] = { 1 - rest, rest + change };
    int32_t count = 2;
    if (index > 0) {
        in[count] = before;
        coefficients[count++] = -change;
    }
    if (s->noisy) {
        udump_sampling_draw_between(s, sigma, next);
        in[count] = s->noise;
        coefficients[count++] = s->s_noise * next * sqrt(-expm1(-2 * s->eta * h));
    }
    udump_sampling_combine(s, s->latent, count, in, coefficients);
}

static void step_midpoint(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) { step(s, index, denoiser, false); }
static void step_heun(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) { step(s, index, denoiser, true); }

const udump_sampler udump_sampler_dpmpp_2m_sde = {
    .name = "DPM++ 2M SDE",
    .aliases = { "k_dpmpp_2m_sde", "dpmpp_2m_sde" },
    .automatic = UDUMP_SCHEDULE_EXPONENTIAL,
    .noise = UDUMP_NOISE_BROWNIAN,
    .takes_eta = true,
    .eta = 1,
    .history = 2,
    .step = step_midpoint,
};

const udump_sampler udump_sampler_dpmpp_2m_sde_heun = {
    .name = "DPM++ 2M SDE Heun",
    .aliases = { "k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun" },
    .automatic = UDUMP_SCHEDULE_EXPONENTIAL,
    .noise = UDUMP_NOISE_BROWNIAN,
    .takes_eta = true,
    .eta = 1,
    .history = 2,
    .step = step_heun,
};
