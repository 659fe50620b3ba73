#include "weights/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "weights/folder.h"
#include "weights/name_map.h"
#include "weights/safetensors.h"
#include "weights/opened.h"

/* The parts that have a config, and its name in the folder. Those with tensors come first. */
static const struct {
    const char *part, *file;
    bool optional;
} config_files[] = {
    { "unet", "unet/config.json", false },
    { "vae", "vae/config.json", false },
    { "text_encoder", "text_encoder/config.json", false },
    { "text_encoder_2", "text_encoder_2/config.json", true },
    { "scheduler", "scheduler/scheduler_config.json", true },
    { "model_index", "model_index.json", true },
};
_Static_assert(sizeof config_files / sizeof *config_files == CONFIG_COUNT, "a config for each");
enum { PART_COUNT = 4, VAE = 1 };

/* The array with room for one more element, its capacity being the power of two from its count on. NULL, and the array is as it was,
 * without memory. */
static void *grown(void *array, int64_t count, size_t element_bytes) {
    if (count & (count - 1)) return array;
    return realloc(array, (size_t)(count ? 2 * count : 1) * element_bytes);
}

/* ---- opening */

static udump_status no_memory(const udump_weights *w, udump_error *error) {
    return udump_fail_memory(error, w->path, sizeof(udump_weight));
}

static udump_status add_skipped(udump_weights *w, udump_safetensors_entry *entry, udump_error *error) {
    udump_skipped *skipped = grown(w->skipped, w->skipped_count, sizeof *skipped);
    if (!skipped) return no_memory(w, error);
    w->skipped = skipped;
    skipped[w->skipped_count++] = (udump_skipped){ .file_name = entry->name,
        .part = "",
        .dtype_name = entry->dtype_name,
        .file = w->file_count - 1,
        .offset_bytes = entry->offset_bytes,
        .size_bytes = entry->size_bytes };
    entry->name = NULL;
    return UDUMP_OK;
}

/* Takes the entry's name; the canonical one comes later. */
static udump_status add_weight(udump_weights *w, udump_safetensors_entry *entry, udump_error *error) {
    udump_weight *items = grown(w->items, w->count, sizeof *items);
    if (!items) return no_memory(w, error);
    w->items = items;
    udump_weight *item = &w->items[w->count++];
    *item = (udump_weight){ .file_name = entry->name, .part = "", .pieces = 1, .dtype = entry->dtype, .rank = entry->rank,
        .file = w->file_count - 1, .offset_bytes = entry->offset_bytes, .size_bytes = entry->size_bytes };
    memcpy(item->shape, entry->shape, sizeof item->shape);
    entry->name = NULL;
    return UDUMP_OK;
}

/* Every tensor that the index places in the file named name must be there. */
static udump_status check_shard(const udump_safetensors *header, json_t *weight_map, const char *path, const char *name,
    udump_error *error) {
    const char *tensor;
    json_t *value, *present = json_object();
    bool complete = present != NULL;
    for (int64_t i = 0; complete && i < header->count; i++)
        complete = json_object_set_new(present, header->entries[i].name, json_true()) == 0;
    udump_status status = complete ? UDUMP_OK : udump_fail_memory(error, path, (size_t)header->count);
    json_object_foreach(weight_map, tensor, value) {
        if (status != UDUMP_OK) break;
        if (strcmp(json_string_value(value), name) != 0 || json_object_get(present, tensor)) continue;
        char place[UDUMP_WEIGHT_PLACE_BYTES];
        udump_weight_place(place, path, tensor);
        status = udump_fail(error, UDUMP_ERROR_FORMAT, place, "the index places this tensor in the file, which lacks it");
    }
    json_decref(present);
    return status;
}

