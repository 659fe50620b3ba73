#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parallel.h"
#include "base/status.h"

void udump_model_options_init(udump_model_options *options) {
    memset(options, 0, sizeof *options);
    options->struct_bytes = sizeof *options;
}

static udump_status choose_device(udump_model *model, const udump_model_options *options, udump_error *error) {
    model->threads = options->threads > 0 ? options->threads : udump_core_count();
    model->backend = udump_backend_reference();
    bool native_bf16 = false;
    const char *note = "reference: plain C, as asked for";
#ifdef UDUMP_PLAIN_THREADS
    if (options->device == UDUMP_DEVICE_CPU) return udump_fail(error, UDUMP_ERROR_DEVICE, "device cpu", "this build has no oneDNN");
    if (options->device == UDUMP_DEVICE_AUTO) note = "reference: this build has no oneDNN";
#else
    if (options->device != UDUMP_DEVICE_REFERENCE) {
        model->backend = udump_backend_cpu();
        native_bf16 = udump_backend_cpu_has_bf16();
        note = native_bf16 ? "cpu: oneDNN, bf16 by AMX" : "cpu: oneDNN, fp32 (no AMX for bf16)";
    }
#endif
    if ((unsigned)options->device > UDUMP_DEVICE_REFERENCE || (unsigned)options->precision > UDUMP_PRECISION_BF16
        || (unsigned)options->prediction > UDUMP_PREDICTION_V)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "model options", "an unknown device, precision or prediction");
    bool bf16 = options->precision == UDUMP_PRECISION_BF16 || (options->precision == UDUMP_PRECISION_AUTO && native_bf16);
    model->compute = bf16 ? UDUMP_BF16 : UDUMP_F32;
    snprintf(model->device_note, sizeof model->device_note, "%s", note);
    return model->backend->device_open(model->threads, model->compute, &model->device, error);
}

/* "models/demo/" -> "demo"; "x.safetensors" -> "x" */
static void set_name(udump_model *model, const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    static const char suffix[] = ".safetensors";
    if (end - begin > sizeof suffix - 1 && memcmp(path + end - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0)
        end -= sizeof suffix - 1;
    snprintf(model->name, sizeof model->name, "%.*s", (int)(end - begin), path + begin);
}

static udump_status check_config(udump_model *model, const udump_weights *weights, const udump_model_options *options, udump_error *error) {
    char text[64] = "epsilon";
    double value;
    udump_weights_config_text(weights, "scheduler", "prediction_type", text, sizeof text);
    model->prediction = options->prediction;
    if (model->prediction == UDUMP_PREDICTION_AUTO) {
        model->prediction = strcmp(text, "v_prediction") == 0 ? UDUMP_PREDICTION_V : UDUMP_PREDICTION_EPSILON;
        if (model->prediction == UDUMP_PREDICTION_EPSILON && strcmp(text, "epsilon"))
            return udump_fail_values(
                error, UDUMP_ERROR_UNSUPPORTED, "scheduler/scheduler_config.json", "prediction type", "epsilon or v_prediction", text);
    }
    snprintf(text, sizeof text, "scaled_linear");
    udump_weights_config_text(weights, "scheduler", "beta_schedule", text, sizeof text);
    if (strcmp(text, "scaled_linear"))
        return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, "scheduler/scheduler_config.json", "beta schedule", "scaled_linear", text);
    if (udump_weights_config_number(weights, "scheduler", "num_train_timesteps", 0, &value) && value != UDUMP_TRAIN_STEPS)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "scheduler/scheduler_config.json", "num_train_timesteps is %g, not %d", value,
            UDUMP_TRAIN_STEPS);
    model->beta_start = udump_weights_config_number(weights, "scheduler", "beta_start", 0, &value) ? value : 0.00085; /* SD 1 */
    model->beta_end = udump_weights_config_number(weights, "scheduler", "beta_end", 0, &value) ? value : 0.012;
    if (!(model->beta_start > 0 && model->beta_start <= model->beta_end && model->beta_end < 1))
        return udump_fail(error, UDUMP_ERROR_WEIGHTS, "scheduler/scheduler_config.json",
            "betas from %g to %g: they lie between 0 and 1, rising", model->beta_start, model->beta_end);
    return UDUMP_OK;
}

