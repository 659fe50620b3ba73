/* Where every tap is elsewhere: in diffusers, in the original code, and in lists of LoRA block weights. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "model/model.h"

/* Lists of block weights: slot 0 is BASE, the text encoders; then the blocks in order, all or those named. The short lists are those of
 * the blocks that LoRAs of attention layers touch. Sources: hako-mikan/sd-webui-lora-block-weight (17 and 26 for SD 1 and 2, 12 and 20
 * for SDXL), whose lists kohya-ss/sd-scripts reads too. */
static const struct {
    int32_t size, in_count, out_count;
    const char *names; /* NULL: all */
} lists[] = {
    { 12, 9, 9, "IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05" },
    { 17, 12, 12, "IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11" },
    { 20, 9, 9, NULL },
    { 26, 12, 12, NULL },
};

/* The place of name in a text of names, from 1; -1 if it is not there. */
static int32_t find_slot(const char *names, const char *name) {
    size_t length = strlen(name);
    for (int32_t slot = 1; *names; slot++) {
        size_t next = strcspn(names, " ");
        if (next == length && memcmp(names, name, length) == 0) return slot;
        names += next + (names[next] == ' ');
    }
    return -1;
}

int32_t udump_model_block_slot(const udump_model *model, int32_t block, int32_t list_size) {
    const udump_unet *unet = &model->unet;
    if (block < 0 || block >= unet->block_count) return -1;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (lists[i].size != list_size || lists[i].in_count != unet->in_count || lists[i].out_count != unet->out_count) continue;
        return lists[i].names ? find_slot(lists[i].names, unet->blocks[block].name) : block + 1;
    }
    return -1;
}

/* "input_blocks.4", "middle_block", "output_blocks.0" */
static udump_name original_block(const udump_unet *unet, int32_t block) {
    if (block < unet->in_count) return udump_name_format("input_blocks.%d", (int)block);
    if (block == unet->in_count) return udump_name_format("middle_block");
    return udump_name_format("output_blocks.%d", (int)(block - unet->in_count - 1));
}

static void fill_tap(const udump_unet *unet, int32_t block, int32_t within, udump_tap_info *info) {
    static const struct {
        udump_tap_type type;
        const char *module;
    } attentions[] = { { UDUMP_TAP_TYPE_SELF, "attn1" }, { UDUMP_TAP_TYPE_CROSS, "attn2" } };
    const udump_unet_block *own = &unet->blocks[block];
    udump_name original = original_block(unet, block);
    *info = (udump_tap_info){ .block_index = block, .block = own->name, .type = UDUMP_TAP_TYPE_BLOCK };
    if (within == 0) {
        snprintf(info->diffusers, sizeof info->diffusers, "%s", own->path);
        snprintf(info->original, sizeof info->original, "%s", original.text);
        return;
    }
    info->depth = (within - 1) / 2;
    info->type = attentions[(within - 1) % 2].type;
    const char *module = attentions[(within - 1) % 2].module;
    snprintf(info->diffusers, sizeof info->diffusers, "%s.transformer_blocks.%d.%s", own->attention_path, (int)info->depth, module);
    snprintf(info->original, sizeof info->original, "%s.1.transformer_blocks.%d.%s", original.text, (int)info->depth, module);
}

/* A block's own tap, then its layers' self- and cross-attention. */
udump_status udump_model_get_tap(const udump_model *model, int32_t index, udump_tap_info *info, udump_error *error) {
    if (!model || !info) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tap", "a null pointer");
    const udump_unet *unet = &model->unet;
    int32_t first = 0;
    for (int32_t block = 0; index >= 0 && block < unet->block_count; block++) {
        int32_t count = 1 + 2 * unet->blocks[block].depth;
        if (index < first + count) {
            fill_tap(unet, block, index - first, info);
            return UDUMP_OK;
        }
        first += count;
    }
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "tap", "index %d: the model has no such tap", (int)index);
}
