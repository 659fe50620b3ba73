#include "model/embeddings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/walk.h"
#include "text/tokenizer.h"
#include "weights/file.h"

/* What the reading of one folder carries along. */
struct reading {
    udump_embeddings *e;
    udump_embeddings_warn warn;
    void *user;
    udump_error *error;
};

static const char *const parts[UDUMP_ENCODERS_MOST] = { "text_encoder", "text_encoder_2" };
static const char *const both[UDUMP_ENCODERS_MOST] = { "clip_l", "clip_g" };

static void find_widths(const udump_weights *model, udump_embeddings *e) {
    for (int i = 0; i < UDUMP_ENCODERS_MOST; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/embeddings.token_embedding.weight", parts[i]);
        const udump_weight *table = udump_weights_find(model, name);
        if (!table || table->rank != 2 || table->shape[1] < 1 || table->shape[1] > 1 << 20) return;
        e->width[e->encoders++] = (int32_t)table->shape[1];
    }
}

/* ---- one file */

static udump_status fail_file(const char *path, const char *tensor, const char *what, const char *expected, const char *found, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, tensor);
    return udump_fail_values(error, UDUMP_ERROR_WEIGHTS, place, what, expected, found);
}

/* The tensor for each of the model's text encoders. */
static udump_status find_tensors(
    const char *path, const udump_embeddings *e, const udump_weights *file, const udump_weight *tensors[UDUMP_ENCODERS_MOST], udump_error *error) {
    const udump_weight *pair[UDUMP_ENCODERS_MOST] = { udump_weights_find(file, both[0]), udump_weights_find(file, both[1]) };
    const udump_weight *one = udump_weights_find(file, "emb_params");
    if (!one && udump_weights_count(file) == 1 && !pair[0] && !pair[1]) one = udump_weights_at(file, 0);
    if (pair[0] && pair[1] && e->encoders == 2) {
        memcpy(tensors, pair, sizeof pair);
        return UDUMP_OK;
    }
    if (pair[0] && pair[1]) return fail_file(path, NULL, "an embedding for a model with two text encoders, as SDXL's", NULL, NULL, error);
    if (one && e->encoders == 2) return fail_file(path, NULL, "an embedding for a model with one text encoder", NULL, NULL, error);
    if (!one) return fail_file(path, NULL, "no embedding", "emb_params, clip_l and clip_g, or a single tensor", NULL, error);
    tensors[0] = one;
    return UDUMP_OK;
}

/* *vectors: how many the tensor has, [vectors, width] or [width]. */
static udump_status check_tensor(const char *path, const udump_weight *tensor, int32_t width, int32_t *vectors, udump_error *error) {
    char expected[64], found[64];
    int64_t rows = tensor->rank == 2 ? tensor->shape[0] : 1;
    bool fits = (tensor->rank == 1 || tensor->rank == 2) && tensor->shape[tensor->rank - 1] == width && rows >= 1 && rows <= UDUMP_CHUNK_PLACES;
    *vectors = (int32_t)rows;
    if (fits) return UDUMP_OK;
    snprintf(expected, sizeof expected, "[1..%d, %d]", UDUMP_CHUNK_PLACES, (int)width);
    udump_shape_format(found, sizeof found, tensor->rank, tensor->shape);
    return fail_file(path, tensor->name, "an embedding of another shape", expected, found, error);
}

/* Room for one more word and its vectors. */
static udump_status grow(udump_embeddings *e, int32_t vectors, udump_error *error) {
    size_t count = (size_t)e->words.count + 1, rows = (size_t)(e->vectors + vectors);
    udump_chunk_embedding *items = realloc(e->words.items, count * sizeof *items);
    if (!items) return udump_fail_memory(error, "embeddings", count * sizeof *items);
    e->words.items = items;
    for (int i = 0; i < e->encoders; i++) {
        float *grown = realloc(e->rows[i], rows * (size_t)e->width[i] * sizeof *grown);
        if (!grown) return udump_fail_memory(error, "embeddings", rows * (size_t)e->width[i] * sizeof *grown);
        e->rows[i] = grown;
    }
    return UDUMP_OK;
}

static udump_status read_vectors(
    const char *path, udump_weights *file, const udump_weight *tensors[UDUMP_ENCODERS_MOST], udump_embeddings *e, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int i = 0; i < e->encoders && !status; i++) {
        int64_t bad = 0;
        status = udump_weights_read(file, tensors[i], e->rows[i] + (size_t)e->vectors * (size_t)e->width[i], 1, &bad, error);
        if (!status && bad) status = fail_file(path, tensors[i]->name, "values are NaN or infinite", NULL, NULL, error);
    }
    return status;
}

