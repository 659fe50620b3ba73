/* How many evaluations a run will have, without a session: the schedule is made for a latent of one value. */
#include "base/options.h"
#include "base/status.h"
#include "pipeline/session.h"

static udump_status count(const udump_noise_levels *levels, const udump_generate_options *o, int32_t *evaluations, udump_error *error) {
    double strength = o->strength ? *o->strength : UDUMP_DEFAULT_STRENGTH;
    udump_sampling_options options = { .levels = levels, .steps = o->steps ? o->steps : UDUMP_DEFAULT_STEPS, .batch = 1, .images = 1, .h = 1, .w = 1, .c = 1 };
    if (o->init) options.strength = &strength;
    udump_status status = udump_sampler_find(o->sampler, o->schedule, &options.choice, error);
    if (status) return status;
    udump_sampling sampling;
    status = udump_sampling_init(&sampling, &options, error);
    if (!status) *evaluations = sampling.evaluation_count;
    udump_sampling_free(&sampling);
    return status;
}

udump_status udump_evaluations_count(
    const udump_model *model, const udump_generate_options *given, int32_t *evaluations, udump_error *error) {
    udump_generate_options options;
    udump_noise_levels levels = { 0 };
    if (!model || !given || !evaluations) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "evaluations", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "generate options", error);
    if (!status) status = udump_model_noise_levels(model, &levels, error);
    if (!status) status = count(&levels, &options, evaluations, error);
    udump_noise_levels_free(&levels);
    return status;
}
