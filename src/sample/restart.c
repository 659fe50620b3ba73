#include <math.h>

#include "sample/sampler.h"

static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    sigmas[0] = s->raised[index];
    sigmas[1] = s->sigmas[index + 1];
    return sigmas[1] > 0 ? 2 : 1;
}

/* The webui's restart_sampler: Heun's steps (heun.c), and where the levels go up again, the noise that lies between. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double before = s->sigmas[index], sigma = s->raised[index], next = s->sigmas[index + 1];
    if (sigma > before) {
        udump_sampling_draw(s);
        udump_sampling_combine(s, s->latent, 2, (udump_tensor[]){ s->latent, s->noise },
            (double[]){ 1, s->s_noise * sqrt(sigma * sigma - before * before) });
    }
    double dt = next - sigma;
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), ahead = s->history[0];
    udump_sampling_combine(s, next > 0 ? ahead : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, dt });
    if (next == 0) return;
    eps = udump_sampling_predict(s, index, 1, ahead, denoiser);
    udump_sampling_combine(s, s->latent, 3, (udump_tensor[]){ s->latent, ahead, eps }, (double[]){ 0.5, 0.5, dt / 2 });
}

const udump_sampler udump_sampler_restart = {
    .name = "Restart",
    .aliases = { "k_restart" },
    .automatic = UDUMP_SCHEDULE_KARRAS,
    .levels = UDUMP_LEVELS_RESTART,
    .noise = UDUMP_NOISE_DRAWN,
    .eta = 1,
    .history = 1,
    .stages = stages,
    .second_order = true,
    .step = step,
};