/* The word's vectors behind those of the words before; the word itself is not added yet. */
static udump_status read_file(const char *path, udump_embeddings *e, int32_t *vectors, udump_error *error) {
    const udump_weight *tensors[UDUMP_ENCODERS_MOST] = { NULL };
    udump_weights *file = NULL;
    int32_t second = 0;
    udump_status status = udump_weights_open_tensors(path, &file, error);
    if (!status) status = find_tensors(path, e, file, tensors, error);
    if (!status) status = check_tensor(path, tensors[0], e->width[0], vectors, error);
    if (!status && e->encoders == 2) {
        status = check_tensor(path, tensors[1], e->width[1], &second, error);
        if (!status && second != *vectors) status = fail_file(path, NULL, "clip_l and clip_g have unequal numbers of vectors", NULL, NULL, error);
    }
    if (!status) status = grow(e, *vectors, error);
    if (!status) status = read_vectors(path, file, tensors, e, error);
    if (!status) status = udump_weights_check(file, error);
    udump_weights_close(file);
    return status;
}

/* "folder/name.safetensors" -> "name", and what tokens that is. */
static udump_status name_word(const char *path, udump_chunk_embedding *word, udump_error *error) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    word->name = strndup(name, strlen(name) - strlen(".safetensors"));
    if (!word->name) return udump_fail_memory(error, path, strlen(name));
    udump_status status = udump_tokenize(word->name, &word->ids, &word->id_count, error);
    if (status) return status == UDUMP_ERROR_MEMORY ? status : fail_file(path, NULL, "its name is not UTF-8", NULL, NULL, error);
    return word->id_count ? UDUMP_OK : fail_file(path, NULL, "its name is no word", NULL, NULL, error);
}

static bool is_known(const udump_embeddings *e, const udump_chunk_embedding *word) {
    for (int32_t i = 0; i < e->words.count; i++)
        if (e->words.items[i].id_count == word->id_count
            && memcmp(e->words.items[i].ids, word->ids, (size_t)word->id_count * sizeof *word->ids) == 0)
            return true;
    return false;
}

static udump_status add_file(const char *path, udump_embeddings *e, udump_error *error) {
    udump_chunk_embedding word = { 0 };
    udump_status status = name_word(path, &word, error);
    if (!status && is_known(e, &word)) status = fail_file(path, NULL, "another file has the same word", NULL, NULL, error);
    if (!status) status = read_file(path, e, &word.vectors, error);
    if (status) {
        free(word.name);
        free(word.ids);
        return status;
    }
    word.first_id = UDUMP_EMBEDDING_IDS + e->vectors;
    e->vectors += word.vectors;
    e->words.items[e->words.count++] = word;
    return UDUMP_OK;
}

/* ---- the folder */

enum { DEPTH_MOST = 64 }; /* folders within folders */

static udump_status visit(void *user, const char *path, const char *name) {
    const struct reading *r = user;
    udump_error error = { 0 };
    udump_status status;
    (void)name;
    if (udump_is_pickle_name(path)) status = udump_fail_pickle(path, &error);
    else if (!udump_name_ends(path, ".safetensors")) return UDUMP_OK; /* preview pictures, notes */
    else if (r->e->words.count == UDUMP_EMBEDDINGS_MOST)
        return udump_fail(r->error, UDUMP_ERROR_UNSUPPORTED, "embeddings", "more than %d of them", UDUMP_EMBEDDINGS_MOST);
    else status = add_file(path, r->e, &error);
    if (status == UDUMP_ERROR_MEMORY) {
        if (r->error) *r->error = error;
        return status;
    }
    char line[1024];
    udump_error_format(&error, line, sizeof line);
    if (status) r->warn(r->user, line);
    return UDUMP_OK;
}

/* The longest first: of two words that begin alike the longer is meant. */
static int compare_words(const void *a, const void *b) {
    const udump_chunk_embedding *x = a, *y = b;
    return x->id_count != y->id_count ? (x->id_count < y->id_count) - (x->id_count > y->id_count) : strcmp(x->name, y->name);
}

udump_status udump_embeddings_load(const char *folder, const udump_weights *model, udump_embeddings_warn warn, void *user,
    udump_embeddings *embeddings, udump_error *error) {
    struct reading r = { embeddings, warn, user, error };
    *embeddings = (udump_embeddings){ 0 };
    if (!folder) return UDUMP_OK;
    find_widths(model, embeddings);
    udump_status status = udump_walk(folder, DEPTH_MOST, true, visit, &r, error);
    if (embeddings->words.count)
        qsort(embeddings->words.items, (size_t)embeddings->words.count, sizeof *embeddings->words.items, compare_words);
    return status;
}

void udump_embeddings_free(udump_embeddings *embeddings) {
    for (int32_t i = 0; i < embeddings->words.count; i++) {
        free(embeddings->words.items[i].name);
        free(embeddings->words.items[i].ids);
    }
    free(embeddings->words.items);
    for (int i = 0; i < UDUMP_ENCODERS_MOST; i++) free(embeddings->rows[i]);
    *embeddings = (udump_embeddings){ 0 };
}
