/* The names that LoRA files give their tensors: kohya's (flat: "lora_unet_down_blocks_0_..."; its layers may be called as diffusers or
 * as the original code calls them), diffusers' and PEFT's (dotted), and diffusers' older ones. By tables. */
#ifndef UDUMP_WEIGHTS_LORA_NAMES_H
#define UDUMP_WEIGHTS_LORA_NAMES_H

#include <stdbool.h>

#include "unetdump.h"

/* What a tensor is to its layer: the layer's weight grows by scale * up . down, or scale * up . mid . down. */
typedef enum udump_lora_role {
    UDUMP_LORA_DOWN,  /* [rank, in], [rank, in, k, k] */
    UDUMP_LORA_UP,    /* [out, rank], [out, rank, 1, 1] */
    UDUMP_LORA_MID,   /* [rank, rank, k, k]; down is then [rank, in, 1, 1] */
    UDUMP_LORA_ALPHA, /* one number: scale = alpha / rank */
    UDUMP_LORA_ROLES
} udump_lora_role;

/* *layer: the canonical name (weights.h) of the layer, without ".weight", to be freed. Whether there is such a layer is not known here.
 * NULL for a name that no table knows. False without memory. */
bool udump_lora_name(const char *name, char **layer, udump_lora_role *role);

/* What makes a tensor of another kind of adapter than LoRA ("LoHa", "DoRA"); NULL if nothing is known of the name. Static. */
const char *udump_lora_other_kind(const char *name);

/* The family that only such a name belongs to: "SDXL", "Flux"; NULL if it says nothing. Static. */
const char *udump_lora_family(const char *name);

#endif
