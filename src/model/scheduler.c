#include "model/scheduler.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "model/prediction.h"

static const char CONFIG[] = "scheduler/scheduler_config.json";

/* A tensor of that name, whatever its type. */
static bool has_mark(const udump_weights *weights, const char *mark) {
    if (udump_weights_find(weights, mark)) return true;
    const udump_skipped *skipped;
    for (int64_t i = 0; (skipped = udump_weights_skipped(weights, i)); i++)
        if (strcmp(skipped->name, mark) == 0) return true;
    return false;
}

/* Whether the file says so of itself: https://github.com/Stability-AI/ModelSpec, as kohya's trainer writes it. */
static bool says_v(const udump_weights *weights) {
    const char *said = udump_weights_metadata(weights, "modelspec.prediction_type");
    return has_mark(weights, "v_pred") || (said && strcmp(said, "v") == 0);
}

/* Schedulers of other models' noise: EDM's levels (Karras et al. 2022), and flows. */
static udump_status check_class(const udump_weights *weights, udump_error *error) {
    char name[64];
    if (!udump_weights_config_text(weights, "scheduler", "_class_name", name, sizeof name)) return UDUMP_OK;
    if (strncmp(name, "EDM", 3) != 0 && strncmp(name, "FlowMatch", 9) != 0) return UDUMP_OK;
    return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, CONFIG, "another kind of noise", "a scheduler of discrete betas", name);
}

static udump_status read_prediction(udump_model *model, const udump_weights *weights, udump_prediction asked, udump_error *error) {
    char text[64];
    model->prediction = asked;
    if (asked != UDUMP_PREDICTION_AUTO) return UDUMP_OK;
    if (udump_weights_config_text(weights, "scheduler", "prediction_type", text, sizeof text)) {
        model->prediction = strcmp(text, "v_prediction") == 0 ? UDUMP_PREDICTION_V : UDUMP_PREDICTION_EPSILON;
        if (model->prediction == UDUMP_PREDICTION_V || strcmp(text, "epsilon") == 0) return UDUMP_OK;
        return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, CONFIG, "prediction type", "epsilon or v_prediction", text);
    }
    if (says_v(weights)) model->prediction = UDUMP_PREDICTION_V;
    else if (udump_weights_layout(weights) != UDUMP_LAYOUT_LDM || !udump_family_of(weights)->may_be_v)
        model->prediction = UDUMP_PREDICTION_EPSILON;
    return UDUMP_OK;
}

static udump_status read_betas(udump_model *model, const udump_weights *weights, udump_error *error) {
    char text[64] = "scaled_linear";
    double value;
    udump_weights_config_text(weights, "scheduler", "beta_schedule", text, sizeof text);
    if (strcmp(text, "scaled_linear"))
        return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, CONFIG, "beta schedule", "scaled_linear", text);
    if (udump_weights_config_number(weights, "scheduler", "num_train_timesteps", 0, &value) && value != UDUMP_TRAIN_STEPS)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, CONFIG, "num_train_timesteps is %g, not %d", value, UDUMP_TRAIN_STEPS);
    model->beta_start = udump_weights_config_number(weights, "scheduler", "beta_start", 0, &value) ? value : 0.00085; /* all families' */
    model->beta_end = udump_weights_config_number(weights, "scheduler", "beta_end", 0, &value) ? value : 0.012;
    if (!(model->beta_start > 0 && model->beta_start <= model->beta_end && model->beta_end < 1))
        return udump_fail(error, UDUMP_ERROR_WEIGHTS, CONFIG, "betas from %g to %g: they lie between 0 and 1, rising", model->beta_start,
            model->beta_end);
    model->zero_snr = (udump_weights_config_number(weights, "scheduler", "rescale_betas_zero_snr", 0, &value) && value != 0)
        || has_mark(weights, "ztsnr");
    return UDUMP_OK;
}

udump_status udump_scheduler_read(
    udump_model *model, const udump_weights *weights, const udump_model_options *options, udump_error *error) {
    if ((unsigned)options->prediction > UDUMP_PREDICTION_V)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "model options", "an unknown prediction");
    udump_status status = check_class(weights, error);
    if (!status) status = read_prediction(model, weights, options->prediction, error);
    return status ? status : read_betas(model, weights, error);
}

udump_status udump_scheduler_ask(udump_model *model, udump_error *error) {
    double mean;
    udump_status status = udump_prediction_measure(model, &mean, error);
    model->prediction = mean < UDUMP_PREDICTION_V_BELOW ? UDUMP_PREDICTION_V : UDUMP_PREDICTION_EPSILON;
    return status;
}
