#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/available.h"
#include "base/options.h"
#include "base/status.h"
#include "model/scheduler.h"

/* "models/demo/" -> "demo"; "x.safetensors" -> "x" */
static void set_name(char name[UDUMP_MODEL_NAME_BYTES], const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    static const char suffix[] = ".safetensors";
    if (end - begin > sizeof suffix - 1 && memcmp(path + end - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0)
        end -= sizeof suffix - 1;
    snprintf(name, UDUMP_MODEL_NAME_BYTES, "%.*s", (int)(end - begin), path + begin);
}

/* Layers of the text encoders past those that are read. */
static bool is_unread_layer(const udump_model *model, const char *name) {
    for (int32_t i = 0; i < model->family->text_count; i++) {
        udump_name layer = udump_name_format("%s/encoder.layers.%d.", model->family->text[i].part, (int)model->clips[i].layer_count);
        if (strncmp(name, layer.text, strlen(layer.text)) == 0) return true;
    }
    return false;
}

/* Tensors that no part of ours reads, and that a checkpoint may have all the same. */
static bool is_left_over(const char *name) {
    static const char *const prefixes[] = { "vae/quant_conv.", "vae/loss.", "vae/model_ema.",
        "text_encoder/embeddings.position_ids", "text_encoder/text_projection", "text_encoder/logit_scale", "text_encoder/final_layer_norm",
        "text_encoder_2/embeddings.position_ids", "text_encoder_2/logit_scale" };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

/* Before all else: a tensor of a type that is not read would be missing, whatever then notices it first. */
static udump_status check_types(const udump_weights *weights, udump_error *error) {
    const udump_skipped *skipped;
    for (int64_t i = 0; (skipped = udump_weights_skipped(weights, i)); i++)
        if (skipped->part[0] && !is_left_over(skipped->name))
            return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, skipped->name, "tensor has a type that is not read",
                "F32, F16 or BF16", skipped->dtype_name);
    return UDUMP_OK;
}

/* A tensor of a known part that nothing used means that this is another architecture: its picture would be wrong. */
static udump_status check_unused(const udump_model *model, const udump_weights *weights, udump_error *error) {
    for (int64_t i = 0; i < udump_weights_count(weights); i++) {
        const udump_weight *weight = udump_weights_at(weights, i);
        if (weight->used || !weight->part[0] || is_left_over(weight->name) || is_unread_layer(model, weight->name)) continue;
        char found[64];
        udump_name what = udump_name_format("tensor is not part of a model of the family %s", model->family->name);
        udump_shape_format(found, sizeof found, weight->rank, weight->shape);
        return udump_fail_values(error, UDUMP_ERROR_WEIGHTS, weight->name, what.text, "no such tensor", found);
    }
    return UDUMP_OK;
}

/* As they lie in the files: of one that was split, its first piece stands for all. */
static udump_status keep_tensor(udump_model *model, const udump_weight *weight, udump_error *error) {
    static const char *const parts[] = { "unet", "vae", "text_encoder", "text_encoder_2" };
    udump_tensor_info *info = &model->tensors[model->tensor_count];
    *info = (udump_tensor_info){ .part = "", .dtype = weight->dtype, .rank = weight->rank };
    memcpy(info->shape, weight->shape, sizeof info->shape);
    info->shape[0] *= weight->pieces;
    if (weight->transposed) info->shape[0] = weight->shape[1], info->shape[1] = weight->shape[0];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(weight->part, parts[i]) == 0) info->part = parts[i];
    if (!(info->name = strdup(weight->file_name))) return udump_fail_memory(error, "tensor list", strlen(weight->file_name));
    model->tensor_count++;
    return UDUMP_OK;
}

static udump_status keep_tensor_list(udump_model *model, const udump_weights *weights, udump_error *error) {
    int64_t count = udump_weights_count(weights);
    udump_status status = UDUMP_OK;
    model->tensors = calloc((size_t)count + 1, sizeof *model->tensors);
    if (!model->tensors) return udump_fail_memory(error, "tensor list", (size_t)count * sizeof *model->tensors);
    for (int64_t i = 0; !status && i < count; i++)
        if (udump_weights_at(weights, i)->piece == 0) status = keep_tensor(model, udump_weights_at(weights, i), error);
    return status;
}

/* Contexts side by side as wide as the cross-attention expects; the pooled vector beside six numbers' waves. */
static void load_text(udump_model *model, udump_loader *l) {
    const udump_family *family = model->family;
    for (int32_t i = 0; i < family->text_count && !l->status; i++) {
        udump_clip_load(l, &model->clips[i], &family->text[i]);
        if (family->text[i].pooled) model->pooled_dim = model->clips[i].projection.out;
    }
}

