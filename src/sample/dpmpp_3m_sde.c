#include <math.h>

#include "sample/sampler.h"

/* The coefficients of denoised now, a step before and two steps before, beyond those of the first order, in
 *   phi2 d1 - phi3 d2,  phi2 = 1 - (1 - exp(-k)) / k,  phi3 = phi2 / k - 1/2
 * where d1 and d2 are divided differences over r0 = h1/h, r1 = h2/h. h1, h2: the lengths of the steps before, 0 where there is none. */
static void add_differences(double h, double h1, double h2, double k, double *coefficients) {
    double phi2 = 1 + expm1(-k) / k, phi3 = phi2 / k - 0.5, r0 = h1 / h, r1 = h2 / h;
    if (h1 == 0) return;
    double slope = phi2; /* of (denoised - denoised_1) / r0 */
    if (h2 > 0) {
        double bend = (phi2 * r0 - phi3) / (r0 + r1); /* of the difference between the two slopes */
        slope += bend;
        coefficients[1] += -bend / r1;
        coefficients[2] += bend / r1;
    }
    coefficients[0] += slope / r0;
    coefficients[1] -= slope / r0;
}

static double length(const udump_sampling *s, int32_t index) { return index < 0 ? 0 : log(s->sigmas[index] / s->sigmas[index + 1]); }

/* k-diffusion: sample_dpmpp_3m_sde (DPM-Solver++(3M) for the reverse SDE), with h = log(sigma/sigma'), k = (1 + eta) h:
 *   x' = exp(-k) x + (1 - exp(-k)) denoised + [differences of denoised] + sigma' sqrt(1 - exp(-2 eta h)) noise
 * and x' = denoised where sigma' = 0. denoised = x - sigma eps takes turns among the three tensors of the history. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index], next = s->sigmas[index + 1];
    udump_tensor denoised = s->history[index % 3];
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser);
    udump_sampling_combine(s, next > 0 ? denoised : s->latent, 2, (udump_tensor[]){ s->latent, eps }, (double[]){ 1, -sigma });
    if (next == 0) return;

    double h = length(s, index), k = (1 + s->eta) * h, coefficients[5] = { -expm1(-k) };
    udump_tensor in[5] = { denoised };
    int32_t count = 1;
    add_differences(h, length(s, index - 1), length(s, index - 2), k, coefficients);
    for (; count < 3 && count <= index; count++) in[count] = s->history[(index - count) % 3];
    in[count] = s->latent;
    coefficients[count++] = exp(-k);
    if (s->noisy) {
        udump_sampling_draw_between(s, sigma, next);
        in[count] = s->noise;
        coefficients[count++] = s->s_noise * next * sqrt(-expm1(-2 * s->eta * h));
    }
    udump_sampling_combine(s, s->latent, count, in, coefficients);
}

const udump_sampler udump_sampler_dpmpp_3m_sde = {
    .name = "DPM++ 3M SDE",
    .aliases = { "k_dpmpp_3m_sde", "dpmpp_3m_sde" },
    .automatic = UDUMP_SCHEDULE_EXPONENTIAL,
    .discards_level = true,
    .noise = UDUMP_NOISE_BROWNIAN,
    .takes_eta = true,
    .eta = 1,
    .history = 3,
    .step = step,
};
