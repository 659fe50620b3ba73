#include "weights/folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "weights/file.h"

static udump_status bad(const char *folder, const char *what, const char *expected, const char *found, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES], value[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, folder, NULL);
    if (found) udump_weight_place(value, found, NULL);
    return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, what, expected, found ? value : NULL);
}

/* *exists: whether folder/name is there, of any type. */
static udump_status file_exists(const char *folder, const char *name, bool *exists, udump_error *error) {
    *exists = false;
    char *path = udump_weight_path(folder, name);
    if (!path) return udump_fail_memory(error, folder, strlen(folder) + strlen(name) + 2);
    *exists = access(path, F_OK) == 0;
    free(path);
    return UDUMP_OK;
}

/* Whether any of the folder's names ends like a pickle, or in .safetensors. */
static void look_into(const char *folder, bool *pickles, bool *safetensors) {
    *pickles = *safetensors = false;
    DIR *directory = opendir(folder);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        *pickles |= udump_is_pickle_name(entry->d_name);
        *safetensors |= udump_name_ends(entry->d_name, ".safetensors");
    }
    closedir(directory);
}

/* ---- configs */

udump_status udump_config_parse(const char *text, size_t text_bytes, const char *path, json_t **config, udump_error *error) {
    udump_json_limits limits = { UDUMP_CONFIG_DEPTH_LIMIT, UDUMP_CONFIG_VALUE_LIMIT, 0 };
    return udump_json_parse(text, text_bytes, limits, path, config, error);
}

static udump_status read_config(const char *path, json_t **config, udump_error *error) {
    char *text;
    size_t text_bytes;
    udump_status status = udump_weight_file_text(path, UDUMP_CONFIG_LIMIT_BYTES, &text, &text_bytes, error);
    if (status != UDUMP_OK) return status;
    status = udump_config_parse(text, text_bytes, path, config, error);
    free(text);
    return status;
}

udump_status udump_config_read(const char *folder, const char *name, bool optional, json_t **config, udump_error *error) {
    *config = NULL;
    char *path = udump_weight_path(folder, name);
    if (!path) return udump_fail_memory(error, folder, strlen(folder) + strlen(name) + 2);
    udump_status status = UDUMP_OK;
    if (!optional || access(path, F_OK) == 0) status = read_config(path, config, error);
    free(path);
    return status;
}

/* ---- shards */

