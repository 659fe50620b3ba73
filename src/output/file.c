#include "output/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

enum {
    LONGEST_WRITE = 1 << 30, /* what one write call is asked for; Linux takes at most 2 GiB - 4 KiB */
    NAME_KEPT = 200,         /* bytes of the final name in the temporary one: with its suffix it stays below NAME_MAX */
    MOST_TRIES = 1000,       /* temporary names tried, where others of this process are in use */
    TEXT_MOST_BYTES = 256 << 20
};

udump_status udump_file_fail(udump_error *error, const char *path, const char *action, int code) {
    char text[128];
    return udump_fail(error, UDUMP_ERROR_FILE, path, "cannot be %s: %s", action, strerror_r(code, text, sizeof text));
}

char *udump_file_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    char *path = NULL;
    int written = asprintf(&path, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
    return written < 0 ? NULL : path;
}

static int open_retrying(const char *path, int flags) {
    int fd;
    do fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int udump_file_write_and_close(int fd, const uint8_t *data, size_t size) {
    int code = 0;
    while (size && !code) {
        ssize_t written = write(fd, data, size < LONGEST_WRITE ? size : LONGEST_WRITE);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        } else if (written == 0) code = EIO;
        else if (errno != EINTR) code = errno;
    }
    if (close(fd) && !code && errno != EINTR) code = errno;
    return code;
}

int udump_file_open_beside(const char *path, char **temporary) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    *temporary = NULL;
    for (int i = 0; i < MOST_TRIES; i++) {
        if (asprintf(temporary, "%.*s.%.*s.partial-%ld-%d", (int)(name - path), path, NAME_KEPT, name, (long)getpid(), i) < 0) {
            *temporary = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open_retrying(*temporary, O_RDWR | O_CREAT | O_EXCL);
        if (fd >= 0) return fd;
        int code = errno;
        free(*temporary);
        *temporary = NULL;
        errno = code;
        if (code != EEXIST) return -1;
    }
    return -1;
}

long udump_file_writer(const char *name) {
    const char *mark = *name == '.' ? strstr(name, ".partial-") : NULL;
    return mark ? strtol(mark + strlen(".partial-"), NULL, 10) : 0;
}

bool udump_file_is_left(const char *name) {
    long process = udump_file_writer(name);
    return process > 0 && kill((pid_t)process, 0) && errno == ESRCH;
}

static udump_status save_once(const char *path, const void *data, size_t size, int *code, udump_error *error) {
    char *temporary;
    int fd = udump_file_open_beside(path, &temporary);
    if (fd < 0) return udump_file_fail(error, path, "created", *code = errno);
    *code = udump_file_write_and_close(fd, data, size);
    if (!*code && rename(temporary, path)) *code = errno;
    if (*code) unlink(temporary);
    free(temporary);
    return *code ? udump_file_fail(error, path, "written", *code) : UDUMP_OK;
}

/* Another machine that shares the folder may take for left what is being written here: then again. */
static udump_status save_beside(const char *path, const void *data, size_t size, udump_error *error) {
    int code = 0;
    udump_status status = save_once(path, data, size, &code, error);
    return code == ENOENT ? save_once(path, data, size, &code, error) : status;
}

static udump_status save_through(const char *path, const void *data, size_t size, udump_error *error) {
    int fd = open_retrying(path, O_WRONLY);
    if (fd < 0) return udump_file_fail(error, path, "opened", errno);
    int code = udump_file_write_and_close(fd, data, size);
    return code ? udump_file_fail(error, path, "written", code) : UDUMP_OK;
}

udump_status udump_file_save(const char *path, const void *data, size_t size, udump_error *error) {
    struct stat target, link;
    if (stat(path, &target) == 0) {
        if (S_ISDIR(target.st_mode)) return udump_file_fail(error, path, "written", EISDIR);
        if (!S_ISREG(target.st_mode)) return save_through(path, data, size, error);
    }
    if (lstat(path, &link) || !S_ISLNK(link.st_mode)) return save_beside(path, data, size, error);
    char *resolved = realpath(path, NULL); /* renaming onto the link itself would replace it */
    if (!resolved) return udump_file_fail(error, path, "followed", errno);
    udump_status status = save_beside(resolved, data, size, error);
    free(resolved);
    return status;
}

