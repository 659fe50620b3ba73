#include "weights/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"
#include "weights/file.h"
#include "weights/folder.h"
#include "weights/lora_metadata.h"
#include "weights/lora_names.h"
#include "weights/weights.h"

enum { RANK_MOST = 1 << 14 };

typedef struct layer {
    char *name; /* canonical */
    const udump_weight *tensors[UDUMP_LORA_ROLES];
    const udump_skipped *whole_alpha; /* an alpha of another type: trainers write whole numbers, too */
    bool used;
} layer;

struct udump_lora_file {
    char *path;
    udump_weights *weights;
    json_t *metadata; /* diffusers' or PEFT's; or NULL */
    layer *layers;    /* in the order of their names */
    int64_t count;
};

static udump_status fail_at(const udump_lora_file *file, const char *tensor, udump_status status, const char *what, const char *expected,
    const char *found, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, file->path, tensor);
    return udump_fail_values(error, status, place, what, expected, found);
}

/* ---- opening */

static int compare_layers(const void *a, const void *b) { return strcmp(((const layer *)a)->name, ((const layer *)b)->name); }

/* Why a name is none of a LoRA's. */
static udump_status fail_name(const udump_lora_file *file, const char *name, udump_error *error) {
    char what[128];
    const char *kind = udump_lora_other_kind(name), *family = udump_lora_family(name);
    if (kind) {
        snprintf(what, sizeof what, "%s is not supported, only LoRA and LoCon", kind);
        return fail_at(file, name, UDUMP_ERROR_UNSUPPORTED, what, NULL, NULL, error);
    }
    snprintf(what, sizeof what, "not a tensor of a LoRA for Stable Diffusion%s%s", family ? ": it seems to be for " : "", family ? family : "");
    return fail_at(file, name, UDUMP_ERROR_FORMAT, what, NULL, NULL, error);
}

static udump_status name_layer(const udump_lora_file *file, const udump_weight *weight, layer *own, udump_error *error) {
    udump_lora_role role;
    if (!udump_lora_name(weight->name, &own->name, &role)) return udump_fail_memory(error, file->path, strlen(weight->name));
    if (!own->name) return fail_name(file, weight->name, error);
    own->tensors[role] = weight;
    return UDUMP_OK;
}

/* Of other types than weights only an alpha may be. */
static udump_status name_alpha(const udump_lora_file *file, const udump_skipped *skipped, layer *own, udump_error *error) {
    udump_lora_role role;
    if (!udump_lora_name(skipped->name, &own->name, &role)) return udump_fail_memory(error, file->path, strlen(skipped->name));
    if (!own->name) return fail_name(file, skipped->name, error);
    if (role != UDUMP_LORA_ALPHA)
        return fail_at(
            file, skipped->name, UDUMP_ERROR_FORMAT, "tensor has the wrong type", "F32, F16 or BF16", skipped->dtype_name, error);
    own->whole_alpha = skipped;
    return UDUMP_OK;
}

/* One layer for each tensor. */
static udump_status name_layers(udump_lora_file *file, udump_error *error) {
    int64_t weights = udump_weights_count(file->weights), skipped = 0;
    udump_status status = UDUMP_OK;
    while (udump_weights_skipped(file->weights, skipped)) skipped++;
    file->layers = calloc((size_t)(weights + skipped) + 1, sizeof *file->layers);
    if (!file->layers) return udump_fail_memory(error, file->path, (size_t)(weights + skipped) * sizeof *file->layers);
    for (int64_t i = 0; i < weights && !status; i++)
        status = name_layer(file, udump_weights_at(file->weights, i), &file->layers[file->count++], error);
    for (int64_t i = 0; i < skipped && !status; i++)
        status = name_alpha(file, udump_weights_skipped(file->weights, i), &file->layers[file->count++], error);
    return status;
}

/* An alpha of no layer says nothing. */
static void drop_lone_alphas(udump_lora_file *file) {
    int64_t kept = 0;
    for (int64_t i = 0; i < file->count; i++) {
        const layer *own = &file->layers[i];
        if (own->tensors[UDUMP_LORA_DOWN] || own->tensors[UDUMP_LORA_UP] || own->tensors[UDUMP_LORA_MID]) file->layers[kept++] = *own;
        else free(own->name);
    }
    file->count = kept;
}

