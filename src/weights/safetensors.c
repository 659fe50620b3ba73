#include "weights/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "weights/json.h"

enum { LENGTH_BYTES = 8, DEPTH_LIMIT = 4, MAX_RANK = 6 };

/* The format's element types. */
static const struct {
    const char *name;
    uint64_t bits;
    bool loadable;
    udump_dtype dtype;
} dtypes[] = {
    { "F32", 32, true, UDUMP_F32 }, { "F16", 16, true, UDUMP_F16 }, { "BF16", 16, true, UDUMP_BF16 },
    { .name = "F64", .bits = 64 }, { .name = "C64", .bits = 64 },
    { .name = "I64", .bits = 64 }, { .name = "I32", .bits = 32 }, { .name = "I16", .bits = 16 }, { .name = "I8", .bits = 8 },
    { .name = "U64", .bits = 64 }, { .name = "U32", .bits = 32 }, { .name = "U16", .bits = 16 }, { .name = "U8", .bits = 8 },
    { .name = "BOOL", .bits = 8 }, { .name = "F8_E4M3", .bits = 8 }, { .name = "F8_E5M2", .bits = 8 }, { .name = "F8_E8M0", .bits = 8 },
    { .name = "F8_E4M3FNUZ", .bits = 8 }, { .name = "F8_E5M2FNUZ", .bits = 8 },
    { .name = "F6_E2M3", .bits = 6 }, { .name = "F6_E3M2", .bits = 6 }, { .name = "F4", .bits = 4 },
};

/* What the functions below need to know of the file, and where they report. */
typedef struct reader {
    const char *path;
    uint64_t data_bytes;
    udump_error *error;
} reader;

static udump_status bad(const reader *r, const char *tensor, const char *what, const char *expected, const char *found) {
    char place[UDUMP_WEIGHT_PLACE_BYTES], value[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, r->path, tensor);
    if (found) udump_weight_place(value, found, NULL); /* it may be the file's own text */
    return udump_fail_values(r->error, UDUMP_ERROR_FORMAT, place, what, expected, found ? value : NULL);
}

static udump_status bad_number(const reader *r, const char *tensor, const char *what, const char *expected, const char *before,
    uint64_t found, const char *after) {
    char text[64];
    snprintf(text, sizeof text, "%s%" PRIu64 "%s", before, found, after);
    return bad(r, tensor, what, expected, text);
}

/* *value: a number from 0 to 2^63 - 1. */
static bool natural(const json_t *json, uint64_t *value) {
    if (!json_is_integer(json) || json_integer_value(json) < 0) return false;
    *value = (uint64_t)json_integer_value(json);
    return true;
}

/* A value as it stands in the file, for a message. */
static udump_status bad_value(const reader *r, const char *tensor, const char *what, const char *expected, const json_t *value) {
    char text[96] = "nothing";
    if (value) {
        size_t length = json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
        if (length > sizeof text - 1) snprintf(text, sizeof text, "a value of %zu bytes", length);
        else text[length] = 0;
    }
    return bad(r, tensor, what, expected, text);
}

static udump_status read_dtype(const reader *r, const json_t *info, udump_safetensors_entry *entry, uint64_t *bits) {
    const json_t *value = json_object_get(info, "dtype");
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(name, dtypes[i].name) != 0) continue;
        entry->dtype_name = dtypes[i].name;
        entry->loadable = dtypes[i].loadable;
        entry->dtype = dtypes[i].dtype;
        *bits = dtypes[i].bits;
        return UDUMP_OK;
    }
    return bad_value(r, entry->name, "unknown dtype", "F32, F16, BF16 or another type of the format", value);
}

/* *bits: of one element before, of the tensor after. */
static udump_status read_shape(const reader *r, const json_t *info, udump_safetensors_entry *entry, uint64_t *bits) {
    const json_t *shape = json_object_get(info, "shape");
    if (!json_is_array(shape)) return bad_value(r, entry->name, "malformed shape", "a list of sizes", shape);
    size_t rank = json_array_size(shape);
    if (rank > MAX_RANK) entry->loadable = false;
    if (entry->loadable) entry->rank = (int32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        uint64_t size;
        if (!natural(json_array_get(shape, i), &size)) return bad_value(r, entry->name, "malformed shape", "sizes from 0 on", shape);
        if (__builtin_mul_overflow(*bits, size, bits)) return bad_value(r, entry->name, "the shape overflows", NULL, shape);
        if (entry->loadable) entry->shape[i] = (int64_t)size;
    }
    return *bits % 8 ? bad_value(r, entry->name, "the shape does not fill whole bytes", NULL, shape) : UDUMP_OK;
}

