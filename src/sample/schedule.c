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

static udump_status allocate(udump_noise_levels *levels, int32_t count, udump_error *error) {
    size_t n = (size_t)count;
    *levels = (udump_noise_levels){ .count = count,
        .alphas_cumprod = malloc(n * sizeof(float)),
        .sigmas = malloc(n * sizeof(double)),
        .log_sigmas = malloc(n * sizeof(double)) };
    if (levels->alphas_cumprod && levels->sigmas && levels->log_sigmas) return UDUMP_OK;
    udump_noise_levels_free(levels);
    return udump_fail_memory(error, "noise levels", n * (sizeof(float) + 2 * sizeof(double)));
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
    status = allocate(levels, count, error);
    if (status || fill_levels(levels, beta_start, beta_end)) return status;
    udump_noise_levels_free(levels);
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise levels",
        "betas from %g to %g leave %d noise levels that float32 cannot tell apart", beta_start, beta_end, (int)count);
}

udump_status udump_noise_levels_rescale(udump_noise_levels *levels, udump_error *error) {
    int32_t last = levels->count - 1;
    float first_root = sqrtf(levels->alphas_cumprod[0]), last_root = sqrtf(levels->alphas_cumprod[last]),
          scale = first_root / (first_root - last_root), previous = 1;
    for (int32_t i = 0; i <= last; i++) {
        float root = (sqrtf(levels->alphas_cumprod[i]) - last_root) * scale, alpha = i < last ? root * root : 4.8973451890853435e-08f;
        if (!(alpha > 0 && alpha < previous)) {
            udump_noise_levels_free(levels);
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, "noise levels", "they cannot be rescaled to end in nothing but noise");
        }
        levels->alphas_cumprod[i] = previous = alpha;
        levels->sigmas[i] = sqrt((1 - (double)alpha) / (double)alpha);
        levels->log_sigmas[i] = log(levels->sigmas[i]);
    }
    return UDUMP_OK;
}

void udump_noise_levels_free(udump_noise_levels *levels) {
    free(levels->alphas_cumprod);
    free(levels->sigmas);
    free(levels->log_sigmas);
    *levels = (udump_noise_levels){ 0 };
}

udump_status udump_noise_levels_thin(
    const udump_noise_levels *levels, int32_t count, int32_t stride, udump_noise_levels *few, udump_error *error) {
    udump_status status = allocate(few, count, error);
    for (int32_t i = 0; !status && i < count; i++) {
        int32_t at = levels->count - 1 - (count - 1 - i) * stride;
        few->alphas_cumprod[i] = levels->alphas_cumprod[at];
        few->sigmas[i] = levels->sigmas[at];
        few->log_sigmas[i] = levels->log_sigmas[at];
    }
    return status;
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

float udump_level_sigma(const udump_noise_levels *levels, int32_t level) {
    float alpha = levels->alphas_cumprod[level];
    return sqrtf((1 - alpha) / alpha);
}

float udump_level_log_sigma(const udump_noise_levels *levels, int32_t level) {
    return (float)log((double)udump_level_sigma(levels, level));
}

float udump_timestep_to_sigma(const udump_noise_levels *levels, float timestep) {
    int32_t low = (int32_t)timestep, high = (int32_t)ceilf(timestep);
    float weight = timestep - (float)low;
    float from_low = (1 - weight) * udump_level_log_sigma(levels, low), from_high = weight * udump_level_log_sigma(levels, high);
    return (float)exp((double)(from_low + from_high));
}