static void check_text(const udump_model *model, udump_loader *l) {
    int32_t width = 0, added = model->unet.added1.in - model->pooled_dim;
    for (int32_t i = 0; i < model->family->text_count; i++) width += model->clips[i].width;
    if (model->unet.context_dim != width)
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "unet", "cross-attention expects contexts %d wide, the text %s %d",
            (int)model->unet.context_dim, model->family->text_count > 1 ? "encoders give" : "encoder gives", (int)width);
    if (model->unet.added1.in && (added <= 0 || added % (2 * UDUMP_SIZE_NUMBERS)))
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "unet/add_embedding.linear_1",
            "%d inputs: a pooled vector of %d and %d numbers, each as many sines and cosines, do not make that", (int)model->unet.added1.in,
            (int)model->pooled_dim, UDUMP_SIZE_NUMBERS);
}

static void free_text(udump_model *model) {
    for (int32_t i = 0; i < UDUMP_TEXT_ENCODERS_MOST; i++) free(model->clips[i].layers);
    memset(model->clips, 0, sizeof model->clips);
}

/* Whether some tensor belongs to the part. */
static bool has_part(const udump_weights *weights, const char *part) {
    for (int64_t i = 0; i < udump_weights_count(weights); i++)
        if (strcmp(udump_weights_at(weights, i)->part, part) == 0) return true;
    return false;
}

/* The same tensors again: they count once. */
static void load_wide_vae(udump_model *model, udump_loader *l) {
    int64_t parameters = l->parameter_count;
    l->device = model->wide_device;
    udump_vae_load(l, &model->wide_vae, model->family->vae_scale);
    l->parameter_count = parameters;
}

/* Before any weight goes there. On a device at least so much is needed, as some stay fp32; on the host most are kept as narrow as they lie in the file. */
static udump_status check_room(const udump_model *model, const udump_weights *weights, udump_error *error) {
    size_t device_bytes = 0, host_bytes = 0;
    for (int64_t i = 0; i < udump_weights_count(weights); i++) {
        const udump_weight *weight = udump_weights_at(weights, i);
        size_t values = weight->part[0] ? 1 : 0, bytes = udump_dtype_bytes(model->compute);
        for (int32_t k = 0; k < weight->rank; k++) values *= (size_t)weight->shape[k];
        device_bytes += values * (bytes + (model->wide_device && strcmp(weight->part, "vae") == 0 ? sizeof(float) : 0));
        host_bytes += values * bytes < weight->size_bytes ? values * bytes : weight->size_bytes;
    }
    if (model->backend->host_memory) return udump_memory_check("weights", host_bytes, error);
    return udump_device_has_room(model->backend, model->device, device_bytes, "weights", error);
}

/* All layers, dry or with their weights. */
static void load_layers(udump_model *model, udump_loader *l) {
    load_text(model, l);
    if (!l->status) udump_unet_load(l, &model->unet, model->family);
    if (!l->status) check_text(model, l);
    if (!l->status) udump_vae_load(l, &model->vae, model->family->vae_scale);
    if (!l->status && model->vae.latent_channels != model->unet.latent_channels)
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "vae", "%d latent channels, the U-Net has %d", (int)model->vae.latent_channels,
            (int)model->unet.latent_channels);
}

/* Whether it is such a model at all, before anything of it is read. */
static void check_layers(udump_model *model, udump_loader *l) {
    const char *foreign = udump_family_foreign(l->weights);
    model->family = udump_family_of(l->weights);
    if (foreign) udump_load_fail(l, UDUMP_ERROR_UNSUPPORTED, model->name, "this is %s", foreign);
    if (!l->status) l->status = check_types(l->weights, &l->error);
    if (!has_part(l->weights, "vae"))
        udump_load_fail(l, UDUMP_ERROR_WEIGHTS, "vae", "the checkpoint has no autoencoder: name one (--vae, vae_path)");
    l->dry = true;
    if (!l->status) load_layers(model, l);
    if (!l->status) l->status = check_unused(model, l->weights, &l->error);
    l->dry = false;
    free_text(model);
    memset(&model->unet, 0, sizeof model->unet);
    memset(&model->vae, 0, sizeof model->vae);
}