/* One layer for each tensor, then one for each name. */
static udump_status group(udump_lora_file *file, udump_error *error) {
    int64_t kept = 0;
    udump_status status = name_layers(file, error);
    if (status) return status;
    qsort(file->layers, (size_t)file->count, sizeof *file->layers, compare_layers);
    for (int64_t i = 0; i < file->count; i++) {
        layer *into = kept ? &file->layers[kept - 1] : NULL, *from = &file->layers[i];
        if (!into || strcmp(into->name, from->name) != 0) {
            file->layers[kept++] = *from;
            continue;
        }
        for (int role = 0; role < UDUMP_LORA_ROLES && !status; role++) {
            if (into->tensors[role] && from->tensors[role])
                status = fail_at(file, from->tensors[role]->name, UDUMP_ERROR_FORMAT, "two tensors for one place in the model", NULL,
                    into->tensors[role]->name, error);
            if (from->tensors[role]) into->tensors[role] = from->tensors[role];
        }
        if (from->whole_alpha) into->whole_alpha = from->whole_alpha;
        free(from->name);
        from->name = NULL;
    }
    file->count = kept;
    drop_lone_alphas(file);
    return status;
}

/* Sizes beyond the rank that are 1, as a 1x1 convolution's are. */
static bool pointwise(const udump_weight *weight) {
    for (int i = 2; i < weight->rank; i++)
        if (weight->shape[i] != 1) return false;
    return true;
}

static udump_status fail_shape(
    const udump_lora_file *file, const udump_weight *weight, const char *what, const char *expected, udump_error *error) {
    char found[64];
    udump_shape_format(found, sizeof found, weight->rank, weight->shape);
    return fail_at(file, weight->name, UDUMP_ERROR_FORMAT, what, expected, found, error);
}

/* What the tensors of a layer must be to each other, whatever the model. */
static udump_status check_layer(const udump_lora_file *file, const layer *own, udump_error *error) {
    const udump_weight *down = own->tensors[UDUMP_LORA_DOWN], *up = own->tensors[UDUMP_LORA_UP], *mid = own->tensors[UDUMP_LORA_MID],
                       *alpha = own->tensors[UDUMP_LORA_ALPHA], *any = down ? down : up;
    if (!down || !up)
        return fail_at(file, any ? any->name : mid->name, UDUMP_ERROR_FORMAT, "the layer lacks a tensor", "its down and its up",
            down     ? "only its down"
                : up ? "only its up"
                     : "only its mid",
            error);
    if ((down->rank != 2 && down->rank != 4) || down->shape[0] < 1 || down->shape[0] > RANK_MOST)
        return fail_shape(file, down, "tensor has the wrong shape", "[rank, in] or [rank, in, k, k], a rank from 1 to 16384", error);
    char expected[64];
    snprintf(expected, sizeof expected, "[out, %d] or [out, %d, 1, 1]", (int)down->shape[0], (int)down->shape[0]);
    if ((up->rank != 2 && up->rank != 4) || up->shape[1] != down->shape[0] || !pointwise(up))
        return fail_shape(file, up, "tensor has the wrong shape", expected, error);
    snprintf(expected, sizeof expected, "[%d, %d, k, k]", (int)down->shape[0], (int)down->shape[0]);
    if (mid && (mid->rank != 4 || mid->shape[0] != down->shape[0] || mid->shape[1] != down->shape[0]))
        return fail_shape(file, mid, "tensor has the wrong shape", expected, error);
    if (mid && !pointwise(down)) return fail_shape(file, down, "tensor has the wrong shape", "[rank, in, 1, 1], as the layer has a mid", error);
    if (alpha && alpha->size_bytes != udump_dtype_bytes(alpha->dtype)) return fail_shape(file, alpha, "alpha is not one number", "[]", error);
    return UDUMP_OK;
}

