/* The LoRAs of a load: their files, and how strongly each works on which block. */
#ifndef UDUMP_MODEL_LORA_H
#define UDUMP_MODEL_LORA_H

#include "weights/lora.h"
#include "weights/weights.h"

enum { UDUMP_LORAS_MOST = 64, UDUMP_LORA_WEIGHT_MOST = 1000, UDUMP_LORA_LEVELS_MOST = 8 };

/* Where the U-Net's levels begin among its blocks, as their names are numbered; from the checkpoint's names. */
typedef struct udump_lora_levels {
    int32_t down[UDUMP_LORA_LEVELS_MOST], up[UDUMP_LORA_LEVELS_MOST];               /* first block */
    int32_t down_layers[UDUMP_LORA_LEVELS_MOST], up_layers[UDUMP_LORA_LEVELS_MOST]; /* residual blocks */
    int32_t in_count, out_count;
} udump_lora_levels;

typedef struct udump_lora_entry {
    udump_lora_file *file;
    double text_factor, rest_factor; /* of the text encoders; of what is in no block: time embedding, last convolution */
    double *block_factors;           /* [in_count + 1 + out_count] */
} udump_lora_entry;

typedef struct udump_loras {
    udump_lora_entry *entries; /* [count] */
    int32_t count, threads;
    uint64_t content; /* a hash of all files' bytes */
    udump_lora_levels levels;
    char *tags;   /* "<lora:name:0.8> <lora:other:1.0>", "" for none */
    char *blocks; /* "name: IN04=0.5; other: TE=0": block weights, as they were given; "" for none */
} udump_loras;

/* Opens all files and reads the block weights' texts. *loras needs no close after a failure.
 * Errors: as udump_lora_open; ARGUMENT (no path, too many, a weight that is not finite), SYNTAX (block weights, with the position). */
udump_status udump_loras_open(
    const udump_lora *list, int32_t count, const udump_weights *weights, int threads, udump_loras *loras, udump_error *error);
void udump_loras_close(udump_loras *loras);

/* Adds what all of them have for the layer; in their order. As udump_lora_merge. */
udump_status udump_loras_merge(
    const udump_loras *loras, const char *name, int rank, const int64_t *shape, float *values, udump_error *error);
udump_status udump_loras_merge_bias(const udump_loras *loras, const char *name, int64_t count, float *values, udump_error *error);
/* As udump_lora_check_used, of all. */
udump_status udump_loras_check_used(const udump_loras *loras, const udump_weights *checkpoint, udump_error *error);

/* Which block a layer of the U-Net belongs to, by its canonical name; -1: none. */
int32_t udump_lora_block(const udump_lora_levels *levels, const char *name);
udump_lora_levels udump_lora_levels_of(const udump_weights *weights);

/* "IN04=0.5,OUT00-OUT08=0,TE=0.3": the entry's factors. Those that are not named are left as they are; of several for one block the last
 * holds. Errors: SYNTAX, with the position. */
udump_status udump_lora_blocks_parse(const char *text, int32_t in_count, int32_t out_count, udump_lora_entry *entry, udump_error *error);

#endif
