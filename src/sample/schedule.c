#include "sample/schedule.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/status.h"

enum { COUNT_MAX = 100000 };

static udump_status check_levels(int32_t count, double beta_start, double beta_end, udump_error *error) {
    if (count < 2 || count > COUNT_MAX)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise levels", "%d noise levels, 2 to %d can be used", (int)count, COUNT_MAX);
    if (!(beta_start > 0 && beta_start <= beta_end && beta_end < 1))
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "noise levels", "betas from %g to %g, 0 < start <= end < 1 can be used", beta_start, beta_end);
    return UDUMP_OK;
}

/* False if a product reaches 1 or 0 in float32, or two neighbours are equal: nothing could be interpolated between them. */
static bool fill_levels(udump_noise_levels *levels, double beta_start, double beta_end) {
    double first = sqrt(beta_start), step = (sqrt(beta_end) - first) / (levels->count - 1), product = 1;
    float previous = 1;
    for (int32_t i = 0; i < levels->count; i++) {
        double root = first + step * i;
        product *= 1 - root * root;
        float alpha = (float)product;
        if (!(alpha > 0 && alpha < previous)) return false;
        levels->alphas_cumprod[i] = previous = alpha;
        levels->sigmas[i] = sqrt((1 - (double)alpha) / (double)alpha);
        levels->log_sigmas[i] = log(levels->sigmas[i]);
    }
    return true;
}

udump_status udump_noise_levels_make(udump_noise_levels *levels, int32_t count, double beta_start, double beta_end, udump_error *error) {
    *levels = (udump_noise_levels){ 0 };
    udump_status status = check_levels(count, beta_start, beta_end, error);
    if (status) return status;
    size_t n = (size_t)count;
    *levels = (udump_noise_levels){ count, malloc(n * sizeof(float)), malloc(n * sizeof(double)), malloc(n * sizeof(double)) };
    if (!levels->alphas_cumprod || !levels->sigmas || !levels->log_sigmas) {
        udump_noise_levels_free(levels);
        return udump_fail_memory(error, "noise levels", n * (sizeof(float) + 2 * sizeof(double)));
    }
    if (fill_levels(levels, beta_start, beta_end)) return UDUMP_OK;
    udump_noise_levels_free(levels);
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise levels",
        "betas from %g to %g leave %d noise levels that float32 cannot tell apart", beta_start, beta_end, (int)count);
}

void udump_noise_levels_free(udump_noise_levels *levels) {
    free(levels->alphas_cumprod);
    free(levels->sigmas);
    free(levels->log_sigmas);
    *levels = (udump_noise_levels){ 0 };
}

double udump_sigma_to_timestep(const udump_noise_levels *levels, double sigma) {
    double log_sigma = log(sigma);
    int32_t low = 0, high = levels->count - 1; /* the neighbouring levels around sigma, found by halving */
    while (high - low > 1) {
        int32_t middle = (low + high) / 2;
        if (levels->log_sigmas[middle] <= log_sigma) low = middle;
        else high = middle;
    }
    double weight = (log_sigma - levels->log_sigmas[low]) / (levels->log_sigmas[high] - levels->log_sigmas[low]);
    return low + fmin(fmax(weight, 0), 1);
}

double udump_timestep_to_sigma(const udump_noise_levels *levels, double timestep) {
    double inside = fmin(fmax(timestep, 0), levels->count - 1);
    int32_t low = (int32_t)inside, high = low + 1 < levels->count ? low + 1 : low;
    double weight = inside - low;
    return exp((1 - weight) * levels->log_sigmas[low] + weight * levels->log_sigmas[high]);
}

const char *udump_schedule_name(udump_schedule_kind kind) {
    static const char *const names[UDUMP_SCHEDULE_COUNT] = { "Automatic", "Uniform", "Karras" };
    return names[kind];
}

static double karras_sigma(const udump_noise_levels *levels, double ramp) {
    static const double rho = 7;
    double largest = pow(levels->sigmas[levels->count - 1], 1 / rho), smallest = pow(levels->sigmas[0], 1 / rho);
    return pow(largest + ramp * (smallest - largest), rho);
}

void udump_schedule_sigmas(const udump_noise_levels *levels, udump_schedule_kind kind, int32_t steps, double *sigmas) {
    for (int32_t i = 0; i < steps; i++) {
        double ramp = steps > 1 ? (double)i / (steps - 1) : 0; /* 0 at the largest sigma, 1 at the smallest */
        if (kind == UDUMP_SCHEDULE_KARRAS) sigmas[i] = karras_sigma(levels, ramp);
        else sigmas[i] = udump_timestep_to_sigma(levels, (levels->count - 1) * (1 - ramp));
    }
    sigmas[steps] = 0;
}

int32_t udump_schedule_ddim(const udump_noise_levels *levels, int32_t steps, int32_t *timesteps) {
    int32_t stride = levels->count / steps, length = 0;
    for (int32_t t = 0; t < levels->count; t += stride, length++)
        if (timesteps) timesteps[length] = t + 1 < levels->count ? t + 1 : levels->count - 1;
    return length;
}
