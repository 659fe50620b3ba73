/* The schedules' formulas. Each operation on floats is one of torch's on float32 tensors, and rounds once. */
#include <math.h>

#include "sample/schedule.h"

static float rounded_log(float value) { return (float)log((double)value); }
static float rounded_exp(float value) { return (float)exp((double)value); }

static float smallest(const udump_noise_levels *levels) { return udump_level_sigma(levels, 0); }
static float largest(const udump_noise_levels *levels) { return udump_level_sigma(levels, levels->count - 1); }

/* torch.linspace(first, last, count)[i]: from the nearer end, the product and the sum rounded together (a fused multiply-add, which
 * torch uses where the processor has it: all x86-64 since 2013). */
static float linspace(float first, float last, int32_t count, int32_t i) {
    if (count == 1) return first;
    float step = (last - first) / (float)(count - 1);
    if (i < count / 2) return (float)((double)first + (double)step * i);
    return (float)((double)last - (double)step * (count - 1 - i));
}

/* Level i of `steps`, the largest first. */
typedef float schedule(const udump_noise_levels *levels, int32_t steps, int32_t i);

static float uniform(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    return udump_timestep_to_sigma(levels, linspace((float)(levels->count - 1), 0, steps, i));
}

static float sgm_uniform(const udump_noise_levels *levels, int32_t steps, int32_t i) { return uniform(levels, steps + 1, i); }

float udump_karras_level(double smallest_sigma, double largest_sigma, int32_t steps, int32_t i) {
    static const double rho = 7;
    double first = pow(largest_sigma, 1 / rho), last = pow(smallest_sigma, 1 / rho);
    float ramp = linspace(0, 1, steps, i), way = ramp * (float)(last - first), root = (float)first + way;
    return (float)pow((double)root, rho);
}

static float karras(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    return udump_karras_level((double)smallest(levels), (double)largest(levels), steps, i);
}

static float exponential(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    return rounded_exp(linspace(rounded_log(largest(levels)), rounded_log(smallest(levels)), steps, i));
}

static float polyexponential(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    double first = log((double)largest(levels)), last = log((double)smallest(levels));
    float way = linspace(1, 0, steps, i) * (float)(first - last);
    return rounded_exp(way + (float)last);
}

/* `steps` + 1 levels: there is no 0 behind them. */
static float kl_optimal(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    float first = (float)atan((double)largest(levels)), last = (float)atan((double)smallest(levels));
    float ramp = (float)i / (float)steps, from_last = ramp * last, from_first = (1 - ramp) * first;
    return (float)tan((double)(from_last + from_first));
}

static float simple(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    return udump_level_sigma(levels, levels->count - 1 - (int32_t)(i * ((double)levels->count / steps)));
}

static int32_t ddim_stride(const udump_noise_levels *levels, int32_t steps) { return steps < levels->count ? levels->count / steps : 1; }

static int32_t ddim_length(const udump_noise_levels *levels, int32_t steps) {
    int32_t stride = ddim_stride(levels, steps);
    return (levels->count - 1 + stride - 1) / stride;
}

static float ddim(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    return udump_level_sigma(levels, 1 + ddim_stride(levels, steps) * (ddim_length(levels, steps) - 1 - i));
}

static float beta(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    double last = (double)smallest(levels), probability = steps > 1 ? 1 - (double)i / (steps - 1) : 1;
    return (float)(last + udump_beta_quantile(probability, 0.6) * ((double)largest(levels) - last));
}

/* numpy.interp over the logarithms, from the smallest level up. */
static float align_your_steps(const udump_noise_levels *levels, int32_t steps, int32_t i) {
    enum { KNOTS = 11 };
    static const double sd15[KNOTS] = { 14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029 },
                        sdxl[KNOTS] = { 14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029 };
    const double *knots = levels->is_sdxl ? sdxl : sd15;
    if (steps == KNOTS) return (float)knots[i];
    double place = steps > 1 ? (double)(steps - 1 - i) / (steps - 1) * (KNOTS - 1) : 0;
    int32_t low = (int32_t)place < KNOTS - 1 ? (int32_t)place : KNOTS - 2;
    double from = log(knots[KNOTS - 1 - low]), to = log(knots[KNOTS - 2 - low]);
    return (float)exp(from + (to - from) * (place - low));
}

static const struct {
    const char *name;
    schedule *level;
} SCHEDULES[UDUMP_SCHEDULE_COUNT] = {
    [UDUMP_SCHEDULE_AUTOMATIC] = { "Automatic", NULL },
    [UDUMP_SCHEDULE_UNIFORM] = { "Uniform", uniform },
    [UDUMP_SCHEDULE_KARRAS] = { "Karras", karras },
    [UDUMP_SCHEDULE_EXPONENTIAL] = { "Exponential", exponential },
    [UDUMP_SCHEDULE_POLYEXPONENTIAL] = { "Polyexponential", polyexponential },
    [UDUMP_SCHEDULE_SGM_UNIFORM] = { "SGM Uniform", sgm_uniform },
    [UDUMP_SCHEDULE_KL_OPTIMAL] = { "KL Optimal", kl_optimal },
    [UDUMP_SCHEDULE_SIMPLE] = { "Simple", simple },
    [UDUMP_SCHEDULE_NORMAL] = { "Normal", uniform },
    [UDUMP_SCHEDULE_DDIM] = { "DDIM", ddim },
    [UDUMP_SCHEDULE_BETA] = { "Beta", beta },
    [UDUMP_SCHEDULE_ALIGN_YOUR_STEPS] = { "Align Your Steps", align_your_steps },
};

const char *udump_schedule_name(udump_schedule_kind kind) { return SCHEDULES[kind].name; }

int32_t udump_schedule_sigmas(const udump_noise_levels *levels, udump_schedule_kind kind, int32_t steps, double *sigmas) {
    int32_t length = kind == UDUMP_SCHEDULE_DDIM ? ddim_length(levels, steps) : steps;
    if (!sigmas) return length;
    for (int32_t i = 0; i < length; i++) sigmas[i] = (double)SCHEDULES[kind].level(levels, steps, i);
    sigmas[length] = kind == UDUMP_SCHEDULE_KL_OPTIMAL ? (double)kl_optimal(levels, steps, steps) : 0;
    return length;
}

int32_t udump_schedule_timesteps(const udump_noise_levels *levels, int32_t steps, int32_t *timesteps) {
    int32_t stride = levels->count / steps, length = 0;
    for (int32_t t = 0; t < levels->count; t += stride, length++)
        if (timesteps) timesteps[length] = t + 1 < levels->count ? t + 1 : levels->count - 1;
    return length;
}
