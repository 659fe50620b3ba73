#include "output/manifest.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/characters.h"

struct udump_manifest {
    json_t *root, *files; /* files belongs to root */
};

/* An object being filled; the first failure sticks. */
struct object {
    json_t *json;
    bool failed;
};

static void put(struct object *object, const char *key, json_t *value) {
    if (!value || json_object_set_new(object->json, key, value)) object->failed = true;
}

static void put_text(struct object *object, const char *key, const char *text) {
    char *valid = udump_characters_repair(text);
    put(object, key, valid ? json_string(valid) : NULL);
    free(valid);
}

static void put_real(struct object *object, const char *key, double value) {
    put(object, key, isfinite(value) ? json_real(value) : json_null());
}

/* The shortest decimal that reads back as this float: 7.1, not 7.0999999046325684. */
static void put_float(struct object *object, const char *key, float value) {
    char text[32];
    int precision = 1;
    do snprintf(text, sizeof text, "%.*g", precision, (double)value);
    while (strtof(text, NULL) != value && ++precision <= 9);
    put_real(object, key, strtod(text, NULL));
}

static void put_seed(struct object *object, uint64_t seed) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    put(object, "seed", seed <= INT64_MAX ? json_integer((json_int_t)seed) : json_string(text)); /* jansson's integers are signed */
}

static void put_sizes(struct object *object, const char *key, int count, const int64_t *sizes) {
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        if (json_array_append_new(array, json_integer(sizes[i]))) object->failed = true;
    put(object, key, array);
}

static void put_place(struct object *object, const udump_place *place, const char *kind) {
    put(object, "image", json_integer(place->image));
    put_text(object, "block", place->block);
    put(object, "step", json_integer(place->step));
    put(object, "evaluation", json_integer(place->step));
    put(object, "sampler_step", json_integer(place->sampler_step));
    put_real(object, "sigma", place->sigma);
    put_real(object, "timestep", place->timestep);
    put_text(object, "side", place->side == UDUMP_SIDE_UNCOND ? "uncond" : place->side == UDUMP_SIDE_COND ? "cond" : "both");
    put_text(object, "kind", kind);
}

static struct object start(const char *file, const char *source) {
    struct object object = { json_object(), false };
    put_text(&object, "file", file);
    put_text(&object, "source", source);
    return object;
}

/* Takes the object over. */
static udump_status append(udump_manifest *manifest, struct object *object, udump_error *error) {
    if (object->failed) json_decref(object->json);
    else if (json_array_append_new(manifest->files, object->json) == 0) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_MEMORY, "manifest.json", "out of memory");
}

udump_manifest *udump_manifest_create(void) {
    udump_manifest *manifest = calloc(1, sizeof *manifest);
    if (!manifest) return NULL;
    struct object root = { json_object(), false };
    manifest->root = root.json;
    manifest->files = json_array();
    put_text(&root, "unetdump", udump_version());
    put(&root, "run", json_object());
    put(&root, "files", manifest->files);
    if (!root.failed) return manifest;
    udump_manifest_free(manifest);
    return NULL;
}

void udump_manifest_free(udump_manifest *manifest) {
    if (!manifest) return;
    json_decref(manifest->root);
    free(manifest);
}

udump_status udump_manifest_set_run(udump_manifest *manifest, const udump_run_info *run, udump_error *error) {
    struct object object = { json_object(), false };
    put_text(&object, "prompt", run->prompt);
    put_text(&object, "negative_prompt", run->negative_prompt);
    put_seed(&object, run->seed);
    put_text(&object, "sampler", run->sampler);
    put_text(&object, "schedule", run->schedule);
    put_float(&object, "cfg", run->cfg);
    put(&object, "width", json_integer(run->width_px));
    put(&object, "height", json_integer(run->height_px));
    put(&object, "steps", json_integer(run->steps));
    put(&object, "evaluations", json_integer(run->evaluations));
    put(&object, "batch_size", json_integer(run->batch_size));
    put_text(&object, "rng", run->rng);
    put_text(&object, "model", run->model);
    put_text(&object, "model_hash", run->model_hash);
    put_text(&object, "device", run->device);
    put_text(&object, "precision", run->precision);
    put_text(&object, "infotext", run->infotext);
    if (object.failed) json_decref(object.json);
    else if (json_object_set_new(manifest->root, "run", object.json) == 0)
        return UDUMP_OK; /* replaces the value; the key keeps its place */
    return udump_fail(error, UDUMP_ERROR_MEMORY, "manifest.json", "out of memory");
}

udump_status udump_manifest_add_image(udump_manifest *manifest, const char *file, int32_t image, const udump_picture *picture,
    udump_error *error) {
    struct object object = start(file, "image");
    put(&object, "image", json_integer(image));
    put_sizes(&object, "shape", 3, (int64_t[]){ picture->height_px, picture->width_px, picture->channels });
    put_text(&object, "dtype", "uint8");
    return append(manifest, &object, error);
}

udump_status udump_manifest_add_canvas(udump_manifest *manifest, const char *file, const udump_canvas *canvas, udump_error *error) {
    bool average = canvas->kind == UDUMP_CANVAS_AVERAGE;
    int64_t shape[3] = { (int64_t)canvas->columns * canvas->rows, canvas->tile_height_px, canvas->tile_width_px }; /* one tile a channel */
    struct object object = start(file, "unet");
    put_place(&object, &canvas->place, average ? "average" : "features");
    put_sizes(&object, "shape", average ? 2 : 3, average ? shape + 1 : shape);
    put_text(&object, "dtype", "uint8");
    put_sizes(&object, "grid", 2, (int64_t[]){ canvas->columns, canvas->rows });
    put_sizes(&object, "tile", 2, (int64_t[]){ canvas->tile_width_px, canvas->tile_height_px });
    return append(manifest, &object, error);
}

udump_status udump_manifest_add_tensor(udump_manifest *manifest, const char *file, const udump_place *place, const udump_view *tensor,
    udump_error *error) {
    struct object object = start(file, "unet");
    put_place(&object, place, "features");
    put_sizes(&object, "shape", tensor->rank, tensor->shape);
    put_text(&object, "dtype", "float32");
    return append(manifest, &object, error);
}

udump_status udump_manifest_format(const udump_manifest *manifest, udump_bytes *content, udump_error *error) {
    const size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(17); /* 17 digits read back as the same double */
    size_t length = json_dumpb(manifest->root, NULL, 0, flags);
    char *text = length ? malloc(length + 1) : NULL;
    if (!text || json_dumpb(manifest->root, text, length, flags) != length) {
        free(text);
        return udump_fail_memory(error, "manifest.json", length);
    }
    text[length] = '\n';
    *content = (udump_bytes){ (uint8_t *)text, length + 1 };
    return UDUMP_OK;
}
