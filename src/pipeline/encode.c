/* Prompts to contexts, contexts to tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "pipeline/text.h"

/* zero: the context's and the pooled vector's values are all 0, whatever the text. */
static udump_status encode_part(udump_session *session, const udump_prompt_part *part, int32_t skip, bool zero, udump_context **result,
    udump_error *error) {
    udump_chunks chunks;
    udump_context *context = NULL;
    udump_status status = udump_chunks_make(part->pieces, part->piece_count, &session->model->embeddings.words, &chunks, error);
    if (status) return status;
    status = udump_context_create(
        chunks.count * UDUMP_CLIP_POSITIONS, udump_text_width(session->model), part->text, chunks.columns, &context, error);
    if (!status && zero) status = udump_context_clear(context, session->model->pooled_dim, error);
    if (!status && !zero) status = udump_text_encode(session, &chunks, skip, context, error);
    udump_chunks_free(&chunks);
    if (status) udump_context_release(context);
    else *result = context;
    return status;
}

/* The first of the prompt's blocks that has the same schedule, which equal texts share. */
static int32_t first_like(const udump_prompt *prompt, int32_t block) {
    int32_t count, first = 0;
    const udump_prompt_entry *own = udump_prompt_schedule(prompt, block, &count);
    while (udump_prompt_schedule(prompt, first, &count) != own) first++;
    return first;
}

udump_status udump_prompt_check_length(const udump_model *model, const udump_prompt *prompt, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t block = 0, count; udump_prompt_block(prompt, block); block++) {
        const udump_prompt_entry *entries = udump_prompt_schedule(prompt, block, &count);
        if (first_like(prompt, block) < block) continue;
        for (int32_t at = 0; !status && at < count * entries[0].part_count; at++) {
            const udump_prompt_part *part = &entries[at / entries[0].part_count].parts[at % entries[0].part_count];
            udump_chunks chunks = { 0 };
            status = udump_chunks_make(part->pieces, part->piece_count, &model->embeddings.words, &chunks, error);
            udump_chunks_free(&chunks);
        }
    }
    return status;
}

/* Where contexts come from. */
struct encoder {
    udump_session *session;
    int32_t skip; /* of the text encoder's last layers */
    udump_context_cache *cache;
};

void udump_context_cache_free(udump_context_cache *cache) {
    for (int32_t i = 0; i < cache->count; i++) udump_context_release(cache->contexts[i]);
    free(cache->contexts);
    *cache = (udump_context_cache){ 0 };
}

static udump_status make_room(udump_context_cache *cache, udump_error *error) {
    if (cache->count < cache->capacity) return UDUMP_OK;
    int32_t capacity = cache->capacity ? 2 * cache->capacity : 32;
    udump_context **grown = realloc(cache->contexts, (size_t)capacity * sizeof(*grown));
    if (!grown) return udump_fail_memory(error, "contexts", (size_t)capacity * sizeof(*grown));
    cache->contexts = grown;
    cache->capacity = capacity;
    return UDUMP_OK;
}

/* tokens: of one that was padded; 0: as it was encoded. NULL if it is not there. */
static udump_context *find_context(const udump_context_cache *cache, const char *text, bool zero, int32_t tokens) {
    for (int32_t i = 0; i < cache->count; i++) {
        udump_context *context = cache->contexts[i];
        if (context->zero == zero && (context->padded ? context->tokens : 0) == tokens && strcmp(udump_context_text(context), text) == 0) return context;
    }
    return NULL;
}

/* The context stays the cache's. */
static udump_status get_context(
    const struct encoder *encoder, const udump_prompt_part *part, bool zero, udump_context **result, udump_error *error) {
    udump_context_cache *cache = encoder->cache;
    if ((*result = find_context(cache, part->text, zero, 0))) return UDUMP_OK;
    udump_status status = make_room(cache, error);
    if (!status) status = encode_part(encoder->session, part, encoder->skip, zero, result, error);
    if (!status) cache->contexts[cache->count++] = *result;
    return status;
}