udump_status udump_file_remove(const char *path, udump_error *error) {
    if (unlink(path) == 0 || errno == ENOENT) return UDUMP_OK;
    return udump_file_fail(error, path, "removed", errno);
}

/* A file that became shorter ends early. */
static udump_status read_whole(int fd, const char *path, size_t size, char **text, udump_error *error) {
    char *bytes = malloc(size + 1);
    size_t used = 0;
    if (!bytes) return udump_fail_memory(error, path, size + 1);
    while (used < size) {
        ssize_t got = read(fd, bytes + used, size - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            int code = errno;
            free(bytes);
            return udump_file_fail(error, path, "read", code);
        }
        if (got == 0) break;
        used += (size_t)got;
    }
    bytes[used] = '\0';
    *text = bytes;
    return UDUMP_OK;
}

udump_status udump_file_read_text(const char *path, char **text, udump_error *error) {
    struct stat state;
    *text = NULL;
    int fd = open_retrying(path, O_RDONLY);
    if (fd < 0) return errno == ENOENT ? UDUMP_OK : udump_file_fail(error, path, "read", errno);
    udump_status status;
    if (fstat(fd, &state) || !S_ISREG(state.st_mode)) status = udump_fail(error, UDUMP_ERROR_FORMAT, path, "not a file");
    else if (state.st_size > TEXT_MOST_BYTES)
        status = udump_fail(error, UDUMP_ERROR_FORMAT, path, "%lld bytes: more than a run writes", (long long)state.st_size);
    else status = read_whole(fd, path, (size_t)state.st_size, text, error);
    close(fd);
    return status;
}

/* 0, or an errno. */
static int make_one_folder(const char *path) {
    struct stat found;
    if (stat(path, &found) == 0) return S_ISDIR(found.st_mode) ? 0 : ENOTDIR;
    if (errno != ENOENT) return errno;
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0; /* somebody else may have been first */
    return errno;
}

static udump_status probe_folder(const char *folder, udump_error *error) {
    char *name = udump_file_join(folder, "probe"), *temporary;
    if (!name) return udump_fail_memory(error, folder, strlen(folder));
    int fd = udump_file_open_beside(name, &temporary), code = errno;
    free(name);
    if (fd < 0) return udump_file_fail(error, folder, "written to", code);
    close(fd);
    unlink(temporary);
    free(temporary);
    return UDUMP_OK;
}

udump_status udump_file_make_folder(const char *folder, udump_error *error) {
    char *path = strdup(folder);
    if (!path) return udump_fail_memory(error, folder, strlen(folder));
    int code = *folder ? 0 : ENOENT;
    for (char *at = path; *at && !code; at++) {
        if (at == path || *at != '/') continue;
        *at = '\0';
        code = make_one_folder(path);
        *at = '/';
    }
    if (!code) code = make_one_folder(path);
    free(path);
    return code ? udump_file_fail(error, folder, "created", code) : probe_folder(folder, error);
}

/* To the folder that it is in; to "" where it names none. */
static void cut_name(char *path) {
    size_t length = strlen(path);
    while (length && path[length - 1] == '/') length--;
    while (length && path[length - 1] != '/') length--;
    while (length && path[length - 1] == '/') length--;
    path[length] = '\0';
}

size_t udump_file_existing_bytes(const char *path) {
    char *there = strdup(path);
    if (!there) return strlen(path);
    while (*there && access(there, F_OK)) cut_name(there);
    size_t bytes = strlen(there);
    free(there);
    return bytes;
}

void udump_file_remove_empty(const char *folder, size_t existing_bytes) {
    char *path = strdup(folder);
    while (path && strlen(path) > existing_bytes && rmdir(path) == 0) cut_name(path); /* what is not empty stays */
    free(path);
}

udump_status udump_file_lock_folder(const char *folder, int *lock, udump_error *error) {
    *lock = open_retrying(folder, O_RDONLY | O_DIRECTORY);
    if (*lock < 0) return errno == EACCES ? UDUMP_OK : udump_file_fail(error, folder, "opened", errno); /* it may be one to write to only */
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0) return UDUMP_OK;
    bool kept = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    return kept ? udump_fail(error, UDUMP_ERROR_FILE, folder, "another run is writing to this folder") : UDUMP_OK;
}
