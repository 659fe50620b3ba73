#include "pipeline/look.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/options.h"
#include "base/status.h"
#include "pipeline/show.h"

enum { ALL_KINDS = 2 * UDUMP_ATTEND_SELF_MAP - 1, OF_SELF = UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP };

static udump_status copy_queries(udump_look *look, const udump_generate_options *o, udump_error *error) {
    if (o->self_query_count > 0 && !o->self_queries_px)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "self queries", "%d positions, but their list is NULL", (int)o->self_query_count);
    if (o->self_query_count < 0 || o->self_query_count > UDUMP_QUERIES_MOST)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "self queries", "%d positions: 0 to %d are possible", (int)o->self_query_count, UDUMP_QUERIES_MOST);
    if (!o->self_query_count) return UDUMP_OK;
    size_t bytes = (size_t)o->self_query_count * 2 * sizeof *look->queries_px;
    for (int32_t i = 0; i < o->self_query_count; i++) {
        int32_t px = o->self_queries_px[2 * i], py = o->self_queries_px[2 * i + 1];
        if (px < 0 || px >= look->width_px || py < 0 || py >= look->height_px)
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, "self queries", "%d,%d is outside of the image, %dx%d", (int)px, (int)py,
                (int)look->width_px, (int)look->height_px);
    }
    look->queries_px = malloc(bytes);
    if (!look->queries_px) return udump_fail_memory(error, "self queries", bytes);
    memcpy(look->queries_px, o->self_queries_px, bytes);
    look->query_count = o->self_query_count;
    return UDUMP_OK;
}

/* What the style is called in the run's own words. */
static udump_status name_style(udump_look *look, const udump_generate_options *o, udump_error *error) {
    udump_style style;
    udump_options_take(&style, sizeof style, o->style, "style", NULL); /* it was compiled before */
    bool usual = look->style.colour == UDUMP_COLOUR_DEFAULT;
    look->color = strdup(usual ? UDUMP_STYLE_COLOR : style.color);
    look->transform = strdup(style.transform ? style.transform : UDUMP_STYLE_TRANSFORM);
    return look->color && look->transform ? UDUMP_OK : udump_fail_memory(error, "style", sizeof style);
}

/* Options that would do nothing are mistakes. */
static udump_status check_steps(const udump_generate_options *o, udump_error *error) {
    if (!o->features && o->feature_steps)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "feature steps", "steps to look at features, but no blocks");
    if (!o->diff && o->diff_steps)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "diff steps", "steps to compare outputs at, but no blocks");
    return UDUMP_OK;
}

static udump_status check_attention(udump_look *look, const udump_generate_options *o, udump_error *error) {
    if (!o->attention && (o->attention_steps || o->attention_kinds || o->attention_words || o->self_query_count))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention", "kinds, steps, words or queries of attention, but no blocks");
    if (o->attention_kinds > ALL_KINDS)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention kinds", "unknown bits: %#x", (unsigned)o->attention_kinds);
    look->kinds = o->attention_kinds ? o->attention_kinds : o->attention_words ? 0 : UDUMP_ATTEND_QK;
    if (o->self_query_count && !(look->kinds & UDUMP_ATTEND_SELF))
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "self queries", "positions to look from, but self-attention is not asked for");
    return UDUMP_OK;
}

/* Of all that the run's pictures and tensors depend on, the bytes of its options: what stays the same from evaluation to evaluation. */
static uint64_t hash_drawing(const udump_look *look) {
    const udump_sink *sink = look->sink;
    const int32_t numbers[] = { look->images, look->variants, look->sides, look->swept, look->parts->most, look->parts->count[0],
        look->parts->count[1], look->is_other, (int32_t)look->kinds, look->side, look->average, look->canvases, look->tensors,
        sink->canvas != NULL, sink->tensor != NULL, sink->diff != NULL };
    return udump_hash_add(udump_hash_add(UDUMP_HASH_START, numbers, sizeof numbers), &look->style, sizeof look->style);
}