/* Tensors that no part of ours reads, and that a checkpoint may have all the same. */
static bool may_be_unused(const char *name) {
    static const char *const prefixes[] = { "vae/quant_conv.", "text_encoder/embeddings.position_ids", "text_encoder/text_projection",
        "text_encoder/logit_scale" };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

/* A tensor of a known part that nothing used means that this is another architecture: its picture would be wrong. */
static udump_status check_unused(const udump_weights *weights, udump_error *error) {
    for (int64_t i = 0; i < udump_weights_count(weights); i++) {
        const udump_weight *weight = udump_weights_at(weights, i);
        if (weight->used || !weight->part[0] || may_be_unused(weight->name)) continue;
        char found[64];
        udump_shape_format(found, sizeof found, weight->rank, weight->shape);
        return udump_fail_values(
            error, UDUMP_ERROR_WEIGHTS, weight->name, "tensor is not part of a Stable Diffusion 1 model", "no such tensor", found);
    }
    return UDUMP_OK;
}

static udump_status keep_tensor_list(udump_model *model, const udump_weights *weights, udump_error *error) {
    int64_t count = udump_weights_count(weights);
    model->tensors = calloc((size_t)count + 1, sizeof *model->tensors);
    if (!model->tensors) return udump_fail_memory(error, "tensor list", (size_t)count * sizeof *model->tensors);
    for (; model->tensor_count < count; model->tensor_count++) {
        const udump_weight *weight = udump_weights_at(weights, model->tensor_count);
        udump_tensor_info *info = &model->tensors[model->tensor_count];
        *info = (udump_tensor_info){ .dtype = weight->dtype, .rank = weight->rank };
        memcpy(info->shape, weight->shape, sizeof info->shape);
        info->part = strcmp(weight->part, "unet") == 0  ? "unet"
            : strcmp(weight->part, "vae") == 0          ? "vae"
            : strcmp(weight->part, "text_encoder") == 0 ? "text_encoder"
                                                        : "";
        if (!(info->name = strdup(weight->file_name))) return udump_fail_memory(error, "tensor list", strlen(weight->file_name));
    }
    return UDUMP_OK;
}

static udump_status load_parts(udump_model *model, udump_weights *weights, udump_error *error) {
    udump_loader l = { .weights = weights, .backend = model->backend, .device = model->device };
    udump_clip_load(&l, &model->clip);
    if (!l.status) udump_unet_load(&l, &model->unet);
    if (!l.status && model->unet.context_dim != model->clip.width)
        udump_load_fail(&l, UDUMP_ERROR_WEIGHTS, "unet", "cross-attention expects contexts %d wide, the text encoder gives %d",
            (int)model->unet.context_dim, (int)model->clip.width);
    if (!l.status) udump_vae_load(&l, &model->vae);
    if (!l.status && model->vae.latent_channels != model->unet.latent_channels)
        udump_load_fail(&l, UDUMP_ERROR_WEIGHTS, "vae", "%d latent channels, the U-Net has %d", (int)model->vae.latent_channels,
            (int)model->unet.latent_channels);
    model->packed = l.packed;
    model->packed_count = l.packed_count;
    model->warnings = l.warnings;
    model->warning_count = l.warning_count;
    model->parameter_count = l.parameter_count;
    for (size_t i = 0; i < l.packed_count; i++) model->weight_bytes += (int64_t)model->backend->packed_bytes(l.packed[i]);
    if (l.status && error) *error = l.error;
    return l.status;
}

udump_status udump_model_load(const char *path, const udump_model_options *options, udump_model **result, udump_error *error) {
    udump_model_options defaults;
    udump_model_options_init(&defaults);
    if (!path || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_model_load", "a null pointer");
    if (!options) options = &defaults;
    if (options->struct_bytes < sizeof *options) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "model options", "not initialised");

    udump_weights *weights = NULL;
    udump_model *model = calloc(1, sizeof *model);
    if (!model) return udump_fail_memory(error, path, sizeof *model);
    atomic_init(&model->references, 1);
    set_name(model, path);
    udump_status status = udump_weights_open(path, &weights, error);
    if (!status) status = check_config(model, weights, options, error);
    if (!status) status = choose_device(model, options, error);
    if (!status) status = load_parts(model, weights, error);
    if (!status) status = check_unused(weights, error);
    if (!status) status = keep_tensor_list(model, weights, error);
    if (!status) model->layout = udump_weights_layout(weights);
    udump_weights_close(weights);
    if (status) udump_model_release(model);
    else *result = model;
    return status;
}

void udump_model_retain(udump_model *model) { atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed); }

void udump_model_release(udump_model *model) {
    if (!model || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) > 1) return;
    for (size_t i = 0; i < model->packed_count; i++) model->backend->packed_free(model->packed[i]);
    for (size_t i = 0; i < model->warning_count; i++) free(model->warnings[i]);
    for (int64_t i = 0; i < model->tensor_count; i++) free((char *)model->tensors[i].name);
    free(model->packed);
    free(model->warnings);
    free(model->tensors);
    free(model->clip.layers);
    if (model->device) model->backend->device_close(model->device);
    free(model);
}