/* The first layer whose strength only PEFT's adapter_config.json tells: its save_pretrained writes no alpha into the tensors' file. */
static const layer *find_peft(const udump_lora_file *file) {
    static const char prefix[] = "base_model.";
    for (int64_t i = 0; i < file->count; i++) {
        const layer *own = &file->layers[i];
        bool said = own->tensors[UDUMP_LORA_ALPHA] || own->whole_alpha;
        if (!said && strncmp(own->tensors[UDUMP_LORA_DOWN]->name, prefix, sizeof prefix - 1) == 0) return own;
    }
    return NULL;
}

static udump_status read_peft_config(udump_lora_file *file, udump_error *error) {
    static const char name[] = "adapter_config.json";
    const layer *own = file->metadata ? NULL : find_peft(file);
    if (!own) return UDUMP_OK;
    const char *slash = strrchr(file->path, '/');
    char *folder = slash ? strndup(file->path, (size_t)(slash - file->path) + 1) : strdup(".");
    if (!folder) return udump_fail_memory(error, file->path, strlen(file->path));
    udump_status status = udump_config_read(folder, name, true, &file->metadata, error);
    free(folder);
    if (status || file->metadata) return status;
    return fail_at(file, own->tensors[UDUMP_LORA_DOWN]->name, UDUMP_ERROR_FORMAT, "no alpha: PEFT has it in another file",
        "adapter_config.json in the same folder", NULL, error);
}

