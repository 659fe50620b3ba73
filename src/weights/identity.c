#include "weights/identity.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

enum { DEPTH_MOST = 4, PIECE_BYTES = 1 << 20 };

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

static int is_shown(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* In every locale the same order. */
static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static udump_status add_folder(udump_digest *digest, const char *folder, size_t root_bytes, int depth, udump_error *error);

static udump_status add_entry(udump_digest *digest, const char *path, size_t root_bytes, int depth, udump_error *error) {
    struct stat found;
    char text[UDUMP_DIGEST_TEXT];
    if (stat(path, &found)) return errno == ENOENT ? UDUMP_OK : fail_file(error, path); /* a link to nowhere */
    if (S_ISDIR(found.st_mode)) return depth < DEPTH_MOST ? add_folder(digest, path, root_bytes, depth + 1, error) : UDUMP_OK;
    if (!S_ISREG(found.st_mode) || !counts(path)) return UDUMP_OK;
    udump_status status = digest_file(path, text, error);
    if (status) return status;
    udump_digest_add(digest, path + root_bytes, strlen(path + root_bytes) + 1);
    udump_digest_add(digest, text, sizeof text);
    return UDUMP_OK;
}

static udump_status add_folder(udump_digest *digest, const char *folder, size_t root_bytes, int depth, udump_error *error) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_shown, by_bytes);
    if (count < 0) return fail_file(error, folder);
    udump_status status = UDUMP_OK;
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (!status && asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0) status = udump_fail_memory(error, folder, strlen(folder));
        else if (!status) status = add_entry(digest, path, root_bytes, depth, error);
        if (path) free(path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

udump_status udump_identity_find(const char *path, char text[UDUMP_DIGEST_TEXT], udump_error *error) {
    struct stat found;
    if (stat(path, &found)) return fail_file(error, path);
    if (!S_ISDIR(found.st_mode)) return digest_file(path, text, error);
    udump_digest digest;
    udump_digest_start(&digest);
    udump_status status = add_folder(&digest, path, strlen(path), 1, error);
    udump_digest_finish(&digest, text);
    return status;
}
