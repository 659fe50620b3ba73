/* A LoRA file (Hu et al. 2021): for some layers a difference of low rank, to be added to the layer's weight. LoCon's for convolutions,
 * with Tucker's middle tensor or without (https://github.com/KohakuBlueleaf/LyCORIS), included; other adapters are refused by name.
 *
 * The file is hostile: safetensors.h bounds the header, every shape is checked against the layer before anything is allocated, and
 * one layer's tensors at a time are in memory. */
#ifndef UDUMP_WEIGHTS_LORA_H
#define UDUMP_WEIGHTS_LORA_H

#include <stdbool.h>

#include "weights/weights.h"

typedef struct udump_lora_file udump_lora_file;

/* Reads the header and finds the layers; no values. Errors: FILE, FORMAT (no LoRA, a tensor without its counterpart, ranks that differ),
 * UNSUPPORTED (another kind of adapter, pickle), MEMORY. */
udump_status udump_lora_open(const char *path, udump_lora_file **file, udump_error *error);
void udump_lora_close(udump_lora_file *file); /* NULL is fine */

/* Adds factor * alpha / rank * up . down to values, the fp32 weight of the layer `name` (canonical, without ".weight"), [out, in] or
 * [out, in, k, k]. Does nothing where the file has no such layer. Sums are fp32. Errors: WEIGHTS (a shape that does not fit; names the
 * tensor), FORMAT (NaN or infinity, or the file was cut since), FILE, MEMORY. */
udump_status udump_lora_merge(
    udump_lora_file *file, const char *name, int rank, const int64_t *shape, double factor, int threads, float *values, udump_error *error);

/* Once everything was merged. Errors: WEIGHTS, at the first tensor that belongs to no layer of the checkpoint (text encoders have layers
 * that nothing reads: a LoRA may have them too), MEMORY. */
udump_status udump_lora_check_used(const udump_lora_file *file, const udump_weights *checkpoint, udump_error *error);

#endif
