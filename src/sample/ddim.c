#include <math.h>

#include "sample/sampler.h"

/* The webui's sd_samplers_timesteps_impl.ddim with eta 0 (Song et al. 2020, eq. 12):
 *   x' = sqrt(a') (x - sqrt(1 - a) eps) / sqrt(a) + sqrt(1 - a') eps
 * With sigma = sqrt((1 - a) / a), so sqrt(a) = 1 / sqrt(1 + sigma^2), that is
 *   x' = (x sqrt(1 + sigma^2) + (sigma' - sigma) eps) / sqrt(1 + sigma'^2). */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], down = 1 / hypot(1, next);
    udump_tensor eps = denoiser->predict_eps(denoiser->user, s->latent, &s->evaluations[index]);
    udump_sampling_combine(
        s, s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ hypot(1, sigma) * down, (next - sigma) * down });
}

const udump_sampler udump_sampler_ddim = {
    .name = "DDIM",
    .aliases = { "k_ddim" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .own_timesteps = true,
    .step = step,
};
