/* The names that LoRA files give their tensors: kohya's (flat: "lora_unet_down_blocks_0_..."; its layers may be called as diffusers or
 * as the original code calls them), diffusers' and PEFT's (dotted), and diffusers' older ones. By tables. */
#ifndef UDUMP_WEIGHTS_LORA_NAMES_H
#define UDUMP_WEIGHTS_LORA_NAMES_H

#include <stdbool.h>

#include "unetdump.h"

/* What a layer's difference is made of: alpha / rank times */
typedef enum udump_lora_kind {
    UDUMP_LORA_NO_KIND, /* (the tensor does not tell) */
    UDUMP_LORA_LOW_RANK, /* the first matrix, up . down */
    UDUMP_LORA_HADAMARD, /* the first and the second, element by element: LoHa */
    UDUMP_LORA_KRONECKER, /* their Kronecker product: LoKr */
    UDUMP_LORA_FULL /* the first, whole, and no alpha */
} udump_lora_kind;

/* What a tensor is to its layer. */
typedef enum udump_lora_slot {
    UDUMP_LORA_WHOLE, /* of the first matrix: itself, [out, in] or [out, in, k, k]; */
    UDUMP_LORA_UP, /* or its factors: [out, rank], [out, rank, 1, 1]; LyCORIS' with a mid [rank, out] */
    UDUMP_LORA_DOWN, /* [rank, in], [rank, in, k, k], [rank, in * k * k] */
    UDUMP_LORA_MID, /* [rank, rank, k, k]; down is then [rank, in, 1, 1] */
    UDUMP_LORA_SECOND, /* of the second matrix: the same four */
    UDUMP_LORA_ALPHA = 8, /* one number */
    UDUMP_LORA_MAGNITUDE, /* DoRA's lengths: [1, in, ...] of the sum's columns, or [out, 1, ...] of its rows */
    UDUMP_LORA_ROW_MAGNITUDE, /* PEFT's, always of the rows: [out], [1, out, 1, 1] */
    UDUMP_LORA_BIAS, /* what the layer's bias grows by, [out] */
    UDUMP_LORA_SLOTS
} udump_lora_slot;

typedef struct udump_lora_role {
    udump_lora_slot slot;
    udump_lora_kind kind;
} udump_lora_role;

/* *layer: the canonical name (weights.h) of the layer, without ".weight", to be freed. Whether there is such a layer is not known here.
 * NULL for a name that no table knows. False without memory. */
bool udump_lora_name(const char *name, char **layer, udump_lora_role *role);

/* What makes a tensor of another kind of adapter than LoRA ("LoHa", "DoRA"); NULL if nothing is known of the name. Static. */
const char *udump_lora_other_kind(const char *name);

/* The family that only such a name belongs to: "SDXL", "Flux"; NULL if it says nothing. Static. */
const char *udump_lora_family(const char *name);

#endif
