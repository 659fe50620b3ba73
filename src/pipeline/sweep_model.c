/* The models of a sweep: one at a time, loaded when it is needed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/text.h"
#include "pipeline/sweep.h"

/* What was asked for, and then nothing in the blocks that are not chosen, and in the text encoders. */
static char *block_weights(const udump_sweep *sweep, const char *given, const char *chosen) {
    const udump_unet *unet = &sweep->model->unet;
    udump_text text = { 0 };
    uint8_t selected[UDUMP_BLOCKS_MOST];
    bool good = !udump_layers_parse(sweep->model, chosen, selected, UDUMP_BLOCKS_MOST, NULL)
        && udump_text_print(&text, "%s%sTE=0", given ? given : "", given ? "," : "");
    for (int32_t b = 0; good && b < unet->block_count; b++)
        if (!selected[b]) good = udump_text_print(&text, ",%s=0", unet->blocks[b].name);
    if (!good) free(text.data);
    return good ? text.data : NULL;
}

udump_status udump_sweep_loras_make(const udump_sweep *sweep, int32_t weight, int32_t blocks, udump_sweep_loras *loras, udump_error *error) {
    *loras = (udump_sweep_loras){ 0 };
    for (int32_t i = 0; i < sweep->model_options.lora_count; i++) {
        const udump_lora *given = &sweep->model_options.loras[i];
        loras->items[i] = *given;
        loras->weights[i] = (given->weight ? *given->weight : 1) * (weight < 0 ? 0 : sweep->plan.weights[weight]);
        loras->items[i].weight = &loras->weights[i];
        if (blocks < 0) continue;
        loras->items[i].block_weights = loras->texts[i] = block_weights(sweep, given->block_weights, sweep->plan.blocks[blocks]);
        if (!loras->texts[i]) return udump_fail_memory(error, "lora", 0);
    }
    return UDUMP_OK;
}

void udump_sweep_loras_free(udump_sweep_loras *loras) {
    for (size_t i = 0; i < sizeof loras->texts / sizeof *loras->texts; i++) free(loras->texts[i]);
}

/* The next one's blocks are named by the one before: it goes last. */
static udump_status replace(udump_sweep *sweep, int32_t weight, int32_t blocks, const udump_sweep_loras *loras, udump_error *error) {
    udump_model_options options = sweep->model_options;
    options.loras = loras->items;
    if (weight < 0) options.lora_count = 0;
    udump_session_destroy(sweep->session);
    udump_model_release(sweep->model);
    sweep->session = NULL;
    sweep->model = NULL;
    udump_status status = udump_model_load(sweep->path, &options, &sweep->model, error);
    if (!status) status = udump_session_create(sweep->model, &sweep->session, error);
    sweep->weight = weight;
    sweep->blocks = blocks;
    return status;
}

udump_status udump_sweep_take_model(udump_sweep *sweep, int32_t weight, int32_t blocks, udump_error *error) {
    if (!sweep->model_options.lora_count) weight = -1; /* all the same */
    if (sweep->session && sweep->weight == weight && sweep->blocks == blocks) return UDUMP_OK;
    if (!sweep->session && blocks >= 0) { /* after a load that failed: any other names the blocks */
        udump_status status = udump_sweep_take_model(sweep, -1, -1, error);
        if (status) return status;
    }
    udump_sweep_loras loras;
    udump_status status = udump_sweep_loras_make(sweep, weight, blocks, &loras, error);
    if (!status) status = replace(sweep, weight, blocks, &loras, error);
    udump_sweep_loras_free(&loras);
    return status;
}
