/* A sink that keeps all it gets, and what every run must fulfil: what is announced is what comes. Included after cmocka.h. */
#ifndef UDUMP_TEST_RECORDING_H
#define UDUMP_TEST_RECORDING_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unetdump.h"
#include "tensor/view.h"

/* A place whose texts last. */
typedef struct kept_place {
    udump_place at; /* its block and word are NULL: see below */
    char block[16], word[64];
} kept_place;

typedef struct kept_tensor {
    kept_place place;
    udump_view shape; /* without data */
    float *values;    /* C order */
    int64_t count;
    int32_t axis, parts; /* of what came in parts; parts is 0 otherwise */
    int64_t arrived;     /* rows along axis */
} kept_tensor;

typedef struct kept_canvas {
    kept_place place;
    int32_t average, columns, rows, tile_width, tile_height, width, height, channels;
    uint8_t *pixels; /* tight rows */
} kept_canvas;

typedef struct kept_diff {
    kept_place place;
    udump_diff_norms norms;
} kept_diff;

typedef struct kept_image {
    int32_t image;
    udump_variant variant;
    int32_t width, height;
    uint8_t *pixels;
    char infotext[2048];
} kept_image;

typedef struct kept_context {
    char text[1024];
    int32_t tokens;
    udump_column *columns; /* [tokens] */
} kept_context;

typedef struct kept_prompt {
    char block[16];
    udump_side side;
    udump_variant variant;
    int32_t context, until;
} kept_prompt;

enum { RECORDING_NAMES = 32, RECORDING_LATENTS = 8 };

typedef struct recording {
    unsigned pause_us; /* to be set before the run: slept in every callback */
    int32_t stop_at_part; /* answers UDUMP_STOP to this one, from 1; 0: never */

    kept_tensor *tensors;
    kept_canvas *canvases;
    kept_diff *diffs;
    kept_image *images;
    kept_context *contexts;
    kept_prompt *prompts;
    int32_t tensor_count, canvas_count, diff_count, image_count, context_count, prompt_count, part_count;
    char skipped[RECORDING_NAMES][16], words[RECORDING_NAMES][64];
    int32_t skipped_count, word_count, begins, progress;
    udump_run_info run; /* its numbers; the pointers are stale */
    float *latents[RECORDING_LATENTS]; /* after each step */
    int64_t latent_count;              /* values of one */
} recording;

static inline void *recording_grow(void *items, int32_t count, size_t size) {
    void *grown = realloc(items, (size_t)(count + 1) * size);
    assert_non_null(grown);
    memset((char *)grown + (size_t)count * size, 0, size);
    return grown;
}
#define RECORDING_ADD(list, count) (list = recording_grow(list, count, sizeof *list), &list[count++])

static inline void recording_copy_text(char *to, size_t size, const char *from) {
    if (from && strlen(from) >= size) fail_msg("too long to be kept: %s", from);
    strcpy(to, from ? from : "");
}

static inline kept_place keep_place(const udump_place *place) {
    kept_place kept = { .at = *place };
    assert_non_null(place->block);
    recording_copy_text(kept.block, sizeof kept.block, place->block);
    recording_copy_text(kept.word, sizeof kept.word, place->word);
    kept.at.block = kept.at.word = NULL;
    return kept;
}

static inline udump_flow recording_begin(void *user, const udump_run_info *run) {
    recording *r = user;
    usleep(r->pause_us);
    assert_int_equal(r->begins++, 0);
    assert_int_equal(r->tensor_count + r->canvas_count + r->image_count, 0); /* told before anything else */
    r->run = *run;
    for (int32_t i = 0; i < run->context_count; i++) {
        kept_context *kept = RECORDING_ADD(r->contexts, r->context_count);
        recording_copy_text(kept->text, sizeof kept->text, run->contexts[i].text);
        kept->tokens = run->contexts[i].tokens;
        if (!run->contexts[i].columns) continue;
        kept->columns = malloc((size_t)kept->tokens * sizeof *kept->columns);
        assert_non_null(kept->columns);
        memcpy(kept->columns, run->contexts[i].columns, (size_t)kept->tokens * sizeof *kept->columns);
    }
    for (int32_t i = 0; i < run->prompt_count; i++) {
        const udump_run_prompt *prompt = &run->prompts[i];
        kept_prompt *kept = RECORDING_ADD(r->prompts, r->prompt_count);
        recording_copy_text(kept->block, sizeof kept->block, prompt->block);
        kept->side = prompt->side;
        kept->variant = prompt->variant;
        kept->context = prompt->context;
        kept->until = prompt->until;
    }
    assert_in_range(run->skipped_count, 0, RECORDING_NAMES);
    assert_in_range(run->word_count, 0, RECORDING_NAMES);
    for (; r->skipped_count < run->skipped_count; r->skipped_count++)
        recording_copy_text(r->skipped[r->skipped_count], sizeof *r->skipped, run->skipped[r->skipped_count]);
    for (; r->word_count < run->word_count; r->word_count++)
        recording_copy_text(r->words[r->word_count], sizeof *r->words, run->words[r->word_count]);
    return UDUMP_CONTINUE;
}

