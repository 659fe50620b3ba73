/* A LoRA file (Hu et al. 2021): for some layers a difference of low rank, to be added to the layer's weight; for convolutions (LoCon) with
 * Tucker's middle tensor or without; and LyCORIS' others (https://github.com/KohakuBlueleaf/LyCORIS): lora_merge.c. What is none of these is
 * refused by name.
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

/* Adds factor * the file's difference to values, the fp32 weight of the layer `name` (canonical, without ".weight"), [out, in],
 * [out, in, k, k], or a norm's [n]. Does nothing where the file has no such layer. Sums are fp32. Errors: WEIGHTS (a shape that does not fit; names the
 * tensor), FORMAT (NaN or infinity, or the file was cut since), FILE, MEMORY. */
udump_status udump_lora_merge(
    udump_lora_file *file, const char *name, int rank, const int64_t *shape, double factor, int threads, float *values, udump_error *error);

/* The same for the layer's bias [count]. */
udump_status udump_lora_merge_bias(
    udump_lora_file *file, const char *name, int64_t count, double factor, float *values, udump_error *error);

/* Once everything was merged. Errors: WEIGHTS, at the first tensor that belongs to no layer of the checkpoint (text encoders have layers
 * that nothing reads: a LoRA may have them too), MEMORY. */
udump_status udump_lora_check_used(const udump_lora_file *file, const udump_weights *checkpoint, udump_error *error);

#endif
