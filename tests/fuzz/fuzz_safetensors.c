/* A .safetensors file: first as it is, opened as a checkpoint and read, also as its own autoencoder; then only its header, taken to end at the last brace, so
 * that an input need not have a right length in front to get at the parser. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "weights/safetensors.h"
#include "weights/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(udump_weights *weights, size_t size) {
    for (int64_t i = 0; i < udump_weights_count(weights); i++) {
        const udump_weight *weight = udump_weights_at(weights, i);
        if (weight->offset_bytes > size || weight->size_bytes > size - weight->offset_bytes) abort();
        udump_view view = { .data = weights, .dtype = weight->dtype, .rank = weight->rank };
        memcpy(view.shape, weight->shape, sizeof view.shape);
        if (!udump_view_valid(&view) || (uint64_t)udump_view_count(&view) * udump_dtype_bytes(weight->dtype) != weight->size_bytes) abort();
        if (udump_weights_find(weights, weight->name) != weight) abort();
        float *values = malloc((size_t)udump_view_count(&view) * sizeof *values + 1);
        int64_t bad;
        if (values && udump_weights_read(weights, weight, values, 1, &bad, NULL) != UDUMP_OK) abort();
        free(values);
    }
}

static void check_file(const uint8_t *data, size_t size) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    if (fd < 0) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    udump_weights *weights;
    udump_error error = { 0 };
    if (write(fd, data, size) == (ssize_t)size) {
        udump_status status = udump_weights_open(path, &weights, &error);
        if (status == UDUMP_OK) {
            read_all(weights, size);
            if (udump_weights_replace_vae(weights, path, NULL) == UDUMP_OK) read_all(weights, size);
        } else if (error.status != status || !error.what[0] || strncmp(error.where, path, strlen(path)) != 0) {
            abort();
        }
        if (status == UDUMP_OK) udump_weights_close(weights);
    }
    close(fd);
}

/* What an accepted header promises. */
static void check_header(const char *text, size_t text_bytes, uint64_t data_bytes) {
    udump_safetensors header;
    udump_error error = { 0 };
    udump_status status = udump_safetensors_parse(text, text_bytes, data_bytes, "fuzz", &header, &error);
    if (status != UDUMP_OK) {
        if (error.offset > (int64_t)(8 + text_bytes)) abort();
        return;
    }
    uint64_t covered = 0;
    for (int64_t i = 0; i < header.count; i++) {
        const udump_safetensors_entry *entry = &header.entries[i];
        if (entry->offset_bytes != covered) abort();
        covered += entry->size_bytes;
        if (entry->loadable && (entry->rank < 0 || entry->rank > 6 || entry->offset_bytes % udump_dtype_bytes(entry->dtype))) abort();
    }
    if (covered != data_bytes) abort();
    udump_safetensors_free(&header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_file(data, size);
    size_t end = size;
    while (end > 8 && data[end - 1] != '}') end--;
    if (end > 8) check_header((const char *)data + 8, end - 8, size - end);
    return 0;
}