static inline udump_flow recording_canvas(void *user, const udump_canvas *canvas) {
    recording *r = user;
    usleep(r->pause_us);
    kept_canvas *kept = RECORDING_ADD(r->canvases, r->canvas_count);
    kept->place = keep_place(&canvas->place);
    kept->average = canvas->average;
    kept->columns = canvas->columns;
    kept->rows = canvas->rows;
    kept->tile_width = canvas->tile_width_px;
    kept->tile_height = canvas->tile_height_px;
    kept->width = canvas->picture.width_px;
    kept->height = canvas->picture.height_px;
    kept->channels = canvas->picture.channels;
    size_t row = (size_t)kept->width * (size_t)kept->channels;
    assert_true(canvas->picture.row_bytes >= row && row > 0);
    assert_non_null(kept->pixels = malloc(row * (size_t)kept->height));
    for (int32_t y = 0; y < kept->height; y++)
        memcpy(kept->pixels + (size_t)y * row, canvas->picture.pixels + (size_t)y * canvas->picture.row_bytes, row);
    return UDUMP_CONTINUE;
}

static inline udump_flow recording_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    recording *r = user;
    usleep(r->pause_us);
    kept_tensor *kept = RECORDING_ADD(r->tensors, r->tensor_count);
    kept->place = keep_place(place);
    assert_true(udump_view_valid(tensor));
    kept->shape = *tensor;
    kept->shape.data = NULL;
    kept->count = udump_view_count(tensor);
    assert_non_null(kept->values = malloc((size_t)kept->count * sizeof *kept->values));
    udump_view_read_f32(tensor, kept->values);
    return UDUMP_CONTINUE;
}

/* Parts of one tensor come one after the other, in order. */
static inline udump_flow recording_part(
    void *user, const udump_place *place, const udump_view *whole, int32_t axis, int64_t first, const udump_view *part) {
    recording *r = user;
    usleep(r->pause_us);
    assert_null(whole->data);
    assert_in_range(axis, 0, whole->rank - 1);
    assert_int_equal(part->rank, whole->rank);
    if (first == 0) {
        kept_tensor *kept = RECORDING_ADD(r->tensors, r->tensor_count);
        kept->place = keep_place(place);
        kept->shape = *whole;
        kept->axis = axis;
        kept->count = udump_view_count(&(udump_view){ .data = kept,
            .rank = whole->rank,
            .shape = { whole->shape[0], whole->shape[1], whole->shape[2], whole->shape[3], whole->shape[4], whole->shape[5] } });
        assert_non_null(kept->values = calloc((size_t)kept->count, sizeof *kept->values));
    }
    assert_true(r->tensor_count > 0);
    kept_tensor *kept = &r->tensors[r->tensor_count - 1];
    const udump_place *at = &kept->place.at;
    assert_true(at->kind == place->kind && at->image == place->image && at->variant == place->variant && at->side == place->side);
    assert_true(at->block_index == place->block_index && at->depth == place->depth && at->step == place->step);
    assert_int_equal(axis, kept->axis);
    assert_int_equal(first, kept->arrived);
    size_t outer = 1, inner = 1, rows = (size_t)part->shape[axis], all = (size_t)whole->shape[axis];
    for (int32_t i = 0; i < whole->rank; i++) {
        if (i != axis) assert_int_equal(part->shape[i], whole->shape[i]);
        if (i < axis) outer *= (size_t)whole->shape[i];
        if (i > axis) inner *= (size_t)whole->shape[i];
    }
    assert_in_range(rows, 1, all - (size_t)first);
    float *values = malloc(outer * rows * inner * sizeof *values);
    assert_non_null(values);
    udump_view_read_f32(part, values);
    for (size_t i = 0; i < outer; i++)
        memcpy(kept->values + (i * all + (size_t)first) * inner, values + i * rows * inner, rows * inner * sizeof *values);
    free(values);
    kept->arrived += (int64_t)rows;
    kept->parts++;
    return ++r->part_count == r->stop_at_part ? UDUMP_STOP : UDUMP_CONTINUE;
}