static udump_status read_offsets(const reader *r, const json_t *info, udump_safetensors_entry *entry, uint64_t bits) {
    const json_t *offsets = json_object_get(info, "data_offsets");
    uint64_t begin, end, size = bits / 8;
    if (json_array_size(offsets) != 2 || !natural(json_array_get(offsets, 0), &begin) || !natural(json_array_get(offsets, 1), &end))
        return bad_value(r, entry->name, "malformed data_offsets", "two offsets from 0 on", offsets);
    if (begin > end) return bad_value(r, entry->name, "data_offsets end before they begin", NULL, offsets);
    if (end > r->data_bytes) {
        char expected[96];
        snprintf(expected, sizeof expected, "data_offsets within the file's %" PRIu64 " bytes of data", r->data_bytes);
        return bad_value(r, entry->name, "the tensor lies outside of the file (is the file truncated?)", expected, offsets);
    }
    if (end - begin != size) {
        char expected[96];
        snprintf(expected, sizeof expected, "%" PRIu64 " bytes for this shape of %s", size, entry->dtype_name);
        return bad_number(r, entry->name, "data_offsets do not fit the shape", expected, "", end - begin, " bytes");
    }
    if (entry->loadable && begin % udump_dtype_bytes(entry->dtype))
        return bad_number(r, entry->name, "misaligned tensor",
            entry->dtype == UDUMP_F32 ? "an offset that is a multiple of 4" : "an offset that is a multiple of 2", "offset ", begin, "");
    entry->offset_bytes = begin;
    entry->size_bytes = size;
    return UDUMP_OK;
}

static udump_status read_entry(const reader *r, const json_t *info, udump_safetensors_entry *entry) {
    if (!json_is_object(info)) return bad_value(r, entry->name, "malformed tensor", "an object with dtype, shape and data_offsets", info);
    uint64_t bits = 0;
    udump_status status = read_dtype(r, info, entry, &bits);
    if (status == UDUMP_OK) status = read_shape(r, info, entry, &bits);
    if (status == UDUMP_OK) status = read_offsets(r, info, entry, bits);
    return status;
}

static int compare_entries(const void *a, const void *b) {
    const udump_safetensors_entry *x = a, *y = b;
    if (x->offset_bytes != y->offset_bytes) return x->offset_bytes < y->offset_bytes ? -1 : 1;
    if (x->size_bytes != y->size_bytes) return x->size_bytes < y->size_bytes ? -1 : 1; /* an empty tensor before the next one */
    return strcmp(x->name, y->name);
}

/* Sorts by offset; the tensors must then cover the data area exactly. */
static udump_status check_coverage(const reader *r, udump_safetensors *header) {
    if (header->count) qsort(header->entries, (size_t)header->count, sizeof *header->entries, compare_entries);
    uint64_t covered = 0;
    for (int64_t i = 0; i < header->count; i++) {
        const udump_safetensors_entry *entry = &header->entries[i];
        char expected[64];
        snprintf(expected, sizeof expected, "offset %" PRIu64, covered);
        if (entry->offset_bytes < covered) {
            char what[UDUMP_WEIGHT_PLACE_BYTES];
            udump_weight_place(what, "the tensor overlaps", header->entries[i - 1].name);
            return bad_number(r, entry->name, what, expected, "offset ", entry->offset_bytes, "");
        }
        if (entry->offset_bytes > covered)
            return bad_number(r, entry->name, "unused bytes before the tensor", expected, "offset ", entry->offset_bytes, "");
        covered += entry->size_bytes;
    }
    if (covered == r->data_bytes) return UDUMP_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "%" PRIu64 " bytes of data", covered);
    return bad_number(r, NULL, "the file has bytes after its last tensor", expected, "", r->data_bytes, " bytes");
}

