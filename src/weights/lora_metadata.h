/* What diffusers says of a LoRA in its file's metadata, and PEFT in adapter_config.json beside it, where kohya has tensors: alpha. */
#ifndef UDUMP_WEIGHTS_LORA_METADATA_H
#define UDUMP_WEIGHTS_LORA_METADATA_H

#include "weights/json.h"

/* text: the value of "lora_adapter_metadata", an object of "unet.lora_alpha" and the like, or of "lora_alpha", as PEFT has it, where all
 * is one part's. *metadata is yours (json_decref).
 * Errors: FORMAT, MEMORY. */
udump_status udump_lora_metadata_parse(const char *text, const char *path, json_t **metadata, udump_error *error);

/* What up . down is multiplied by: alpha / rank, or alpha / sqrt(rank) (Kalajdzievski 2023, rsLoRA); 1 where nothing is said. tensor: the
 * name of the layer's down in the file. metadata may be NULL. Errors: FORMAT (an alpha that is no number). */
udump_status udump_lora_metadata_scale(
    const json_t *metadata, const char *path, const char *tensor, int64_t rank, double *scale, udump_error *error);

#endif
