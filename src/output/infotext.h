/* The text that AUTOMATIC1111's webui writes into its pictures under the key `parameters`, and reads back from there: prompt, negative
 * prompt, then one line of `Key: value` in the order of its create_infotext. */
#ifndef UDUMP_OUTPUT_INFOTEXT_H
#define UDUMP_OUTPUT_INFOTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "unetdump.h"

/* Strings are UTF-8; bytes that are not become U+FFFD. NULL and "" leave a key out. */
typedef struct udump_infotext {
    const char *prompt, *negative_prompt;
    const char *loras; /* "<lora:name:0.8>": follows the prompt, as the webui has it there */
    int32_t steps;
    const char *sampler;  /* "DPM++ 2M" */
    const char *schedule; /* "Karras" */
    float cfg;
    uint64_t seed; /* of this image */
    int32_t width_px, height_px;
    const char *model_hash; /* the first 10 hex digits of the file's SHA-256 */
    const char *model;
    const char *vae_hash;           /* likewise */
    const char *vae;         /* of its own file */
    const uint64_t *variation_seed; /* of this image; NULL leaves both keys out */
    double variation_strength;
    const double *strength; /* "Denoising strength", of img2img; NULL leaves the key out */
    int32_t clip_skip;   /* 0 and 1 leave the key out */
    int64_t ensd;        /* 0 leaves the key out */
    const char *rng;     /* "CPU", "given"; NULL for the webui's default, the GPU's */
    const double *eta;   /* NULL leaves the key out */
    bool eta_is_ddim;    /* the webui has two settings: "Eta" and "Eta DDIM" */
    const double *s_noise; /* "Sigma noise"; NULL leaves the key out */
    const char *lora_blocks; /* "Lora block weights", a key of ours: "name: IN04=0.5" */
    int32_t vae_tile_px; /* "VAE tile", a key of ours; 0 leaves it out */
    const char *version; /* of the program */
} udump_infotext;

/* On the heap; NULL without memory. Thread-safe, and the same in every locale. */
char *udump_infotext_format(const udump_infotext *info);

/* infotext (may be NULL) with the line that a canvas adds. Features: "Layer Name: OUT11, Feature Steps: 20", the webui extension's. What
 * else a picture is follows where it applies: Attention (the kind), Diff, Word, Side, Part (of AND, from 0), Layer Prompts (erased), Transformer Layer (from 0),
 * Average (heads, channels). Pictures of no block begin there. On the heap; NULL without memory. */
char *udump_infotext_for_canvas(const char *infotext, const udump_place *place, int32_t average);

#endif
