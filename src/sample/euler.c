#include "sample/sampler.h"

/* k-diffusion: sample_euler without churn. d = (x - denoised) / sigma is eps itself. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    udump_sampling_combine(s, s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, s->sigmas[index + 1] - s->sigmas[index] });
}

const udump_sampler udump_sampler_euler = {
    .name = "Euler",
    .aliases = { "k_euler" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .step = step,
};
