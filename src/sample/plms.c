#include <math.h>

#include "sample/sampler.h"

enum { ORDER = 4 };

/* Adams and Bashforth's weights for even steps; the first step has its own way. */
static const double WEIGHTS[ORDER][ORDER] = { { 1 }, { 3.0 / 2, -1.0 / 2 }, { 23.0 / 12, -16.0 / 12, 5.0 / 12 },
    { 55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24 } };

static int32_t stages(const udump_sampling *s, int32_t index, double *sigmas) {
    sigmas[0] = s->sigmas[index];
    sigmas[1] = s->sigmas[index + 1];
    return index == 0 ? 2 : 1;
}

/* out = DDIM's step without noise (ddim.c), with eps = sum of weights[k] * noises[k]. */
static void transfer(udump_sampling *s, int32_t index, udump_tensor out, int32_t count, const udump_tensor *noises, const double *weights) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1], down = 1 / hypot(1, next), coefficients[ORDER + 1];
    udump_tensor in[ORDER + 1] = { s->latent };
    coefficients[0] = hypot(1, sigma) * down;
    for (int32_t k = 0; k < count; k++) {
        in[k + 1] = noises[k];
        coefficients[k + 1] = (next - sigma) * down * weights[k];
    }
    udump_sampling_combine(s, out, count + 1, in, coefficients);
}

/* The webui's sd_samplers_timesteps_impl.plms (Liu et al. 2022, "Pseudo numerical methods for diffusion models on manifolds"): DDIM's
 * step with the last four noises extrapolated; the first step with the mean of the noises at its ends. The history holds the last four
 * noises in turn; in the first step, the second tensor the latent at its end. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), noises[ORDER];
    int32_t count = index < ORDER ? index + 1 : ORDER;
    udump_sampling_combine(s, s->history[index % ORDER], 1, &eps, (double[]){ 1 });
    for (int32_t k = 0; k < count; k++) noises[k] = s->history[(index - k) % ORDER];
    if (index > 0) {
        transfer(s, index, s->latent, count, noises, WEIGHTS[count - 1]);
        return;
    }
    transfer(s, index, s->history[1], count, noises, WEIGHTS[0]);
    noises[1] = udump_sampling_predict(s, index, 1, s->history[1], denoiser);
    transfer(s, index, s->latent, 2, noises, (double[]){ 0.5, 0.5 });
}

const udump_sampler udump_sampler_plms = {
    .name = "PLMS",
    .aliases = { "k_plms" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .levels = UDUMP_LEVELS_TIMESTEPS,
    .own_timesteps = true,
    .history = ORDER,
    .stages = stages,
    .step = step,
};