static inline udump_flow recording_diff(void *user, const udump_place *place, const udump_diff_norms *norms) {
    recording *r = user;
    usleep(r->pause_us);
    kept_diff *kept = RECORDING_ADD(r->diffs, r->diff_count);
    kept->place = keep_place(place);
    kept->norms = *norms;
    return UDUMP_CONTINUE;
}

static inline udump_flow recording_image(
    void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    recording *r = user;
    usleep(r->pause_us);
    kept_image *kept = RECORDING_ADD(r->images, r->image_count);
    size_t row = (size_t)picture->width_px * 3;
    kept->image = image;
    kept->variant = variant;
    kept->width = picture->width_px;
    kept->height = picture->height_px;
    assert_int_equal(picture->channels, 3);
    assert_non_null(kept->pixels = malloc(row * (size_t)kept->height));
    for (int32_t y = 0; y < kept->height; y++)
        memcpy(kept->pixels + (size_t)y * row, picture->pixels + (size_t)y * picture->row_bytes, row);
    recording_copy_text(kept->infotext, sizeof kept->infotext, infotext);
    return UDUMP_CONTINUE;
}

static inline udump_flow recording_progress(void *user, const udump_progress *progress) {
    recording *r = user;
    usleep(r->pause_us);
    assert_int_equal(progress->step, ++r->progress);
    return UDUMP_CONTINUE;
}

static inline udump_sink recording_sink(recording *r) {
    return (udump_sink){ .struct_bytes = sizeof(udump_sink),
        .user = r,
        .begin = recording_begin,
        .canvas = recording_canvas,
        .tensor = recording_tensor,
        .part = recording_part,
        .diff = recording_diff,
        .image = recording_image,
        .progress = recording_progress };
}

static inline void recording_free(recording *r) {
    for (int32_t i = 0; i < r->tensor_count; i++) free(r->tensors[i].values);
    for (int32_t i = 0; i < r->canvas_count; i++) free(r->canvases[i].pixels);
    for (int32_t i = 0; i < r->image_count; i++) free(r->images[i].pixels);
    for (int32_t i = 0; i < r->context_count; i++) free(r->contexts[i].columns);
    for (int i = 0; i < RECORDING_LATENTS; i++) free(r->latents[i]);
    free(r->tensors);
    free(r->canvases);
    free(r->diffs);
    free(r->images);
    free(r->contexts);
    free(r->prompts);
    memset(r, 0, sizeof *r);
}

/* The run told beforehand, exactly, what its sink would get. A tile is what the last two dimensions span. */
static inline void recording_check_counts(const recording *r, const udump_generate_options *o) {
    int64_t picture_bytes = 0, values = 0, tiles = 0;
    for (int32_t i = 0; i < r->canvas_count; i++) {
        const kept_canvas *c = &r->canvases[i];
        picture_bytes += (int64_t)c->width * c->height * c->channels;
    }
    for (int32_t i = 0; i < r->image_count; i++) picture_bytes += (int64_t)r->images[i].width * r->images[i].height * 3;
    for (int32_t i = 0; i < r->tensor_count; i++) {
        const kept_tensor *t = &r->tensors[i];
        if (t->parts) assert_int_equal(t->arrived, t->shape.shape[t->axis]);
        int64_t maps = 1;
        for (int32_t k = 0; k < t->shape.rank - 2; k++) maps *= t->shape.shape[k];
        values += t->count;
        if (t->place.at.kind == UDUMP_KIND_FEATURES || t->place.at.kind == UDUMP_KIND_DIFF || t->place.at.kind == UDUMP_KIND_QK) tiles += maps;
    }
    assert_int_equal(r->begins, 1);
    assert_int_equal(r->run.picture_count, r->canvas_count + r->image_count);
    assert_int_equal(r->run.picture_bytes, picture_bytes);
    assert_int_equal(r->run.tensor_count, r->tensor_count);
    assert_int_equal(r->run.tensor_bytes, values * 4);
    assert_int_equal(r->run.tensor_tile_count, tiles);
    assert_int_equal(r->progress, r->run.steps);
    assert_int_equal(r->run.variants, o->diff ? 2 : 1);
    assert_int_equal(r->image_count, (o->batch_size ? o->batch_size : 1) * r->run.variants);
    if (o->no_canvas) assert_int_equal(r->canvas_count, 0);
    if (!o->want_tensors) assert_int_equal(r->tensor_count, 0);
}

