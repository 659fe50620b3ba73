#include <math.h>

#include "sample/sampler.h"

/* k-diffusion: get_ancestral_step with eta 1. Of the variance to^2, up^2 is new noise and down^2 is stepped down to. */
static void ancestral_step(double from, double to, double *down, double *up) {
    *up = fmin(to, sqrt(to * to * (from * from - to * to) / (from * from)));
    *down = sqrt(to * to - *up * *up);
}

/* k-diffusion: sample_euler_ancestral with eta 1, s_noise 1. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], down, up;
    ancestral_step(sigma, next, &down, &up);
    udump_tensor eps = denoiser->predict_eps(denoiser->user, s->latent, &s->evaluations[index]);
    if (next > 0) udump_sampling_draw(s);
    udump_sampling_combine(s, s->latent, next > 0 ? 3 : 2, (udump_tensor[]){ s->latent, eps, s->noise }, (double[]){ 1, down - sigma, up });
}

const udump_sampler udump_sampler_euler_a = {
    .name = "Euler a",
    .aliases = { "k_euler_a", "k_euler_ancestral", "euler_ancestral", "euler_a" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .ancestral = true,
    .step = step,
};
