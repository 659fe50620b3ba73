/* A layer's difference, added to its weight: a low-rank product (Hu et al. 2021), or a whole matrix; the product of two matrices element by
 * element (LoHa: Hyeon-Woo et al. 2021, FedPara) or Kronecker's (LoKr: Yeh et al. 2023), as LyCORIS has them; with DoRA (Liu et al. 2024) the
 * sum's columns or rows get a length of their own. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parallel.h"
#include "base/status.h"
#include "weights/lora_file.h"
#include "weights/lora_metadata.h"

/* What a layer is merged with. */
typedef struct merging {
    const udump_lora_file *file;
    const udump_lora_layer *layer;
    int64_t rows, columns, inputs, area; /* the weight's: [out, in * k * k], in, k * k */
    int threads;
    udump_error *error;
} merging;

/* ---- whether it fits */

/* The family that the file seems to be for: of names that no other has, else of the width of the contexts; "" if nothing says. */
static void guess_family(const udump_lora_file *file, char hint[64]) {
    static const struct {
        int64_t width;
        const char *family;
    } widths[] = { { 768, "SD 1" }, { 1024, "SD 2" }, { 2048, "SDXL" } };
    const char *family = NULL;
    for (int64_t i = 0; i < file->count && !family; i++) family = udump_lora_family(file->layers[i].tensor);
    for (int64_t i = 0; i < file->count && !family; i++) {
        const udump_weight *down = file->layers[i].tensors[UDUMP_LORA_DOWN];
        for (size_t w = 0; down && w < sizeof widths / sizeof *widths; w++)
            if (strstr(file->layers[i].name, ".attn2.to_k") && down->shape[1] == widths[w].width) family = widths[w].family;
    }
    snprintf(hint, 64, "%s%s", family ? "; the LoRA seems to be for " : "", family ? family : "");
}

/* The shape of the layer that the difference is for, as far as it tells. Returns its rank. */
static int shape_of(const udump_lora_file *file, const udump_lora_layer *layer, int64_t shape[6]) {
    udump_lora_matrix first = udump_lora_matrix_of(file, layer, 0), second = udump_lora_matrix_of(file, layer, 1);
    const udump_weight *kernel = first.mid ? first.mid : first.whole ? first.whole : first.down;
    bool kron = layer->kind == UDUMP_LORA_KRONECKER;
    shape[0] = udump_lora_matrix_rows(&first) * (kron ? udump_lora_matrix_rows(&second) : 1);
    shape[1] = udump_lora_matrix_columns(&first) * (kron ? udump_lora_matrix_columns(&second) : 1);
    if (kron) return 2;
    if (kernel == first.whole) memcpy(shape, kernel->shape, sizeof kernel->shape);
    else if (kernel->rank > 2) memcpy(shape + 2, kernel->shape + 2, 2 * sizeof *shape), shape[1] /= kernel->shape[2] * kernel->shape[3];
    return kernel->rank;
}

/* Kernels are to be the same where both have one; LyCORIS may lay a convolution flat. */
static bool fits(int rank, const int64_t *shape, int made_rank, const int64_t *made) {
    if (made[0] != shape[0] || udump_shape_count(made_rank, made) != udump_shape_count(rank, shape)) return false;
    for (int i = 1; rank == 4 && made_rank == 4 && i < 4; i++)
        if (made[i] != shape[i]) return false;
    return true;
}

static udump_status check_fit(
    const udump_lora_file *file, const udump_lora_layer *layer, int rank, const int64_t *shape, udump_error *error) {
    int64_t made[6] = { 0 };
    int made_rank = shape_of(file, layer, made);
    if (fits(rank, shape, made_rank, made)) return UDUMP_OK;
    char hint[64], what[160], expected[64], found[64];
    guess_family(file, hint);
    snprintf(what, sizeof what, "it does not fit the model's layer%s", hint);
    udump_shape_format(expected, sizeof expected, rank, shape);
    udump_shape_format(found, sizeof found, made_rank, made);
    return udump_lora_fail(file, layer->tensor, UDUMP_ERROR_WEIGHTS, what, expected, found, error);
}

