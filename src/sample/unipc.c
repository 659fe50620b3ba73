#include <math.h>

#include "sample/sampler.h"

enum { ORDER = 3, MODELS = ORDER + 1 };

/* Solves sum over j of nodes[j]^i * weights[j] = right[i] for i = 0..count-1 by elimination; the nodes differ from one another, and
 * rows of powers need no pivoting while they are few. */
static void solve_powers(int32_t count, const double *nodes, const double *right, double *weights) {
    double rows[ORDER][ORDER + 1];
    for (int32_t i = 0; i < count; i++) {
        for (int32_t j = 0; j < count; j++) rows[i][j] = pow(nodes[j], i);
        rows[i][count] = right[i];
    }
    for (int32_t i = 0; i < count; i++)
        for (int32_t k = i + 1; k < count; k++)
            for (int32_t j = count; j >= i; j--) rows[k][j] -= rows[k][i] / rows[i][i] * rows[i][j];
    for (int32_t i = count - 1; i >= 0; i--) {
        weights[i] = rows[i][count];
        for (int32_t j = i + 1; j < count; j++) weights[i] -= rows[i][j] * weights[j];
        weights[i] /= rows[i][i];
    }
}

/* right[i] = (i + 1)! phi_(i+2)(h) h / B with B(h) = h ("bh1"): phi_1 = (e^h - 1) / h, phi_(k+1) = (phi_k - 1 / k!) / h. */
static void integrals(double h, double *right) {
    double phi = expm1(h) / h - 1, factorial = 1;
    for (int32_t i = 0; i < ORDER; i++) {
        right[i] = phi * factorial / h;
        factorial *= i + 2;
        phi = phi / h - 1 / factorial;
    }
}

static double lambda(const udump_sampling *s, int32_t index) { return -log(s->sigmas[index]); }

static udump_tensor model(const udump_sampling *s, int32_t index) { return s->history[1 + index % MODELS]; }

/* out = the latent at level index + 1 from that at level index, of the given order: by prediction from what was denoised up to level
 * index, or by correction, with what was denoised at level index + 1 as well. */
static void update(udump_sampling *s, int32_t index, int32_t order, bool correct, udump_tensor out, udump_tensor from) {
    double alpha = 1 / hypot(1, s->sigmas[index + 1]), h = lambda(s, index) - lambda(s, index + 1); /* negative: towards less noise */
    double nodes[ORDER], right[ORDER], weights[ORDER] = { 0.5 };
    for (int32_t k = 1; k < order; k++) nodes[k - 1] = (lambda(s, index) - lambda(s, index - k)) / h;
    nodes[order - 1] = 1;
    int32_t count = correct ? order : order - 1;
    integrals(h, right);
    if (count > 1) solve_powers(count, nodes, right, weights); /* a single weight is 1/2: the authors' simplification */

    udump_tensor in[2 + MODELS] = { from, model(s, index) };
    double coefficients[2 + MODELS] = { s->sigmas[index + 1] * alpha * hypot(1, s->sigmas[index]) / s->sigmas[index], -alpha * expm1(h) };
    for (int32_t k = 0; k < count; k++) {
        in[2 + k] = model(s, k < order - 1 ? index - 1 - k : index + 1);
        coefficients[2 + k] = -alpha * h * weights[k] / nodes[k];
        coefficients[1] -= coefficients[2 + k];
    }
    udump_sampling_combine(s, out, 2 + count, in, coefficients);
}

/* From level index to the next: the third order, but lower at both ends of the run. */
static int32_t order_of(const udump_sampling *s, int32_t index) {
    int32_t order = index + 1 < ORDER ? index + 1 : ORDER;
    return order < s->steps - index ? order : s->steps - index;
}

/* The webui's UniPC (Zhao et al. 2023; variant bh1, order 3, time_uniform, lower order at the end): the latent is predicted, the model
 * evaluated there, the step to it corrected with the result, and the next latent predicted from the corrected one. The last latent
 * is not corrected, and its level is timestep 0, not sigma 0. Timesteps are spaced evenly and not rounded; between the training levels
 * log alpha is linear. history[0]: the corrected latent; then what was denoised at the last four levels, in turn. */
static void step(udump_sampling *s, int32_t index, const udump_denoiser *denoiser) {
    double sigma = s->sigmas[index];
    udump_tensor eps = udump_sampling_predict(s, index, 0, s->latent, denoiser), corrected = s->history[0];
    udump_sampling_combine(s, model(s, index), 2, (udump_tensor[]){ s->latent, eps }, (double[]){ hypot(1, sigma), -sigma });
    if (index > 0) update(s, index - 1, order_of(s, index - 1), true, corrected, corrected);
    else udump_sampling_combine(s, corrected, 1, &s->latent, (double[]){ 1 });
    update(s, index, order_of(s, index), false, s->latent, corrected);
}

const udump_sampler udump_sampler_unipc = {
    .name = "UniPC",
    .aliases = { "k_unipc" },
    .automatic = UDUMP_SCHEDULE_UNIFORM,
    .levels = UDUMP_LEVELS_UNIPC,
    .own_timesteps = true,
    .history = 1 + MODELS,
    .step = step,
};