/* One of the prompts that AND joins: as in the webui, as long as the longest of them. */
static udump_status get_joined(
    const struct encoder *encoder, const udump_prompt_entry *entry, int32_t part, udump_context **result, udump_error *error) {
    udump_context_cache *cache = encoder->cache;
    udump_context *context = NULL;
    udump_status status = get_context(encoder, &entry->parts[part], false, result, error);
    int32_t most = status ? 0 : (*result)->tokens;
    for (int32_t i = 0; !status && i < entry->part_count; i++) {
        if (i == part) continue;
        status = get_context(encoder, &entry->parts[i], false, &context, error);
        if (!status && context->tokens > most) most = context->tokens;
    }
    if (status || (*result)->tokens == most) return status;
    context = *result;
    if ((*result = find_context(cache, context->text, false, most))) return UDUMP_OK;
    status = make_room(cache, error);
    if (!status) status = udump_context_pad(context, most, result, error);
    if (!status) cache->contexts[cache->count++] = *result;
    return status;
}

/* The prompts of a run; those that are not run are NULL. */
struct prompts {
    udump_prompt **of[2]; /* [side][count[side]]: of the variants; the last is that of further ones */
    int32_t count[2];
};

static void prompts_free(struct prompts *prompts) {
    for (int side = 0; side < 2; side++) {
        for (int32_t i = 0; prompts->of[side] && i < prompts->count[side]; i++) udump_prompt_free(prompts->of[side][i]);
        free(prompts->of[side]);
    }
}

static udump_status prompts_allocate(const udump_session *session, const udump_sizes *sizes, struct prompts *prompts, udump_error *error) {
    for (int side = 0; side < 2; side++) {
        prompts->count[side] = session->swept && side == 1 ? 1 : sizes->variants;
        prompts->of[side] = calloc((size_t)prompts->count[side], sizeof(*prompts->of[side]));
        if (!prompts->of[side]) return udump_fail_memory(error, "prompts", (size_t)prompts->count[side] * sizeof(*prompts->of[side]));
    }
    return UDUMP_OK;
}

/* Whether some block's prompt is another than without layer prompts. */
static bool has_layers(const udump_prompt *prompt) {
    const char *text;
    for (int32_t block = 0; prompt && (text = udump_prompt_block(prompt, block)); block++)
        if (strcmp(text, udump_prompt_erased(prompt)) != 0) return true;
    return false;
}

static udump_status parse_side(
    udump_session *session, const char *text, int32_t side, const udump_sizes *sizes, struct prompts *prompts, udump_error *error) {
    udump_prompt **of = prompts->of[side];
    udump_status status = udump_prompt_parse(session->model, text, sizes->prompt_steps, side == 1, &of[0], error);
    if (!status && sizes->variants > 1 && !session->swept)
        status = udump_prompt_parse(session->model, udump_prompt_erased(of[0]), sizes->prompt_steps, side == 1, &of[1], error);
    if (status && error && side == 1) snprintf(error->where, sizeof error->where, "negative prompt");
    return status;
}

/* A diff without layer prompts in what is run, and whether they are in what is not. */
static udump_status refuse_diff(
    const udump_session *session, const udump_generate_options *o, const udump_sizes *sizes, udump_error *error) {
    udump_prompt *negative = NULL;
    bool given = !sizes->uncond && o->negative_prompt
        && !udump_prompt_parse(session->model, o->negative_prompt, sizes->prompt_steps, 1, &negative, NULL);
    bool idle = given && has_layers(negative), distilled = session->model->unet.guidance.packed != NULL;
    udump_prompt_free(negative);
    if (!idle) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "diff", "the prompts have no layer prompts: there would be no difference");
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "diff",
        "only the negative prompt has layer prompts, and %s it is not run: there would be no difference",
        distilled ? "with a distilled model" : "with cfg 1");
}