/* ---- how strong */

/* An alpha that is a tensor; false: there is none. */
static bool read_alpha(const merging *m, double *alpha, udump_status *status) {
    const udump_weight *tensor = m->layer->tensors[UDUMP_LORA_ALPHA];
    const udump_skipped *whole = m->layer->whole_alpha;
    float *value = NULL;
    if (whole) *status = udump_weights_read_number(m->file->weights, whole, alpha, m->error);
    else if (tensor) *status = udump_lora_read(m->file, tensor, &value, m->error);
    if (value && !*status) *alpha = *value;
    free(value);
    return whole || tensor;
}

/* alpha / rank, alpha from its tensor or else from the metadata; 1 where there is no rank. Of LoKr's two matrices the second's goes first. */
static udump_status read_scale(const merging *m, double *scale) {
    udump_lora_matrix first = udump_lora_matrix_of(m->file, m->layer, 0), second = udump_lora_matrix_of(m->file, m->layer, 1);
    int64_t rank = m->layer->kind == UDUMP_LORA_KRONECKER ? udump_lora_matrix_rank(&second) : 0;
    if (!rank) rank = udump_lora_matrix_rank(&first);
    double alpha = 0;
    udump_status status = UDUMP_OK;
    *scale = 1;
    if (!rank) return UDUMP_OK;
    if (read_alpha(m, &alpha, &status)) *scale = alpha / (double)rank;
    else status = udump_lora_metadata_scale(m->file->metadata, m->file->path, m->layer->tensor, rank, scale, m->error);
    return status;
}

/* ---- the difference */

/* values [rows, columns] += scale * what two matrices make. */
typedef struct joining {
    float *values;
    const float *first, *second;
    int64_t columns; /* of the values */
    int64_t second_rows, second_columns; /* Kronecker's */
    float scale;
} joining;

static void add_hadamard(void *arg, int64_t begin, int64_t end, int thread) {
    const joining *j = arg;
    (void)thread;
    for (int64_t i = begin * j->columns; i < end * j->columns; i++) j->values[i] += j->scale * j->first[i] * j->second[i];
}

static void add_kronecker(void *arg, int64_t begin, int64_t end, int thread) {
    const joining *j = arg;
    int64_t wide = j->second_columns, first_columns = j->columns / (wide ? wide : 1);
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const float *factors = j->first + row / j->second_rows * first_columns, *from = j->second + row % j->second_rows * wide;
        float *to = j->values + row * j->columns;
        for (int64_t f = 0; f < first_columns; f++)
            for (int64_t i = 0; i < wide; i++) to[f * wide + i] += j->scale * factors[f] * from[i];
    }
}

static udump_status add_joined(const merging *m, float scale, float *values) {
    udump_lora_matrix first = udump_lora_matrix_of(m->file, m->layer, 0), second = udump_lora_matrix_of(m->file, m->layer, 1);
    float *a = NULL, *b = NULL;
    udump_status status = udump_lora_matrix_make(&first, m->threads, &a, m->error);
    if (!status) status = udump_lora_matrix_make(&second, m->threads, &b, m->error);
    joining j = { .values = values,
        .first = a,
        .second = b,
        .columns = m->columns,
        .second_rows = udump_lora_matrix_rows(&second),
        .second_columns = udump_lora_matrix_columns(&second),
        .scale = scale };
    int threads = udump_threads_worth(m->threads, m->rows * m->columns);
    if (!status) udump_parallel_for(threads, m->rows, m->layer->kind == UDUMP_LORA_KRONECKER ? add_kronecker : add_hadamard, &j);
    free(a);
    free(b);
    return status;
}

static udump_status add_difference(const merging *m, double scale, float *values) {
    udump_lora_matrix first = udump_lora_matrix_of(m->file, m->layer, 0);
    if (m->layer->kind == UDUMP_LORA_HADAMARD || m->layer->kind == UDUMP_LORA_KRONECKER) return add_joined(m, (float)scale, values);
    return udump_lora_matrix_add(&first, (float)scale, m->threads, values, m->error);
}

