#include "sample/sampler.h"

static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    sigmas[0] = s->sigmas[index];
    sigmas[1] = s->sigmas[index + 1];
    return sigmas[1] > 0 ? 2 : 1;
}

/* k-diffusion: sample_heun without churn (Karras et al. 2022, algorithm 2): x2 = x + dt eps, x' = x + dt (eps + eps2) / 2. With
 * dt eps = x2 - x that is x' = (x + x2) / 2 + dt eps2 / 2. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double next = s->sigmas[index + 1], dt = next - s->sigmas[index];
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), ahead = s->history[0];
    udump_sampling_combine(s, next > 0 ? ahead : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, dt });
    if (next == 0) return;
    udump_tensor eps_ahead = udump_sampling_predict(s, index, 1, ahead, denoiser);
    udump_sampling_combine(s, s->latent, 3, (udump_tensor[]){ s->latent, ahead, eps_ahead }, (double[]){ 0.5, 0.5, dt / 2 });
}

const udump_sampler udump_sampler_heun = {
    .name = "Heun",
    .aliases = { "k_heun" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .history = 1,
    .stages = stages,
    .second_order = true,
    .step = step,
};
