/* A number of what was asked for: two runs that give the same have the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/options.h"
#include "pipeline/session.h"
#include "tensor/view.h"

static void add(uint64_t *hash, const void *data, size_t size) { *hash = udump_hash_add(*hash, data, size); }

/* With its end, so that neighbours do not run into each other; none is not the same as empty. */
static void add_text(uint64_t *hash, const char *text) {
    if (text) add(hash, text, strlen(text) + 1);
    else add(hash, &(uint8_t){ 255 }, 1);
}

static void add_integer(uint64_t *hash, int64_t value) { add(hash, &value, sizeof value); }

static void add_real(uint64_t *hash, const double *value) {
    add_integer(hash, value != NULL);
    if (value) add(hash, value, sizeof *value);
}

static void add_look(uint64_t *hash, const udump_generate_options *o) {
    udump_style style;
    udump_options_take(&style, sizeof style, o->style, "style", NULL); /* it was compiled before */
    const char *const texts[] = { o->features, o->feature_steps, o->attention, o->attention_steps, o->attention_words, o->diff, o->diff_steps,
        style.color, style.transform };
    const int64_t numbers[] = { style.average, o->attention_kinds, o->side, o->no_canvas, o->want_tensors, o->self_query_count };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) add_text(hash, texts[i]);
    add(hash, numbers, sizeof numbers);
    for (int32_t i = 0; i < 2 * o->self_query_count; i++) add_integer(hash, o->self_queries_px[i]);
}

static void add_picture(uint64_t *hash, const udump_picture *picture) {
    add_integer(hash, picture != NULL);
    for (int32_t y = 0; picture && y < picture->height_px; y++)
        add(hash, picture->pixels + (size_t)y * picture->row_bytes, (size_t)picture->width_px * (size_t)picture->channels);
}

static void add_model(uint64_t *hash, const udump_session *session) {
    for (; session; session = session->other) {
        const udump_model *model = session->model;
        const udump_embeddings *embeddings = &model->embeddings;
        const char *const texts[] = { model->name, model->vae_name, model->lora_tags, model->lora_blocks, model->hash, model->vae_hash };
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) add_text(hash, texts[i]);
        add_integer(hash, (int64_t)model->lora_content);
        add_integer(hash, model->parameter_count);
        add_integer(hash, model->prediction);
        for (int32_t i = 0; i < embeddings->words.count; i++) add_text(hash, embeddings->words.items[i].name);
        for (int32_t i = 0; i < embeddings->encoders; i++)
            add(hash, embeddings->rows[i], (size_t)embeddings->vectors * (size_t)embeddings->width[i] * sizeof *embeddings->rows[i]);
    }
}

/* What a table of the caller's holds: of prompts their texts are enough. */
static void add_table(uint64_t *hash, const udump_conditioning *c) {
    for (int32_t i = 0; i < c->context_count; i++) {
        const udump_context *context = c->contexts[i];
        add_integer(hash, context->tokens);
        add(hash, context->values, (size_t)context->tokens * (size_t)context->dim * sizeof *context->values);
        if (context->pooled) add(hash, context->pooled, (size_t)context->pooled_dim * sizeof *context->pooled);
    }
    add(hash, c->which, (size_t)c->blocks * (size_t)c->rows * sizeof *c->which);
}

void udump_run_fingerprint(const udump_session *session, const udump_generate_options *o, const udump_table *given, char text[17]) {
    const udump_run *run = &session->run;
    const udump_sizes *sizes = &run->sizes;
    uint64_t hash = UDUMP_HASH_START;
    const int64_t numbers[] = { sizes->width_px, sizes->height_px, sizes->steps, sizes->images, run->batches, (int64_t)o->seed, o->rng, o->ensd,
        o->clip_skip, (int64_t)o->variation_seed, o->vae_tile_px };
    add_text(&hash, o->prompt);
    add_text(&hash, o->negative_prompt);
    add_text(&hash, run->sizes.choice.sampler->name);
    add_integer(&hash, run->sizes.choice.schedule);
    add(&hash, numbers, sizeof numbers);
    add_real(&hash, &(double){ (double)sizes->cfg });
    add_real(&hash, o->eta);
    add_real(&hash, o->s_noise);
    add_real(&hash, &o->variation_strength);
    add_real(&hash, &run->strength);
    if (run->noise) add(&hash, run->noise, (size_t)udump_view_count(o->noise) * sizeof *run->noise);
    add_picture(&hash, o->init);
    add_look(&hash, o);
    add_model(&hash, session);
    if (given) add_table(&hash, &run->conditioning);
    snprintf(text, 17, "%016" PRIx64, hash);
}
