#include "output/run_json.h"

#include <stdio.h>
#include <string.h>

#include "output/json.h"
#include "output/name.h"

static void put_seed(udump_json *json, uint64_t seed) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    udump_json_put(
        json, "seed", seed <= INT64_MAX ? json_integer((json_int_t)seed) : json_string(text)); /* jansson's integers are signed */
}

static void put_texts(udump_json *json, const char *key, int32_t count, const char *const *texts) {
    json_t *array = json_array();
    for (int32_t i = 0; i < count; i++)
        if (json_array_append_new(array, udump_json_string(texts[i]))) json->failed = true;
    udump_json_put(json, key, array);
}

static bool same_stretch(const udump_run_prompt *a, const udump_run_prompt *b) {
    return a->side == b->side && a->variant == b->variant && a->context == b->context && a->until == b->until && a->part == b->part;
}

static json_t *stretch(const udump_run_prompt *first, const udump_run_prompt *last) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "first", first->block);
    udump_json_put_text(&json, "last", last->block);
    udump_json_put_text(&json, "side", udump_side_name(first->side));
    udump_json_put_text(&json, "variant", udump_variant_name(first->variant));
    udump_json_put_integer(&json, "context", first->context);
    udump_json_put_integer(&json, "until", first->until);
    if (first->part) udump_json_put_integer(&json, "part", first->part);
    if (first->weight != 1) udump_json_put_float(&json, "weight", first->weight);
    if (!json.failed) return json.object;
    json_decref(json.object);
    return NULL;
}

/* Neighbouring blocks with the same context become one entry. */
static void put_prompts(udump_json *json, const udump_run_info *run) {
    json_t *array = json_array();
    for (int32_t first = 0, last; first < run->prompt_count; first = last + 1) {
        last = first;
        while (last + 1 < run->prompt_count && same_stretch(&run->prompts[first], &run->prompts[last + 1])) last++;
        if (json_array_append_new(array, stretch(&run->prompts[first], &run->prompts[last]))) json->failed = true;
    }
    udump_json_put(json, "prompts", array);
}

static void put_blocks(udump_json *json, const udump_run_info *run) {
    json_t *array = json_array();
    for (int32_t i = 0; i < run->block_count; i++) {
        const udump_block_info *block = &run->blocks[i];
        udump_json one = udump_json_start();
        udump_json_put_text(&one, "name", block->name);
        udump_json_put_integer(&one, "channels", block->channels);
        udump_json_put_integer(&one, "attention_depth", block->attention_depth);
        udump_json_put_integer(&one, "heads", block->heads);
        if (json_array_append_new(array, one.object) || one.failed) json->failed = true;
    }
    udump_json_put(json, "blocks", array);
}

static void put_other(udump_json *json, const udump_run_info *run) {
    if (!run->other_model) return;
    udump_json one = udump_json_start();
    udump_json_put_text(&one, "model", run->other_model);
    udump_json_put_text(&one, "model_hash", run->other_model_hash);
    udump_json_put_text(&one, "loras", run->other_loras);
    udump_json_put(json, "other", one.object);
    json->failed |= one.failed;
}

bool udump_run_json_write(const udump_run_info *run, udump_text *text) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "prompt", run->prompt);
    udump_json_put_text(&json, "negative_prompt", run->negative_prompt);
    put_seed(&json, run->seed);
    udump_json_put_text(&json, "sampler", run->sampler);
    udump_json_put_text(&json, "schedule", run->schedule);
    udump_json_put_float(&json, "cfg", run->cfg);
    udump_json_put_integer(&json, "width", run->width_px);
    udump_json_put_integer(&json, "height", run->height_px);
    udump_json_put_integer(&json, "steps", run->steps);
    udump_json_put_integer(&json, "steps_asked", run->steps_asked);
    udump_json_put_integer(&json, "evaluations", run->evaluations);
    udump_json_put_integer(&json, "batch_size", run->batch_size);
    udump_json_put_integer(&json, "batch_count", run->batch_count);
    udump_json_put_integer(&json, "variants", run->variants);
    udump_json_put_text(&json, "rng", run->rng);
    udump_json_put_text(&json, "model", run->model);
    udump_json_put_text(&json, "model_hash", run->model_hash);
    udump_json_put_text(&json, "loras", run->loras);
    put_other(&json, run);
    udump_json_put_text(&json, "color", run->color);
    udump_json_put_text(&json, "transform", run->transform);
    udump_json_put_text(&json, "device", run->device);
    udump_json_put_text(&json, "device_note", run->device_note);
    udump_json_put_text(&json, "precision", run->precision);
    udump_json_put_text(&json, "infotext", run->infotext);
    udump_json_put_text(&json, "fingerprint", run->fingerprint);
    put_texts(&json, "words", run->word_count, run->words);
    put_texts(&json, "skipped", run->skipped_count, run->skipped);
    put_prompts(&json, run);
    put_blocks(&json, run);
    return udump_json_finish(&json, text);
}

static json_t *labels(const udump_run_context *context) {
    if (!context->columns) return json_null();
    json_t *array = json_array();
    bool failed = !array;
    for (int32_t i = 0; i < context->tokens && !failed; i++)
        failed = json_array_append_new(array, udump_json_string(context->columns[i].text)) != 0;
    if (!failed) return array;
    json_decref(array);
    return NULL;
}

static json_t *columns_of(const udump_run_context *context) {
    if (!context->columns) return json_null();
    udump_json array = { json_array(), false };
    for (int32_t i = 0; i < context->tokens && array.object && !array.failed; i++) {
        const udump_column *column = &context->columns[i];
        udump_json json = udump_json_start();
        udump_json_put_integer(&json, "column", i);
        udump_json_put_integer(&json, "id", column->id);
        udump_json_put_text(&json, "text", column->text);
        udump_json_put_integer(&json, "word", column->word);
        udump_json_put_float(&json, "weight", column->weight);
        array.failed = json_array_append_new(array.object, json.object) != 0 || json.failed;
    }
    if (!array.failed) return array.object;
    json_decref(array.object);
    return NULL;
}

/* One context a line. */
static bool write_contexts(const udump_run_info *run, udump_text *text, bool details) {
    bool good = udump_text_print(text, "[");
    for (int32_t i = 0; i < run->context_count && good; i++) {
        const udump_run_context *context = &run->contexts[i];
        udump_json json = udump_json_start();
        udump_json_put(&json, "text", udump_json_string(context->text));
        if (!details) udump_json_put_integer(&json, "tokens", context->tokens);
        udump_json_put(&json, "columns", details ? columns_of(context) : labels(context));
        good = udump_text_print(text, i ? ",\n  " : "\n  ") && udump_json_finish(&json, text);
    }
    return good && udump_text_print(text, "]");
}

bool udump_run_json_write_contexts(const udump_run_info *run, udump_text *text) { return write_contexts(run, text, false); }

bool udump_run_json_write_tokens(const udump_run_info *run, udump_text *text) {
    return write_contexts(run, text, true) && udump_text_print(text, "\n");
}
