/* From a sweep's folder to what it says: reads the plan and the cells, and writes the summary. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/sweep_record.h"
#include "pipeline/sweep_result.h"

static const char *const summary_names[] = { "sweep.json", "sweep.csv", "results.json", "sheet.png", "index.html" };
enum { SUMMARY_COUNT = sizeof summary_names / sizeof *summary_names };

static udump_status read_plan(const char *folder, udump_sweep_plan *plan, udump_error *error) {
    udump_bytes bytes;
    char *path = udump_file_join(folder, "sweep.json");
    udump_status status = path ? udump_sweep_read_file(path, UDUMP_SWEEP_PLAN_BYTES_MOST, &bytes, error) : udump_fail_memory(error, folder, 0);
    if (!status && !bytes.data) status = udump_fail(error, UDUMP_ERROR_FORMAT, folder, "no sweep: sweep.json is not there");
    if (!status) {
        status = udump_sweep_plan_parse(path, (const char *)bytes.data, bytes.size, plan, error);
        free(bytes.data);
    }
    free(path);
    return status;
}

static udump_status read_cells(udump_sweep_result *result, const char *folder, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; !status && i < result->plan.cell_count; i++) {
        udump_sweep_record record = { .blocks = NULL };
        status = udump_sweep_record_read(folder, result->plan.cells[i].key, &result->entries[i].whole, &record, error);
        result->entries[i].blocks = record.blocks;
        result->missing += !status && !result->entries[i].whole;
    }
    return status;
}

static bool is_summary(const char *name) {
    bool found = strncmp(name, ".probe.", 7) == 0;
    for (int i = 0; i < SUMMARY_COUNT && !found; i++) {
        size_t length = strlen(summary_names[i]);
        found = name[0] == '.' && strncmp(name + 1, summary_names[i], length) == 0 && name[1 + length] == '.';
    }
    return found;
}

static int compare_keys(const void *a, const void *b) { return strcmp(a, b); }

/* Whether a hidden name is that of a file of the sweep's own cells, half-written. */
static bool is_cell(const char *name, const char (*keys)[UDUMP_SWEEP_KEY_TEXT], int32_t count) {
    char key[UDUMP_SWEEP_KEY_TEXT] = "";
    if (name[0] != '.' || strlen(name) <= UDUMP_SWEEP_KEY_TEXT || name[UDUMP_SWEEP_KEY_TEXT] != '.') return strncmp(name, ".probe.", 7) == 0;
    memcpy(key, name + 1, UDUMP_SWEEP_KEY_TEXT - 1);
    return bsearch(key, keys, (size_t)count, sizeof *keys, compare_keys) != NULL;
}

static void remove_partial(const char *folder, const char (*keys)[UDUMP_SWEEP_KEY_TEXT], int32_t count) {
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        bool ours = udump_file_is_left(entry->d_name) && (keys ? is_cell(entry->d_name, keys, count) : is_summary(entry->d_name));
        char *path = ours ? udump_file_join(folder, entry->d_name) : NULL;
        if (path) udump_file_remove(path, NULL);
        free(path);
    }
    if (dir) closedir(dir);
}

/* What an interrupted run left of cells that are all there now. Another may be writing them again. */
static udump_status tidy(const udump_sweep_result *result, const char *folder, udump_error *error) {
    const udump_sweep_plan *plan = &result->plan;
    char (*keys)[UDUMP_SWEEP_KEY_TEXT] = malloc((size_t)plan->cell_count * sizeof *keys + 1), *cells = udump_file_join(folder, "cells");
    for (int32_t i = 0; keys && i < plan->cell_count; i++) memcpy(keys[i], plan->cells[i].key, sizeof *keys);
    if (keys) qsort(keys, (size_t)plan->cell_count, sizeof *keys, compare_keys);
    if (keys && cells) remove_partial(cells, (const char (*)[UDUMP_SWEEP_KEY_TEXT])keys, plan->cell_count);
    if (keys && cells) remove_partial(folder, NULL, 0);
    udump_status status = keys && cells ? UDUMP_OK : udump_fail_memory(error, folder, (size_t)plan->cell_count * sizeof *keys);
    free(keys);
    free(cells);
    return status;
}

udump_status udump_sweep_collect(const char *folder, udump_sweep_result **out, udump_error *error) {
    if (!folder || !*folder || !out) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "a folder is needed");
    udump_sweep_result *result = calloc(1, sizeof *result);
    if (!result) return udump_fail_memory(error, folder, sizeof *result);
    udump_status status = read_plan(folder, &result->plan, error);
    if (!status) {
        result->entries = calloc((size_t)result->plan.cell_count + 1, sizeof *result->entries);
        if (!result->entries) status = udump_fail_memory(error, folder, (size_t)result->plan.cell_count * sizeof *result->entries);
    }
    if (!status) status = read_cells(result, folder, error);
    if (!status) status = udump_sweep_measure_cells(result, folder, error);
    if (!status) status = udump_sweep_summary_write(result, folder, error);
    if (!status && !result->missing) status = tidy(result, folder, error);
    if (status) udump_sweep_result_free(result);
    else *out = result;
    return status;
}

void udump_sweep_result_free(udump_sweep_result *result) {
    if (!result) return;
    for (int32_t i = 0; result->entries && i < result->plan.cell_count; i++) json_decref(result->entries[i].blocks);
    free(result->entries);
    free(result->ranks);
    udump_sweep_plan_free(&result->plan);
    free(result);
}

void udump_sweep_result_count(const udump_sweep_result *result, int32_t *cells, int32_t *missing) {
    *cells = result->plan.cell_count;
    *missing = result->missing;
}

udump_status udump_sweep_result_get(
    const udump_sweep_result *result, int32_t index, udump_sweep_cell *cell, int32_t *there, udump_sweep_measure *measure, udump_error *error) {
    if (!result || !cell || !there) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "a null pointer");
    if (index < 0 || index >= result->plan.cell_count)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "no cell %d: there are %d", (int)index, (int)result->plan.cell_count);
    *cell = udump_sweep_plan_cell_of(&result->plan, index);
    *there = result->entries[index].compared;
    if (measure) *measure = result->entries[index].measure;
    return UDUMP_OK;
}

const char *udump_sweep_result_variant(const udump_sweep_result *result, int32_t variant) {
    return variant < 0 || variant >= result->plan.variant_count ? NULL : result->plan.variants[variant];
}

const udump_sweep_rank *udump_sweep_result_ranking(const udump_sweep_result *result, int32_t variant, int32_t *count) {
    *count = result->plan.block_count;
    return variant < -1 || variant + 1 >= result->ranking_count ? NULL : result->ranks + (size_t)(variant + 1) * (size_t)result->plan.block_count;
}
