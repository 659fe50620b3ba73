/* What a sweep is made of: checks, axes, cells, batches. */
#include "pipeline/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"

enum { BATCH_SIZE = 8, BATCH_MOST = 256 };

static udump_status refuse(udump_error *error, const char *where, const char *what) { return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "%s", what); }

static udump_status check_base(const udump_generate_options *base, udump_error *error) {
    if (base->features || base->attention || base->want_tensors || base->attention_words)
        return refuse(error, "sweep", "features and attention are shown by generate: a sweep measures");
    if (base->noise) return refuse(error, "sweep", "noise comes from seeds");
    if (base->batch_size > 1 || base->batch_count > 1) return refuse(error, "sweep", "it has batches of its own");
    return UDUMP_OK;
}

static int compare_numbers(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static int compare_seeds(const void *a, const void *b) {
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

static int compare_texts(const void *a, const void *b) {
    const char *first = *(const char *const *)a, *second = *(const char *const *)b;
    return strcmp(first ? first : "", second ? second : "");
}

/* What is there twice would be made once and counted twice. */
static udump_status check_once(const char *name, const void *items, int32_t count, size_t size, int (*compare)(const void *, const void *), udump_error *error) {
    if (!count) return UDUMP_OK;
    udump_status status = UDUMP_OK;
    char *sorted = malloc((size_t)count * size);
    if (!sorted) return udump_fail_memory(error, name, (size_t)count * size);
    memcpy(sorted, items, (size_t)count * size);
    qsort(sorted, (size_t)count, size, compare);
    for (int32_t i = 1; i < count && !status; i++)
        if (compare(sorted + (size_t)(i - 1) * size, sorted + (size_t)i * size) == 0) status = udump_fail(error, UDUMP_ERROR_ARGUMENT, name, "one of them is there twice");
    free(sorted);
    return status;
}

static udump_status check_lists(
    const udump_sweep_options *o, const udump_generate_options *base, const udump_model_options *model, udump_error *error) {
    if (o->variant_count < 0 || o->block_count < 0 || o->seed_count < 0 || o->lora_weight_count < 0 || (o->variant_count && !o->variants)
        || (o->block_count && !o->blocks) || (o->seed_count && !o->seeds) || (o->lora_weight_count && !o->lora_weights))
        return refuse(error, "sweep", "a list without items, or with a negative number of them");
    if (!o->variant_count && !model->lora_count) return refuse(error, "sweep", "nothing varies: it needs another prompt, or a LoRA");
    if (!o->variant_count && base->diff) return refuse(error, "sweep", "blocks' outputs are compared within a batch: not where LoRAs vary");
    if (o->lora_weight_count && !model->lora_count) return refuse(error, "sweep", "LoRA weights, but no LoRA");
    for (int32_t i = 0; i < o->lora_weight_count; i++)
        if (!(fabs(o->lora_weights[i]) <= UDUMP_LORA_WEIGHT_MOST))
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, "LoRA weights", "%g: -%d to %d are possible", o->lora_weights[i], UDUMP_LORA_WEIGHT_MOST, UDUMP_LORA_WEIGHT_MOST);
    if (o->batch_size < 0 || o->batch_size > BATCH_MOST || (base->diff && o->batch_size == 1))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "batch size", "%d pictures: %d to %d are possible", (int)o->batch_size, base->diff ? 2 : 1, BATCH_MOST);
    udump_status status = check_once("variants", o->variants, o->variant_count, sizeof *o->variants, compare_texts, error);
    if (!status) status = check_once("blocks", o->blocks, o->block_count, sizeof *o->blocks, compare_texts, error);
    if (!status) status = check_once("seeds", o->seeds, o->seed_count, sizeof *o->seeds, compare_seeds, error);
    if (!status) status = check_once("LoRA weights", o->lora_weights, o->lora_weight_count, sizeof *o->lora_weights, compare_numbers, error);
    return status;
}

static udump_status check(
    const udump_model_options *model, const udump_sweep_options *o, const udump_generate_options *base, udump_error *error) {
    if (model->lora_count < 0 || model->lora_count > UDUMP_LORAS_MOST || (model->lora_count && !model->loras))
        return refuse(error, "loras", "a list without items, or of more than 64");
    udump_status status = check_base(base, error);
    return status ? status : check_lists(o, base, model, error);
}

