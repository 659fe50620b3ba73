/* Tensors' values. */
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/status.h"
#include "weights/opened.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian, and their bytes are used as they are");

enum { CHUNK_ELEMENTS = 1 << 20 };

static int64_t count_bad(const float *values, int64_t count) {
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad += (udump_f32_to_bits(values[i]) & 0x7F800000u) == 0x7F800000u;
    return bad;
}

/* The tensor as it lies in its file. */
static udump_status read_stored(udump_weights *weights, const udump_weight *weight, float *destination, int64_t *bad, udump_error *error) {
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
    *bad = found;
    return status;
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

udump_status udump_weights_read(udump_weights *weights, const udump_weight *weight, float *destination, int64_t *bad, udump_error *error) {
    int64_t found = 0;
    udump_status status = read_stored(weights, weight, destination, &found, error);
    if (status == UDUMP_OK && weight->transposed)
        status = turn_over(destination, weight->shape[0], weight->shape[1], weight->file_name, error);
    if (status != UDUMP_OK) return status;
    if (bad) *bad = found;
    weights->items[weight - weights->items].used = true;
    return UDUMP_OK;
}