/* A name that stays in its folder whatever it is joined to. */
static bool plain_name(const char *name) { return name[0] && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\'); }

static udump_status add_name(udump_part_files *files, const char *name, const char *path, udump_error *error) {
    char **names = realloc(files->names, ((size_t)files->count + 1) * sizeof *names);
    if (!names) return udump_fail_memory(error, path, ((size_t)files->count + 1) * sizeof *names);
    files->names = names;
    names[files->count] = strdup(name);
    if (!names[files->count]) return udump_fail_memory(error, path, strlen(name) + 1);
    files->count++;
    return UDUMP_OK;
}

static udump_status add_shard(udump_part_files *files, const char *tensor, const json_t *value, const char *path, udump_error *error) {
    const char *name = json_string_value(value);
    char place[UDUMP_WEIGHT_PLACE_BYTES], expected[64];
    udump_weight_place(place, path, tensor);
    if (!name || !plain_name(name)) return bad(place, "not a file beside the index", "a plain file name", name ? name : "no text", error);
    if (udump_is_pickle_name(name)) return udump_fail_pickle(path, error);
    if (!udump_name_ends(name, ".safetensors")) return bad(place, "not a safetensors file", "a name ending in .safetensors", name, error);
    for (int i = files->count - 1; i >= 0; i--)
        if (strcmp(files->names[i], name) == 0) return UDUMP_OK;
    snprintf(expected, sizeof expected, "at most %d", UDUMP_SHARD_LIMIT);
    if (files->count == UDUMP_SHARD_LIMIT) return bad(path, "too many files in the index", expected, NULL, error);
    return add_name(files, name, path, error);
}

udump_status udump_shard_index_parse(const char *text, size_t text_bytes, const char *path, udump_part_files *files, udump_error *error) {
    *files = (udump_part_files){ 0 };
    json_t *root;
    udump_status status = udump_config_parse(text, text_bytes, path, &root, error);
    if (status != UDUMP_OK) return status;
    json_t *map = json_object_get(root, "weight_map"), *value;
    const char *tensor;
    if (!json_is_object(map) || json_object_size(map) == 0) {
        status = bad(path, "an index without weight_map", "weight_map: an object of tensor and file names", NULL, error);
    } else {
        files->weight_map = json_incref(map);
        json_object_foreach(map, tensor, value) {
            status = add_shard(files, tensor, value, path, error);
            if (status != UDUMP_OK) break;
        }
    }
    json_decref(root);
    if (status != UDUMP_OK) udump_part_files_free(files);
    return status;
}

static udump_status read_index(const char *folder, const char *name, udump_part_files *files, udump_error *error) {
    char *path = udump_weight_path(folder, name), *text;
    size_t text_bytes;
    if (!path) return udump_fail_memory(error, folder, strlen(folder) + strlen(name) + 2);
    udump_status status = udump_weight_file_text(path, UDUMP_CONFIG_LIMIT_BYTES, &text, &text_bytes, error);
    if (status == UDUMP_OK) {
        status = udump_shard_index_parse(text, text_bytes, path, files, error);
        free(text);
    }
    free(path);
    return status;
}

/* ---- parts */

udump_status udump_part_find(const char *folder, udump_part_files *files, udump_error *error) {
    /* Full precision first. The index of a variant has had three names. */
    static const char *const stems[] = { "diffusion_pytorch_model", "model" };
    static const char *const ends[] = { ".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".safetensors.index.fp16.json",
        ".safetensors.fp16.index.json", ".fp16.safetensors.index.json" };
    *files = (udump_part_files){ 0 };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        for (size_t j = 0; j < sizeof stems / sizeof *stems; j++) {
            char name[96];
            bool exists;
            snprintf(name, sizeof name, "%s%s", stems[j], ends[i]);
            udump_status status = file_exists(folder, name, &exists, error);
            if (status == UDUMP_OK && !exists) continue;
            if (status == UDUMP_OK && udump_name_ends(name, ".json")) return read_index(folder, name, files, error);
            if (status == UDUMP_OK) status = add_name(files, name, folder, error);
            if (status != UDUMP_OK) udump_part_files_free(files);
            return status;
        }
    }
    bool pickles, safetensors;
    look_into(folder, &pickles, &safetensors);
    if (pickles) return udump_fail_pickle(folder, error);
    return bad(folder, "no weights in this folder",
        "diffusion_pytorch_model.safetensors or model.safetensors, whole, sharded with an index, or as .fp16",
        safetensors ? "safetensors files with other names" : NULL, error);
}

void udump_part_files_free(udump_part_files *files) {
    for (int i = 0; i < files->count; i++) free(files->names[i]);
    free(files->names);
    json_decref(files->weight_map);
    *files = (udump_part_files){ 0 };
}

udump_status udump_diffusers_check(const char *path, udump_error *error) {
    static const char *const parts[] = { "unet", "vae", "text_encoder" };
    static const char layout[] = "a diffusers folder with unet/, vae/ and text_encoder/";
    const char *missing = NULL;
    int found = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bool exists;
        udump_status status = file_exists(path, parts[i], &exists, error);
        if (status != UDUMP_OK) return status;
        found += exists;
        if (!exists && !missing) missing = parts[i];
    }
    if (!missing) return UDUMP_OK;
    bool second = false;
    udump_status status = found == 2 && strcmp(missing, "text_encoder") == 0 ? file_exists(path, "text_encoder_2", &second, error)
                                                                             : UDUMP_OK;
    if (status != UDUMP_OK) return status;
    char what[64], place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, NULL);
    if (second)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, place, "this is an SDXL refiner, which goes on from another model's latents");
    snprintf(what, sizeof what, "the folder %s/ is missing", missing);
    if (found) return bad(path, what, layout, NULL, error);
    bool pickles, safetensors;
    look_into(path, &pickles, &safetensors);
    if (safetensors) return bad(path, "not a checkpoint", layout, "safetensors files: name one of them", error);
    return pickles ? udump_fail_pickle(path, error) : bad(path, "not a checkpoint", layout, NULL, error);
}