static char **copy_texts(const char *const *texts, int32_t count) {
    char **copies = calloc((size_t)count + 1, sizeof(*copies));
    for (int32_t i = 0; copies && i < count; i++) copies[i] = strdup(texts[i] ? texts[i] : "");
    return copies;
}

static bool copied(char *const *texts, int32_t count) {
    bool there = texts != NULL;
    for (int32_t i = 0; there && i < count; i++) there = texts[i] != NULL;
    return there;
}

/* Each block by itself, where no lists are given. */
static char **copy_blocks(const udump_sweep *sweep, const udump_sweep_options *o, int32_t *count) {
    const char *names[UDUMP_BLOCKS_MOST];
    *count = o->block_count ? o->block_count : sweep->model->unet.block_count;
    for (int32_t b = 0; !o->block_count && b < *count; b++) names[b] = sweep->model->unet.blocks[b].name;
    return copy_texts(o->block_count ? o->blocks : names, *count);
}

/* What the lists have, with their defaults. */
static udump_status take_axes(udump_sweep *sweep, const udump_sweep_options *o, udump_error *error) {
    udump_sweep_plan *plan = &sweep->plan;
    const udump_generate_options *base = o->base;
    plan->varies_loras = !o->variant_count;
    plan->model = strdup(sweep->model->name);
    plan->prompt = strdup(base->prompt ? base->prompt : "");
    plan->negative_prompt = strdup(base->negative_prompt ? base->negative_prompt : "");
    plan->width_px = base->width_px ? base->width_px : 512;
    plan->height_px = base->height_px ? base->height_px : 512;
    plan->variants = copy_texts(o->variants, o->variant_count);
    plan->variant_count = plan->variants ? o->variant_count : 0;
    plan->blocks = copy_blocks(sweep, o, &plan->block_count);
    if (!plan->blocks) plan->block_count = 0;
    plan->seed_count = o->seed_count ? o->seed_count : 1;
    plan->weight_count = o->lora_weight_count ? o->lora_weight_count : 1;
    plan->seeds = malloc((size_t)plan->seed_count * sizeof *plan->seeds);
    plan->weights = malloc((size_t)plan->weight_count * sizeof *plan->weights);
    if (!plan->model || !plan->prompt || !plan->negative_prompt || !copied(plan->variants, plan->variant_count)
        || !copied(plan->blocks, plan->block_count) || !plan->seeds || !plan->weights)
        return udump_fail_memory(error, "sweep", 0);
    for (int32_t i = 0; i < plan->seed_count; i++) plan->seeds[i] = o->seed_count ? o->seeds[i] : base->seed;
    for (int32_t i = 0; i < plan->weight_count; i++) plan->weights[i] = o->lora_weight_count ? o->lora_weights[i] : 1;
    return UDUMP_OK;
}

static udump_status count_cells(udump_sweep_plan *plan, udump_error *error) {
    double variants = plan->varies_loras ? 1 : plan->variant_count;
    double cells = (double)plan->weight_count * plan->seed_count * (1 + variants * plan->block_count);
    if (cells > UDUMP_SWEEP_CELLS_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "%.0f cells: at most %d are possible", cells, UDUMP_SWEEP_CELLS_MOST);
    plan->cells = calloc((size_t)cells, sizeof *plan->cells);
    return plan->cells ? UDUMP_OK : udump_fail_memory(error, "sweep", (size_t)cells * sizeof *plan->cells);
}

static void add_cell(udump_sweep_plan *plan, int32_t base, int32_t variant, int32_t blocks, int32_t seed, int32_t weight) {
    plan->cells[plan->cell_count++] = (udump_sweep_plan_cell){ .base = base, .variant = variant, .blocks = blocks, .seed = seed, .weight = weight };
}

/* Weights, and of each the seeds: a base, then its variants. */
static void add_prompts(udump_sweep_plan *plan) {
    for (int32_t at = 0; at < plan->weight_count * plan->seed_count; at++) {
        int32_t base = plan->cell_count, weight = at / plan->seed_count, seed = at % plan->seed_count;
        add_cell(plan, base, -1, -1, seed, weight);
        for (int32_t i = 0; i < plan->variant_count * plan->block_count; i++)
            add_cell(plan, base, i / plan->block_count, i % plan->block_count, seed, weight);
    }
}

