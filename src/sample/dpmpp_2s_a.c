#include <math.h>

#include "sample/sampler.h"

static double middle_of(const udump_sampling *s, int32_t index, double *down, double *up) {
    udump_sampling_ancestral_step(s->sigmas[index], s->sigmas[index + 1], s->eta, down, up);
    return sqrt(s->sigmas[index] * *down);
}

/* The second evaluation is halfway, in log sigma, to what is stepped down to. */
static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    double down, up;
    sigmas[0] = s->sigmas[index];
    sigmas[1] = middle_of(s, index, &down, &up);
    return sigmas[1] > 0 ? 2 : 1;
}

/* k-diffusion: sample_dpmpp_2s_ancestral (DPM-Solver++(2S), Lu et al. 2022b, with r = 1/2). The first half is Euler's; then
 *   x' = (down/sigma) x + (1 - down/sigma) denoised2,  denoised2 = x2 - middle eps2
 * and noise. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], down, up, middle = middle_of(s, index, &down, &up), ratio = down / sigma;
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), ahead = s->history[0];
    udump_sampling_combine(s, down > 0 ? ahead : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, middle - sigma });
    if (down == 0) return;
    eps = udump_sampling_predict(s, index, 1, ahead, denoiser);
    if (s->noisy) udump_sampling_draw(s);
    udump_sampling_combine(s, s->latent, s->noisy ? 4 : 3, (udump_tensor[]){ s->latent, ahead, eps, s->noise },
        (double[]){ ratio, 1 - ratio, (ratio - 1) * middle, s->s_noise * up });
}

const udump_sampler udump_sampler_dpmpp_2s_a = {
    .name = "DPM++ 2S a",
    .aliases = { "k_dpmpp_2s_a", "k_dpmpp_2s_ancestral", "dpmpp_2s_ancestral" },
    .automatic = UDUMP_SCHEDULE_KARRAS,
    .noise = UDUMP_NOISE_DRAWN,
    .takes_eta = true,
    .eta = 1,
    .history = 1,
    .stages = stages,
    .second_order = true,
    .step = step,
};
