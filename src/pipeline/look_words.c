/* Words: the maps of their tokens at one block and step, and the heat that these add up to (DAAM: Tang et al. 2022). */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/show.h"
#include "render/overlay.h"
#include "tensor/resize.h"

udump_status udump_heat_create(udump_heat *heat, const udump_look *look, udump_exec *x, udump_error *error) {
    size_t rows = (size_t)look->sides * (size_t)look->variants * (size_t)look->images, entries = rows * (size_t)look->words.count;
    heat->h = look->height_px / UDUMP_PIXELS_PER_LATENT;
    heat->w = look->width_px / UDUMP_PIXELS_PER_LATENT;
    size_t map_bytes = (size_t)heat->h * (size_t)heat->w * sizeof *heat->sums;
    float *zeros = calloc(entries, map_bytes);
    heat->sums = x->backend->memory_alloc(x->device, entries * map_bytes);
    heat->counts = calloc(entries, sizeof *heat->counts);
    heat->means = malloc((size_t)look->words.count * map_bytes);
    heat->overlay = malloc((size_t)look->width_px * (size_t)look->height_px * sizeof *heat->overlay);
    heat->pixels = malloc((size_t)look->width_px * (size_t)look->height_px * 3);
    bool fine = zeros && heat->sums && heat->counts && heat->means && heat->overlay && heat->pixels;
    if (fine) x->backend->write(x, heat->sums, zeros, entries * map_bytes);
    free(zeros);
    return fine ? udump_exec_status(x, error) : udump_fail_memory(error, "attention words", entries * map_bytes);
}

void udump_heat_free(udump_heat *heat, udump_exec *x) {
    if (heat->sums) x->backend->memory_free(x->device, heat->sums);
    free(heat->means);
    free(heat->counts);
    free(heat->overlay);
    free(heat->pixels);
    *heat = (udump_heat){ 0 };
}

uint64_t udump_row_words(const udump_look *look, int32_t block, int32_t row) {
    return look->worded ? look->worded[block * look->conditioning->rows + row] : 0;
}

/* A bit for each word that the row's heat is of. */
static uint64_t warm_words(const udump_look *look, int32_t row) {
    uint64_t words = 0;
    for (int32_t block = 0; block < look->unet->block_count; block++)
        if (look->attention.blocks[block] && look->unet->blocks[block].depth) words |= udump_row_words(look, block, row);
    return words;
}

/* One word's map, and its share in the heat where the context has the word. columns: scratch of the arena, [tokens]. */
static void map_word(udump_look *look, udump_exec *x, const udump_shown *maps, int32_t row, int32_t word, int32_t *columns, float *map) {
    const udump_context *context = look->conditioning->contexts[maps->place.context];
    udump_heat *heat = &look->heat;
    int32_t h = maps->tiles.h, w = maps->tiles.w, found = x->dry ? 0 : udump_words_find(&look->words, word, context, look->word_columns);
    size_t entry = (size_t)(row * look->words.count + word), area = (size_t)heat->h * (size_t)heat->w;
    if (!x->dry) {
        x->backend->write(x, columns, look->word_columns, (size_t)found * sizeof *columns);
        x->backend->word_map(x, maps->tiles.data, maps->heads, (int32_t)maps->columns, (int64_t)h * w, columns, found, map);
    }
    if (!x->dry && !found) return;
    x->backend->warm(x, map, h, w, heat->sums + entry * area, heat->h, heat->w);
    heat->counts[entry] += !x->dry;
}

void udump_look_at_words(udump_look *look, udump_exec *x, const udump_shown *maps, int32_t row) {
    size_t mark = udump_arena_mark(x);
    int32_t h = maps->tiles.h, w = maps->tiles.w, words = look->words.count;
    udump_tensor map_tensor = udump_tensor_new(x, UDUMP_F32, 1, words, h, w), columns_tensor = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, maps->columns);
    float *all = x->dry || x->status ? NULL : udump_tensor_data(x, map_tensor);
    for (int32_t word = 0; word < words && !udump_exec_stopped(x); word++)
        map_word(look, x, maps, row, word, all ? udump_tensor_data(x, columns_tensor) : NULL, all ? all + (size_t)word * (size_t)h * (size_t)w : NULL);
    udump_shown shown = udump_shown_maps(&maps->place, all, words, 0, h, w);
    shown.place.kind = UDUMP_KIND_WORDS;
    shown.columns = words;
    shown.no_average = true;
    shown.times = maps->times;
    udump_show(look, x, &shown);
    udump_arena_release(x, mark);
}

/* The means of the row's heat. */
static void cool(udump_heat *heat, udump_exec *x, int32_t row, int32_t words) {
    size_t area = (size_t)heat->h * (size_t)heat->w, first = (size_t)(row * words);
    x->backend->read(x, heat->means, heat->sums + first * area, (size_t)words * area * sizeof *heat->means);
    for (size_t word = 0; word < (size_t)words; word++)
        for (size_t i = 0; i < area && heat->counts[first + word]; i++) heat->means[word * area + i] /= (float)heat->counts[first + word];
}

static void show_overlay(udump_look *look, udump_exec *x, udump_place *place, const float *map, const udump_picture *picture) {
    udump_heat *heat = &look->heat;
    int32_t w = look->width_px, h = look->height_px;
    if (!x->dry && !udump_exec_stopped(x)) {
        udump_resize_bicubic(map, heat->h, heat->w, heat->overlay, h, w);
        udump_overlay_draw(picture, heat->overlay, heat->pixels);
    }
    place->kind = UDUMP_KIND_OVERLAY;
    udump_show_picture(look, x, place, &(udump_picture){ heat->pixels, w, h, 3, (size_t)w * 3 });
}

static void show_maps(udump_look *look, udump_exec *x, const udump_place *place, const float *maps) {
    size_t mark = udump_arena_mark(x);
    int32_t words = look->words.count, h = look->heat.h, w = look->heat.w;
    udump_tensor tensor = udump_tensor_new(x, UDUMP_F32, 1, words, h, w);
    float *there = x->dry || x->status ? NULL : udump_tensor_data(x, tensor);
    if (there) x->backend->write(x, there, maps, udump_tensor_bytes(tensor));
    udump_shown shown = udump_shown_maps(place, there, words, 0, h, w);
    shown.columns = words;
    shown.no_average = true;
    shown.times = 1;
    udump_show(look, x, &shown);
    udump_arena_release(x, mark);
}

static void show_heat(udump_look *look, udump_exec *x, int32_t row, const udump_picture *picture) {
    size_t area = (size_t)look->heat.h * (size_t)look->heat.w;
    int32_t words = look->words.count;
    const float *maps = look->heat.means;
    udump_place tap = { .kind = UDUMP_KIND_HEAT, .block = "", .block_index = -1, .context = -1 };
    udump_place place = udump_place_of_row(look, &tap, row);
    if (!x->dry) cool(&look->heat, x, row, words);
    show_maps(look, x, &place, maps);
    for (int32_t word = 0; word < words; word++) {
        if (!(warm_words(look, row) >> word & 1)) continue;
        place.word = look->words.names[word];
        show_overlay(look, x, &place, maps + (size_t)word * area, picture);
    }
}

void udump_look_finish(udump_look *look, udump_exec *x, int32_t latent, const udump_picture *picture) {
    int32_t latents = look->variants * look->images;
    for (int32_t row = latent; row < look->sides * latents; row += latents)
        if (udump_row_wanted(look, row) && warm_words(look, row)) show_heat(look, x, row, picture);
}