/* The bases, then for each weight and each choice of blocks, which is a model of its own, the seeds. */
static void add_loras(udump_sweep_plan *plan) {
    for (int32_t seed = 0; seed < plan->seed_count; seed++) add_cell(plan, seed, -1, -1, seed, -1);
    for (int32_t at = 0; at < plan->weight_count * plan->block_count * plan->seed_count; at++) {
        int32_t seed = at % plan->seed_count, blocks = at / plan->seed_count % plan->block_count, weight = at / plan->seed_count / plan->block_count;
        add_cell(plan, seed, -1, blocks, seed, weight);
    }
}

/* One prompt for each variant and each choice of blocks. */
static udump_status compose_all(udump_sweep *sweep, const udump_prompt *base, udump_prompt *const *variants, udump_error *error) {
    udump_sweep_plan *plan = &sweep->plan;
    uint8_t selected[UDUMP_BLOCKS_MOST];
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; !status && i < plan->cell_count; i++) {
        udump_sweep_plan_cell *cell = &plan->cells[i];
        if (cell->blocks >= 0) status = udump_layers_parse(sweep->model, plan->blocks[cell->blocks], selected, UDUMP_BLOCKS_MOST, error);
        if (status && error) snprintf(error->where, sizeof error->where, "blocks %d", (int)cell->blocks + 1);
        if (!status && cell->variant >= 0) status = udump_sweep_compose(base, variants[cell->variant], selected, sweep->model, &cell->prompt, error);
        else if (!status && !(cell->prompt = strdup(plan->prompt))) status = udump_fail_memory(error, "prompt", strlen(plan->prompt));
    }
    return status;
}

static udump_status make_prompts(udump_sweep *sweep, udump_error *error) {
    const udump_sweep_plan *plan = &sweep->plan;
    udump_prompt *base = NULL, **variants = calloc((size_t)plan->variant_count + 1, sizeof(*variants));
    udump_status status = variants ? udump_prompt_parse(sweep->model, plan->prompt, 1, 0, &base, error) : udump_fail_memory(error, "prompts", 0);
    for (int32_t i = 0; !status && i < plan->variant_count; i++) {
        status = udump_prompt_parse(sweep->model, plan->variants[i], 1, 0, &variants[i], error);
        if (status && error) snprintf(error->where, sizeof error->where, "variant %d", (int)i + 1);
    }
    if (!status) status = compose_all(sweep, base, variants, error);
    for (int32_t i = 0; variants && i < plan->variant_count; i++) udump_prompt_free(variants[i]);
    free(variants);
    udump_prompt_free(base);
    return status;
}

static udump_status check_text(
    const udump_sweep *sweep, const udump_sizes *sizes, const char *text, bool negative, const char *where, udump_error *error) {
    udump_prompt *prompt = NULL;
    udump_status status = udump_prompt_parse(sweep->model, text, sizes->prompt_steps, negative, &prompt, error);
    if (!status) status = udump_prompt_check_length(sweep->model, prompt, error);
    if (status && error && strcmp(error->where, "prompt") == 0) snprintf(error->where, sizeof error->where, "%s", where);
    udump_prompt_free(prompt);
    return status;
}

/* That all can be encoded, at all steps. Cells' prompts are made of the base's and the variants': only together they may have too much text. */
static udump_status check_texts(
    const udump_sweep *sweep, const udump_sizes *sizes, const char *const *cells, int32_t count, udump_error *error) {
    const udump_sweep_plan *plan = &sweep->plan;
    udump_status status = check_text(sweep, sizes, plan->prompt, false, "prompt", error);
    for (int32_t i = 0; !status && i < plan->variant_count; i++) {
        char where[32];
        snprintf(where, sizeof where, "variant %d", (int)i + 1);
        status = check_text(sweep, sizes, plan->variants[i], false, where, error);
    }
    if (!status && sizes->uncond) status = check_text(sweep, sizes, plan->negative_prompt, true, "negative prompt", error);
    for (int32_t i = 0; !status && i < count; i++) {
        udump_prompt *prompt = NULL;
        status = udump_prompt_parse(sweep->model, cells[i], sizes->prompt_steps, 0, &prompt, error);
        udump_prompt_free(prompt);
    }
    return status;
}

