#include "weights/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "weights/file.h"
#include "weights/folder.h"
#include "weights/lora_file.h"
#include "weights/lora_metadata.h"

udump_status udump_lora_fail(const udump_lora_file *file, const char *tensor, udump_status status, const char *what, const char *expected,
    const char *found, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, file->path, tensor);
    return udump_fail_values(error, status, place, what, expected, found);
}

udump_status udump_lora_fail_shape(
    const udump_lora_file *file, const udump_weight *weight, const char *what, const char *expected, udump_error *error) {
    char found[64];
    udump_shape_format(found, sizeof found, weight->rank, weight->shape);
    return udump_lora_fail(file, weight->name, UDUMP_ERROR_FORMAT, what, expected, found, error);
}

udump_status udump_lora_read(const udump_lora_file *file, const udump_weight *weight, float **values, udump_error *error) {
    size_t bytes = (size_t)(weight->size_bytes / udump_dtype_bytes(weight->dtype)) * sizeof **values;
    int64_t bad = 0;
    *values = malloc(bytes ? bytes : 1);
    if (!*values) return udump_fail_memory(error, file->path, bytes);
    udump_status status = udump_weights_read(file->weights, weight, *values, 1, &bad, error);
    if (status || !bad) return status;
    return udump_lora_fail(file, weight->name, UDUMP_ERROR_FORMAT, "values are NaN or infinite", NULL, NULL, error);
}

/* ---- opening */

static int compare_layers(const void *a, const void *b) {
    const udump_lora_layer *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->tensor, y->tensor); /* the same message every time */
}

/* Why a name is none of a LoRA's. */
static udump_status fail_name(const udump_lora_file *file, const char *name, udump_error *error) {
    char what[160];
    const char *kind = udump_lora_other_kind(name), *family = udump_lora_family(name);
    if (kind) {
        snprintf(what, sizeof what, "%s is not supported, only LoRA, LoCon, LoHa, LoKr, DoRA and full differences", kind);
        return udump_lora_fail(file, name, UDUMP_ERROR_UNSUPPORTED, what, NULL, NULL, error);
    }
    snprintf(what, sizeof what, "not a tensor of a LoRA for Stable Diffusion%s%s", family ? ": it seems to be for " : "", family ? family : "");
    return udump_lora_fail(file, name, UDUMP_ERROR_FORMAT, what, NULL, NULL, error);
}

/* A layer of the one tensor of that name. */
static udump_status name_layer(
    const udump_lora_file *file, const char *name, udump_lora_layer *layer, udump_lora_role *role, udump_error *error) {
    if (!udump_lora_name(name, &layer->name, role)) return udump_fail_memory(error, file->path, strlen(name));
    if (!layer->name) return fail_name(file, name, error);
    layer->tensor = name;
    layer->kind = role->kind;
    return UDUMP_OK;
}

static udump_status name_weight(const udump_lora_file *file, const udump_weight *weight, udump_lora_layer *layer, udump_error *error) {
    udump_lora_role role;
    udump_status status = name_layer(file, weight->name, layer, &role, error);
    if (!status) layer->tensors[role.slot] = weight;
    return status;
}

/* Of another type than a weight's only an alpha may be. */
static udump_status name_alpha(const udump_lora_file *file, const udump_skipped *skipped, udump_lora_layer *layer, udump_error *error) {
    static const char wrong[] = "tensor has the wrong type", types[] = "F32, F16 or BF16";
    udump_lora_role role;
    udump_status status = name_layer(file, skipped->name, layer, &role, error);
    if (status) return status;
    layer->whole_alpha = skipped;
    if (role.slot == UDUMP_LORA_ALPHA) return UDUMP_OK;
    return udump_lora_fail(file, skipped->name, UDUMP_ERROR_FORMAT, wrong, types, skipped->dtype_name, error);
}

