#include <math.h>

#include "sample/sampler.h"

/* k-diffusion: sample_dpmpp_2m (DPM-Solver++(2M), Lu et al. 2022), with t = -log(sigma):
 *   x' = (sigma'/sigma) x - expm1(-h) D,  h = t' - t,  so -expm1(-h) = 1 - sigma'/sigma
 *   D  = (1 + 1/(2r)) denoised - 1/(2r) denoised_before,  r = h_before / h
 * and D = denoised at the first step and at the last, where sigma' = 0. denoised = x - sigma eps alternates between the two
 * tensors of the history. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], ratio = next / sigma;
    udump_tensor denoised = s->history[index % 2], before = s->history[(index + 1) % 2];
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    udump_sampling_combine(s, denoised, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, -sigma });

    bool second_order = index > 0 && next > 0;
    double half_over_r = second_order ? log(sigma / next) / log(s->sigmas[index - 1] / sigma) / 2 : 0;
    udump_sampling_combine(s, s->latent, second_order ? 3 : 2, (udump_tensor[]){ s->latent, denoised, before },
        (double[]){ ratio, (1 - ratio) * (1 + half_over_r), -(1 - ratio) * half_over_r });
}

const udump_sampler udump_sampler_dpmpp_2m = {
    .name = "DPM++ 2M",
    .aliases = { "k_dpmpp_2m", "dpmpp_2m" },
    .automatic = UDUMP_SCHEDULE_KARRAS,
    .history = 2,
    .step = step,
};