/* ---- DoRA */

/* The lengths that the sum's rows (one for each output) or columns (one for each input) are to have; NULL: none. */
static const udump_weight *magnitude_of(const merging *m, bool *by_row) {
    const udump_weight *own = m->layer->tensors[UDUMP_LORA_MAGNITUDE], *peft = m->layer->tensors[UDUMP_LORA_ROW_MAGNITUDE];
    *by_row = peft || (own && own->rank && own->shape[0] == m->rows && udump_shape_count(own->rank, own->shape) == m->rows);
    return peft ? peft : own;
}

static udump_status check_magnitude(const merging *m, const udump_weight *magnitude, bool by_row) {
    int64_t count = by_row ? m->rows : m->inputs;
    char expected[64];
    if (udump_shape_count(magnitude->rank, magnitude->shape) == count) return UDUMP_OK;
    snprintf(expected, sizeof expected, "%lld values, one for each %s", (long long)count, by_row ? "output" : "input");
    return udump_lora_fail_shape(m->file, magnitude, "tensor has the wrong shape", expected, m->error);
}

/* The sum of weight and difference, on its way to the weight. */
typedef struct lengthening {
    const merging *m;
    bool by_row;
    const float *sum;
    float *lengths; /* [rows or inputs]: asked for, then what each is multiplied by */
    double *squares; /* [rows or inputs] */
    float factor;
    float *weight;
} lengthening;

/* Of rows, or of inputs in all rows: each in the same order, however many threads there are. */
static void add_squares(void *arg, int64_t begin, int64_t end, int thread) {
    const lengthening *l = arg;
    const merging *m = l->m;
    int64_t first_row = l->by_row ? begin : 0, last_row = l->by_row ? end : m->rows;
    int64_t first = l->by_row ? 0 : begin, last = l->by_row ? m->inputs : end;
    (void)thread;
    for (int64_t row = first_row; row < last_row; row++)
        for (int64_t input = first; input < last; input++) {
            const float *at = l->sum + row * m->columns + input * m->area;
            double squares = 0;
            for (int64_t k = 0; k < m->area; k++) squares += (double)at[k] * at[k];
            l->squares[l->by_row ? row : input] += squares;
        }
}

/* weight += factor * (sum with its lengths - weight), the webui's reading of a weight other than 1. */
static void blend(void *arg, int64_t begin, int64_t end, int thread) {
    const lengthening *l = arg;
    const merging *m = l->m;
    (void)thread;
    for (int64_t row = begin; row < end; row++)
        for (int64_t input = 0; input < m->inputs; input++) {
            int64_t at = row * m->columns + input * m->area;
            float length = l->lengths[l->by_row ? row : input];
            for (int64_t k = at; k < at + m->area; k++) l->weight[k] += l->factor * (length * l->sum[k] - l->weight[k]);
        }
}

static void set_lengths(lengthening *l, int64_t count) {
    const merging *m = l->m;
    int threads = udump_threads_worth(m->threads, m->rows * m->columns);
    udump_parallel_for(threads, count, add_squares, l);
    for (int64_t i = 0; i < count; i++) l->lengths[i] = (float)(l->lengths[i] / (sqrt(l->squares[i]) + FLT_EPSILON));
    udump_parallel_for(threads, m->rows, blend, l);
}

static udump_status merge_lengths(
    const merging *m, const udump_weight *magnitude, bool by_row, double scale, double factor, float *weight) {
    int64_t count = m->rows * m->columns, lengths = udump_shape_count(magnitude->rank, magnitude->shape);
    float *sum = malloc((size_t)count * sizeof *sum + 1);
    lengthening l = { .m = m, .by_row = by_row, .sum = sum, .factor = (float)factor, .weight = weight };
    l.squares = calloc((size_t)lengths + 1, sizeof *l.squares);
    udump_status status = sum && l.squares ? UDUMP_OK : udump_fail_memory(m->error, m->file->path, (size_t)count * sizeof *sum);
    if (!status) memcpy(sum, weight, (size_t)count * sizeof *sum);
    if (!status) status = add_difference(m, scale, sum);
    if (!status) status = udump_lora_read(m->file, magnitude, &l.lengths, m->error);
    if (!status) set_lengths(&l, lengths);
    free(sum);
    free(l.squares);
    free(l.lengths);
    return status;
}

