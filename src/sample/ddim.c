#include <math.h>

#include "sample/sampler.h"

/* The webui's sd_samplers_timesteps_impl.ddim (Song et al. 2020, "Denoising diffusion implicit models", eq. 12 and 16):
 *   x' = sqrt(a') (x - sqrt(1 - a) eps) / sqrt(a) + sqrt(1 - a' - n^2) eps + n noise
 *   n  = eta sqrt((1 - a') / (1 - a)) sqrt(1 - a / a')
 * With sigma = sqrt((1 - a) / a), that is sqrt(a) = 1 / sqrt(1 + sigma^2) and n = eta sqrt(1 - a') sqrt(1 - (sigma' / sigma)^2). */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], up = hypot(1, sigma), down = 1 / hypot(1, next);
    double ratio = next / sigma, random = s->eta * next * down * sqrt(1 - ratio * ratio);
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    if (s->noisy) udump_sampling_draw(s);
    double direction = sqrt(fmax(next * next * down * down - random * random, 0));
    udump_sampling_combine(s, s->latent, s->noisy ? 3 : 2, (udump_tensor[]){ s->latent, eps, s->noise },
        (double[]){ up * down, direction - sigma * down, random });
}

const udump_sampler udump_sampler_ddim = {
    .name = "DDIM",
    .aliases = { "k_ddim" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .levels = UDUMP_LEVELS_TIMESTEPS,
    .own_timesteps = true,
    .noise = UDUMP_NOISE_DRAWN,
    .takes_eta = true,
    .step = step,
};
