/* The matrices that a layer's difference is made of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"
#include "weights/lora_file.h"

udump_lora_matrix udump_lora_matrix_of(const udump_lora_file *file, const udump_lora_layer *layer, int index) {
    const udump_weight *const *tensors = layer->tensors + index * UDUMP_LORA_SECOND;
    return (udump_lora_matrix){ .file = file,
        .whole = tensors[UDUMP_LORA_WHOLE],
        .up = tensors[UDUMP_LORA_UP],
        .down = tensors[UDUMP_LORA_DOWN],
        .mid = tensors[UDUMP_LORA_MID],
        .turned = layer->kind != UDUMP_LORA_LOW_RANK && tensors[UDUMP_LORA_MID] };
}

/* ---- sizes */

/* The product of all sizes from `first` on. */
static int64_t size_from(const udump_weight *weight, int first) { return udump_shape_count(weight->rank - first, weight->shape + first); }

int64_t udump_lora_matrix_rows(const udump_lora_matrix *m) {
    if (m->whole) return m->whole->rank ? m->whole->shape[0] : 1;
    return m->up->shape[m->turned];
}

int64_t udump_lora_matrix_columns(const udump_lora_matrix *m) {
    if (m->whole) return size_from(m->whole, 1);
    return size_from(m->down, 1) * (m->mid ? size_from(m->mid, 2) : 1);
}

int64_t udump_lora_matrix_rank(const udump_lora_matrix *m) { return m->whole ? 0 : m->down->shape[0]; }

/* Sizes beyond the rank that are 1, as a 1x1 convolution's are. */
static bool pointwise(const udump_weight *weight) { return size_from(weight, 2) == 1; }

/* So many that two matrices' may be multiplied. */
static udump_status check_columns(const udump_lora_matrix *m, const udump_weight *weight, udump_error *error) {
    if (udump_lora_matrix_columns(m) <= UDUMP_LORA_SIZE_MOST) return UDUMP_OK;
    return udump_lora_fail_shape(m->file, weight, "tensor has the wrong shape", "at most 1048576 columns", error);
}

udump_status udump_lora_matrix_check(const udump_lora_matrix *m, const udump_lora_layer *layer, udump_error *error) {
    const udump_weight *down = m->down, *up = m->up, *mid = m->mid;
    static const char wrong[] = "tensor has the wrong shape";
    char expected[64];
    if (m->whole && (down || up || mid))
        return udump_lora_fail_shape(m->file, m->whole, "a matrix, and what it would be made of", NULL, error);
    if (m->whole) return check_columns(m, m->whole, error);
    if (!down || !up)
        return udump_lora_fail(m->file, layer->tensor, UDUMP_ERROR_FORMAT, "the layer lacks a tensor", "its down and its up",
            down     ? "only its down"
                : up ? "only its up"
                     : "neither",
            error);
    if ((down->rank != 2 && down->rank != 4) || down->shape[0] < 1 || down->shape[0] > UDUMP_LORA_RANK_MOST)
        return udump_lora_fail_shape(m->file, down, wrong, "[rank, in] or [rank, in, k, k], a rank from 1 to 16384", error);
    int rank = (int)down->shape[0];
    if (m->turned) snprintf(expected, sizeof expected, "[%d, out]", rank);
    else snprintf(expected, sizeof expected, "[out, %d] or [out, %d, 1, 1]", rank, rank);
    if ((up->rank != 2 && up->rank != 4) || up->shape[!m->turned] != rank || !pointwise(up))
        return udump_lora_fail_shape(m->file, up, wrong, expected, error);
    snprintf(expected, sizeof expected, "[%d, %d, k, k]", rank, rank);
    if (mid && (mid->rank != 4 || mid->shape[0] != rank || mid->shape[1] != rank))
        return udump_lora_fail_shape(m->file, mid, wrong, expected, error);
    if (mid && !pointwise(down)) return udump_lora_fail_shape(m->file, down, wrong, "[rank, in, 1, 1], as the layer has a mid", error);
    return check_columns(m, down, error);
}

/* ---- products */

/* values [rows, columns] += scale * up [rows, rank] . down [rank, columns] */
typedef struct product {
    float *values;
    const float *up, *down;
    int64_t rank, columns;
    float scale;
} product;

enum {
    TILE_COLUMNS = 1024
}; /* sums of one tile stay in the first cache */

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

static udump_status no_memory(const udump_lora_matrix *m, int64_t values, udump_error *error) {
    return udump_fail_memory(error, m->file->path, (size_t)values * sizeof(float));
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

/* down and mid as one. */
static udump_status read_down(const udump_lora_matrix *m, float **down, udump_error *error) {
    float *mid = NULL;
    udump_status status = udump_lora_read(m->file, m->down, down, error);
    if (!m->mid || status) return status;
    status = udump_lora_read(m->file, m->mid, &mid, error);
    float *joined = status ? NULL : join_mid(mid, *down, m->down->shape[0], m->down->shape[1], size_from(m->mid, 2));
    if (!status && !joined) status = no_memory(m, m->down->shape[0] * udump_lora_matrix_columns(m), error);
    free(mid);
    free(*down);
    *down = joined;
    return status;
}

/* [rows, rank], whichever way it lies. */
static udump_status read_up(const udump_lora_matrix *m, float **up, udump_error *error) {
    int64_t rows = udump_lora_matrix_rows(m), rank = udump_lora_matrix_rank(m);
    float *stored = NULL;
    udump_status status = udump_lora_read(m->file, m->up, &stored, error);
    *up = stored;
    if (status || !m->turned) return status;
    *up = malloc((size_t)(rows * rank) * sizeof **up + 1);
    if (!*up) status = no_memory(m, rows * rank, error);
    for (int64_t row = 0; !status && row < rows; row++)
        for (int64_t r = 0; r < rank; r++) (*up)[row * rank + r] = stored[r * rows + row];
    free(stored);
    return status;
}

static udump_status add_product(const udump_lora_matrix *m, float scale, int threads, float *values, udump_error *error) {
    int64_t rows = udump_lora_matrix_rows(m), columns = udump_lora_matrix_columns(m), rank = udump_lora_matrix_rank(m);
    float *up = NULL, *down = NULL;
    udump_status status = read_up(m, &up, error);
    if (!status) status = read_down(m, &down, error);
    product p = { .values = values, .up = up, .down = down, .rank = rank, .columns = columns, .scale = scale };
    if (!status) udump_parallel_for(udump_threads_worth(threads, rows * rank * columns), rows, add_rows, &p);
    free(up);
    free(down);
    return status;
}

udump_status udump_lora_matrix_add(const udump_lora_matrix *m, float scale, int threads, float *values, udump_error *error) {
    if (!m->whole) return add_product(m, scale, threads, values, error);
    int64_t count = size_from(m->whole, 0);
    float *whole = NULL;
    udump_status status = udump_lora_read(m->file, m->whole, &whole, error);
    for (int64_t i = 0; !status && i < count; i++) values[i] += scale * whole[i];
    free(whole);
    return status;
}

udump_status udump_lora_matrix_make(const udump_lora_matrix *m, int threads, float **values, udump_error *error) {
    *values = NULL;
    if (m->whole) return udump_lora_read(m->file, m->whole, values, error);
    int64_t count = udump_lora_matrix_rows(m) * udump_lora_matrix_columns(m);
    *values = calloc((size_t)count + 1, sizeof **values);
    return *values ? add_product(m, 1, threads, *values, error) : no_memory(m, count, error);
}
