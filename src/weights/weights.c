#include "weights/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/half.h"
#include "base/status.h"
#include "weights/folder.h"
#include "weights/name_map.h"
#include "weights/safetensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian, and their bytes are used as they are");

/* The parts that have a config, and its name in the folder. */
static const struct {
    const char *part, *file;
    bool optional;
} config_files[] = {
    { "unet", "unet/config.json", false },
    { "vae", "vae/config.json", false },
    { "text_encoder", "text_encoder/config.json", false },
    { "scheduler", "scheduler/scheduler_config.json", true },
    { "model_index", "model_index.json", true },
};
enum { CONFIG_COUNT = sizeof config_files / sizeof *config_files, PART_COUNT = 3 };

struct udump_weights {
    char *path;
    udump_layout layout;
    udump_weight_file *files;
    int32_t file_count;
    udump_weight *items; /* in canonical name order, once open */
    int64_t count;
    char **skipped;
    int64_t skipped_count;
    json_t *configs[CONFIG_COUNT];
    json_t *metadata; /* the last file's */
};

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

static udump_status add_skipped(udump_weights *w, const udump_safetensors_entry *entry, udump_error *error) {
    char **skipped = grown(w->skipped, w->skipped_count, sizeof *skipped);
    if (!skipped) return no_memory(w, error);
    w->skipped = skipped;
    if (asprintf(&skipped[w->skipped_count], "%s (%s)", entry->name, entry->dtype_name) < 0) return no_memory(w, error);
    w->skipped_count++;
    return UDUMP_OK;
}

/* Takes the entry's name; the canonical one comes later. */
static udump_status add_weight(udump_weights *w, udump_safetensors_entry *entry, udump_error *error) {
    udump_weight *items = grown(w->items, w->count, sizeof *items);
    if (!items) return no_memory(w, error);
    w->items = items;
    udump_weight *item = &w->items[w->count++];
    *item = (udump_weight){ .file_name = entry->name, .part = "", .dtype = entry->dtype, .rank = entry->rank, .file = w->file_count - 1,
        .offset_bytes = entry->offset_bytes, .size_bytes = entry->size_bytes };
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
    json_decref(w->metadata);
    w->metadata = json_incref(header.metadata);
    udump_safetensors_free(&header);
    return status;
}

static udump_status add_part(udump_weights *w, const char *part, udump_error *error) {
    char *folder = udump_weight_path(w->path, part);
    if (!folder) return no_memory(w, error);
    int64_t first = w->count;
    udump_part_files files;
    udump_status status = udump_part_find(folder, &files, error);
    for (int i = 0; status == UDUMP_OK && i < files.count; i++) {
        char *path = udump_weight_path(folder, files.names[i]);
        status = path ? add_file(w, path, files.weight_map, files.names[i], error) : no_memory(w, error);
        free(path);
    }
    for (int64_t i = first; i < w->count && status == UDUMP_OK; i++) {
        udump_weight *item = &w->items[i];
        if (!udump_name_map_diffusers(part, item->file_name, &item->name, &item->part)) status = no_memory(w, error);
    }
    udump_part_files_free(&files);
    free(folder);
    return status;
}

static udump_status open_folder(udump_weights *w, udump_error *error) {
    w->layout = UDUMP_LAYOUT_DIFFUSERS;
    udump_status status = udump_diffusers_check(w->path, error);
    for (int i = 0; i < CONFIG_COUNT && status == UDUMP_OK; i++)
        status = udump_config_read(w->path, config_files[i].file, config_files[i].optional, &w->configs[i], error);
    for (int i = 0; i < PART_COUNT && status == UDUMP_OK; i++) status = add_part(w, config_files[i].part, error);
    return status;
}