/* A whole run, a step at a time, its latents kept too. pause_us and stop_at_part may be set, the rest must be zero. */
static inline void record(udump_session *session, const udump_generate_options *o, recording *r) {
    udump_sink sink = recording_sink(r);
    udump_error error;
    char line[1024] = "";
    int32_t remaining = -1;
    udump_status status = udump_begin(session, o, NULL, &sink, &error);
    for (int step = 0; !status && remaining != 0; step++) {
        udump_view view;
        status = udump_step(session, &remaining, &error);
        if (status) break;
        assert_in_range(step, 0, RECORDING_LATENTS - 1);
        assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
        r->latent_count = udump_view_count(&view);
        assert_non_null(r->latents[step] = malloc((size_t)r->latent_count * sizeof(float)));
        udump_view_read_f32(&view, r->latents[step]);
    }
    if (!status) status = udump_end(session, 1, &error);
    if (status) {
        udump_error_format(&error, line, sizeof line);
        fail_msg("%s", line);
    }
    recording_check_counts(r, o);
}

static inline bool recording_at(const kept_place *place, udump_kind kind, const char *block, int32_t step, udump_side side, int32_t image,
    udump_variant variant) {
    return place->at.kind == kind && strcmp(place->block, block) == 0 && place->at.step == step && place->at.side == side &&
           place->at.image == image && place->at.variant == variant;
}

/* NULL if there is none; two are a failure. */
static inline const kept_tensor *find_tensor(
    const recording *r, udump_kind kind, const char *block, int32_t step, udump_side side, int32_t image, udump_variant variant) {
    const kept_tensor *found = NULL;
    for (int32_t i = 0; i < r->tensor_count; i++) {
        if (!recording_at(&r->tensors[i].place, kind, block, step, side, image, variant)) continue;
        if (found) fail_msg("kind %d of %s, step %d came twice", (int)kind, block, (int)step);
        found = &r->tensors[i];
    }
    return found;
}

/* Of image 0, conditional and enabled. */
static inline const kept_tensor *need_tensor(const recording *r, udump_kind kind, const char *block, int32_t step) {
    const kept_tensor *found = find_tensor(r, kind, block, step, UDUMP_SIDE_COND, 0, UDUMP_VARIANT_ENABLED);
    if (!found) fail_msg("no tensor of kind %d, %s, step %d", (int)kind, block, (int)step);
    return found;
}

static inline const kept_canvas *find_canvas(const recording *r, udump_kind kind, const char *block, int32_t step, udump_side side,
    int32_t image, udump_variant variant, int32_t average) {
    const kept_canvas *found = NULL;
    for (int32_t i = 0; i < r->canvas_count; i++) {
        if (r->canvases[i].average != average || !recording_at(&r->canvases[i].place, kind, block, step, side, image, variant)) continue;
        if (found && kind != UDUMP_KIND_OVERLAY) fail_msg("a canvas of kind %d of %s, step %d came twice", (int)kind, block, (int)step);
        found = &r->canvases[i];
    }
    return found;
}

static inline const kept_canvas *need_canvas(const recording *r, udump_kind kind, const char *block, int32_t step, int32_t average) {
    const kept_canvas *found = find_canvas(r, kind, block, step, UDUMP_SIDE_COND, 0, UDUMP_VARIANT_ENABLED, average);
    if (!found) fail_msg("no canvas of kind %d, %s, step %d, average %d", (int)kind, block, (int)step, (int)average);
    return found;
}

static inline const kept_image *need_image(const recording *r, int32_t image, udump_variant variant) {
    const kept_image *found = NULL;
    for (int32_t i = 0; i < r->image_count; i++)
        if (r->images[i].image == image && r->images[i].variant == variant) {
            assert_null(found);
            found = &r->images[i];
        }
    assert_non_null(found);
    return found;
}

