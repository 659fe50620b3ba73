/* Any bytes as a .npy file: refused, or an array whose every element can be read. The header alone too, with a file length that the
 * bytes do not have, so that shapes of large arrays are reached. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "output/npy_header.h"
#include "tensor/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_array(const udump_array *array) {
    if (!udump_view_valid(&array->view)) abort();
    size_t bytes = (size_t)udump_view_count(&array->view) * sizeof(float);
    float *values = malloc(bytes ? bytes : 1);
    if (!values) return;
    udump_view_read_f32(&array->view, values);
    free(values);
}

static void check_file(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("npy", MFD_CLOEXEC);
    if (fd < 0) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    udump_array array;
    udump_error error;
    if (write(fd, data, size) == (ssize_t)size && udump_npy_read(path, &array, &error) == UDUMP_OK) {
        check_array(&array);
        udump_array_free(&array);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    udump_npy_header header;
    udump_error error;
    udump_status status = udump_npy_header_parse("fuzz", data, size, size, &header, &error);
    if (status == UDUMP_OK && header.data_offset + header.data_bytes != size) abort();
    if (status != UDUMP_OK && error.offset > (int64_t)size) abort();
    udump_npy_header_parse("fuzz", data, size, UINT64_C(1) << 40, &header, &error);
    check_file(data, size);
    return 0;
}