static udump_status parse_prompts(
    udump_session *session, const udump_generate_options *o, const udump_sizes *sizes, struct prompts *prompts, udump_error *error) {
    udump_status status = prompts_allocate(session, sizes, prompts, error);
    if (!status) status = parse_side(session, o->prompt ? o->prompt : "", 0, sizes, prompts, error);
    for (int32_t i = 1; !status && session->swept && i < prompts->count[0]; i++)
        status = udump_prompt_parse(session->model, session->swept[i], sizes->prompt_steps, 0, &prompts->of[0][i], error);
    if (!status && sizes->uncond) status = parse_side(session, o->negative_prompt ? o->negative_prompt : "", 1, sizes, prompts, error);
    if (!status && sizes->variants > 1 && !session->swept && !has_layers(prompts->of[0][0]) && !has_layers(prompts->of[1][0]))
        status = refuse_diff(session, o, sizes, error);
    return status;
}

/* The entry of the schedule that holds at step. */
static const udump_prompt_entry *entry_at(const udump_prompt *prompt, int32_t block, int32_t step) {
    int32_t count, i = 0;
    const udump_prompt_entry *entries = udump_prompt_schedule(prompt, block, &count);
    while (i + 1 < count && entries[i].until < step) i++;
    return &entries[i];
}

/* The last step for which what holds at `step` holds in all prompts and blocks. */
static int32_t unchanged_until(const struct prompts *prompts, int32_t blocks, int32_t step, int32_t steps) {
    int32_t until = steps;
    for (int side = 0; side < 2; side++)
        for (int32_t at = 0; at < prompts->count[side] * blocks; at++) {
            const udump_prompt *prompt = prompts->of[side][at / blocks];
            int32_t own = prompt ? entry_at(prompt, at % blocks, step)->until : steps;
            if (own >= step && own < until) until = own;
        }
    return until;
}

/* Whether a block's prompt is empty at all steps. */
static bool is_empty(const udump_prompt *prompt, int32_t block) {
    int32_t count;
    const udump_prompt_entry *entries = udump_prompt_schedule(prompt, block, &count);
    for (int32_t i = 0; i < count; i++)
        if (entries[i].parts[0].text[0]) return false;
    return true;
}

static udump_status fill_table(const struct encoder *encoder, const struct prompts *prompts, const udump_sizes *sizes, int32_t step,
    udump_table *table, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t block = 0; block < table->blocks; block++)
        for (int32_t row = 0; !status && row < table->rows; row++) {
            int32_t part = row / sizes->latents, variant = row / sizes->images % sizes->variants, side = part >= sizes->parts.most;
            const udump_prompt *prompt = prompts->of[side][variant < prompts->count[side] ? variant : prompts->count[side] - 1];
            const udump_prompt_entry *entry = entry_at(prompt, block, step);
            bool zero = side == 1 && encoder->session->model->family->empty_is_zero && is_empty(prompt, block);
            udump_context *context;
            if (side) status = get_context(encoder, &entry->parts[0], zero, &context, error);
            else status = get_joined(encoder, entry, part < entry->part_count ? part : 0, &context, error);
            if (!status) status = udump_table_set(table, block, row, context, error);
            if (status && error && side == 1 && strcmp(error->where, "prompt") == 0)
                snprintf(error->where, sizeof error->where, "negative prompt");
        }
    return status;
}

void udump_tables_free(udump_tables *tables) {
    for (int32_t i = 0; i < tables->count; i++) udump_table_free(tables->tables[i]);
    free(tables->tables);
    free(tables->until);
    *tables = (udump_tables){ 0 };
}

static udump_status add_table(udump_tables *tables, udump_model *model, int32_t rows, int32_t until, udump_error *error) {
    udump_table **grown = realloc(tables->tables, (size_t)(tables->count + 1) * sizeof(*grown));
    if (grown) tables->tables = grown;
    int32_t *ends = realloc(tables->until, (size_t)(tables->count + 1) * sizeof *ends);
    if (ends) tables->until = ends;
    if (!grown || !ends) return udump_fail_memory(error, "table", (size_t)(tables->count + 1) * sizeof(*grown));
    tables->until[tables->count] = until;
    udump_status status = udump_table_create(model, rows, &tables->tables[tables->count], error);
    if (!status) tables->count++;
    return status;
}