/* What a run would refuse is refused before the first one: sizes, sampler, steps, and prompts that do not go together. most: of a batch. */
static udump_status check_run(udump_sweep *sweep, int32_t most, udump_error *error) {
    const udump_sweep_plan *plan = &sweep->plan;
    int32_t count = 1 + plan->variant_count * plan->block_count; /* of the first seed and weight; the others have the same */
    const char **prompts = malloc((size_t)count * sizeof(*prompts));
    if (!prompts) return udump_fail_memory(error, "prompts", (size_t)count * sizeof(*prompts));
    for (int32_t i = 0; i < count; i++) prompts[i] = plan->cells[i].prompt;
    udump_sizes sizes;
    udump_parts parts;
    udump_session *session = sweep->session;
    session->swept = prompts;
    session->swept_count = count < most ? count : most;
    udump_status status = udump_sizes_resolve(session, &sweep->base, NULL, &sizes, error);
    if (!status) status = udump_parts_find_swept(sweep->model, prompts, count, &parts, error);
    session->swept_count = count > 1 ? 2 : 1; /* the rest does not depend on how many there are */
    if (!status) status = udump_run_create(session, &sweep->base, NULL, NULL, &session->run, error);
    if (!status) status = check_texts(sweep, &sizes, prompts, count, error);
    udump_run_free(session);
    session->swept = NULL;
    free(prompts);
    return status;
}

/* Equal keys together, each's first cell first: they lie in one array. */
static int compare_keys(const void *a, const void *b) {
    const udump_sweep_plan_cell *first = *(const udump_sweep_plan_cell *const *)a, *second = *(const udump_sweep_plan_cell *const *)b;
    int order = strcmp(first->key, second->key);
    return order ? order : (first > second) - (first < second);
}

static int compare_made(const void *a, const void *b) { return ((const udump_sweep_made *)a)->cell - ((const udump_sweep_made *)b)->cell; }

/* Of cells that are equal, as where the variant is the base's own in the chosen blocks, the first. */
static void list_made(udump_sweep *sweep, const udump_sweep_plan_cell *const *sorted) {
    udump_sweep_made *made = sweep->made;
    for (int32_t i = 0; i < sweep->plan.cell_count; i++) {
        bool again = i && strcmp(sorted[i]->key, sorted[i - 1]->key) == 0;
        if (!again) made[sweep->made_count++] = (udump_sweep_made){ .cell = (int32_t)(sorted[i] - sweep->plan.cells) };
        made[sweep->made_count - 1].equal++;
    }
    qsort(made, (size_t)sweep->made_count, sizeof *made, compare_made);
}

/* Batches that fit `most` cells of one base, one model and one noise; with LoRAs that vary each cell is a model of its own. */
static udump_status add_batches(udump_sweep *sweep, int32_t most, udump_error *error) {
    udump_sweep_plan *plan = &sweep->plan;
    for (int32_t at = 0, count; at < sweep->made_count; at += count) {
        const udump_sweep_plan_cell *first = &plan->cells[sweep->made[at].cell];
        bool beside = sweep->base.diff && first->base != sweep->made[at].cell;
        int32_t own = plan->varies_loras ? 1 : most - beside;
        for (count = 1; count < own && at + count < sweep->made_count; count++)
            if (plan->cells[sweep->made[at + count].cell].base != first->base) break;
        udump_sweep_batch *grown = realloc(sweep->batches, (size_t)(sweep->batch_count + 1) * sizeof *grown);
        if (!grown) return udump_fail_memory(error, "sweep", (size_t)(sweep->batch_count + 1) * sizeof *grown);
        sweep->batches = grown;
        for (int32_t i = at; i < at + count; i++) plan->cells[sweep->made[i].cell].batch = sweep->batch_count;
        grown[sweep->batch_count++] = (udump_sweep_batch){ at, count, beside, first->weight, plan->varies_loras ? first->blocks : -1 };
    }
    return UDUMP_OK;
}

