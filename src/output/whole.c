/* Whether a file that a run wrote is still there, and whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "output/file.h"
#include "output/name.h"
#include "output/resume.h"

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), count = strlen(end);
    return length >= count && strcmp(text + length - count, end) == 0;
}

/* fp32 values of the entry's last `rank` dimensions; -1 if it does not say. */
static int64_t value_bytes(const json_t *entry, size_t rank) {
    const json_t *shape = json_object_get(entry, "shape");
    int64_t bytes = json_is_array(shape) ? (int64_t)sizeof(float) : -1;
    size_t count = json_array_size(shape);
    for (size_t i = count > rank ? count - rank : 0; i < count && bytes >= 0; i++)
        if (__builtin_mul_overflow(bytes, (int64_t)json_integer_value(json_array_get(shape, i)), &bytes)) bytes = -1;
    return bytes;
}

static bool has_png_end(const char *path) {
    static const unsigned char end[12] = { 0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82 };
    unsigned char found[12] = { 0 };
    FILE *file = fopen(path, "rbe");
    bool good = file && fseek(file, -(long)sizeof end, SEEK_END) == 0 && fread(found, 1, sizeof found, file) == sizeof found;
    if (file) fclose(file);
    return good && memcmp(found, end, sizeof end) == 0;
}

/* One of the files of an entry. */
static bool is_whole(const char *path, const json_t *entry) {
    enum { NPY_ALIGNMENT = 64, SAFETENSORS_LENGTH = 8 };
    struct stat state;
    if (stat(path, &state) || !S_ISREG(state.st_mode)) return false;
    if (ends_with(path, ".png")) return has_png_end(path);
    if (ends_with(path, ".bin")) return state.st_size == value_bytes(entry, 2);
    if (ends_with(path, ".safetensors")) return state.st_size > SAFETENSORS_LENGTH; /* it has its name only once it is finished */
    int64_t header = state.st_size - value_bytes(entry, 6);
    return header > 0 && header < state.st_size && header % NPY_ALIGNMENT == 0;
}

/* A name as a run gives it: in the folder, at most one folder further in. */
static bool is_inside(const char *name) {
    const char *slash = strchr(name, '/');
    return *name && *name != '/' && *name != '.' && strlen(name) < UDUMP_NAME_BYTES + 64 && !(slash && (strchr(slash + 1, '/') || slash[1] == '.'));
}

bool udump_file_is_whole(const char *folder, const json_t *entry) {
    const char *name = json_string_value(json_object_get(entry, "file"));
    int64_t count = json_integer_value(json_object_get(entry, "files"));
    if (!name || !is_inside(name)) return false;
    char *path = udump_file_join(folder, name), *dash = path ? strrchr(path, '-') : NULL;
    bool good = path && (count < 1 || (dash && dash - path > 4 && dash[-5] == '-' && count <= 9999));
    for (int64_t i = 0; good && i < (count < 1 ? 1 : count); i++) {
        char digits[24];
        snprintf(digits, sizeof digits, "%04" PRId64, i);
        if (count > 0) memcpy(dash - 4, digits, 4); /* the others count up the four digits before the time */
        good = is_whole(path, entry);
    }
    free(path);
    return good;
}
