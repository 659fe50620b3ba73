#include "output/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/json.h"
#include "output/name.h"
#include "output/run_json.h"

struct udump_manifest {
    udump_text run, contexts; /* JSON */
    udump_text files;         /* objects, a comma and a line break between them */
};

static udump_status fail(udump_error *error) { return udump_fail(error, UDUMP_ERROR_MEMORY, "manifest.json", "out of memory"); }

udump_manifest *udump_manifest_create(void) {
    udump_manifest *manifest = calloc(1, sizeof *manifest);
    if (manifest && udump_text_print(&manifest->run, "{}") && udump_text_print(&manifest->contexts, "[]")) return manifest;
    udump_manifest_free(manifest);
    return NULL;
}

void udump_manifest_free(udump_manifest *manifest) {
    if (!manifest) return;
    free(manifest->run.data);
    free(manifest->contexts.data);
    free(manifest->files.data);
    free(manifest);
}

const char *udump_manifest_run(const udump_manifest *manifest) { return manifest->run.data; }
udump_text *udump_manifest_files(udump_manifest *manifest) { return &manifest->files; }
const char *udump_manifest_contexts(const udump_manifest *manifest) { return manifest->contexts.data; }

udump_status udump_manifest_set_run(udump_manifest *manifest, const udump_run_info *run, udump_error *error) {
    udump_text text = { 0 }, contexts = { 0 };
    if (!udump_run_json_write(run, &text) || !udump_run_json_write_contexts(run, &contexts)) {
        free(text.data);
        free(contexts.data);
        return fail(error);
    }
    free(manifest->run.data);
    free(manifest->contexts.data);
    manifest->run = text;
    manifest->contexts = contexts;
    return UDUMP_OK;
}

/* Takes the object over. */
static udump_status append(udump_manifest *manifest, udump_json *json, udump_error *error) {
    size_t before = manifest->files.size;
    if (udump_text_print(&manifest->files, before ? ",\n  " : "\n  ") && udump_json_finish(json, &manifest->files)) return UDUMP_OK;
    json_decref(json->object);
    if (manifest->files.data) manifest->files.data[manifest->files.size = before] = '\0';
    return fail(error);
}

static udump_json start(const char *file, const char *source) {
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "file", file);
    udump_json_put_text(&json, "source", source);
    return json;
}

static void put_place(udump_json *json, const udump_place *place) {
    udump_json_put_integer(json, "image", place->image);
    udump_json_put_text(json, "variant", udump_variant_name(place->variant));
    udump_json_put_text(json, "block", place->block);
    udump_json_put_integer(json, "depth", place->depth);
    udump_json_put_integer(json, "step", place->step);
    udump_json_put_integer(json, "evaluation", place->step);
    udump_json_put_integer(json, "sampler_step", place->sampler_step);
    udump_json_put_real(json, "sigma", place->sigma);
    udump_json_put_real(json, "timestep", place->timestep);
    udump_json_put_text(json, "side", udump_side_name(place->side));
    if (place->part) udump_json_put_integer(json, "part", place->part);
    udump_json_put_text(json, "kind", udump_kind_name(place->kind));
    if (udump_kind_is_cross(place->kind) && place->context >= 0) udump_json_put_integer(json, "context", place->context);
    if (place->kind == UDUMP_KIND_OVERLAY) udump_json_put_text(json, "word", place->word);
}

udump_status udump_manifest_add_image(udump_manifest *manifest, const char *file, int32_t image, udump_variant variant,
    const udump_picture *picture, udump_error *error) {
    udump_json json = start(file, "image");
    udump_json_put_integer(&json, "image", image);
    udump_json_put_text(&json, "variant", udump_variant_name(variant));
    udump_json_put_sizes(&json, "shape", 3, (int64_t[]){ picture->height_px, picture->width_px, picture->channels });
    udump_json_put_text(&json, "dtype", "uint8");
    return append(manifest, &json, error);
}