static udump_status load_parts(
    udump_model *model, udump_weights *weights, const udump_loras *loras, const char *embeddings, udump_error *error) {
    udump_loader l = { .weights = weights, .loras = loras, .embeddings = &model->embeddings, .backend = model->backend, .device = model->device, .threads = model->threads };
    check_layers(model, &l);
    if (!l.status) l.status = check_room(model, weights, &l.error);
    if (!l.status) l.status = udump_embeddings_load(embeddings, weights, udump_load_warn, &l, &model->embeddings, &l.error);
    if (!l.status) load_layers(model, &l);
    if (!l.status && model->wide_device) load_wide_vae(model, &l);
    const char *lacks = model->backend->device_lacks ? model->backend->device_lacks(model->device) : NULL;
    if (lacks) udump_load_warn(&l, lacks);
    udump_load_end(&l);
    model->packed = l.packed;
    model->packed_count = l.packed_count;
    model->warnings = l.warnings;
    model->warning_count = l.warning_count;
    model->parameter_count = l.parameter_count;
    for (size_t i = 0; i < l.packed_count; i++) model->weight_bytes += (int64_t)model->backend->packed_bytes(l.packed[i]);
    if (l.status && error) *error = l.error;
    return l.status;
}

static udump_status load(const char *path, const udump_model_options *options, udump_model **result, udump_error *error) {
    udump_weights *weights = NULL;
    udump_loras loras = { 0 };
    udump_hashing hashing[2];
    UDUMP_KEEP_CURRENT(before) = { 0 };
    udump_model *model = calloc(1, sizeof *model);
    if (!model) return udump_fail_memory(error, path, sizeof *model);
    atomic_init(&model->references, 1);
    set_name(model->name, path);
    if (options->vae_path) set_name(model->vae_name, options->vae_path);
    udump_hash_begin(&hashing[0], options->hash_files ? path : NULL);
    udump_hash_begin(&hashing[1], options->hash_files ? options->vae_path : NULL);
    udump_status status = udump_weights_open(path, &weights, error);
    if (!status && options->vae_path) status = udump_weights_replace_vae(weights, options->vae_path, error);
    if (!status) status = udump_scheduler_read(model, weights, options, error);
    if (!status) status = udump_model_choose_device(model, options, &before, error);
    if (!status) status = udump_loras_open(options->loras, options->lora_count, weights, model->threads, &loras, error);
    if (!status) status = load_parts(model, weights, &loras, options->embeddings, error);
    if (status && error && options->vae_path && strncmp(error->where, "vae/", 4) == 0) udump_fail_within(error, options->vae_path);
    if (!status && model->prediction == UDUMP_PREDICTION_AUTO) status = udump_scheduler_ask(model, error);
    udump_status hashed[2] = { udump_hash_end(&hashing[0], model->hash, status ? NULL : error), udump_hash_end(&hashing[1], model->vae_hash, status ? NULL : error) };
    for (int i = 0; i < 2; i++)
        if (!status) status = hashed[i];
    if (!status) status = udump_weights_check(weights, error);
    if (!status) status = udump_loras_check_used(&loras, weights, error);
    if (!status) status = keep_tensor_list(model, weights, error);
    if (!status) model->layout = udump_weights_layout(weights);
    model->lora_content = loras.content;
    model->lora_tags = loras.tags;
    model->lora_blocks = loras.blocks;
    loras.tags = loras.blocks = NULL;
    udump_loras_close(&loras);
    udump_weights_close(weights);
    if (status) udump_model_release(model);
    else *result = model;
    return status;
}

udump_status udump_model_load(const char *path, const udump_model_options *given, udump_model **result, udump_error *error) {
    udump_model_options options;
    if (!path || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_model_load", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "model options", error);
    return status ? status : load(path, &options, result, error);
}

void udump_model_retain(udump_model *model) { atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed); }

void udump_model_release(udump_model *model) {
    if (!model || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) > 1) return;
    UDUMP_KEEP_CURRENT(before) = udump_current_enter(model->backend, model->device);
    for (size_t i = 0; i < model->packed_count; i++) model->backend->packed_free(model->packed[i]);
    for (size_t i = 0; i < model->warning_count; i++) free(model->warnings[i]);
    for (int64_t i = 0; i < model->tensor_count; i++) free((char *)model->tensors[i].name);
    free(model->packed);
    free(model->warnings);
    free(model->tensors);
    free_text(model);
    free(model->lora_tags);
    free(model->lora_blocks);
    udump_embeddings_free(&model->embeddings);
    if (model->device) model->backend->device_close(model->device);
    if (model->wide_device) model->backend->device_close(model->wide_device);
    free(model);
}
