/* What a run captures of one kind: which blocks, at which evaluations. */
#ifndef UDUMP_CAPTURE_SELECTION_H
#define UDUMP_CAPTURE_SELECTION_H

#include "model/model.h"

typedef struct udump_selection {
    uint8_t blocks[UDUMP_BLOCKS_MOST]; /* 1: wanted */
    uint8_t *steps;                    /* [evaluations] */
    int32_t evaluations;
    bool any;
} udump_selection;

/* layers NULL selects nothing; steps NULL every step. what: "feature", for an error's where: "feature layers", "feature steps". Errors: SYNTAX,
 * ARGUMENT (no step of the run is left), MEMORY. */
udump_status udump_selection_create(udump_selection *selection, const udump_model *model, const char *what, const char *layers,
    const char *steps, int32_t evaluations, udump_error *error);
void udump_selection_free(udump_selection *selection);

/* step: ordinal of the evaluation, from 1. */
bool udump_selection_has(const udump_selection *selection, int32_t block, int32_t step);
/* At how many evaluations the block is wanted. */
int32_t udump_selection_count(const udump_selection *selection, int32_t block);

#endif