static udump_status open_file(udump_weights *w, udump_error *error) {
    w->layout = UDUMP_LAYOUT_LDM;
    if (udump_is_pickle_name(w->path)) return udump_fail_pickle(w->path, error);
    udump_status status = add_file(w, w->path, NULL, NULL, error);
    int vae_levels = 0;
    int64_t mapped = 0;
    for (int64_t i = 0; i < w->count; i++) vae_levels = udump_name_map_count_levels(w->items[i].file_name, vae_levels);
    for (int64_t i = 0; i < w->count && status == UDUMP_OK; i++) {
        udump_weight *item = &w->items[i];
        if (!udump_name_map_ldm(item->file_name, vae_levels, &item->name, &item->part)) status = no_memory(w, error);
        else mapped += item->part[0] != 0;
    }
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

static udump_status open_path(udump_weights *w, udump_error *error) {
    struct stat info;
    if (stat(w->path, &info) != 0) {
        char place[UDUMP_WEIGHT_PLACE_BYTES], text[128];
        const char *reason = strerror_r(errno, text, sizeof text);
        udump_weight_place(place, w->path, NULL);
        return udump_fail(error, UDUMP_ERROR_FILE, place, "cannot be opened: %s", reason);
    }
    udump_status status = S_ISDIR(info.st_mode) ? open_folder(w, error) : open_file(w, error);
    return status == UDUMP_OK ? sort_by_name(w, error) : status;
}

/* One file whose tensors keep their names. */
static udump_status open_tensors(udump_weights *w, udump_error *error) {
    if (udump_is_pickle_name(w->path)) return udump_fail_pickle(w->path, error);
    udump_status status = add_file(w, w->path, NULL, NULL, error);
    for (int64_t i = 0; i < w->count && status == UDUMP_OK; i++) {
        w->items[i].name = strdup(w->items[i].file_name);
        if (!w->items[i].name) status = no_memory(w, error);
    }
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

void udump_weights_close(udump_weights *weights) {
    if (!weights) return;
    for (int64_t i = 0; i < weights->count; i++) {
        free(weights->items[i].name);
        free(weights->items[i].file_name);
    }
    for (int64_t i = 0; i < weights->skipped_count; i++) free(weights->skipped[i]);
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

const char *udump_weights_skipped(const udump_weights *weights, int64_t index) {
    return index >= 0 && index < weights->skipped_count ? weights->skipped[index] : NULL;
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

/* ---- reading */

enum { CHUNK_ELEMENTS = 1 << 20 };

static int64_t count_bad(const float *values, int64_t count) {
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad += (udump_f32_to_bits(values[i]) & 0x7F800000u) == 0x7F800000u;
    return bad;
}

udump_status udump_weights_read(udump_weights *weights, const udump_weight *weight, float *destination, int64_t *bad, udump_error *error) {
    const udump_weight_file *file = &weights->files[weight->file];
    int64_t element = (int64_t)udump_dtype_bytes(weight->dtype), count = (int64_t)weight->size_bytes / element, found = 0;
    bool direct = weight->dtype == UDUMP_F32;
    size_t scratch_bytes = (size_t)((count < CHUNK_ELEMENTS ? count : CHUNK_ELEMENTS) * element);
    void *scratch = direct || count == 0 ? NULL : malloc(scratch_bytes);
    if (!direct && count && !scratch) return udump_fail_memory(error, weight->file_name, scratch_bytes);

    udump_status status = UDUMP_OK;
    for (int64_t done = 0; done < count && status == UDUMP_OK; done += CHUNK_ELEMENTS) { /* a chunk is checked while it is in the cache */
        int64_t chunk = count - done < CHUNK_ELEMENTS ? count - done : CHUNK_ELEMENTS;
        void *bytes = direct ? (void *)(destination + done) : scratch;
        uint64_t offset = weight->offset_bytes + (uint64_t)(done * element);
        status = udump_weight_file_read(file, offset, bytes, (size_t)(chunk * element), weight->file_name, error);
        if (status != UDUMP_OK) break;
        if (!direct) udump_convert_to_f32(destination + done, scratch, weight->dtype, chunk);
        found += count_bad(destination + done, chunk);
    }
    free(scratch);
    if (status != UDUMP_OK) return status;
    if (bad) *bad = found;
    weights->items[weight - weights->items].used = true;
    return UDUMP_OK;
}