udump_status udump_tables_encode(
    udump_session *session, const udump_generate_options *o, const udump_sizes *sizes, udump_tables *tables, udump_error *error) {
    udump_context_cache own = { 0 };
    const struct encoder encoder = { session, o->clip_skip ? o->clip_skip - 1 : 0, session->swept ? &session->contexts : &own };
    struct prompts prompts = { 0 };
    int32_t blocks = session->model->unet.block_count;
    *tables = (udump_tables){ 0 };
    udump_status status = parse_prompts(session, o, sizes, &prompts, error);
    for (int32_t step = 1, until; !status && step <= sizes->prompt_steps; step = until + 1) {
        until = unchanged_until(&prompts, blocks, step, sizes->prompt_steps);
        status = add_table(tables, session->model, sizes->rows, until, error);
        if (!status) tables->tables[tables->count - 1]->parts = sizes->parts;
        if (!status) status = fill_table(&encoder, &prompts, sizes, step, tables->tables[tables->count - 1], error);
    }
    prompts_free(&prompts);
    udump_context_cache_free(&own);
    if (status) udump_tables_free(tables);
    return status;
}

/* ---- the public functions */

static udump_status encode_context(udump_session *session, const char *prompt, udump_context **result, udump_error *error) {
    udump_prompt *parsed = NULL;
    udump_context *context = NULL;
    udump_context_cache cache = { 0 };
    const struct encoder encoder = { .session = session, .cache = &cache };
    if (session->run.active) return udump_session_running("context", error);
    udump_status status = udump_prompt_parse(session->model, prompt, UDUMP_DEFAULT_STEPS, 0, &parsed, error);
    if (!status && has_layers(parsed))
        status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "layer prompts make a context for each block: those are a table's");
    const udump_prompt_entry *entry = status ? NULL : entry_at(parsed, 0, 1);
    if (entry && entry->part_count > 1)
        status = udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "prompt", "AND joins several contexts, with weights: those are a table's");
    else if (entry) status = udump_and_check_weight(entry->parts[0].weight, error);
    if (!status) status = get_context(&encoder, &entry->parts[0], false, &context, error);
    if (!status) udump_context_retain(context);
    if (!status) *result = context;
    udump_context_cache_free(&cache);
    udump_prompt_free(parsed);
    return status;
}

udump_status udump_context_encode(udump_session *session, const char *prompt, udump_context **result, udump_error *error) {
    if (!session || !prompt || !result) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "context", "a null pointer");
    udump_status status = udump_session_enter(session, "context", error);
    return status ? status : udump_session_leave(session, encode_context(session, prompt, result, error));
}

static udump_status encode_table(udump_session *session, const udump_generate_options *options, udump_table **table, udump_error *error) {
    udump_sizes sizes;
    udump_tables tables;
    if (session->run.active) return udump_session_running("table", error);
    udump_status status = udump_sizes_resolve(session, options, NULL, &sizes, error);
    if (!status) status = udump_tables_encode(session, options, &sizes, &tables, error);
    if (status) return status;
    *table = tables.tables[0];
    tables.tables[0] = NULL;
    udump_tables_free(&tables);
    return UDUMP_OK;
}

udump_status udump_table_encode(udump_session *session, const udump_generate_options *given, udump_table **table, udump_error *error) {
    udump_generate_options options;
    if (!session || !given || !table) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "table", "a null pointer");
    udump_status status = udump_options_take(&options, sizeof options, given, "generate options", error);
    if (!status) status = udump_session_enter(session, "table", error);
    return status ? status : udump_session_leave(session, encode_table(session, &options, table, error));
}
