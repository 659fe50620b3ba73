/* sweep.json: what a sweep is, for whoever collects its results: no model is needed for that.
 *
 * {"unetdump": version, "kind": "prompts" | "loras", "model", "prompt", "negative_prompt", "width", "height", "variants": [prompts],
 *  "blocks": [layer specs], "seeds": [numbers as text], "lora_weights": [numbers], "cells": [{"key", "base": index of a cell, its own for a base,
 *  "variant", "blocks", "seed", "lora_weight": indices, -1 for none, "batch", "prompt"}]} */
#ifndef UDUMP_PIPELINE_SWEEP_PLAN_H
#define UDUMP_PIPELINE_SWEEP_PLAN_H

#include <stdbool.h>

#include "output/text.h"
#include "unetdump.h"

enum { UDUMP_SWEEP_KEY_TEXT = 33, UDUMP_SWEEP_CELLS_MOST = 100000, UDUMP_SWEEP_PLAN_BYTES_MOST = 256 << 20 };

typedef struct udump_sweep_plan_cell {
    char key[UDUMP_SWEEP_KEY_TEXT];
    int32_t base;                          /* the cell it is compared with; its own index: it is one */
    int32_t variant, blocks, seed, weight; /* indices; -1: none */
    int32_t batch;
    char *prompt;
} udump_sweep_plan_cell;

typedef struct udump_sweep_plan {
    bool varies_loras;
    char *model, *prompt, *negative_prompt;
    int32_t width_px, height_px;
    char **variants, **blocks;
    uint64_t *seeds;
    double *weights;
    int32_t variant_count, block_count, seed_count, weight_count;
    udump_sweep_plan_cell *cells; /* a base before what is compared with it */
    int32_t cell_count;
} udump_sweep_plan;

/* As one text, with a line break at its end. false without memory. */
bool udump_sweep_plan_write(const udump_sweep_plan *plan, udump_text *text);
/* where goes into errors. *plan needs no free after a failure. Errors: FORMAT, MEMORY. */
udump_status udump_sweep_plan_parse(const char *where, const char *text, size_t size, udump_sweep_plan *plan, udump_error *error);
void udump_sweep_plan_free(udump_sweep_plan *plan);
/* What the header says of a cell; its strings are the plan's. */
udump_sweep_cell udump_sweep_plan_cell_of(const udump_sweep_plan *plan, int32_t index);

#endif
