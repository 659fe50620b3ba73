#include "sample/sampler.h"

/* k-diffusion: sample_euler_ancestral: Euler's step to `down`, then noise. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], down, up;
    bool noisy = s->noisy && next > 0;
    udump_sampling_ancestral_step(sigma, next, s->eta, &down, &up);
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    if (noisy) udump_sampling_draw(s);
    udump_sampling_combine(
        s, s->latent, noisy ? 3 : 2, (udump_tensor[]){ s->latent, eps, s->noise }, (double[]){ 1, down - sigma, s->s_noise * up });
}

const udump_sampler udump_sampler_euler_a = {
    .name = "Euler a",
    .aliases = { "k_euler_a", "k_euler_ancestral", "euler_ancestral", "euler_a" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .noise = UDUMP_NOISE_DRAWN,
    .takes_eta = true,
    .eta = 1,
    .step = step,
};
