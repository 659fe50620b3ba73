/* What a loaded model tells of itself. */
#include "base/status.h"
#include "model/model.h"

void udump_model_get_info(const udump_model *model, udump_model_info *info) {
    *info = (udump_model_info){
        .family = model->family->name,
        .layout = model->layout == UDUMP_LAYOUT_LDM ? "ldm" : "diffusers",
        .device = model->backend->name,
        .device_note = model->device_note,
        .precision = model->compute == UDUMP_BF16 ? "bf16" : model->compute == UDUMP_F16 ? "fp16" : "fp32",
        .prediction = model->prediction == UDUMP_PREDICTION_V ? "v" : "epsilon",
        .block_count = model->unet.block_count,
        .context_dim = model->unet.context_dim,
        .context_tokens = UDUMP_CLIP_POSITIONS,
        .pooled_dim = model->pooled_dim,
        .latent_channels = model->unet.latent_channels,
        .pixels_per_latent = UDUMP_PIXELS_PER_LATENT,
        .threads = model->threads,
        .parameter_count = model->parameter_count,
        .weight_bytes = model->weight_bytes,
    };
}

udump_status udump_model_get_block(const udump_model *model, int32_t index, udump_block_info *info, udump_error *error) {
    if (!model || !info) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "block", "a null pointer");
    if (index < 0 || index >= model->unet.block_count)
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "block", "index %d: the model has %d blocks", (int)index, (int)model->unet.block_count);
    const udump_unet_block *block = &model->unet.blocks[index];
    *info = (udump_block_info){ block->name, block->path, block->channels, block->downscale, block->depth, block->heads, block->head_dim };
    return UDUMP_OK;
}

const char *udump_model_warning(const udump_model *model, int32_t index) {
    return index >= 0 && (size_t)index < model->warning_count ? model->warnings[index] : NULL;
}

udump_status udump_model_get_tensor(const udump_model *model, int64_t index, udump_tensor_info *info, udump_error *error) {
    if (!model || !info) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tensor", "a null pointer");
    if (index < 0 || index >= model->tensor_count)
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "tensor", "index %lld: the checkpoint has %lld", (long long)index, (long long)model->tensor_count);
    *info = model->tensors[index];
    return UDUMP_OK;
}