udump_status udump_look_create(udump_look *look, const udump_model *model, const udump_generate_options *o, udump_error *error) {
    int32_t evaluations = look->sampling->evaluation_count;
    look->unet = &model->unet;
    look->side = o->side;
    look->canvases = !o->no_canvas;
    look->tensors = o->want_tensors;
    udump_status status = udump_style_compile(o->style, &look->style, &look->average, error);
    if (!status) status = name_style(look, o, error);
    if (!status) status = check_steps(o, error);
    if (!status) status = check_attention(look, o, error);
    if (!status) status = udump_selection_create(&look->features, model, "feature", o->features, o->feature_steps, evaluations, error);
    if (!status) status = udump_selection_create(&look->attention, model, "attention", o->attention, o->attention_steps, evaluations, error);
    if (!status) status = udump_selection_create(&look->diff, model, "diff", o->diff, o->diff_steps, evaluations, error);
    if (!status) status = udump_words_parse(o->attention_words, &look->words, error);
    if (!status) status = copy_queries(look, o, error);
    if (!status) look->drawing = hash_drawing(look);
    return status;
}

void udump_look_free(udump_look *look, udump_exec *x) {
    udump_selection_free(&look->features);
    udump_selection_free(&look->attention);
    udump_selection_free(&look->diff);
    udump_words_free(&look->words);
    udump_heat_free(&look->heat, x);
    free(look->color);
    free(look->transform);
    free(look->queries_px);
    free(look->worded);
    free(look->word_columns);
    udump_outbox_free(&look->outbox, x);
}

bool udump_look_wants(const udump_look *look) { return look->features.any || look->attention.any || look->diff.any; }

/* Notes where the word stands in a block's prompt. False where nowhere. */
static bool find_word(udump_look *look, int32_t word) {
    const udump_conditioning *c = look->conditioning;
    int32_t entries = c->blocks * c->rows;
    bool anywhere = false;
    for (int32_t i = 0; i < c->context_count; i++) {
        if (!udump_words_find(&look->words, word, c->contexts[i], look->word_columns)) continue;
        anywhere = true;
        for (int32_t at = 0; at < c->table_count * entries; at++) look->worded[at % entries] |= (uint64_t)(c->which[at] == i) << word;
    }
    return anywhere;
}

/* Whether the block has attention, and is looked at some time. */
static bool looks_at_block(const udump_look *look, int32_t block) {
    bool any = false;
    for (int32_t i = 1; !any && i <= look->sampling->evaluation_count; i++) any = udump_selection_has(&look->attention, block, i);
    return any && look->unet->blocks[block].depth;
}

/* Whether there will be a map of the word: it is in the prompt of a block that is looked at, on a side that is. */
static bool is_shown(const udump_look *look, int32_t word) {
    const udump_conditioning *c = look->conditioning;
    for (int32_t block = 0; block < c->blocks; block++) {
        if (!looks_at_block(look, block)) continue;
        for (int32_t row = 0; row < c->rows; row++)
            if (udump_row_wanted(look, row) && look->worded[block * c->rows + row] >> word & 1) return true;
    }
    return false;
}

udump_status udump_look_find_words(udump_look *look, udump_exec *x, udump_error *error) {
    const udump_conditioning *c = look->conditioning;
    if (!look->words.count) return UDUMP_OK;
    look->word_columns = calloc((size_t)c->tokens, sizeof *look->word_columns);
    look->worded = calloc((size_t)c->blocks * (size_t)c->rows, sizeof *look->worded);
    if (!look->word_columns || !look->worded) return udump_fail_memory(error, "attention words", (size_t)c->tokens * sizeof *look->word_columns);
    for (int32_t word = 0; word < look->words.count; word++) {
        const char *name = look->words.names[word];
        if (!find_word(look, word)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "'%s' is no word of the prompt", name);
        if (!is_shown(look, word))
            return udump_fail(error, UDUMP_ERROR_ARGUMENT, "attention words", "'%s' is not in the prompt of any block and side that is looked at", name);
    }
    return udump_heat_create(&look->heat, look, x, error);
}

