/* The text that AUTOMATIC1111's webui writes into its pictures under the key `parameters`, and reads back from there: prompt, negative
 * prompt, then one line of `Key: value` in the order of its create_infotext. */
#ifndef UDUMP_OUTPUT_INFOTEXT_H
#define UDUMP_OUTPUT_INFOTEXT_H

#include <stdint.h>

/* Strings are UTF-8; bytes that are not become U+FFFD. NULL and "" leave a key out. */
typedef struct udump_infotext {
    const char *prompt, *negative_prompt;
    int32_t steps;
    const char *sampler;  /* "DPM++ 2M" */
    const char *schedule; /* "Karras" */
    float cfg;
    uint64_t seed; /* of this image */
    int32_t width_px, height_px;
    const char *model_hash; /* the first 10 hex digits of the file's SHA-256 */
    const char *model;
    const char *rng;     /* "CPU"; NULL for the webui's default, the GPU's */
    const char *version; /* of the program */
} udump_infotext;

/* On the heap; NULL without memory. Thread-safe, and the same in every locale. */
char *udump_infotext_format(const udump_infotext *info);

/* infotext (may be NULL) with the line that a canvas adds: "Layer Name: OUT11, Feature Steps: 20". On the heap; NULL without memory. */
char *udump_infotext_for_canvas(const char *infotext, const char *block, int32_t step);

#endif
