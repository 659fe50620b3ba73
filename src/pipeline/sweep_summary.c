/* sweep.csv, results.json, sheet.png: all of them anew from what is there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/file.h"
#include "output/json.h"
#include "output/sheet.h"
#include "pipeline/sweep_record.h"
#include "pipeline/sweep_result.h"

int32_t udump_sweep_band_count(const udump_sweep_plan *plan) {
    return plan->weight_count * plan->seed_count * (plan->varies_loras ? 1 : plan->variant_count);
}

static int32_t band_of(const udump_sweep_plan *plan, const udump_sweep_plan_cell *cell) {
    return plan->varies_loras ? cell->weight * plan->seed_count + cell->seed
                              : (cell->weight * plan->seed_count + cell->seed) * plan->variant_count + cell->variant;
}

void udump_sweep_band_cells(const udump_sweep_plan *plan, int32_t band, int32_t *cells) {
    for (int32_t i = 0; i <= plan->block_count; i++) cells[i] = -1;
    for (int32_t i = 0; i < plan->cell_count; i++) {
        const udump_sweep_plan_cell *cell = &plan->cells[i];
        if (cell->blocks < 0 || band_of(plan, cell) != band) continue;
        cells[0] = cell->base;
        cells[1 + cell->blocks] = i;
    }
}

char *udump_sweep_band_title(const udump_sweep_plan *plan, int32_t band) {
    int32_t variants = plan->varies_loras ? 1 : plan->variant_count, seed = band / variants % plan->seed_count, weight = band / variants / plan->seed_count;
    char *title = NULL, number[UDUMP_NUMBER_BYTES];
    bool weighted = plan->varies_loras || plan->weight_count > 1 || plan->weights[0] != 1;
    udump_number_print(number, plan->weights[weight]);
    int length = asprintf(&title, "seed %" PRIu64 "%s%s%s%s", plan->seeds[seed], weighted ? ", LoRA " : "", weighted ? number : "",
        plan->varies_loras ? "" : ": ", plan->varies_loras ? "" : plan->variants[band % variants]);
    return length < 0 ? NULL : title;
}

/* ---- the table */

/* In quotes, which are doubled. */
static bool add_quoted(udump_text *text, const char *value) {
    bool good = udump_text_add(text, "\"", 1);
    for (; good && *value; value++) good = udump_text_add(text, *value == '"' ? "\"\"" : value, *value == '"' ? 2 : 1);
    return good && udump_text_add(text, "\"", 1);
}

static bool add_norms(udump_text *text, const udump_diff_norms *norms) {
    const double values[4] = { norms->l2, norms->relative_l2, norms->max, norms->cosine };
    bool good = true;
    for (int i = 0; good && i < 4; i++) {
        char number[UDUMP_NUMBER_BYTES];
        udump_number_print(number, values[i]);
        good = udump_text_print(text, ",%s", number);
    }
    return good;
}

bool udump_sweep_csv_write(const udump_sweep_result *result, udump_text *text) {
    bool good = udump_text_print(text, "blocks,seed,lora_weight,variant,picture_l2,picture_relative_l2,picture_max,picture_cosine,"
                                       "latent_l2,latent_relative_l2,latent_max,latent_cosine,key\n");
    for (int32_t i = 0; good && i < result->plan.cell_count; i++) {
        udump_sweep_cell cell = udump_sweep_plan_cell_of(&result->plan, i);
        char weight[UDUMP_NUMBER_BYTES];
        if (cell.is_base || !result->entries[i].compared) continue;
        udump_number_print(weight, cell.lora_weight);
        good = add_quoted(text, cell.blocks) && udump_text_print(text, ",%" PRIu64 ",%s,", cell.seed, weight) && add_quoted(text, cell.variant)
            && add_norms(text, &result->entries[i].measure.picture) && add_norms(text, &result->entries[i].measure.latent)
            && udump_text_print(text, ",%s\n", cell.key);
    }
    return good;
}

/* ---- the same for programs */

static json_t *norms_json(const udump_diff_norms *norms) {
    udump_json json = udump_json_start();
    udump_json_put_real(&json, "l2", norms->l2);
    udump_json_put_real(&json, "relative_l2", norms->relative_l2);
    udump_json_put_real(&json, "max", norms->max);
    udump_json_put_real(&json, "cosine", norms->cosine);
    return json.failed ? json_decref(json.object), NULL : json.object;
}

static json_t *ranking_json(const udump_sweep_result *result, int32_t variant) {
    int32_t count;
    const udump_sweep_rank *ranks = udump_sweep_result_ranking(result, variant, &count);
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++) {
        udump_json json = udump_json_start();
        udump_json_put_text(&json, "blocks", ranks[i].blocks);
        udump_json_put_integer(&json, "cells", ranks[i].cells);
        udump_json_put(&json, "picture", norms_json(&ranks[i].mean.picture));
        udump_json_put(&json, "latent", norms_json(&ranks[i].mean.latent));
        if (json.failed || json_array_append_new(array, json.object)) return json_decref(array), NULL;
    }
    return array;
}

static json_t *by_variant(const udump_sweep_result *result) {
    json_t *array = json_array();
    for (int32_t i = 0; i < result->plan.variant_count; i++) {
        udump_json json = udump_json_start();
        udump_json_put_text(&json, "variant", result->plan.variants[i]);
        udump_json_put(&json, "ranking", ranking_json(result, i));
        if (json.failed || json_array_append_new(array, json.object)) return json_decref(array), NULL;
    }
    return array;
}

