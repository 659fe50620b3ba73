#include "output/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/npy_header.h"
#include "tensor/view.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files' numbers are little-endian");

udump_status udump_npy_encode(const udump_view *tensor, udump_bytes *bytes, udump_error *error) {
    if (!udump_view_valid(tensor)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "not a valid tensor view");
    char header[UDUMP_NPY_MOST_WRITTEN_BYTES];
    size_t header_bytes = udump_npy_header_format(tensor->rank, tensor->shape, header), data_bytes, all;
    bool fits = udump_size_mul((size_t)udump_view_count(tensor), sizeof(float), &data_bytes)
        && udump_size_add(header_bytes, data_bytes, &all);
    uint8_t *file = fits ? malloc(all) : NULL;
    if (!file) return udump_fail_memory(error, "", fits ? all : SIZE_MAX);
    memcpy(file, header, header_bytes);
    udump_view_read_f32(tensor, (float *)(void *)(file + header_bytes)); /* aligned: the header is a multiple of 64 bytes long */
    *bytes = (udump_bytes){ file, all };
    return UDUMP_OK;
}

/* Reads exactly size bytes; a file that has become shorter is FORMAT. */
static udump_status read_exactly(int fd, const char *path, void *buffer, size_t size, udump_error *error) {
    for (size_t done = 0; done < size;) {
        ssize_t count = read(fd, (uint8_t *)buffer + done, size - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return udump_file_fail(error, path, "read", errno);
        if (count == 0) return udump_fail(error, UDUMP_ERROR_FORMAT, path, "the file ends early: it was cut while it was read");
        done += (size_t)count;
    }
    return UDUMP_OK;
}

static udump_view array_view(void *data, const udump_npy_header *header) {
    udump_view view = udump_view_make(data, UDUMP_F32, header->rank, header->shape);
    int64_t stride = 1;
    for (int i = 0; i < header->rank && header->fortran_order; i++) {
        view.stride[i] = stride;
        stride *= header->shape[i];
    }
    return view;
}

static udump_status read_header(int fd, const char *path, udump_npy_header *header, udump_error *error) {
    struct stat found;
    if (fstat(fd, &found)) return udump_file_fail(error, path, "read", errno);
    if (S_ISDIR(found.st_mode)) return udump_file_fail(error, path, "read", EISDIR);
    if (!S_ISREG(found.st_mode)) return udump_fail(error, UDUMP_ERROR_FILE, path, "not a regular file");
    uint64_t file_bytes = (uint64_t)found.st_size;
    size_t size = UDUMP_NPY_PREFIX_BYTES + UDUMP_NPY_MOST_HEADER_BYTES;
    if (file_bytes < size) size = (size_t)file_bytes;
    uint8_t *start = malloc(size ? size : 1);
    if (!start) return udump_fail_memory(error, path, size);
    udump_status status = read_exactly(fd, path, start, size, error);
    if (!status) status = udump_npy_header_parse(path, start, size, file_bytes, header, error);
    free(start);
    return status;
}

static udump_status read_array(int fd, const char *path, udump_array *array, udump_error *error) {
    udump_npy_header header;
    udump_status status = read_header(fd, path, &header, error);
    if (status) return status;
    void *data = udump_aligned_alloc(header.data_bytes);
    if (!data) return udump_fail_memory(error, path, header.data_bytes);
    if (lseek(fd, (off_t)header.data_offset, SEEK_SET) < 0) status = udump_file_fail(error, path, "read", errno);
    else status = read_exactly(fd, path, data, header.data_bytes, error);
    if (status) {
        udump_aligned_free(data);
        return status;
    }
    array->view = array_view(data, &header);
    array->owner = data;
    return UDUMP_OK;
}

udump_status udump_npy_read(const char *path, udump_array *array, udump_error *error) {
    if (!path || !array) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "a path and an array are needed");
    memset(array, 0, sizeof *array);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* not waiting for a pipe's other end */
    if (fd < 0) return udump_file_fail(error, path, "opened", errno);
    udump_status status = read_array(fd, path, array, error);
    close(fd);
    return status;
}

void udump_array_free(udump_array *array) {
    if (!array) return;
    udump_aligned_free(array->owner);
    memset(array, 0, sizeof *array);
}
