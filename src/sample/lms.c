#include <math.h>

#include "sample/sampler.h"

enum { ORDER = 4 };

/* The Lagrange polynomial that is 1 at sigmas[index - j] and 0 at the other `order` - 1 sigmas up to index. */
static double basis(const double *sigmas, int32_t index, int32_t order, int32_t j, double at) {
    double product = 1;
    for (int32_t k = 0; k < order; k++)
        if (k != j) product *= (at - sigmas[index - k]) / (sigmas[index - j] - sigmas[index - k]);
    return product;
}

/* Its integral over the step, by Gauss' two points, which are exact up to the third degree. */
static double weight(const double *sigmas, int32_t index, int32_t order, int32_t j) {
    double half = (sigmas[index + 1] - sigmas[index]) / 2, middle = sigmas[index] + half, apart = half / sqrt(3);
    return half * (basis(sigmas, index, order, j, middle - apart) + basis(sigmas, index, order, j, middle + apart));
}

/* k-diffusion: sample_lms: Adams and Bashforth's method of the fourth order for uneven steps, of lower order in the first three.
 * The history holds the last four steps' noises in turn. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    int32_t order = index < ORDER ? index + 1 : ORDER;
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), in[ORDER + 1] = { s->latent };
    double coefficients[ORDER + 1] = { 1 };
    udump_sampling_combine(s, s->history[index % ORDER], 1, &eps, (double[]){ 1 });
    for (int32_t j = 0; j < order; j++) {
        in[j + 1] = s->history[(index - j) % ORDER];
        coefficients[j + 1] = weight(s->sigmas, index, order, j);
    }
    udump_sampling_combine(s, s->latent, order + 1, in, coefficients);
}

const udump_sampler udump_sampler_lms = {
    .name = "LMS",
    .aliases = { "k_lms" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .history = ORDER,
    .step = step,
};
