#include "weights/identity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "base/walk.h"

enum { DEPTH_MOST = 3, PIECE_BYTES = 1 << 20 };

static udump_status fail_file(udump_error *error, const char *path) {
    char text[128];
    int code = errno;
    return udump_fail(error, UDUMP_ERROR_FILE, path, "cannot be read: %s", strerror_r(code, text, sizeof text));
}

static udump_status digest_file(const char *path, char text[UDUMP_DIGEST_TEXT], udump_error *error) {
    FILE *file = fopen(path, "rbe");
    if (!file) return fail_file(error, path);
    uint8_t *piece = malloc(PIECE_BYTES);
    udump_status status = piece ? UDUMP_OK : udump_fail_memory(error, path, PIECE_BYTES);
    udump_digest digest;
    udump_digest_start(&digest);
    for (size_t count; piece && (count = fread(piece, 1, PIECE_BYTES, file)) > 0;) udump_digest_add(&digest, piece, count);
    if (!status && ferror(file)) status = fail_file(error, path);
    udump_digest_finish(&digest, text);
    free(piece);
    fclose(file);
    return status;
}

static bool counts(const char *name) {
    const char *suffix = strrchr(name, '.');
    return suffix && (strcmp(suffix, ".safetensors") == 0 || strcmp(suffix, ".json") == 0);
}

struct folder {
    udump_digest *digest;
    size_t path_bytes;
    udump_error *error;
};

static udump_status add_file(void *user, const char *path, const char *name) {
    const struct folder *folder = user;
    const char *place = path + folder->path_bytes;
    char text[UDUMP_DIGEST_TEXT];
    if (!counts(name) || strstr(place, "/.")) return UDUMP_OK; /* what is hidden is no part of the model */
    udump_status status = digest_file(path, text, folder->error);
    if (status) return status;
    udump_digest_add(folder->digest, place, strlen(place) + 1);
    udump_digest_add(folder->digest, text, sizeof text);
    return UDUMP_OK;
}

udump_status udump_identity_find(const char *path, char text[UDUMP_DIGEST_TEXT], udump_error *error) {
    struct stat found;
    if (stat(path, &found)) return fail_file(error, path);
    if (!S_ISDIR(found.st_mode)) return digest_file(path, text, error);
    udump_digest digest;
    udump_digest_start(&digest);
    struct folder folder = { &digest, strlen(path), error };
    udump_status status = udump_walk(path, DEPTH_MOST, true, add_file, &folder, error);
    udump_digest_finish(&digest, text);
    return status;
}