/* ---- */

static udump_status merge_layer(const merging *m, double factor, float *values) {
    double scale;
    bool by_row;
    const udump_weight *magnitude = magnitude_of(m, &by_row);
    udump_status status = read_scale(m, &scale);
    if (!status && magnitude) status = check_magnitude(m, magnitude, by_row);
    if (status) return status;
    return magnitude ? merge_lengths(m, magnitude, by_row, scale, factor, values) : add_difference(m, factor * scale, values);
}

static int compare_name(const void *name, const void *of) { return strcmp(name, ((const udump_lora_layer *)of)->name); }

static udump_lora_layer *find(udump_lora_file *file, const char *name) {
    return bsearch(name, file->layers, (size_t)file->count, sizeof *file->layers, compare_name);
}

udump_status udump_lora_merge(udump_lora_file *file, const char *name, int rank, const int64_t *shape, double factor, int threads,
    float *values, udump_error *error) {
    udump_lora_layer *layer = find(file, name);
    if (!layer) return UDUMP_OK;
    layer->used = true;
    udump_status status = check_fit(file, layer, rank, shape, error);
    int64_t columns = udump_shape_count(rank - 1, shape + 1), inputs = rank > 1 ? shape[1] : 1;
    merging m = { .file = file,
        .layer = layer,
        .rows = shape[0],
        .columns = columns,
        .inputs = inputs,
        .area = columns / inputs,
        .threads = threads,
        .error = error };
    return status || factor == 0 ? status : merge_layer(&m, factor, values);
}

udump_status udump_lora_merge_bias(
    udump_lora_file *file, const char *name, int64_t count, double factor, float *values, udump_error *error) {
    udump_lora_layer *layer = find(file, name);
    const udump_weight *bias = layer ? layer->tensors[UDUMP_LORA_BIAS] : NULL;
    char expected[64];
    if (!bias) return UDUMP_OK;
    layer->bias_used = true;
    snprintf(expected, sizeof expected, "[%lld]", (long long)count);
    if (udump_shape_count(bias->rank, bias->shape) != count)
        return udump_lora_fail_shape(file, bias, "it does not fit the model's layer", expected, error);
    float *difference = NULL;
    udump_status status = udump_lora_read(file, bias, &difference, error);
    for (int64_t i = 0; !status && i < count; i++) values[i] += (float)factor * difference[i];
    free(difference);
    return status;
}

/* ---- what is left over */

/* *found: whether the checkpoint has such a layer. */
static udump_status find_layer(const udump_weights *checkpoint, const udump_lora_layer *layer, bool *found, udump_error *error) {
    char *name;
    if (asprintf(&name, "%s.weight", layer->name) < 0) return udump_fail_memory(error, "LoRA", strlen(layer->name));
    *found = udump_weights_find(checkpoint, name) != NULL;
    free(name);
    return UDUMP_OK;
}

udump_status udump_lora_check_used(const udump_lora_file *file, const udump_weights *checkpoint, udump_error *error) {
    udump_status status = udump_weights_check(file->weights, error);
    for (int64_t i = 0; !status && i < file->count; i++) {
        const udump_lora_layer *layer = &file->layers[i];
        const udump_weight *bias = layer->tensors[UDUMP_LORA_BIAS];
        bool found = layer->used;
        if (found && bias && !layer->bias_used)
            return udump_lora_fail(file, bias->name, UDUMP_ERROR_WEIGHTS, "the model's layer has no bias", NULL, NULL, error);
        if (!found) status = find_layer(checkpoint, layer, &found, error);
        if (status || found) continue;
        char hint[64], what[160];
        guess_family(file, hint);
        snprintf(what, sizeof what, "the model has no such layer%s", hint);
        return udump_lora_fail(file, layer->tensor, UDUMP_ERROR_WEIGHTS, what, NULL, NULL, error);
    }
    return status;
}