/* Opens one file and adds its tensors. weight_map: NULL, or the index that name is in. */
static udump_status add_file(udump_weights *w, const char *path, json_t *weight_map, const char *name, udump_error *error) {
    udump_weight_file *files = grown(w->files, w->file_count, sizeof *files);
    if (!files) return no_memory(w, error);
    w->files = files;
    udump_status status = udump_weight_file_open(path, &w->files[w->file_count], error);
    if (status != UDUMP_OK) return status;
    const udump_weight_file *file = &w->files[w->file_count++];
    udump_safetensors header;
    status = udump_safetensors_read(file, &header, error);
    if (status != UDUMP_OK) return status;
    if (weight_map) status = check_shard(&header, weight_map, path, name, error);
    for (int64_t i = 0; i < header.count && status == UDUMP_OK; i++)
        status = header.entries[i].loadable ? add_weight(w, &header.entries[i], error) : add_skipped(w, &header.entries[i], error);
    if (w->file_count == 1) w->metadata = json_incref(header.metadata);
    udump_safetensors_free(&header);
    return status;
}

/* ---- names */

/* Maps one name; folder: of diffusers' layout, else NULL. */
typedef struct mapper {
    bool (*map)(const char *file_name, int vae_levels, udump_mapping *mapping);
    const char *folder;
    int vae_levels;
} mapper;

static bool map_item(const mapper *by, const char *file_name, udump_mapping *mapping) {
    return by->folder ? udump_name_map_diffusers(by->folder, file_name, mapping) : by->map(file_name, by->vae_levels, mapping);
}

/* [in, out] in the file, [out, in] to whoever reads it. */
static void transpose(udump_weight *item) {
    int64_t in = item->shape[0];
    item->transposed = true;
    item->shape[0] = item->shape[1];
    item->shape[1] = in;
}

/* The item, named "...@...", becomes the first of three; two more follow at the end. */
static udump_status split(udump_weight *item, udump_weights *w, udump_error *error) {
    static const char letters[] = { 'q', 'k', 'v' };
    char *letter = strchr(item->name, '@');
    int64_t index = item - w->items;
    item->pieces = sizeof letters;
    item->shape[0] /= item->pieces;
    item->size_bytes /= (uint64_t)item->pieces;
    *letter = letters[0];
    for (int32_t piece = 1; piece < (int32_t)sizeof letters; piece++) {
        udump_weight *items = grown(w->items, w->count, sizeof *items);
        if (!items) return no_memory(w, error);
        w->items = items;
        udump_weight *next = &w->items[w->count++];
        *next = w->items[index];
        next->piece = piece;
        next->offset_bytes += (uint64_t)piece * next->size_bytes;
        next->name = strdup(next->name);
        next->file_name = strdup(next->file_name);
        if (!next->name || !next->file_name) return no_memory(w, error);
        next->name[letter - w->items[index].name] = letters[piece];
    }
    return UDUMP_OK;
}

/* Those that have no name yet. */
static udump_status name_skipped(udump_weights *w, const mapper *by, udump_error *error) {
    for (int64_t i = 0; i < w->skipped_count; i++) {
        udump_mapping mapping;
        if (w->skipped[i].name) continue;
        if (!map_item(by, w->skipped[i].file_name, &mapping)) return no_memory(w, error);
        w->skipped[i].name = mapping.canonical;
        w->skipped[i].part = mapping.part;
    }
    return UDUMP_OK;
}

/* Names the items from `first` on, and what was skipped. *mapped: how many of them belong to a part. */
static udump_status name_items(udump_weights *w, int64_t first, const mapper *by, int64_t *mapped, udump_error *error) {
    int64_t last = w->count;
    *mapped = 0;
    for (int64_t i = first; i < last; i++) {
        udump_mapping mapping;
        udump_weight *item = &w->items[i];
        if (!map_item(by, item->file_name, &mapping)) return no_memory(w, error);
        item->name = mapping.canonical;
        item->part = mapping.part;
        *mapped += item->part[0] != 0;
        if (mapping.storage == UDUMP_STORED_TRANSPOSED && item->rank == 2) transpose(item);
        if (mapping.storage != UDUMP_STORED_QKV) continue;
        if (item->rank < 1 || item->shape[0] % 3) {
            char place[UDUMP_WEIGHT_PLACE_BYTES];
            udump_weight_place(place, w->files[item->file].path, item->file_name);
            return udump_fail(error, UDUMP_ERROR_FORMAT, place, "its rows are not those of Q, K and V: they are not three times as many");
        }
        udump_status status = split(item, w, error);
        if (status) return status;
    }
    return name_skipped(w, by, error);
}

