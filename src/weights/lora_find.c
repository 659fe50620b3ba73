/* Which file the webui means by "<lora:NAME:0.8>". */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/walk.h"
#include "weights/file.h"
#include "weights/weights.h"

static const char ending[] = ".safetensors";
enum { DEPTH_MOST = 64 }; /* folders within folders */

/* What a walk looks for, and whether it is found: walks are not cut short, but do nothing then. */
struct search {
    const char *name;
    char *path; /* [path_bytes] */
    size_t path_bytes;
    bool found;
    udump_error *error;
};

static udump_status take(struct search *s, const char *path) {
    int length = snprintf(s->path, s->path_bytes, "%s", path);
    s->found = true;
    if (length >= 0 && (size_t)length < s->path_bytes) return UDUMP_OK;
    return udump_fail(s->error, UDUMP_ERROR_ARGUMENT, "udump_lora_find", "the path of %d bytes does not fit into %zu", length, s->path_bytes);
}

static udump_status visit_name(void *user, const char *path, const char *name) {
    struct search *s = user;
    size_t length = strlen(s->name);
    bool same = strncmp(name, s->name, length) == 0 && strcmp(name + length, ending) == 0;
    return same && !s->found ? take(s, path) : UDUMP_OK;
}

/* Trainers write down how the file was called, which it keeps wherever it goes. A file that cannot be read is another's matter. */
static udump_status visit_alias(void *user, const char *path, const char *name) {
    struct search *s = user;
    udump_weights *file;
    if (s->found || !udump_name_ends(name, ending) || udump_weights_open_tensors(path, &file, NULL)) return UDUMP_OK;
    const char *alias = udump_weights_metadata(file, "ss_output_name");
    bool same = alias && strcmp(alias, s->name) == 0;
    udump_weights_close(file);
    return same ? take(s, path) : UDUMP_OK;
}

udump_status udump_lora_find(const char *folder, const char *name, char *path, size_t path_bytes, udump_error *error) {
    if (!folder || !name || !path || !path_bytes) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "udump_lora_find", "a null pointer, or no room");
    struct search s = { .name = name, .path = path, .path_bytes = path_bytes, .error = error };
    udump_status status = udump_walk(folder, DEPTH_MOST, true, visit_name, &s, error);
    if (!status && !s.found) status = udump_walk(folder, DEPTH_MOST, true, visit_alias, &s, error);
    if (status || s.found) return status;
    char place[UDUMP_WEIGHT_PLACE_BYTES], what[UDUMP_WEIGHT_PLACE_BYTES];
    udump_weight_place(place, folder, NULL);
    udump_weight_place(what, name, NULL);
    return udump_fail(error, UDUMP_ERROR_FILE, place, "no LoRA '%s': no file of that name, and none that calls itself so", what);
}
