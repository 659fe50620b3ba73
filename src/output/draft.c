#include "output/draft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

enum {
    LONGEST_WRITE = 1 << 30, /* what one call is asked for; Linux takes at most 2 GiB - 4 KiB */
    SHIFT_BYTES = 1 << 20
};

udump_status udump_draft_open(const char *path, udump_draft *draft, udump_error *error) {
    *draft = (udump_draft){ .fd = -1 };
    char *copy = strdup(path);
    if (!copy) return udump_fail_memory(error, path, strlen(path));
    int fd = udump_file_open_beside(path, &draft->temporary);
    if (fd < 0) {
        int code = errno;
        free(copy);
        return udump_file_fail(error, path, "created", code);
    }
    draft->path = copy;
    draft->fd = fd;
    return UDUMP_OK;
}

udump_status udump_draft_write(const udump_draft *draft, const void *data, size_t size, uint64_t offset, udump_error *error) {
    const uint8_t *bytes = data;
    while (size) {
        ssize_t written = pwrite(draft->fd, bytes, size < LONGEST_WRITE ? size : LONGEST_WRITE, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return udump_file_fail(error, draft->path, "written", written ? errno : EIO);
        bytes += written;
        offset += (uint64_t)written;
        size -= (size_t)written;
    }
    return UDUMP_OK;
}

udump_status udump_draft_write_rows(const udump_draft *draft, uint64_t offset, const udump_view *whole, int32_t axis, int64_t first,
    int64_t rows, const float *values, udump_error *error) {
    int64_t outer = 1, inner = 1;
    for (int32_t i = 0; i < axis; i++) outer *= whole->shape[i];
    for (int32_t i = axis + 1; i < whole->rank; i++) inner *= whole->shape[i];
    udump_status status = UDUMP_OK;
    for (int64_t i = 0; i < outer && !status; i++) {
        uint64_t at = (uint64_t)((i * whole->shape[axis] + first) * inner);
        status = udump_draft_write(
            draft, values + i * rows * inner, (size_t)(rows * inner) * sizeof *values, offset + at * sizeof *values, error);
    }
    return status;
}

static udump_status read_exactly(const udump_draft *draft, uint8_t *bytes, size_t size, uint64_t offset, udump_error *error) {
    while (size) {
        ssize_t count = pread(draft->fd, bytes, size, (off_t)offset);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return udump_file_fail(error, draft->path, "read", count ? errno : EIO);
        bytes += count;
        offset += (uint64_t)count;
        size -= (size_t)count;
    }
    return UDUMP_OK;
}

udump_status udump_draft_shift(const udump_draft *draft, uint64_t from, uint64_t to, uint64_t size, udump_error *error) {
    uint8_t *piece = malloc(SHIFT_BYTES);
    if (!piece) return udump_fail_memory(error, draft->path, SHIFT_BYTES);
    udump_status status = UDUMP_OK;
    while (size && !status) { /* from the end: the two regions may overlap */
        size_t count = size < SHIFT_BYTES ? (size_t)size : SHIFT_BYTES;
        size -= count;
        status = read_exactly(draft, piece, count, from + size, error);
        if (!status) status = udump_draft_write(draft, piece, count, to + size, error);
    }
    free(piece);
    return status;
}

static void forget(udump_draft *draft) {
    free(draft->path);
    free(draft->temporary);
    *draft = (udump_draft){ .fd = -1 };
}

udump_status udump_draft_keep(udump_draft *draft, udump_error *error) {
    int code = close(draft->fd) && errno != EINTR ? errno : 0;
    if (!code && rename(draft->temporary, draft->path)) code = errno;
    udump_status status = UDUMP_OK;
    if (code) {
        unlink(draft->temporary);
        status = udump_file_fail(error, draft->path, "written", code);
    }
    forget(draft);
    return status;
}

void udump_draft_discard(udump_draft *draft) {
    if (!udump_draft_is_open(draft)) return;
    close(draft->fd);
    unlink(draft->temporary);
    forget(draft);
}