/* ---- layouts */

static void free_names(char *name, char *file_name) {
    free(name);
    free(file_name);
}

/* Drops what `gone` says of; what has no name yet came last. */
static void drop(udump_weights *w, bool (*gone)(const char *name, const char *file_name, const char *part)) {
    int64_t kept = 0, skipped = 0;
    for (int64_t i = 0; i < w->count; i++) {
        if (gone(w->items[i].name, w->items[i].file_name, w->items[i].part)) free_names(w->items[i].name, w->items[i].file_name);
        else w->items[kept++] = w->items[i];
    }
    for (int64_t i = 0; i < w->skipped_count; i++) {
        if (gone(w->skipped[i].name, w->skipped[i].file_name, w->skipped[i].part)) free_names(w->skipped[i].name, w->skipped[i].file_name);
        else w->skipped[skipped++] = w->skipped[i];
    }
    w->count = kept;
    w->skipped_count = skipped;
}

/* The files of a part in its folder of diffusers' layout. */
static udump_status add_folder(udump_weights *w, const char *folder, const char *part, udump_error *error) {
    int64_t first = w->count, mapped;
    udump_part_files files;
    udump_status status = udump_part_find(folder, &files, error);
    for (int i = 0; status == UDUMP_OK && i < files.count; i++) {
        char *path = udump_weight_path(folder, files.names[i]);
        status = path ? add_file(w, path, files.weight_map, files.names[i], error) : no_memory(w, error);
        free(path);
    }
    udump_part_files_free(&files);
    return status ? status : name_items(w, first, &(mapper){ .folder = part }, &mapped, error);
}

static udump_status add_part(udump_weights *w, const char *part, bool optional, udump_error *error) {
    char *folder = udump_weight_path(w->path, part);
    if (!folder) return no_memory(w, error);
    udump_status status = UDUMP_OK;
    if (!optional || access(folder, F_OK) == 0) status = add_folder(w, folder, part, error);
    free(folder);
    return status;
}

static udump_status open_folder(udump_weights *w, udump_error *error) {
    w->layout = UDUMP_LAYOUT_DIFFUSERS;
    udump_status status = udump_diffusers_check(w->path, error);
    for (int i = 0; i < CONFIG_COUNT && status == UDUMP_OK; i++)
        status = udump_config_read(w->path, config_files[i].file, config_files[i].optional, &w->configs[i], error);
    for (int i = 0; i < PART_COUNT && status == UDUMP_OK; i++)
        status = add_part(w, config_files[i].part, config_files[i].optional, error);
    return status;
}

static bool of_vae(const char *file_name) { return strncmp(file_name, "first_stage_model.", strlen("first_stage_model.")) == 0; }

/* Of a file that has more than an autoencoder, all else. */
static bool beside_vae(const char *name, const char *file_name, const char *part) {
    (void)part;
    return !name && !of_vae(file_name);
}

/* Of a whole checkpoint, whose tensors begin at `first`, the autoencoder alone. */
static void keep_vae(udump_weights *w, int64_t first) {
    bool whole = false;
    for (int64_t i = first; i < w->count; i++) whole |= of_vae(w->items[i].file_name);
    if (whole) drop(w, beside_vae);
}

