/* From cells' files to distances from their bases, and the ranking. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/sweep_record.h"
#include "pipeline/sweep_result.h"
#include "tensor/view.h"

/* A cell's files as they are. */
struct opened {
    udump_image picture;
    udump_array latent;
};

static void close_opened(struct opened *opened) {
    udump_image_free(&opened->picture);
    udump_array_free(&opened->latent);
}

static udump_status open_cell(const char *folder, const char *key, struct opened *opened, udump_error *error) {
    *opened = (struct opened){ 0 };
    char *picture = udump_sweep_file(folder, key, ".png"), *latent = udump_sweep_file(folder, key, ".npy");
    udump_status status = picture && latent ? udump_png_read(picture, &opened->picture, error) : udump_fail_memory(error, folder, 0);
    if (!status) status = udump_npy_read(latent, &opened->latent, error);
    free(picture);
    free(latent);
    if (status) close_opened(opened);
    return status;
}

/* Sums over a and b, in double and in order: the same on every machine. */
struct sums {
    double difference, a, b, dot, max;
};

static void add(struct sums *sums, double a, double b) {
    double difference = fabs(b - a);
    sums->difference += difference * difference;
    sums->a += a * a;
    sums->b += b * b;
    sums->dot += a * b;
    if (difference > sums->max) sums->max = difference;
}

static udump_diff_norms norms_of(const struct sums *s) {
    return (udump_diff_norms){ .l2 = sqrt(s->difference),
        .relative_l2 = s->a > 0 ? sqrt(s->difference / s->a) : 0,
        .max = s->max,
        .cosine = s->a > 0 && s->b > 0 ? s->dot / sqrt(s->a * s->b) : s->a == s->b };
}

static udump_diff_norms compare_pictures(const udump_picture *base, const udump_picture *own) {
    struct sums sums = { 0 };
    for (int32_t y = 0; y < own->height_px; y++)
        for (int32_t i = 0; i < 3 * own->width_px; i++)
            add(&sums, base->pixels[(size_t)y * base->row_bytes + (size_t)i] / 255.0, own->pixels[(size_t)y * own->row_bytes + (size_t)i] / 255.0);
    return norms_of(&sums);
}

static udump_diff_norms compare_latents(const udump_view *base, const udump_view *own) {
    struct sums sums = { 0 };
    const float *a = base->data, *b = own->data;
    for (int64_t i = 0; i < udump_view_count(own); i++) add(&sums, (double)a[i], (double)b[i]);
    return norms_of(&sums);
}

static bool same_sizes(const struct opened *a, const struct opened *b) {
    const udump_view *x = &a->latent.view, *y = &b->latent.view;
    bool same = a->picture.picture.width_px == b->picture.picture.width_px && a->picture.picture.height_px == b->picture.picture.height_px;
    for (int32_t i = 0; i < 3; i++) same &= x->rank == 3 && y->rank == 3 && x->shape[i] == y->shape[i];
    return same;
}

static udump_status measure_cell(
    const udump_sweep_result *result, const char *folder, int32_t cell, const struct opened *base, udump_sweep_measure *measure, udump_error *error) {
    struct opened own;
    udump_status status = open_cell(folder, result->plan.cells[cell].key, &own, error);
    if (status) return status;
    if (same_sizes(base, &own))
        *measure = (udump_sweep_measure){ compare_pictures(&base->picture.picture, &own.picture.picture), compare_latents(&base->latent.view, &own.latent.view) };
    else status = udump_fail(error, UDUMP_ERROR_FORMAT, folder, "cells of one sweep have different sizes");
    close_opened(&own);
    return status;
}

/* A base stays open until another one is needed. */
static udump_status measure_all(udump_sweep_result *result, const char *folder, udump_error *error) {
    struct opened base = { 0 };
    int32_t open = -1;
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; !status && i < result->plan.cell_count; i++) {
        udump_sweep_entry *entry = &result->entries[i];
        int32_t of = result->plan.cells[i].base;
        entry->compared = entry->whole && result->entries[of].whole;
        if (!entry->compared) continue;
        if (of == i) {
            entry->measure.picture.cosine = entry->measure.latent.cosine = 1;
            continue;
        }
        if (open != of) {
            close_opened(&base);
            status = open_cell(folder, result->plan.cells[of].key, &base, error);
            open = of;
        }
        if (!status) status = measure_cell(result, folder, i, &base, &entry->measure, error);
    }
    close_opened(&base);
    return status;
}

static void add_norms(udump_diff_norms *sum, const udump_diff_norms *norms) {
    sum->l2 += norms->l2;
    sum->relative_l2 += norms->relative_l2;
    sum->max += norms->max;
    sum->cosine += norms->cosine;
}

static void divide_norms(udump_diff_norms *sum, double count) {
    sum->l2 /= count;
    sum->relative_l2 /= count;
    sum->max /= count;
    sum->cosine /= count;
}

/* Those without cells last; equal ones by name, so that the order is always the same. */
static int by_change(const void *x, const void *y) {
    const udump_sweep_rank *a = x, *b = y;
    if (!a->cells != !b->cells) return a->cells ? -1 : 1;
    double first = a->mean.picture.relative_l2, second = b->mean.picture.relative_l2;
    return first != second ? (first < second) - (first > second) : strcmp(a->blocks, b->blocks);
}

static void rank(udump_sweep_result *result, int32_t ranking) {
    const udump_sweep_plan *plan = &result->plan;
    udump_sweep_rank *ranks = result->ranks + (size_t)ranking * (size_t)plan->block_count;
    for (int32_t b = 0; b < plan->block_count; b++) ranks[b].blocks = plan->blocks[b];
    for (int32_t i = 0; i < plan->cell_count; i++) {
        const udump_sweep_plan_cell *cell = &plan->cells[i];
        if (cell->blocks < 0 || !result->entries[i].compared || (ranking && cell->variant != ranking - 1)) continue;
        ranks[cell->blocks].cells++;
        add_norms(&ranks[cell->blocks].mean.picture, &result->entries[i].measure.picture);
        add_norms(&ranks[cell->blocks].mean.latent, &result->entries[i].measure.latent);
    }
    for (int32_t b = 0; b < plan->block_count; b++) {
        if (!ranks[b].cells) continue;
        divide_norms(&ranks[b].mean.picture, ranks[b].cells);
        divide_norms(&ranks[b].mean.latent, ranks[b].cells);
    }
    qsort(ranks, (size_t)plan->block_count, sizeof *ranks, by_change);
}

udump_status udump_sweep_measure_cells(udump_sweep_result *result, const char *folder, udump_error *error) {
    udump_status status = measure_all(result, folder, error);
    if (status) return status;
    result->ranking_count = 1 + result->plan.variant_count;
    size_t count = (size_t)result->ranking_count * (size_t)result->plan.block_count;
    result->ranks = calloc(count + 1, sizeof *result->ranks);
    if (!result->ranks) return udump_fail_memory(error, folder, count * sizeof *result->ranks);
    for (int32_t i = 0; i < result->ranking_count; i++) rank(result, i);
    return UDUMP_OK;
}