static bool looks_at_cross(const udump_look *look) { return look->kinds & ~(uint32_t)OF_SELF || look->words.count; }

bool udump_look_acts(const udump_look *look, udump_tap_kind kind, int32_t block, const udump_evaluation *now) {
    int32_t step = now->index + 1;
    if (kind == UDUMP_TAP_BLOCK) return udump_selection_has(&look->features, block, step) || udump_selection_has(&look->diff, block, step);
    return (kind == UDUMP_TAP_CROSS ? looks_at_cross(look) : (look->kinds & OF_SELF) != 0) && udump_selection_has(&look->attention, block, step);
}

static bool looks_at_attention(const udump_look *look, int32_t step) {
    for (int32_t block = 0; look->attention.any && block < look->unet->block_count; block++)
        if (udump_selection_has(&look->attention, block, step)) return true;
    return false;
}

/* Words, chosen positions and parts of maps are told to the device on the way; a pair's blocks cross. */
bool udump_look_is_within(const udump_look *look, const udump_evaluation *now) {
    bool crosses = look->kept || ((look->words.count || look->kinds & OF_SELF) && looks_at_attention(look, now->index + 1));
    return !crosses && udump_outbox_holds_all(&look->outbox);
}

uint64_t udump_look_key(const udump_look *look, const udump_evaluation *now) {
    const udump_conditioning *c = look->conditioning;
    const udump_outbox *outbox = &look->outbox;
    uintptr_t where = (uintptr_t)outbox->ring.device + (size_t)outbox->now * outbox->half_bytes;
    uint64_t key = udump_hash_add(look->drawing, &where, sizeof where);
    for (int32_t block = 0, step = now->index + 1; block < look->unet->block_count; block++) {
        const uint8_t as[] = { udump_selection_has(&look->features, block, step), udump_selection_has(&look->diff, block, step) };
        key = udump_hash_add(key, as, sizeof as);
    }
    if (!looks_at_attention(look, now->index + 1)) return key;
    size_t entry = (size_t)udump_conditioning_entry(c, udump_conditioning_table(c, now->index + 1), 0, 0),
           count = (size_t)c->blocks * (size_t)c->rows;
    key = udump_hash_add(key, c->first + entry, count * sizeof *c->first);
    return udump_hash_add(key, c->count + entry, count * sizeof *c->count);
}

static int32_t block_of(const udump_look *look, const udump_tapped *tapped) {
    return tapped->kind == UDUMP_TAP_BLOCK ? tapped->index : look->unet->attention_blocks[tapped->index];
}

/* Which of the block's transformer layers: its attention layers are numbered in a row. */
static int32_t depth_of(const udump_look *look, const udump_tapped *tapped) {
    int32_t depth = 0;
    if (tapped->kind == UDUMP_TAP_BLOCK) return 0;
    while (depth < tapped->index && look->unet->attention_blocks[tapped->index - depth - 1] == look->unet->attention_blocks[tapped->index])
        depth++;
    return depth;
}

void udump_look_at(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_evaluation *now) {
    if (x->dry && now->index > 0) return; /* counted already */
    int32_t block = block_of(look, tapped);
    udump_place tap = { .block = look->unet->blocks[block].name, .block_index = block, .depth = depth_of(look, tapped),
        .step = now->index + 1, .sampler_step = now->step + 1, .sigma = now->sigma, .timestep = now->timestep, .context = -1 };
    if (tapped->kind == UDUMP_TAP_BLOCK) udump_look_at_block(look, x, tapped, &tap);
    if (tapped->kind == UDUMP_TAP_CROSS && looks_at_cross(look)) udump_look_at_cross(look, x, tapped, &tap);
    if (tapped->kind == UDUMP_TAP_SELF && look->kinds & OF_SELF) udump_look_at_self(look, x, tapped, &tap);
}