/* One layer for each tensor. */
static udump_status name_layers(udump_lora_file *file, udump_error *error) {
    int64_t weights = udump_weights_count(file->weights), skipped = 0;
    udump_status status = UDUMP_OK;
    while (udump_weights_skipped(file->weights, skipped)) skipped++;
    file->layers = calloc((size_t)(weights + skipped) + 1, sizeof *file->layers);
    if (!file->layers) return udump_fail_memory(error, file->path, (size_t)(weights + skipped) * sizeof *file->layers);
    for (int64_t i = 0; i < weights && !status; i++)
        status = name_weight(file, udump_weights_at(file->weights, i), &file->layers[file->count++], error);
    for (int64_t i = 0; i < skipped && !status; i++)
        status = name_alpha(file, udump_weights_skipped(file->weights, i), &file->layers[file->count++], error);
    return status;
}

/* What from has goes into into. */
static udump_status join(const udump_lora_file *file, udump_lora_layer *into, const udump_lora_layer *from, udump_error *error) {
    for (int slot = 0; slot < UDUMP_LORA_SLOTS; slot++) {
        if (into->tensors[slot] && from->tensors[slot])
            return udump_lora_fail(file, from->tensors[slot]->name, UDUMP_ERROR_FORMAT, "two tensors for one place in the model", NULL,
                into->tensors[slot]->name, error);
        if (from->tensors[slot]) into->tensors[slot] = from->tensors[slot];
    }
    if (into->kind && from->kind && into->kind != from->kind)
        return udump_lora_fail(file, from->tensor, UDUMP_ERROR_FORMAT, "two kinds of difference for one layer", NULL, into->tensor, error);
    if (from->kind) into->kind = from->kind;
    if (from->whole_alpha) into->whole_alpha = from->whole_alpha;
    return UDUMP_OK;
}

/* An alpha of no layer says nothing. */
static void drop_lone_alphas(udump_lora_file *file) {
    int64_t kept = 0;
    for (int64_t i = 0; i < file->count; i++) {
        udump_lora_layer *layer = &file->layers[i];
        bool lone = true;
        for (int slot = 0; slot < UDUMP_LORA_SLOTS; slot++) lone &= slot == UDUMP_LORA_ALPHA || !layer->tensors[slot];
        if (lone) free(layer->name);
        else file->layers[kept++] = *layer;
    }
    file->count = kept;
}

/* What errors of a layer name: its down, by which most know it. */
static void choose_tensor(udump_lora_layer *layer) {
    if (layer->tensors[UDUMP_LORA_DOWN]) layer->tensor = layer->tensors[UDUMP_LORA_DOWN]->name;
    else if (layer->tensors[UDUMP_LORA_WHOLE]) layer->tensor = layer->tensors[UDUMP_LORA_WHOLE]->name;
}

/* One layer for each tensor, then one for each name. */
static udump_status group(udump_lora_file *file, udump_error *error) {
    int64_t kept = 0;
    udump_status status = name_layers(file, error);
    if (status) return status;
    qsort(file->layers, (size_t)file->count, sizeof *file->layers, compare_layers);
    for (int64_t i = 0; i < file->count; i++) {
        udump_lora_layer *into = kept ? &file->layers[kept - 1] : NULL, *from = &file->layers[i];
        if (!into || strcmp(into->name, from->name) != 0) {
            file->layers[kept++] = *from;
            continue;
        }
        if (!status) status = join(file, into, from, error);
        free(from->name);
        from->name = NULL;
    }
    file->count = kept;
    drop_lone_alphas(file);
    for (int64_t i = 0; i < file->count; i++) choose_tensor(&file->layers[i]);
    return status;
}

/* Sizes whose products fit, so that sums of them need no care. */
static udump_status check_sizes(const udump_lora_file *file, const udump_lora_layer *layer, udump_error *error) {
    const udump_weight *alpha = layer->tensors[UDUMP_LORA_ALPHA];
    if (alpha && alpha->size_bytes != udump_dtype_bytes(alpha->dtype))
        return udump_lora_fail_shape(file, alpha, "alpha is not one number", "[]", error);
    for (int slot = 0; slot < UDUMP_LORA_SLOTS; slot++) {
        const udump_weight *weight = layer->tensors[slot];
        for (int i = 0; weight && i < weight->rank; i++)
            if (weight->shape[i] < 1 || weight->shape[i] > UDUMP_LORA_SIZE_MOST)
                return udump_lora_fail_shape(file, weight, "tensor has the wrong shape", "sizes from 1 to 1048576", error);
    }
    return UDUMP_OK;
}