/* The rank and shape of the tensor that a canvas shows; of an average, that of what it draws. */
static int shape_of(const udump_canvas *canvas, int64_t shape[4]) {
    int64_t columns = canvas->columns, rows = canvas->rows, h = canvas->tile_height_px, w = canvas->tile_width_px;
    switch (canvas->place.kind) {
    case UDUMP_KIND_QK:
    case UDUMP_KIND_SELF_QUERIES: memcpy(shape, (int64_t[]){ rows, columns, h, w }, 4 * sizeof *shape); break;
    case UDUMP_KIND_K: memcpy(shape, (int64_t[]){ 0, rows, w, h }, 4 * sizeof *shape); break; /* drawn upright */
    case UDUMP_KIND_SELF_PCA: memcpy(shape, (int64_t[]){ 0, 3, h, w }, 4 * sizeof *shape); break;
    case UDUMP_KIND_OVERLAY: memcpy(shape, (int64_t[]){ 0, h, w, canvas->picture.channels }, 4 * sizeof *shape); break;
    default: memcpy(shape, (int64_t[]){ 0, columns * rows, h, w }, 4 * sizeof *shape);
    }
    int rank = shape[0] ? 4 : 3;
    if (rank == 3) memmove(shape, shape + 1, 3 * sizeof *shape);
    if (!canvas->average) return rank;
    memmove(shape, shape + 1, 3 * sizeof *shape); /* over channels or heads: the first dimension is gone */
    return rank - 1;
}

/* What the shape says of an attention's heads and tokens; rank and shape as udump_kind's, or without heads for an average. */
static void put_attention(udump_json *json, udump_kind kind, bool average, const int64_t *shape) {
    bool columns = kind == UDUMP_KIND_K || kind == UDUMP_KIND_QK;
    bool heads = columns || (kind >= UDUMP_KIND_SELF_QUERIES && kind <= UDUMP_KIND_SELF_MAP && kind != UDUMP_KIND_SELF_PCA);
    if (heads && !average) udump_json_put_integer(json, "heads", shape[0]);
    if (columns) udump_json_put_integer(json, "tokens", shape[average ? 0 : 1]);
}

udump_status udump_manifest_add_canvas(udump_manifest *manifest, const char *file, const udump_canvas *canvas, udump_error *error) {
    int64_t shape[4];
    int rank = shape_of(canvas, shape);
    udump_json json = start(file, udump_source_name(canvas->place.kind));
    put_place(&json, &canvas->place);
    if (canvas->average) udump_json_put(&json, "average", json_true());
    put_attention(&json, canvas->place.kind, canvas->average, shape);
    udump_json_put_sizes(&json, "shape", rank, shape);
    udump_json_put_text(&json, "dtype", "uint8");
    udump_json_put_sizes(&json, "grid", 2, (int64_t[]){ canvas->columns, canvas->rows });
    udump_json_put_sizes(&json, "tile", 2, (int64_t[]){ canvas->tile_width_px, canvas->tile_height_px });
    return append(manifest, &json, error);
}

static void put_tensor(udump_json *json, const udump_place *place, const udump_view *tensor) {
    put_place(json, place);
    if (tensor->rank >= 2) put_attention(json, place->kind, false, tensor->shape);
    udump_json_put_sizes(json, "shape", tensor->rank, tensor->shape);
    udump_json_put_text(json, "dtype", "float32");
}

udump_status udump_manifest_add_tensor(udump_manifest *manifest, const udump_manifest_tensor *written, const udump_place *place,
    const udump_view *tensor, udump_error *error) {
    udump_json json = start(written->file, udump_source_name(place->kind));
    if (written->tensor) udump_json_put_text(&json, "tensor", written->tensor);
    if (written->files) udump_json_put_integer(&json, "files", written->files);
    put_tensor(&json, place, tensor);
    return append(manifest, &json, error);
}

char *udump_manifest_place(const udump_place *place, const udump_view *tensor) {
    udump_json json = udump_json_start();
    udump_text text = { 0 };
    udump_json_put_text(&json, "source", udump_source_name(place->kind));
    put_tensor(&json, place, tensor);
    if (udump_json_finish(&json, &text)) return text.data;
    free(text.data);
    return NULL;
}

udump_status udump_manifest_format(
    const udump_manifest *manifest, const char *const *beside, int32_t count, udump_bytes *content, udump_error *error) {
    udump_text text = { 0 };
    const udump_text *files = &manifest->files;
    bool fine = udump_text_print(&text, "{\"unetdump\": \"%s\",\n \"run\": %s,\n \"contexts\": %s,\n \"beside\": [", udump_version(), manifest->run.data,
        manifest->contexts.data);
    const char *comma = "";
    for (int32_t i = 0; i < count && fine; i++) {
        if (!beside[i]) continue;
        fine = udump_text_print(&text, "%s\"%s\"", comma, beside[i]);
        comma = ", ";
    }
    if (fine && udump_text_print(&text, "],\n \"files\": [") && udump_text_add(&text, files->data ? files->data : "", files->size) && udump_text_print(&text, "]}\n")) {
        *content = (udump_bytes){ (uint8_t *)text.data, text.size };
        return UDUMP_OK;
    }
    free(text.data);
    return fail(error);
}
