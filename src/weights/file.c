#include "weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

static udump_status system_error(const char *path, const char *tensor, const char *what, udump_error *error) {
    int reason = errno;
    char place[UDUMP_WEIGHT_PLACE_BYTES], text[128] = "unknown reason";
    udump_weight_place(place, path, tensor);
    const char *message = strerror_r(reason, text, sizeof text);
    return udump_fail(error, UDUMP_ERROR_FILE, place, "%s: %s", what, message);
}

static int64_t change_of(const struct stat *info) { return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec; }

udump_status udump_weight_file_open(const char *path, udump_weight_file *file, udump_error *error) {
    struct stat info;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hold us */
    if (file->fd < 0) return system_error(path, NULL, "cannot be opened", error);
    udump_status status = UDUMP_OK;
    if (fstat(file->fd, &info) != 0) status = system_error(path, NULL, "cannot be examined", error);
    else if (!S_ISREG(info.st_mode)) status = udump_fail(error, UDUMP_ERROR_FILE, path, "not a regular file");
    else if (!(file->path = strdup(path))) status = udump_fail_memory(error, path, strlen(path) + 1);
    else file->size_bytes = (uint64_t)info.st_size, file->changed_ns = change_of(&info);
    if (status != UDUMP_OK) close(file->fd);
    return status;
}

void udump_weight_file_close(udump_weight_file *file) {
    close(file->fd);
    free(file->path);
}

udump_status udump_weight_file_read(const udump_weight_file *file, uint64_t offset_bytes, void *destination, size_t size_bytes,
    const char *tensor, udump_error *error) {
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t got = pread(file->fd, (char *)destination + done, size_bytes - done, (off_t)(offset_bytes + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(file->path, tensor, "cannot be read", error);
        if (got == 0) {
            char place[UDUMP_WEIGHT_PLACE_BYTES], expected[64], found[64];
            udump_weight_place(place, file->path, tensor);
            snprintf(expected, sizeof expected, "%zu bytes from byte %llu on", size_bytes, (unsigned long long)offset_bytes);
            snprintf(found, sizeof found, "%zu bytes", done);
            return udump_fail_values(error, UDUMP_ERROR_FORMAT, place, "truncated file", expected, found);
        }
        done += (size_t)got;
    }
    return UDUMP_OK;
}

udump_status udump_weight_file_check(const udump_weight_file *file, udump_error *error) {
    struct stat info;
    if (fstat(file->fd, &info) != 0) return system_error(file->path, NULL, "cannot be examined", error);
    bool same = (uint64_t)info.st_size == file->size_bytes && change_of(&info) == file->changed_ns;
    return same ? UDUMP_OK : udump_fail(error, UDUMP_ERROR_FORMAT, file->path, "it was changed while it was read");
}

udump_status udump_weight_file_text(const char *path, size_t limit_bytes, char **text, size_t *size_bytes, udump_error *error) {
    udump_weight_file file;
    udump_status status = udump_weight_file_open(path, &file, error);
    if (status != UDUMP_OK) return status;
    *text = NULL;
    *size_bytes = (size_t)file.size_bytes;
    if (file.size_bytes > limit_bytes) {
        char expected[64], found[64];
        snprintf(expected, sizeof expected, "at most %zu bytes", limit_bytes);
        snprintf(found, sizeof found, "%llu bytes", (unsigned long long)file.size_bytes);
        status = udump_fail_values(error, UDUMP_ERROR_FORMAT, path, "file too large", expected, found);
    } else if (!(*text = malloc(*size_bytes + 1))) {
        status = udump_fail_memory(error, path, *size_bytes + 1);
    } else {
        status = udump_weight_file_read(&file, 0, *text, *size_bytes, NULL, error);
    }
    udump_weight_file_close(&file);
    if (status != UDUMP_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

char *udump_weight_path(const char *folder, const char *name) {
    size_t folder_bytes = strlen(folder), name_bytes = strlen(name);
    while (folder_bytes > 1 && folder[folder_bytes - 1] == '/') folder_bytes--;
    char *path = malloc(folder_bytes + name_bytes + 2);
    if (!path) return NULL;
    memcpy(path, folder, folder_bytes);
    path[folder_bytes] = '/';
    memcpy(path + folder_bytes + 1, name, name_bytes + 1);
    return path;
}

/* The longest beginning of text that has at most limit bytes and ends between characters. */
static size_t whole_characters(const char *text, size_t limit) {
    size_t length = strnlen(text, limit + 1);
    if (length <= limit) return length;
    length = limit;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
    return length;
}

void udump_weight_place(char place[UDUMP_WEIGHT_PLACE_BYTES], const char *path, const char *tensor) {
    size_t room = UDUMP_WEIGHT_PLACE_BYTES - 1, path_bytes = strlen(path), used = 0;
    size_t tensor_bytes = tensor ? whole_characters(tensor, 150) : 0;
    size_t path_room = room - (tensor ? tensor_bytes + 2 : 0);
    if (path_bytes > path_room) {
        path += path_bytes - (path_room - 3);
        while (((unsigned char)*path & 0xC0) == 0x80) path++;
        memcpy(place, "...", 3);
        used = 3;
    }
    path_bytes = strlen(path);
    memcpy(place + used, path, path_bytes);
    used += path_bytes;
    if (tensor) {
        memcpy(place + used, ": ", 2);
        memcpy(place + used + 2, tensor, tensor_bytes);
        used += tensor_bytes + 2;
    }
    place[used] = 0;
    for (char *c = place; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
}

bool udump_name_ends(const char *name, const char *end) {
    size_t a = strlen(name), b = strlen(end);
    return a >= b && strcasecmp(name + a - b, end) == 0;
}

bool udump_is_pickle_name(const char *name) {
    static const char *const ends[] = { ".ckpt", ".pt", ".pth", ".bin" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (udump_name_ends(name, ends[i])) return true;
    return false;
}

udump_status udump_fail_pickle(const char *path, udump_error *error) {
    char place[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, path, NULL);
    return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, place,
        "a pickled checkpoint (.ckpt, .pt, .pth, .bin) can run any code and is not read: convert it to safetensors", ".safetensors", NULL);
}
