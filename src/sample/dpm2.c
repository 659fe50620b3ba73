#include <math.h>

#include "sample/sampler.h"

/* The second evaluation is halfway in log sigma. */
static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    sigmas[0] = s->sigmas[index];
    sigmas[1] = sqrt(sigmas[0] * s->sigmas[index + 1]);
    return sigmas[1] > 0 ? 2 : 1;
}

/* k-diffusion: sample_dpm_2 without churn (DPM-Solver-2, Lu et al. 2022): a step to the middle, whose noise takes the whole step. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], middle = sqrt(sigma * next);
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), ahead = s->history[0];
    udump_sampling_combine(s, next > 0 ? ahead : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, middle - sigma });
    if (next == 0) return;
    eps = udump_sampling_predict(s, index, 1, ahead, denoiser);
    udump_sampling_combine(s, s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, next - sigma });
}

const udump_sampler udump_sampler_dpm2 = {
    .name = "DPM2",
    .aliases = { "k_dpm_2", "dpm_2" },
    .automatic = UDUMP_SCHEDULE_KARRAS,
    .discards_level = true,
    .history = 1,
    .stages = stages,
    .second_order = true,
    .step = step,
};
