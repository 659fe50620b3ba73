/* Tensors' values. */
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
