#include "pipeline/sweep_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "output/json.h"
#include "weights/json.h"

enum { RECORD_BYTES_MOST = 16 << 20, FILE_BYTES_MOST = 1 << 30, DEPTH_MOST = 8, VALUES_MOST = 1 << 20 };

char *udump_sweep_file(const char *folder, const char *key, const char *suffix) {
    char *path = NULL;
    return asprintf(&path, "%s/cells/%s%s", folder, key, suffix) < 0 ? NULL : path;
}

static udump_status read_open(int fd, const char *path, size_t most_bytes, udump_bytes *bytes, udump_error *error) {
    struct stat found;
    if (fstat(fd, &found)) return udump_file_fail(error, path, "read", errno);
    if (!S_ISREG(found.st_mode)) return udump_fail(error, UDUMP_ERROR_FORMAT, path, "not a file");
    if ((uint64_t)found.st_size > most_bytes) return udump_fail(error, UDUMP_ERROR_FORMAT, path, "%lld bytes: too long", (long long)found.st_size);
    size_t size = (size_t)found.st_size, done = 0;
    bytes->data = malloc(size + 1);
    if (!bytes->data) return udump_fail_memory(error, path, size);
    while (done < size) {
        ssize_t count = read(fd, bytes->data + done, size - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return udump_file_fail(error, path, "read", errno);
        if (count == 0) break; /* cut meanwhile: its hash will tell */
        done += (size_t)count;
    }
    bytes->data[done] = 0;
    bytes->size = done;
    return UDUMP_OK;
}

udump_status udump_sweep_read_file(const char *path, size_t most_bytes, udump_bytes *bytes, udump_error *error) {
    *bytes = (udump_bytes){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return errno == ENOENT ? UDUMP_OK : udump_file_fail(error, path, "read", errno);
    udump_status status = read_open(fd, path, most_bytes, bytes, error);
    close(fd);
    if (!status) return UDUMP_OK;
    free(bytes->data);
    *bytes = (udump_bytes){ 0 };
    return status;
}

udump_status udump_sweep_record_write(
    const char *folder, const char *key, const char *cell, const udump_sweep_record *record, udump_error *error) {
    udump_text text = { 0 };
    udump_json json = udump_json_start();
    udump_json_put_text(&json, "unetdump", udump_version());
    udump_json_put_text(&json, "key", key);
    udump_json_put(&json, "cell", json_loads(cell, 0, NULL));
    udump_json_put_text(&json, "picture", record->picture);
    udump_json_put_text(&json, "latent", record->latent);
    udump_json_put(&json, "blocks", record->blocks ? record->blocks : json_array());
    bool written = udump_json_finish(&json, &text) && udump_text_print(&text, "\n");
    char *path = udump_sweep_file(folder, key, ".json");
    udump_status status = written && path ? udump_file_save(path, text.data, text.size, error) : udump_fail_memory(error, folder, text.size);
    free(path);
    free(text.data);
    return status;
}

static bool take_hash(const json_t *root, const char *key, char hash[UDUMP_DIGEST_TEXT]) {
    const char *text = json_string_value(json_object_get(root, key));
    bool fits = text && strlen(text) == UDUMP_DIGEST_TEXT - 1;
    if (fits) memcpy(hash, text, UDUMP_DIGEST_TEXT);
    return fits;
}

bool udump_sweep_record_parse(const char *text, size_t size, const char *key, udump_sweep_record *record) {
    json_t *root;
    *record = (udump_sweep_record){ 0 };
    if (udump_json_parse(text, size, (udump_json_limits){ .depth = DEPTH_MOST, .values = VALUES_MOST }, key, &root, NULL)) return false;
    const char *own = json_string_value(json_object_get(root, "key"));
    record->blocks = json_incref(json_object_get(root, "blocks"));
    bool good = own && strcmp(own, key) == 0 && take_hash(root, "picture", record->picture) && take_hash(root, "latent", record->latent)
        && json_is_array(record->blocks);
    json_decref(root);
    if (!good) json_decref(record->blocks);
    return good;
}

static udump_status check_file(
    const char *folder, const char *key, const char *suffix, const char *hash, bool *whole, udump_error *error) {
    char found[UDUMP_DIGEST_TEXT] = "", *path = udump_sweep_file(folder, key, suffix);
    udump_bytes bytes;
    if (!path) return udump_fail_memory(error, folder, strlen(folder));
    udump_status status = udump_sweep_read_file(path, FILE_BYTES_MOST, &bytes, error);
    free(path);
    if (status) return status;
    if (bytes.data) udump_digest_of(bytes.data, bytes.size, found);
    *whole = bytes.data && strcmp(found, hash) == 0;
    free(bytes.data);
    return UDUMP_OK;
}

udump_status udump_sweep_record_read(const char *folder, const char *key, bool *whole, udump_sweep_record *record, udump_error *error) {
    udump_sweep_record own;
    udump_bytes bytes;
    char *path = udump_sweep_file(folder, key, ".json");
    if (!path) return udump_fail_memory(error, folder, strlen(folder));
    udump_status status = udump_sweep_read_file(path, RECORD_BYTES_MOST, &bytes, error);
    free(path);
    if (status) return status;
    *whole = bytes.data && udump_sweep_record_parse((const char *)bytes.data, bytes.size, key, &own);
    free(bytes.data);
    if (!*whole) return UDUMP_OK;
    status = check_file(folder, key, ".png", own.picture, whole, error);
    if (!status && *whole) status = check_file(folder, key, ".npy", own.latent, whole, error);
    if (!status && *whole && record) *record = own;
    else json_decref(own.blocks);
    return status;
}