static udump_status read_entries(const reader *r, json_t *root, udump_safetensors *header) {
    size_t capacity = json_object_size(root);
    header->entries = calloc(capacity ? capacity : 1, sizeof *header->entries);
    if (!header->entries) return udump_fail_memory(r->error, r->path, capacity * sizeof *header->entries);
    const char *name;
    json_t *info;
    json_object_foreach(root, name, info) {
        if (strcmp(name, "__metadata__") == 0) {
            header->metadata = json_incref(info);
            continue;
        }
        udump_safetensors_entry *entry = &header->entries[header->count++];
        entry->name = strdup(name);
        if (!entry->name) return udump_fail_memory(r->error, r->path, strlen(name) + 1);
        udump_status status = read_entry(r, info, entry);
        if (status != UDUMP_OK) return status;
    }
    return check_coverage(r, header);
}

udump_status udump_safetensors_parse(const char *text, size_t text_bytes, uint64_t data_bytes, const char *path,
    udump_safetensors *header, udump_error *error) {
    reader r = { path, data_bytes, error };
    *header = (udump_safetensors){ 0 };
    if (text_bytes == 0 || text[0] != '{') return bad(&r, NULL, "the header is not a JSON object", "{ as its first character", NULL);
    json_t *root;
    udump_json_limits limits = { DEPTH_LIMIT, UDUMP_SAFETENSORS_VALUE_LIMIT, LENGTH_BYTES };
    udump_status status = udump_json_parse(text, text_bytes, limits, path, &root, error);
    if (status != UDUMP_OK) return status;
    status = read_entries(&r, root, header);
    json_decref(root);
    if (status != UDUMP_OK) udump_safetensors_free(header);
    return status;
}

/* A length that cannot be: say what the file is, where that is known. */
static udump_status bad_length(
    const udump_weight_file *file, const unsigned char bytes[LENGTH_BYTES], uint64_t length, udump_error *error) {
    reader r = { file->path, 0, error };
    char expected[96];
    if (memcmp(bytes, "PK\3\4", 4) == 0 || (bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5))
        return udump_fail_pickle(file->path, error);
    snprintf(expected, sizeof expected, "at most %d, in a file of %" PRIu64 " bytes", UDUMP_SAFETENSORS_HEADER_LIMIT, file->size_bytes);
    return bad_number(&r, NULL, "not a safetensors file, or a truncated one: impossible header length", expected, "", length, " bytes");
}

udump_status udump_safetensors_read(const udump_weight_file *file, udump_safetensors *header, udump_error *error) {
    reader r = { file->path, 0, error };
    unsigned char bytes[LENGTH_BYTES];
    *header = (udump_safetensors){ 0 };
    if (file->size_bytes < LENGTH_BYTES)
        return bad_number(&r, NULL, "truncated file", "at least 8 bytes", "", file->size_bytes, " bytes");
    udump_status status = udump_weight_file_read(file, 0, bytes, LENGTH_BYTES, NULL, error);
    if (status != UDUMP_OK) return status;
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > UDUMP_SAFETENSORS_HEADER_LIMIT || length > file->size_bytes - LENGTH_BYTES)
        return bad_length(file, bytes, length, error);

    char *text = malloc((size_t)length + 1);
    if (!text) return udump_fail_memory(error, file->path, (size_t)length + 1);
    status = udump_weight_file_read(file, LENGTH_BYTES, text, (size_t)length, NULL, error);
    uint64_t data_begin = LENGTH_BYTES + length;
    if (status == UDUMP_OK)
        status = udump_safetensors_parse(text, (size_t)length, file->size_bytes - data_begin, file->path, header, error);
    free(text);
    for (int64_t i = 0; i < header->count; i++) header->entries[i].offset_bytes += data_begin;
    return status;
}

void udump_safetensors_free(udump_safetensors *header) {
    for (int64_t i = 0; i < header->count; i++) free(header->entries[i].name);
    free(header->entries);
    json_decref(header->metadata);
    *header = (udump_safetensors){ 0 };
}
