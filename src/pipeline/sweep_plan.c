#include "pipeline/sweep_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/json.h"
#include "weights/json.h"

enum { DEPTH_MOST = 4, VALUES_MOST = 10 * UDUMP_SWEEP_CELLS_MOST, AXIS_MOST = UDUMP_SWEEP_CELLS_MOST };

static json_t *texts_of(char *const *texts, int32_t count) {
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++)
        if (json_array_append_new(array, udump_json_string(texts[i]))) return json_decref(array), NULL;
    return array;
}

/* As text: jansson's integers are signed. */
static json_t *seeds_of(const udump_sweep_plan *plan) {
    json_t *array = json_array();
    for (int32_t i = 0; i < plan->seed_count; i++)
        if (json_array_append_new(array, json_sprintf("%" PRIu64, plan->seeds[i]))) return json_decref(array), NULL;
    return array;
}

static json_t *weights_of(const udump_sweep_plan *plan) {
    json_t *array = json_array();
    for (int32_t i = 0; i < plan->weight_count; i++)
        if (json_array_append_new(array, json_real(plan->weights[i]))) return json_decref(array), NULL;
    return array;
}

static bool write_cell(const udump_sweep_plan_cell *cell, udump_text *text) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "key", cell->key);
    udump_json_put_integer(&json, "base", cell->base);
    udump_json_put_integer(&json, "variant", cell->variant);
    udump_json_put_integer(&json, "blocks", cell->blocks);
    udump_json_put_integer(&json, "seed", cell->seed);
    udump_json_put_integer(&json, "lora_weight", cell->weight);
    udump_json_put_integer(&json, "batch", cell->batch);
    udump_json_put_text(&json, "prompt", cell->prompt);
    return udump_json_finish(&json, text);
}

bool udump_sweep_plan_write(const udump_sweep_plan *plan, udump_text *text) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "unetdump", udump_version());
    udump_json_put_text(&json, "kind", plan->varies_loras ? "loras" : "prompts");
    udump_json_put_text(&json, "model", plan->model);
    udump_json_put_text(&json, "prompt", plan->prompt);
    udump_json_put_text(&json, "negative_prompt", plan->negative_prompt);
    udump_json_put_integer(&json, "width", plan->width_px);
    udump_json_put_integer(&json, "height", plan->height_px);
    udump_json_put(&json, "variants", texts_of(plan->variants, plan->variant_count));
    udump_json_put(&json, "blocks", texts_of(plan->blocks, plan->block_count));
    udump_json_put(&json, "seeds", seeds_of(plan));
    udump_json_put(&json, "lora_weights", weights_of(plan));
    bool good = udump_json_finish(&json, text);
    if (good) text->size--; /* the closing brace: a line a cell follows */
    good = good && udump_text_print(text, ", \"cells\": [");
    for (int32_t i = 0; good && i < plan->cell_count; i++)
        good = udump_text_print(text, i ? ",\n  " : "\n  ") && write_cell(&plan->cells[i], text);
    return good && udump_text_print(text, "]}\n");
}

/* ---- reading: what is wrong with the file is not worth many words */

struct reader {
    const json_t *root;
    bool failed, memory;
};

static char *take_text(struct reader *r, const json_t *value) {
    const char *text = json_string_value(value);
    r->failed |= !text;
    char *copy = text ? strdup(text) : NULL;
    r->memory |= text && !copy;
    return copy;
}

/* A list of items of that size, zeros; what they are is read by the caller. */
static void *take_list(struct reader *r, const char *key, size_t most, size_t item_bytes, int32_t *count) {
    const json_t *list = json_object_get(r->root, key);
    size_t found = json_array_size(list);
    void *items = json_is_array(list) && found <= most ? calloc(found + 1, item_bytes) : NULL;
    r->failed |= !json_is_array(list) || found > most;
    r->memory |= !r->failed && !items;
    *count = items ? (int32_t)found : 0;
    return items;
}

static char **take_texts(struct reader *r, const char *key, int32_t *count) {
    char **texts = take_list(r, key, AXIS_MOST, sizeof(*texts), count);
    for (int32_t i = 0; i < *count; i++) texts[i] = take_text(r, json_array_get(json_object_get(r->root, key), (size_t)i));
    return texts;
}

static int32_t take_integer(struct reader *r, const json_t *object, const char *key, int32_t least, int32_t most) {
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    r->failed |= !json_is_integer(value) || number < least || number > most;
    return r->failed ? 0 : (int32_t)number;
}

static void take_seeds(struct reader *r, udump_sweep_plan *plan) {
    plan->seeds = take_list(r, "seeds", AXIS_MOST, sizeof *plan->seeds, &plan->seed_count);
    for (int32_t i = 0; i < plan->seed_count; i++) {
        const char *text = json_string_value(json_array_get(json_object_get(r->root, "seeds"), (size_t)i));
        char *end = NULL;
        errno = 0;
        bool digits = text && *text >= '0' && *text <= '9';
        if (digits) plan->seeds[i] = strtoull(text, &end, 10);
        r->failed |= !digits || *end || errno;
    }
}

