/* What a sweep's folder comes to, and the files that say it. */
#ifndef UDUMP_PIPELINE_SWEEP_RESULT_H
#define UDUMP_PIPELINE_SWEEP_RESULT_H

#include <jansson.h>

#include "pipeline/sweep_plan.h"

typedef struct udump_sweep_entry {
    bool whole, compared; /* compared: its base is whole too */
    udump_sweep_measure measure;
    json_t *blocks; /* of its record; NULL where it is not whole */
} udump_sweep_entry;

struct udump_sweep_result {
    udump_sweep_plan plan;
    udump_sweep_entry *entries; /* [plan.cell_count] */
    int32_t missing;
    udump_sweep_rank *ranks; /* [ranking_count, plan.block_count]: of all variants together, then of each */
    int32_t ranking_count;
};

/* Distances of what is whole, and the rankings. Errors: FILE, FORMAT, MEMORY. */
udump_status udump_sweep_measure_cells(udump_sweep_result *result, const char *folder, udump_error *error);

/* Bands of a sheet or page: LoRA weights, seeds and variants, as far as they vary. */
int32_t udump_sweep_band_count(const udump_sweep_plan *plan);
/* The cells of a band, [1 + plan.block_count]: the base, then those of the blocks in order. */
void udump_sweep_band_cells(const udump_sweep_plan *plan, int32_t band, int32_t *cells);
/* "seed 1, LoRA 0.5: a green circle". On the heap; NULL without memory. */
char *udump_sweep_band_title(const udump_sweep_plan *plan, int32_t band);

/* false without memory. */
bool udump_sweep_csv_write(const udump_sweep_result *result, udump_text *text);
bool udump_sweep_json_write(const udump_sweep_result *result, udump_text *text);
bool udump_sweep_page_write(const udump_sweep_result *result, udump_text *text);
/* Errors: FILE, FORMAT, MEMORY. */
udump_status udump_sweep_sheet_write(const udump_sweep_result *result, const char *folder, udump_error *error);
/* All that collect writes. Errors: likewise. */
udump_status udump_sweep_summary_write(const udump_sweep_result *result, const char *folder, udump_error *error);

#endif