/* What is made, in which batches; and so which batch each cell is from. */
static udump_status make_batches(udump_sweep *sweep, int32_t most, udump_error *error) {
    udump_sweep_plan *plan = &sweep->plan;
    size_t count = (size_t)plan->cell_count;
    udump_sweep_plan_cell **sorted = malloc(count * sizeof(*sorted));
    sweep->made = calloc(count, sizeof *sweep->made);
    udump_status status = sorted && sweep->made ? UDUMP_OK : udump_fail_memory(error, "sweep", count * sizeof(*sorted));
    for (size_t i = 0; !status && i < count; i++) sorted[i] = &plan->cells[i];
    if (!status) {
        qsort(sorted, count, sizeof(*sorted), compare_keys);
        list_made(sweep, (const udump_sweep_plan_cell *const *)sorted);
        status = add_batches(sweep, most, error);
    }
    for (size_t i = 1; !status && i < count; i++)
        if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0) sorted[i]->batch = sorted[i - 1]->batch;
    free(sorted);
    return status;
}

static udump_status take_given(udump_sweep *sweep, udump_model *model, udump_error *error) {
    if (!model || sweep->model_options.lora_count) return UDUMP_OK;
    udump_model_retain(model);
    sweep->model = model;
    sweep->weight = sweep->blocks = -1;
    return udump_session_create(model, &sweep->session, error);
}

static udump_status make(udump_sweep *sweep, const udump_sweep_options *o, udump_error *error) {
    int32_t most = o->batch_size ? o->batch_size : BATCH_SIZE;
    udump_status status = take_given(sweep, o->model, error);
    if (!status) status = udump_sweep_take_model(sweep, -1, -1, error);
    if (!status) sweep->model_options.hash_files = sweep->model->hash[0] || sweep->model->vae_hash[0]; /* all pictures name them, or none */
    if (!status) status = take_axes(sweep, o, error);
    if (!status) status = count_cells(&sweep->plan, error);
    if (status) return status;
    if (sweep->plan.varies_loras) add_loras(&sweep->plan);
    else add_prompts(&sweep->plan);
    status = make_prompts(sweep, error);
    if (!status) status = check_run(sweep, most, error);
    if (!status) status = udump_sweep_make_keys(sweep, error);
    return status ? status : make_batches(sweep, most, error);
}

udump_status udump_sweep_create(
    const char *path, const udump_model_options *model, const udump_sweep_options *given, udump_sweep **result, udump_error *error) {
    udump_sweep_options o = { 0 };
    if (!path || !given || !result) return refuse(error, "sweep", "a null pointer");
    udump_status status = udump_options_take(&o, sizeof o, given, "sweep options", error);
    if (!status && !o.base) status = refuse(error, "sweep", "a null pointer");
    if (status) return status;
    udump_sweep *sweep = calloc(1, sizeof *sweep);
    if (!sweep) return udump_fail_memory(error, "sweep", sizeof *sweep);
    sweep->path = path;
    sweep->force = o.force != 0;
    status = udump_options_take(&sweep->model_options, sizeof sweep->model_options, model, "model options", error);
    if (!status) status = udump_options_take(&sweep->base, sizeof sweep->base, o.base, "generate options", error);
    if (!status) status = check(&sweep->model_options, &o, &sweep->base, error);
    if (!status) status = make(sweep, &o, error);
    if (status) udump_sweep_free(sweep);
    else *result = sweep;
    return status;
}

void udump_sweep_free(udump_sweep *sweep) {
    if (!sweep) return;
    udump_session_destroy(sweep->session);
    udump_model_release(sweep->model);
    udump_sweep_plan_free(&sweep->plan);
    free(sweep->made);
    free(sweep->batches);
    free(sweep);
}

int32_t udump_sweep_batch_count(const udump_sweep *sweep) { return sweep->batch_count; }

udump_status udump_sweep_get_cell(const udump_sweep *sweep, int32_t index, udump_sweep_cell *cell, udump_error *error) {
    if (!sweep || !cell) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "a null pointer");
    if (index < 0 || index >= sweep->plan.cell_count)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "sweep", "no cell %d: there are %d", (int)index, (int)sweep->plan.cell_count);
    *cell = udump_sweep_plan_cell_of(&sweep->plan, index);
    return UDUMP_OK;
}
