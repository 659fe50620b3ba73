/* Small safetensors files of values that the tests do not choose. Included after cmocka.h. */
#ifndef UDUMP_TEST_TENSOR_FILE_H
#define UDUMP_TEST_TENSOR_FILE_H

#include <stdint.h>
#include <stdio.h>

typedef struct written_tensor {
    const char *name, *shape;
    size_t count;
} written_tensor;

static inline void write_tensors(const char *path, const written_tensor *tensors, int count) {
    char header[4096] = "{";
    size_t at = 0, length = 1;
    for (int i = 0; i < count; at += 4 * tensors[i].count, i++)
        length += (size_t)snprintf(header + length, sizeof header - length, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
            i ? "," : "", tensors[i].name, tensors[i].shape, at, at + 4 * tensors[i].count);
    header[length++] = '}';
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++) fputc((int)(length >> 8 * i & 255), file);
    fwrite(header, 1, length, file);
    for (size_t i = 0; i < at / 4; i++) fwrite(&(float){ (float)(i % 7) / 8 - 0.4f }, 4, 1, file);
    assert_int_equal(fclose(file), 0);
}

#endif
