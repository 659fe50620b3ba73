#include <math.h>

#include "sample/sampler.h"

/* The webui's sample_lcm (Luo et al. 2023, multistep consistency sampling): x' = denoised + sigma' noise. With
 *   denoised = c_out (x - sigma eps) + c_skip x,  c_skip = 1/4 / (t^2 + 1/4),  c_out = t / sqrt(t^2 + 1/4)
 * where t is ten times the timestep. The levels of the schedules are the 50 of the distillation, every 20th of 1000 from the last
 * down; an evaluation between them has the nearest one's timestep. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1];
    double t = 10 * s->evaluations[s->firsts[index]].timestep, norm = hypot(t, 0.5), skip = 0.25 / (norm * norm), out = t / norm;
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    if (next > 0) udump_sampling_draw(s);
    udump_sampling_combine(
        s, s->latent, next > 0 ? 3 : 2, (udump_tensor[]){ s->latent, eps, s->noise }, (double[]){ out + skip, -out * sigma, next });
}

const udump_sampler udump_sampler_lcm = {
    .name = "LCM",
    .aliases = { "k_lcm" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .levels = UDUMP_LEVELS_LCM,
    .noise = UDUMP_NOISE_DRAWN,
    .step = step,
};