/* A single file's tensors under the names that map gives them. */
static udump_status add_single_file(udump_weights *w, const char *path,
    bool (*map)(const char *file_name, int vae_levels, udump_mapping *mapping), int64_t *mapped, udump_error *error) {
    mapper by = { .map = map };
    int64_t first = w->count;
    if (udump_is_pickle_name(path)) return udump_fail_pickle(path, error);
    udump_status status = add_file(w, path, NULL, NULL, error);
    if (!status && map == udump_name_map_vae) keep_vae(w, first);
    for (int64_t i = first; i < w->count; i++) by.vae_levels = udump_name_map_count_levels(w->items[i].file_name, by.vae_levels);
    return status ? status : name_items(w, first, &by, mapped, error);
}

static udump_status open_file(udump_weights *w, udump_error *error) {
    int64_t mapped = 0;
    w->layout = UDUMP_LAYOUT_LDM;
    udump_status status = add_single_file(w, w->path, udump_name_map_ldm, &mapped, error);
    if (status != UDUMP_OK || mapped) return status;
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, w->path, NULL);
    return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, "not a checkpoint in the original layout",
        "tensors such as model.diffusion_model.input_blocks.0.0.weight",
        w->count ? "none of them (a part of a diffusers folder?)" : "no tensors");
}

static int compare_weights(const void *a, const void *b) {
    const udump_weight *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0) order = strcmp(x->file_name, y->file_name); /* the same message every time */
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

static udump_status sort_by_name(udump_weights *w, udump_error *error) {
    if (w->count) qsort(w->items, (size_t)w->count, sizeof *w->items, compare_weights);
    for (int64_t i = 1; i < w->count; i++) {
        const udump_weight *a = &w->items[i - 1], *b = &w->items[i];
        if (strcmp(a->name, b->name) != 0) continue;
        char place[UDUMP_WEIGHT_PLACE_BYTES], found[UDUMP_WEIGHT_PLACE_BYTES];
        udump_weight_place(place, w->files[b->file].path, b->file_name);
        udump_weight_place(found, w->files[a->file].path, a->file_name);
        return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, "two tensors for one place in the model", NULL, found);
    }
    return UDUMP_OK;
}

static udump_status is_folder(const char *path, bool *folder, udump_error *error) {
    struct stat info;
    bool found = stat(path, &info) == 0;
    *folder = found && S_ISDIR(info.st_mode);
    if (found) return UDUMP_OK;
    char place[UDUMP_WEIGHT_PLACE_BYTES], text[128];
    const char *reason = strerror_r(errno, text, sizeof text);
    udump_weight_place(place, path, NULL);
    return udump_fail(error, UDUMP_ERROR_FILE, place, "cannot be opened: %s", reason);
}

static udump_status open_path(udump_weights *w, udump_error *error) {
    bool folder;
    udump_status status = is_folder(w->path, &folder, error);
    if (status == UDUMP_OK) status = folder ? open_folder(w, error) : open_file(w, error);
    return status == UDUMP_OK ? sort_by_name(w, error) : status;
}

/* One file whose tensors keep their names. */
static udump_status open_tensors(udump_weights *w, udump_error *error) {
    if (udump_is_pickle_name(w->path)) return udump_fail_pickle(w->path, error);
    udump_status status = add_file(w, w->path, NULL, NULL, error);
    int64_t mapped;
    if (status == UDUMP_OK) status = name_items(w, 0, &(mapper){ .map = udump_name_map_none }, &mapped, error);
    return status == UDUMP_OK ? sort_by_name(w, error) : status;
}

static udump_status open_as(const char *path, udump_status (*open)(udump_weights *, udump_error *), udump_weights **weights, udump_error *error) {
    *weights = NULL;
    udump_weights *w = calloc(1, sizeof *w);
    if (w) w->path = strdup(path);
    udump_status status = w && w->path ? open(w, error) : udump_fail_memory(error, path, sizeof *w);
    if (status == UDUMP_OK) *weights = w;
    else udump_weights_close(w);
    return status;
}

udump_status udump_weights_open(const char *path, udump_weights **weights, udump_error *error) {
    return open_as(path, open_path, weights, error);
}

