/* A sweep: which cells it has, which batches make them, and what a batch leaves in the folder. */
#ifndef UDUMP_PIPELINE_SWEEP_H
#define UDUMP_PIPELINE_SWEEP_H

#include "base/digest.h"
#include "model/lora.h"
#include "pipeline/session.h"
#include "pipeline/sweep_plan.h"

/* A cell that is made, and how many have its key, itself included: these have its files. */
typedef struct udump_sweep_made {
    int32_t cell, equal;
} udump_sweep_made;

/* Cells that one U-Net batch makes. */
typedef struct udump_sweep_batch {
    int32_t first, count; /* of those that are made */
    bool base_beside;       /* row 0 is their base, whose own batch is another */
    int32_t weight, blocks; /* the model: index of the LoRA weight; of the blocks where the LoRAs work, or -1 */
} udump_sweep_batch;

/* How the model of a batch is loaded. */
typedef struct udump_sweep_loras {
    udump_lora items[UDUMP_LORAS_MOST];
    double weights[UDUMP_LORAS_MOST];
    char *texts[UDUMP_LORAS_MOST]; /* block weights, where they are ours */
} udump_sweep_loras;

/* The hashes of what is read; "" for what is not. */
typedef struct udump_sweep_sources {
    char model[UDUMP_DIGEST_TEXT], vae[UDUMP_DIGEST_TEXT], embeddings[UDUMP_DIGEST_TEXT], init[UDUMP_DIGEST_TEXT];
    char loras[UDUMP_LORAS_MOST][UDUMP_DIGEST_TEXT];
} udump_sweep_sources;

struct udump_sweep {
    const char *path;
    udump_model_options model_options;
    udump_generate_options base;
    udump_sweep_plan plan;
    udump_sweep_made *made; /* [made_count], in the cells' order: of equal ones the first, so that never two batches write one key */
    int32_t made_count;
    udump_sweep_batch *batches; /* [batch_count] */
    int32_t batch_count;
    bool force;
    udump_sweep_sources sources;

    udump_model *model; /* the last one that was needed */
    udump_session *session;
    int32_t weight, blocks; /* which one: as in a batch */
};

/* The model and session of a LoRA weight (-1: none of the LoRAs works) and of the blocks where they work (-1: everywhere), loaded where they
 * are not there. Errors: as udump_model_load. */
udump_status udump_sweep_take_model(udump_sweep *sweep, int32_t weight, int32_t blocks, udump_error *error);
/* The LoRAs of that model. Errors: MEMORY. */
udump_status udump_sweep_loras_make(const udump_sweep *sweep, int32_t weight, int32_t blocks, udump_sweep_loras *loras, udump_error *error);
void udump_sweep_loras_free(udump_sweep_loras *loras);

/* All that decides a cell's result, as one JSON object on the heap. Errors: MEMORY. */
udump_status udump_sweep_identify(const udump_sweep *sweep, int32_t cell, char **identity, udump_error *error);
/* Its hash becomes the cell's key, of all cells. Errors: FILE, MEMORY. */
udump_status udump_sweep_make_keys(udump_sweep *sweep, udump_error *error);

/* The prompt that is variant's in the chosen blocks and base's elsewhere, as one with layer prompts, on the heap. selected: [blocks of the model].
 * Errors: UNSUPPORTED (":~)" in a text), MEMORY. */
udump_status udump_sweep_compose(
    const udump_prompt *base, const udump_prompt *variant, const uint8_t *selected, const udump_model *model, char **text, udump_error *error);

#endif
