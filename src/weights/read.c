/* Tensors' values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/parallel.h"
#include "base/status.h"
#include "weights/opened.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian, and their bytes are used as they are");

enum {
    CHUNK_ELEMENTS = 1 << 15, /* read, converted and checked while they are in the cache */
    READERS_MOST = 16 /* threads */
};

static int64_t count_bad(const float *values, int64_t count) {
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad += (udump_f32_to_bits(values[i]) & 0x7F800000u) == 0x7F800000u;
    return bad;
}

struct reading {
    const udump_weight_file *file;
    const udump_weight *weight;
    float *destination;
    int64_t count;
    struct share { /* [threads] */
        int64_t bad;
        udump_status status;
        udump_error error;
    } shares[READERS_MOST];
};

static void read_range(void *arg, int64_t begin, int64_t end, int thread) { /* of chunks */
    struct reading *r = arg;
    struct share *share = &r->shares[thread];
    udump_dtype dtype = r->weight->dtype;
    int64_t element = (int64_t)udump_dtype_bytes(dtype);
    for (int64_t at = begin; at < end && !share->status; at++) {
        uint16_t halves[CHUNK_ELEMENTS];
        int64_t first = at * CHUNK_ELEMENTS, count = r->count - first < CHUNK_ELEMENTS ? r->count - first : CHUNK_ELEMENTS;
        float *to = r->destination + first;
        void *bytes = dtype == UDUMP_F32 ? (void *)to : halves;
        share->status = udump_weight_file_read(r->file, r->weight->offset_bytes + (uint64_t)(first * element), bytes,
            (size_t)(count * element), r->weight->file_name, &share->error);
        if (share->status) return;
        if (dtype != UDUMP_F32) udump_convert_to_f32(to, halves, dtype, count);
        share->bad += count_bad(to, count);
    }
}

/* The tensor as it lies in its file. */
static udump_status read_stored(
    const udump_weights *weights, const udump_weight *weight, float *destination, int threads, int64_t *bad, udump_error *error) {
    struct reading r = { .file = &weights->files[weight->file],
        .weight = weight,
        .destination = destination,
        .count = (int64_t)weight->size_bytes / (int64_t)udump_dtype_bytes(weight->dtype) };
    threads = udump_threads_worth(threads < READERS_MOST ? threads : READERS_MOST, 8 * r.count);
    udump_parallel_for(threads, (r.count + CHUNK_ELEMENTS - 1) / CHUNK_ELEMENTS, read_range, &r);
    *bad = 0;
    for (int i = 0; i < threads; i++) {
        if (r.shares[i].status && error) *error = r.shares[i].error;
        if (r.shares[i].status) return r.shares[i].status;
        *bad += r.shares[i].bad;
    }
    return UDUMP_OK;
}

/* values: [in, out] becomes [out, in]. */
static udump_status turn_over(float *values, int64_t out, int64_t in, const char *name, udump_error *error) {
    size_t bytes = (size_t)out * (size_t)in * sizeof *values;
    float *copy = bytes ? malloc(bytes) : NULL;
    if (bytes && !copy) return udump_fail_memory(error, name, bytes);
    if (bytes) memcpy(copy, values, bytes);
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) values[o * in + i] = copy[i * out + o];
    free(copy);
    return UDUMP_OK;
}

udump_status udump_weights_read(
    udump_weights *weights, const udump_weight *weight, float *destination, int threads, int64_t *bad, udump_error *error) {
    int64_t found = 0;
    udump_status status = read_stored(weights, weight, destination, threads, &found, error);
    if (status == UDUMP_OK && weight->transposed)
        status = turn_over(destination, weight->shape[0], weight->shape[1], weight->file_name, error);
    if (status != UDUMP_OK) return status;
    if (bad) *bad = found;
    return UDUMP_OK;
}

/* A number of one of the types that are no weights'. Returns its bytes, 0 for other types. */
static size_t number_of(const char *dtype_name, const void *bytes, double *value) {
    int64_t wide;
    int32_t middle;
    memcpy(&wide, bytes, sizeof wide);
    memcpy(&middle, bytes, sizeof middle);
    if (strcmp(dtype_name, "I64") == 0) return *value = (double)wide, sizeof wide;
    if (strcmp(dtype_name, "I32") == 0) return *value = middle, sizeof middle;
    if (strcmp(dtype_name, "F64") == 0) return memcpy(value, bytes, sizeof *value), sizeof *value;
    return 0;
}

udump_status udump_weights_read_number(const udump_weights *weights, const udump_skipped *skipped, double *value, udump_error *error) {
    char bytes[8] = { 0 }, place[UDUMP_WEIGHT_PLACE_BYTES];
    const udump_weight_file *file = &weights->files[skipped->file];
    udump_weight_place(place, file->path, skipped->file_name);
    if (skipped->size_bytes != number_of(skipped->dtype_name, bytes, value) || !skipped->size_bytes)
        return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, "not one number of a type that is read",
            "F32, F16, BF16, F64, I64 or I32", skipped->dtype_name);
    udump_status status = udump_weight_file_read(
        file, skipped->offset_bytes, bytes, (size_t)skipped->size_bytes, skipped->file_name, error);
    number_of(skipped->dtype_name, bytes, value);
    if (status || isfinite(*value)) return status;
    return udump_fail(error, UDUMP_ERROR_FORMAT, place, "values are NaN or infinite");
}