udump_status udump_weights_open_tensors(const char *path, udump_weights **weights, udump_error *error) {
    return open_as(path, open_tensors, weights, error);
}

static bool in_vae(const char *name, const char *file_name, const char *part) {
    (void)name;
    (void)file_name;
    return strcmp(part, config_files[VAE].part) == 0;
}

udump_status udump_weights_replace_vae(udump_weights *w, const char *path, udump_error *error) {
    bool folder;
    int64_t mapped;
    drop(w, in_vae);
    json_decref(w->configs[VAE]);
    w->configs[VAE] = NULL;
    udump_status status = is_folder(path, &folder, error);
    if (status == UDUMP_OK && folder) status = udump_config_read(path, "config.json", true, &w->configs[VAE], error);
    if (status == UDUMP_OK)
        status = folder ? add_folder(w, path, config_files[VAE].part, error)
                        : add_single_file(w, path, udump_name_map_vae, &mapped, error);
    return status == UDUMP_OK ? sort_by_name(w, error) : status;
}

udump_status udump_weights_check(const udump_weights *weights, udump_error *error) {
    udump_status status = UDUMP_OK;
    for (int32_t i = 0; !status && i < weights->file_count; i++) status = udump_weight_file_check(&weights->files[i], error);
    return status;
}

void udump_weights_close(udump_weights *weights) {
    if (!weights) return;
    for (int64_t i = 0; i < weights->count; i++) free_names(weights->items[i].name, weights->items[i].file_name);
    for (int64_t i = 0; i < weights->skipped_count; i++) free_names(weights->skipped[i].name, weights->skipped[i].file_name);
    for (int32_t i = 0; i < weights->file_count; i++) udump_weight_file_close(&weights->files[i]);
    for (int i = 0; i < CONFIG_COUNT; i++) json_decref(weights->configs[i]);
    json_decref(weights->metadata);
    free(weights->items);
    free(weights->skipped);
    free(weights->files);
    free(weights->path);
    free(weights);
}

/* ---- asking */

udump_layout udump_weights_layout(const udump_weights *weights) { return weights->layout; }

int64_t udump_weights_count(const udump_weights *weights) { return weights->count; }

const udump_weight *udump_weights_at(const udump_weights *weights, int64_t index) { return &weights->items[index]; }

static int compare_name(const void *name, const void *weight) { return strcmp(name, ((const udump_weight *)weight)->name); }

const udump_weight *udump_weights_find(const udump_weights *weights, const char *name) {
    if (!weights->count) return NULL;
    return bsearch(name, weights->items, (size_t)weights->count, sizeof *weights->items, compare_name);
}

void udump_weights_use(udump_weights *weights, const udump_weight *weight) { weights->items[weight - weights->items].used = true; }

const udump_skipped *udump_weights_skipped(const udump_weights *weights, int64_t index) {
    return index >= 0 && index < weights->skipped_count ? &weights->skipped[index] : NULL;
}

const char *udump_weights_metadata(const udump_weights *weights, const char *key) {
    return json_string_value(json_object_get(weights->metadata, key));
}

static const json_t *config_of(const udump_weights *weights, const char *part) {
    for (int i = 0; i < CONFIG_COUNT; i++)
        if (strcmp(config_files[i].part, part) == 0) return weights->configs[i];
    return NULL;
}

bool udump_weights_config_number(const udump_weights *weights, const char *part, const char *key, int index, double *value) {
    return udump_json_number(config_of(weights, part), key, index, value);
}

int udump_weights_config_size(const udump_weights *weights, const char *part, const char *key) {
    const json_t *value = json_object_get(config_of(weights, part), key);
    return !value || json_is_null(value) ? -1 : json_is_array(value) ? (int)json_array_size(value) : 0;
}

bool udump_weights_config_text(const udump_weights *weights, const char *part, const char *key, char *value, size_t size_bytes) {
    return udump_json_text(config_of(weights, part), key, value, size_bytes);
}
