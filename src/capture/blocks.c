/* The notation on a model's own blocks. */
#include "base/status.h"
#include "model/model.h"
#include "text/layer_spec.h"

static udump_block_set block_set(const udump_model *model) {
    return model ? (udump_block_set){ model->unet.in_count, model->unet.out_count } : udump_sd1_blocks;
}

udump_status udump_layers_parse(const udump_model *model, const char *spec, uint8_t *selected, int32_t capacity, udump_error *error) {
    if (!spec || !selected) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "layers", "a null pointer");
    udump_block_set set = block_set(model);
    if (capacity < udump_block_count(&set))
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "layers", "room for %d blocks, there are %d", (int)capacity, (int)udump_block_count(&set));
    return udump_layer_spec_parse(&set, spec, selected, error);
}

const char *udump_block_name(const udump_model *model, int32_t index) {
    if (model) return index >= 0 && index < model->unet.block_count ? model->unet.blocks[index].name : NULL;
    return index >= 0 && index < UDUMP_SD1_BLOCKS ? udump_sd1_block_names[index] : NULL;
}