static inline int count_tensors(const recording *r, udump_kind kind) {
    int count = 0;
    for (int32_t i = 0; i < r->tensor_count; i++) count += r->tensors[i].place.at.kind == kind;
    return count;
}

static inline int count_canvases(const recording *r, udump_kind kind, int32_t average) {
    int count = 0;
    for (int32_t i = 0; i < r->canvas_count; i++) count += r->canvases[i].place.at.kind == kind && r->canvases[i].average == average;
    return count;
}

static inline void assert_all_finite(const recording *r) {
    for (int32_t i = 0; i < r->tensor_count; i++) {
        const kept_tensor *t = &r->tensors[i];
        int64_t bad = 0;
        for (int64_t k = 0; k < t->count; k++) bad += !isfinite(t->values[k]);
        if (bad)
            fail_msg(
                "kind %d of %s, step %d: %d values are not finite", (int)t->place.at.kind, t->place.block, (int)t->place.at.step, (int)bad);
    }
}

/* The same values, bit for bit. */
static inline void assert_same_tensor(const kept_tensor *a, const kept_tensor *b) {
    assert_int_equal(a->shape.rank, b->shape.rank);
    assert_memory_equal(a->shape.shape, b->shape.shape, (size_t)a->shape.rank * sizeof *a->shape.shape);
    assert_memory_equal(a->values, b->values, (size_t)a->count * sizeof *a->values);
}

static inline void assert_same_canvas(const kept_canvas *a, const kept_canvas *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->columns, b->columns);
    assert_int_equal(a->rows, b->rows);
    assert_memory_equal(a->pixels, b->pixels, (size_t)a->width * (size_t)a->height * (size_t)a->channels);
}

/* Latents and pictures, bit for bit; count values of the latents' beginnings. */
static inline void assert_same_image(const recording *a, const recording *b, int64_t count) {
    assert_true(count <= a->latent_count && count <= b->latent_count);
    for (int i = 0; i < a->progress; i++) assert_memory_equal(a->latents[i], b->latents[i], (size_t)count * sizeof(float));
    const kept_image *x = need_image(a, 0, UDUMP_VARIANT_ENABLED), *y = need_image(b, 0, UDUMP_VARIANT_ENABLED);
    assert_int_equal(x->width, y->width);
    assert_int_equal(x->height, y->height);
    assert_memory_equal(x->pixels, y->pixels, (size_t)x->width * (size_t)x->height * 3);
}

/* All tensors, canvases and images of both, in the same order and bit for bit. */
static inline void assert_same_recording(const recording *a, const recording *b) {
    assert_int_equal(a->tensor_count, b->tensor_count);
    assert_int_equal(a->canvas_count, b->canvas_count);
    assert_int_equal(a->diff_count, b->diff_count);
    assert_int_equal(a->image_count, b->image_count);
    for (int32_t i = 0; i < a->tensor_count; i++) assert_same_tensor(&a->tensors[i], &b->tensors[i]);
    for (int32_t i = 0; i < a->canvas_count; i++) assert_same_canvas(&a->canvases[i], &b->canvases[i]);
    for (int32_t i = 0; i < a->diff_count; i++) assert_memory_equal(&a->diffs[i].norms, &b->diffs[i].norms, sizeof a->diffs[i].norms);
    assert_same_image(a, b, a->latent_count);
}

/* The run must fail so, and say `part` in its one line. */
static inline void expect_failure(udump_session *session, const udump_generate_options *o, udump_status status, const char *part) {
    udump_error error = { .status = UDUMP_OK };
    char line[1024] = "";
    udump_status got = udump_generate(session, o, NULL, &error);
    if (got) udump_error_format(&error, line, sizeof line);
    if (got != status || !strstr(line, part)) fail_msg("expected status %d and '%s', found %d: %s", (int)status, part, (int)got, line);
}

/* The demo model; device and precision as asked. */
static inline int recording_load(udump_device device, udump_precision precision, udump_model **model) {
    udump_model_options options;
    udump_error error;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = precision;
    if (!udump_model_load(TEST_ROOT "/models/demo", &options, model, &error)) return 0;
    print_error("%s: %s\n", error.where, error.what);
    return 1;
}

static inline udump_session *recording_session(udump_model *model) {
    udump_session *session = NULL;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    return session;
}

#endif