static void take_weights(struct reader *r, udump_sweep_plan *plan) {
    plan->weights = take_list(r, "lora_weights", AXIS_MOST, sizeof *plan->weights, &plan->weight_count);
    for (int32_t i = 0; i < plan->weight_count; i++) {
        const json_t *value = json_array_get(json_object_get(r->root, "lora_weights"), (size_t)i);
        plan->weights[i] = json_number_value(value);
        r->failed |= !json_is_number(value) || !isfinite(plan->weights[i]);
    }
}

static void take_cell(struct reader *r, const json_t *from, int32_t index, udump_sweep_plan *plan) {
    udump_sweep_plan_cell *cell = &plan->cells[index];
    const char *key = json_string_value(json_object_get(from, "key"));
    bool named = key && strlen(key) == UDUMP_SWEEP_KEY_TEXT - 1 && strspn(key, "0123456789abcdef") == UDUMP_SWEEP_KEY_TEXT - 1;
    r->failed |= !named;
    if (named) memcpy(cell->key, key, sizeof cell->key);
    cell->base = take_integer(r, from, "base", 0, index);
    r->failed |= plan->cells[cell->base].base != cell->base;
    cell->variant = take_integer(r, from, "variant", -1, plan->variant_count - 1);
    cell->blocks = take_integer(r, from, "blocks", cell->base == index ? -1 : 0, cell->base == index ? -1 : plan->block_count - 1);
    cell->seed = take_integer(r, from, "seed", 0, plan->seed_count - 1);
    cell->weight = take_integer(r, from, "lora_weight", -1, plan->weight_count - 1);
    cell->batch = take_integer(r, from, "batch", 0, INT32_MAX);
    cell->prompt = take_text(r, json_object_get(from, "prompt"));
}

static void take_all(struct reader *r, udump_sweep_plan *plan) {
    const char *kind = json_string_value(json_object_get(r->root, "kind"));
    plan->varies_loras = kind && strcmp(kind, "loras") == 0;
    r->failed |= !kind || !json_is_string(json_object_get(r->root, "unetdump"));
    plan->model = take_text(r, json_object_get(r->root, "model"));
    plan->prompt = take_text(r, json_object_get(r->root, "prompt"));
    plan->negative_prompt = take_text(r, json_object_get(r->root, "negative_prompt"));
    plan->width_px = take_integer(r, r->root, "width", 8, 16384);
    plan->height_px = take_integer(r, r->root, "height", 8, 16384);
    plan->variants = take_texts(r, "variants", &plan->variant_count);
    plan->blocks = take_texts(r, "blocks", &plan->block_count);
    take_seeds(r, plan);
    take_weights(r, plan);
    double bands = (double)plan->weight_count * plan->seed_count * (plan->variant_count ? plan->variant_count : 1);
    r->failed |= bands > UDUMP_SWEEP_CELLS_MOST || (double)plan->variant_count * plan->block_count > UDUMP_SWEEP_CELLS_MOST;
    plan->cells = take_list(r, "cells", UDUMP_SWEEP_CELLS_MOST, sizeof *plan->cells, &plan->cell_count);
    const json_t *cells = json_object_get(r->root, "cells");
    for (int32_t i = 0; i < plan->cell_count && !r->failed && !r->memory; i++) take_cell(r, json_array_get(cells, (size_t)i), i, plan);
}

udump_status udump_sweep_plan_parse(const char *where, const char *text, size_t size, udump_sweep_plan *plan, udump_error *error) {
    json_t *root;
    *plan = (udump_sweep_plan){ 0 };
    udump_status status = udump_json_parse(text, size, (udump_json_limits){ .depth = DEPTH_MOST, .values = VALUES_MOST }, where, &root, error);
    if (status) return status;
    struct reader reader = { .root = root };
    take_all(&reader, plan);
    json_decref(root);
    if (!reader.failed && !reader.memory) return UDUMP_OK;
    udump_sweep_plan_free(plan);
    return reader.memory ? udump_fail_memory(error, where, size) : udump_fail(error, UDUMP_ERROR_FORMAT, where, "it does not say what a sweep is");
}

static void free_texts(char **texts, int32_t count) {
    for (int32_t i = 0; i < count; i++) free(texts[i]);
    free(texts);
}

void udump_sweep_plan_free(udump_sweep_plan *plan) {
    free_texts(plan->variants, plan->variant_count);
    free_texts(plan->blocks, plan->block_count);
    for (int32_t i = 0; i < plan->cell_count; i++) free(plan->cells[i].prompt);
    free(plan->cells);
    free(plan->model);
    free(plan->prompt);
    free(plan->negative_prompt);
    free(plan->seeds);
    free(plan->weights);
    *plan = (udump_sweep_plan){ 0 };
}

udump_sweep_cell udump_sweep_plan_cell_of(const udump_sweep_plan *plan, int32_t index) {
    const udump_sweep_plan_cell *cell = &plan->cells[index];
    return (udump_sweep_cell){ .key = cell->key, .is_base = cell->base == index, .blocks = cell->blocks < 0 ? "" : plan->blocks[cell->blocks],
        .variant = cell->variant < 0 ? "" : plan->variants[cell->variant], .prompt = cell->prompt, .seed = plan->seeds[cell->seed],
        .lora_weight = cell->weight < 0 ? 0 : plan->weights[cell->weight], .batch = cell->batch };
}