/* What the tensors of a layer must be to each other, whatever the model. */
static udump_status check_layer(const udump_lora_file *file, const udump_lora_layer *layer, udump_error *error) {
    udump_lora_matrix first = udump_lora_matrix_of(file, layer, 0), second = udump_lora_matrix_of(file, layer, 1);
    bool two = layer->kind == UDUMP_LORA_HADAMARD || layer->kind == UDUMP_LORA_KRONECKER;
    udump_status status = check_sizes(file, layer, error);
    if (!status) status = udump_lora_matrix_check(&first, layer, error);
    if (!status && two) status = udump_lora_matrix_check(&second, layer, error);
    if (status || layer->kind != UDUMP_LORA_HADAMARD) return status;
    bool same = udump_lora_matrix_rows(&first) == udump_lora_matrix_rows(&second)
        && udump_lora_matrix_columns(&first) == udump_lora_matrix_columns(&second);
    return same ? UDUMP_OK : udump_lora_fail(file, layer->tensor, UDUMP_ERROR_FORMAT, "two matrices of unequal sizes", NULL, NULL, error);
}

/* The first layer whose strength only PEFT's adapter_config.json tells: its save_pretrained writes no alpha into the tensors' file. */
static const udump_lora_layer *find_peft(const udump_lora_file *file) {
    static const char prefix[] = "base_model.";
    for (int64_t i = 0; i < file->count; i++) {
        const udump_lora_layer *layer = &file->layers[i];
        bool said = layer->tensors[UDUMP_LORA_ALPHA] || layer->whole_alpha;
        if (!said && strncmp(layer->tensor, prefix, sizeof prefix - 1) == 0) return layer;
    }
    return NULL;
}

static udump_status read_peft_config(udump_lora_file *file, udump_error *error) {
    static const char name[] = "adapter_config.json";
    const udump_lora_layer *layer = file->metadata ? NULL : find_peft(file);
    if (!layer) return UDUMP_OK;
    const char *slash = strrchr(file->path, '/');
    char *folder = slash ? strndup(file->path, (size_t)(slash - file->path) + 1) : strdup(".");
    if (!folder) return udump_fail_memory(error, file->path, strlen(file->path));
    udump_status status = udump_config_read(folder, name, true, &file->metadata, error);
    free(folder);
    if (status || file->metadata) return status;
    return udump_lora_fail(file, layer->tensor, UDUMP_ERROR_FORMAT, "no alpha: PEFT has it in another file",
        "adapter_config.json in the same folder", NULL, error);
}

static udump_status open_layers(udump_lora_file *file, udump_error *error) {
    udump_status status = udump_weights_open_tensors(file->path, &file->weights, error);
    const char *metadata = status ? NULL : udump_weights_metadata(file->weights, "lora_adapter_metadata");
    if (metadata) status = udump_lora_metadata_parse(metadata, file->path, &file->metadata, error);
    if (!status) status = group(file, error);
    if (!status && !file->count)
        status = udump_lora_fail(file, NULL, UDUMP_ERROR_FORMAT, "no LoRA: the file has no layers", NULL, NULL, error);
    for (int64_t i = 0; i < file->count && !status; i++) status = check_layer(file, &file->layers[i], error);
    return status ? status : read_peft_config(file, error);
}

udump_status udump_lora_open(const char *path, udump_lora_file **result, udump_error *error) {
    *result = NULL;
    udump_lora_file *file = calloc(1, sizeof *file);
    if (file) file->path = strdup(path);
    udump_status status = file && file->path ? open_layers(file, error) : udump_fail_memory(error, path, sizeof *file);
    if (status) udump_lora_close(file);
    else *result = file;
    return status;
}

void udump_lora_close(udump_lora_file *file) {
    if (!file) return;
    for (int64_t i = 0; file->layers && i < file->count; i++) free(file->layers[i].name);
    free(file->layers);
    json_decref(file->metadata);
    udump_weights_close(file->weights);
    free(file->path);
    free(file);
}