static bool write_entry(const udump_sweep_result *result, int32_t index, udump_text *text) {
    const udump_sweep_entry *entry = &result->entries[index];
    udump_sweep_cell cell = udump_sweep_plan_cell_of(&result->plan, index);
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "key", cell.key);
    udump_json_put_text(&json, "base", result->plan.cells[result->plan.cells[index].base].key);
    udump_json_put_text(&json, "blocks", cell.blocks);
    udump_json_put_text(&json, "variant", cell.variant);
    udump_json_put(&json, "seed", json_sprintf("%" PRIu64, cell.seed));
    udump_json_put_real(&json, "lora_weight", cell.lora_weight);
    udump_json_put_text(&json, "prompt", cell.prompt);
    udump_json_put(&json, "picture", norms_json(&entry->measure.picture));
    udump_json_put(&json, "latent", norms_json(&entry->measure.latent));
    udump_json_put(&json, "outputs", json_incref(entry->blocks));
    return udump_json_finish(&json, text);
}

bool udump_sweep_json_write(const udump_sweep_result *result, udump_text *text) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "unetdump", udump_version());
    udump_json_put_text(&json, "model", result->plan.model);
    udump_json_put_text(&json, "prompt", result->plan.prompt);
    udump_json_put_integer(&json, "cells", result->plan.cell_count);
    udump_json_put_integer(&json, "missing", result->missing);
    udump_json_put(&json, "ranking", ranking_json(result, -1));
    udump_json_put(&json, "variants", by_variant(result));
    bool good = udump_json_finish(&json, text), first = true;
    if (good) text->size--; /* the closing brace: a line a cell follows */
    good = good && udump_text_print(text, ", \"results\": [");
    for (int32_t i = 0; good && i < result->plan.cell_count; i++) {
        if (!result->entries[i].compared) continue;
        good = udump_text_print(text, first ? "\n  " : ",\n  ") && write_entry(result, i, text);
        first = false;
    }
    return good && udump_text_print(text, "]}\n");
}

/* ---- the sheet */

static udump_status place(
    udump_sheet *sheet, const udump_sweep_result *result, const char *folder, int32_t band, int32_t tile, int32_t cell, udump_error *error) {
    const udump_sweep_plan *plan = &result->plan;
    const char *label = tile ? plan->blocks[tile - 1] : "base";
    if (cell < 0 || !result->entries[cell].whole) return udump_sheet_place(sheet, band, tile, label, NULL, error);
    udump_image image = { 0 };
    char *path = udump_sweep_file(folder, plan->cells[cell].key, ".png");
    udump_status status = path ? udump_png_read(path, &image, error) : udump_fail_memory(error, folder, 0);
    if (!status) status = udump_sheet_place(sheet, band, tile, label, &image.picture, error);
    udump_image_free(&image);
    free(path);
    return status;
}

static udump_status draw_band(
    udump_sheet *sheet, const udump_sweep_result *result, const char *folder, int32_t band, int32_t *cells, udump_error *error) {
    char *title = udump_sweep_band_title(&result->plan, band);
    if (!title) return udump_fail_memory(error, folder, 0);
    udump_sheet_title(sheet, band, title);
    free(title);
    udump_sweep_band_cells(&result->plan, band, cells);
    udump_status status = UDUMP_OK;
    for (int32_t tile = 0; !status && tile <= result->plan.block_count; tile++) status = place(sheet, result, folder, band, tile, cells[tile], error);
    return status;
}

udump_status udump_sweep_sheet_write(const udump_sweep_result *result, const char *folder, udump_error *error) {
    const udump_sweep_plan *plan = &result->plan;
    int32_t longest = 4, tiles = plan->block_count + 1, *cells = malloc((size_t)tiles * sizeof *cells);
    for (int32_t i = 0; i < plan->block_count; i++)
        if ((int32_t)strlen(plan->blocks[i]) > longest) longest = (int32_t)strlen(plan->blocks[i]);
    udump_sheet sheet = { 0 };
    char *path = udump_file_join(folder, "sheet.png");
    udump_status status = cells && path
        ? udump_sheet_create(udump_sweep_band_count(plan), tiles, plan->width_px, plan->height_px, longest, &sheet, error)
        : udump_fail_memory(error, folder, 0);
    for (int32_t band = 0; !status && band < sheet.bands; band++) status = draw_band(&sheet, result, folder, band, cells, error);
    const udump_picture picture = { sheet.pixels, sheet.width_px, sheet.height_px, 3, (size_t)sheet.width_px * 3 };
    if (!status) status = udump_png_write(path, &picture, NULL, error);
    udump_sheet_free(&sheet);
    free(cells);
    free(path);
    return status;
}

/* ---- all of it */

static udump_status write_text(const udump_sweep_result *result, const char *folder, const char *name,
    bool (*write)(const udump_sweep_result *, udump_text *), udump_error *error) {
    udump_text text = { 0 };
    char *path = udump_file_join(folder, name);
    udump_status status = path && write(result, &text) ? udump_file_save(path, text.data, text.size, error) : udump_fail_memory(error, folder, text.size);
    free(path);
    free(text.data);
    return status;
}

udump_status udump_sweep_summary_write(const udump_sweep_result *result, const char *folder, udump_error *error) {
    udump_status status = write_text(result, folder, "sweep.csv", udump_sweep_csv_write, error);
    if (!status) status = write_text(result, folder, "results.json", udump_sweep_json_write, error);
    if (!status) status = udump_sweep_sheet_write(result, folder, error);
    return status ? status : write_text(result, folder, "index.html", udump_sweep_page_write, error);
}