static udump_status open_layers(udump_lora_file *file, udump_error *error) {
    udump_status status = udump_weights_open_tensors(file->path, &file->weights, error);
    const char *metadata = status ? NULL : udump_weights_metadata(file->weights, "lora_adapter_metadata");
    if (metadata) status = udump_lora_metadata_parse(metadata, file->path, &file->metadata, error);
    if (!status) status = group(file, error);
    if (!status && !file->count) status = fail_at(file, NULL, UDUMP_ERROR_FORMAT, "no LoRA: the file has no layers", NULL, NULL, error);
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

/* ---- merging */

/* The family that the file seems to be for: of names that no other has, else of the width of the contexts; "" if nothing says. */
static void guess_family(const udump_lora_file *file, char hint[64]) {
    static const struct {
        int64_t width;
        const char *family;
    } widths[] = { { 768, "SD 1" }, { 1024, "SD 2" }, { 2048, "SDXL" } };
    const char *family = NULL;
    for (int64_t i = 0; i < file->count && !family; i++) family = udump_lora_family(file->layers[i].tensors[UDUMP_LORA_DOWN]->name);
    for (int64_t i = 0; i < file->count && !family; i++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            if (strstr(file->layers[i].name, ".attn2.to_k") && file->layers[i].tensors[UDUMP_LORA_DOWN]->shape[1] == widths[w].width)
                family = widths[w].family;
    snprintf(hint, 64, "%s%s", family ? "; the LoRA seems to be for " : "", family ? family : "");
}

static udump_status check_fit(const udump_lora_file *file, const layer *own, int rank, const int64_t *shape, udump_error *error) {
    const udump_weight *down = own->tensors[UDUMP_LORA_DOWN], *up = own->tensors[UDUMP_LORA_UP], *mid = own->tensors[UDUMP_LORA_MID];
    const udump_weight *kernel = mid ? mid : down;
    bool fits = up->shape[0] == shape[0] && down->shape[1] == shape[1];
    for (int i = 2; i < 4; i++) fits &= (kernel->rank > i ? kernel->shape[i] : 1) == (rank > i ? shape[i] : 1);
    if (fits) return UDUMP_OK;
    int64_t made[6] = { up->shape[0], down->shape[1], kernel->shape[2], kernel->shape[3] };
    char hint[64], what[160], expected[64], found[64];
    guess_family(file, hint);
    snprintf(what, sizeof what, "it does not fit the model's layer%s", hint);
    udump_shape_format(expected, sizeof expected, rank, shape);
    udump_shape_format(found, sizeof found, kernel->rank, made);
    return fail_at(file, down->name, UDUMP_ERROR_WEIGHTS, what, expected, found, error);
}

static udump_status read_values(udump_lora_file *file, const udump_weight *weight, float **values, udump_error *error) {
    size_t bytes = (size_t)(weight->size_bytes / udump_dtype_bytes(weight->dtype)) * sizeof **values;
    int64_t bad = 0;
    *values = malloc(bytes ? bytes : 1);
    if (!*values) return udump_fail_memory(error, file->path, bytes);
    udump_status status = udump_weights_read(file->weights, weight, *values, 1, &bad, error);
    if (status || !bad) return status;
    return fail_at(file, weight->name, UDUMP_ERROR_FORMAT, "values are NaN or infinite", NULL, NULL, error);
}

/* values [out, columns] += scale * up [out, rank] . down [rank, columns] */
typedef struct product {
    float *values;
    const float *up, *down;
    int64_t rank, columns;
    float scale;
} product;

enum { TILE_COLUMNS = 1024 }; /* sums of one tile stay in the first cache */

/* sums [count] += factors [rank] . down [rank, columns], the first count of them; four rows at a time, so that sums are touched less. */
static void add_products(float *restrict sums, const float *factors, const float *down, int64_t rank, int64_t columns, int64_t count) {
    int64_t r = 0;
    for (; r + 4 <= rank; r += 4) {
        const float a = factors[r], b = factors[r + 1], c = factors[r + 2], d = factors[r + 3];
        const float *first = down + r * columns, *second = first + columns, *third = second + columns, *fourth = third + columns;
        for (int64_t i = 0; i < count; i++) sums[i] += a * first[i] + b * second[i] + (c * third[i] + d * fourth[i]);
    }
    for (; r < rank; r++)
        for (int64_t i = 0; i < count; i++) sums[i] += factors[r] * down[r * columns + i];
}

static void add_rows(void *arg, int64_t begin, int64_t end, int thread) {
    const product *p = arg;
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        for (int64_t first = 0; first < p->columns; first += TILE_COLUMNS) {
            float sums[TILE_COLUMNS] = { 0 }, *out = p->values + row * p->columns + first;
            int64_t count = p->columns - first < TILE_COLUMNS ? p->columns - first : TILE_COLUMNS;
            add_products(sums, p->up + row * p->rank, p->down + first, p->rank, p->columns, count);
            for (int64_t i = 0; i < count; i++) out[i] += p->scale * sums[i];
        }
}

/* What stands for down with Tucker's mid: [rank, in, k * k], the sum over m of mid [rank, m, k * k] * down [m, in]. NULL without memory. */
static float *join_mid(const float *mid, const float *down, int64_t rank, int64_t in, int64_t area) {
    size_t count;
    if (!udump_size_mul((size_t)(rank * in), (size_t)area * sizeof(float), &count)) return NULL;
    float *joined = calloc(1, count ? count : 1);
    for (int64_t n = 0; joined && n < rank; n++)
        for (int64_t m = 0; m < rank; m++)
            for (int64_t i = 0; i < in; i++)
                for (int64_t k = 0; k < area; k++) joined[(n * in + i) * area + k] += mid[(n * rank + m) * area + k] * down[m * in + i];
    return joined;
}

/* down and mid as one; *down is replaced. */
static udump_status apply_mid(udump_lora_file *file, const layer *own, int64_t area, float **down, udump_error *error) {
    const udump_weight *weight = own->tensors[UDUMP_LORA_DOWN];
    float *mid = NULL;
    if (!own->tensors[UDUMP_LORA_MID]) return UDUMP_OK;
    udump_status status = read_values(file, own->tensors[UDUMP_LORA_MID], &mid, error);
    float *joined = status ? NULL : join_mid(mid, *down, weight->shape[0], weight->shape[1], area);
    if (!status && !joined) status = udump_fail_memory(error, file->path, weight->size_bytes);
    free(mid);
    if (status) return status;
    free(*down);
    *down = joined;
    return UDUMP_OK;
}

/* An alpha that is a tensor; false: there is none. */
static bool read_alpha(udump_lora_file *file, const layer *own, double *alpha, udump_status *status, udump_error *error) {
    float *value = NULL;
    if (own->whole_alpha) *status = udump_weights_read_number(file->weights, own->whole_alpha, alpha, error);
    else if (own->tensors[UDUMP_LORA_ALPHA]) *status = read_values(file, own->tensors[UDUMP_LORA_ALPHA], &value, error);
    if (value && !*status) *alpha = *value;
    free(value);
    if (!*status && !isfinite(*alpha))
        *status = fail_at(file, own->whole_alpha->file_name, UDUMP_ERROR_FORMAT, "values are NaN or infinite", NULL, NULL, error);
    return own->whole_alpha || own->tensors[UDUMP_LORA_ALPHA];
}

/* factor * alpha / rank, alpha from its tensor or else from the metadata. */
static udump_status read_scale(udump_lora_file *file, const layer *own, double factor, float *scale, udump_error *error) {
    const udump_weight *down = own->tensors[UDUMP_LORA_DOWN];
    double alpha = 0, own_scale = 1;
    udump_status status = UDUMP_OK;
    if (read_alpha(file, own, &alpha, &status, error)) own_scale = alpha / (double)down->shape[0];
    else status = udump_lora_metadata_scale(file->metadata, file->path, down->name, down->shape[0], &own_scale, error);
    *scale = (float)(factor * own_scale);
    return status;
}

static udump_status merge_layer(
    udump_lora_file *file, const layer *own, int rank, const int64_t *shape, double factor, int threads, float *values, udump_error *error) {
    int64_t area = rank > 2 ? shape[2] * shape[3] : 1;
    product p = { .values = values, .rank = own->tensors[UDUMP_LORA_DOWN]->shape[0], .columns = shape[1] * area };
    float *up = NULL, *down = NULL;
    udump_status status = read_scale(file, own, factor, &p.scale, error);
    if (!status) status = read_values(file, own->tensors[UDUMP_LORA_UP], &up, error);
    if (!status) status = read_values(file, own->tensors[UDUMP_LORA_DOWN], &down, error);
    if (!status) status = apply_mid(file, own, area, &down, error);
    if (!status) {
        p.up = up;
        p.down = down;
        udump_parallel_for(udump_threads_worth(threads, shape[0] * p.rank * p.columns), shape[0], add_rows, &p);
    }
    free(up);
    free(down);
    return status;
}

static int compare_name(const void *name, const void *of) { return strcmp(name, ((const layer *)of)->name); }

udump_status udump_lora_merge(
    udump_lora_file *file, const char *name, int rank, const int64_t *shape, double factor, int threads, float *values, udump_error *error) {
    layer *own = bsearch(name, file->layers, (size_t)file->count, sizeof *file->layers, compare_name);
    if (!own) return UDUMP_OK;
    udump_status status = check_fit(file, own, rank, shape, error);
    own->used = true;
    return status || factor == 0 ? status : merge_layer(file, own, rank, shape, factor, threads, values, error);
}

/* *found: whether the checkpoint has such a layer. */
static udump_status find_layer(const udump_weights *checkpoint, const layer *own, bool *found, udump_error *error) {
    char *name;
    if (asprintf(&name, "%s.weight", own->name) < 0) return udump_fail_memory(error, "LoRA", strlen(own->name));
    *found = udump_weights_find(checkpoint, name) != NULL;
    free(name);
    return UDUMP_OK;
}

udump_status udump_lora_check_used(const udump_lora_file *file, const udump_weights *checkpoint, udump_error *error) {
    udump_status status = udump_weights_check(file->weights, error);
    for (int64_t i = 0; !status && i < file->count; i++) {
        bool found = file->layers[i].used;
        status = found ? UDUMP_OK : find_layer(checkpoint, &file->layers[i], &found, error);
        if (status) return status;
        if (found) continue;
        char hint[64], what[160];
        guess_family(file, hint);
        snprintf(what, sizeof what, "the model has no such layer%s", hint);
        return fail_at(file, file->layers[i].tensors[UDUMP_LORA_DOWN]->name, UDUMP_ERROR_WEIGHTS, what, NULL, NULL, error);
    }
    return status;
}
