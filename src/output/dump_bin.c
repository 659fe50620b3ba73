/* The bin dump, as the webui extension writes it (hnmr293/stable-diffusion-webui-dumpunet, scripts/lib/tutils.py, save_tensor, and
 * scripts/lib/feature_extractor.py): raw little-endian float32, a file for each channel, the image, block, step, channel and the run's
 * start in Unix seconds in its name; of attention only Q*K, whose channels are head * tokens + token. Its three kinds go to three folders
 * here. What the extension never wrote, and what would take the same names, has a folder of its own in them: "uncond", "erased-d2". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/dump.h"
#include "output/name.h"
#include "tensor/view.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files' numbers are little-endian");

enum { LONGEST_ENDING = 64 };

struct folder {
    char *name;
    struct folder *next;
};

struct state {
    struct folder *made; /* folders that are there */
};

/* All channels of a tensor; the job's path is what their names begin with. */
struct channels {
    int64_t time, count;
    size_t values_each;
    float values[]; /* [count, values_each] */
};

static struct state *state_of(udump_dumper *dumper) {
    if (!dumper->state) dumper->state = calloc(1, sizeof(struct state));
    return dumper->state;
}

static udump_status write_channels(void *data, const char *path, udump_error *error) {
    const struct channels *channels = data;
    size_t size = strlen(path) + LONGEST_ENDING;
    char *name = malloc(size);
    if (!name) return udump_fail_memory(error, path, size);
    udump_status status = UDUMP_OK;
    for (int64_t c = 0; c < channels->count && !status; c++) {
        snprintf(name, size, "%s%04" PRId64 "-%" PRId64 ".bin", path, c, channels->time);
        status = udump_file_save(
            name, channels->values + (size_t)c * channels->values_each, channels->values_each * sizeof *channels->values, error);
    }
    free(name);
    return status;
}

/* "attention/uncond-erased-d2" */
static void name_folder(const udump_place *place, char name[UDUMP_NAME_BYTES]) {
    char depth[16] = "", part[16] = "";
    const char *side = place->side == UDUMP_SIDE_UNCOND ? "-uncond" : "",
               *variant = udump_variant_suffix(place->variant);
    const char *kind = place->kind == UDUMP_KIND_QK ? "attention" : place->kind == UDUMP_KIND_DIFF ? "diff" : "features";
    if (place->part) snprintf(part, sizeof part, "-and%" PRId32, place->part);
    if (place->depth) snprintf(depth, sizeof depth, "-d%" PRId32, place->depth);
    int length = snprintf(name, UDUMP_NAME_BYTES, "%s", kind);
    snprintf(name + length, UDUMP_NAME_BYTES - (size_t)length, "%s%s%s%s", side, part, variant, depth);
    if (name[length]) name[length] = '/';
}

static udump_status make_folder(udump_dumper *dumper, struct state *state, const char *name, udump_error *error) {
    for (const struct folder *made = state->made; made; made = made->next)
        if (strcmp(made->name, name) == 0) return UDUMP_OK;
    struct folder *folder = malloc(sizeof *folder);
    char *copy = strdup(name), *path = udump_file_join(dumper->folder, name);
    udump_status status = folder && copy && path ? udump_file_make_folder(path, error) : udump_fail_memory(error, name, strlen(name));
    free(path);
    if (status) {
        free(folder);
        free(copy);
        return status;
    }
    *folder = (struct folder){ copy, state->made };
    state->made = folder;
    return UDUMP_OK;
}

static struct channels *copy_channels(const udump_view *tensor, int64_t time, size_t *size) {
    bool fits = udump_size_mul((size_t)udump_view_count(tensor), sizeof(float), size)
        && udump_size_add(*size, sizeof(struct channels), size);
    if (!fits) *size = SIZE_MAX;
    struct channels *channels = fits ? malloc(*size) : NULL;
    if (!channels) return NULL;
    *channels = (struct channels){ time, 1, (size_t)(tensor->shape[tensor->rank - 2] * tensor->shape[tensor->rank - 1]) };
    for (int32_t i = 0; i < tensor->rank - 2; i++) channels->count *= tensor->shape[i];
    udump_view_read_f32(tensor, channels->values);
    return channels;
}

static udump_status submit(udump_dumper *dumper, const char *name, const udump_view *tensor, int64_t time, udump_error *error) {
    size_t size;
    struct channels *channels = copy_channels(tensor, time, &size);
    if (!channels) return udump_fail_memory(error, name, size);
    udump_write_job job = { .data = channels, .data_size = size, .files = channels->count, .write = write_channels };
    return udump_writers_submit_to(dumper->writers, dumper->folder, name, &job, error);
}

static udump_status note(udump_dumper *dumper, const char *name, const udump_place *place, const udump_view *tensor, int64_t time,
    udump_error *error) {
    char file[UDUMP_NAME_BYTES + LONGEST_ENDING];
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->rank - 2; i++) count *= tensor->shape[i];
    snprintf(file, sizeof file, "%s0000-%" PRId64 ".bin", name, time);
    return udump_manifest_add_tensor(dumper->manifest, &(udump_manifest_tensor){ .file = file, .files = count }, place, tensor, error);
}

static udump_status on_tensor(udump_dumper *dumper, const udump_place *place, const udump_view *tensor, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    struct state *state = state_of(dumper);
    udump_status status = udump_name_place(place, false, "", name, error); /* for its checks */
    if (status) return status;
    if (place->kind != UDUMP_KIND_FEATURES && place->kind != UDUMP_KIND_DIFF && place->kind != UDUMP_KIND_QK) return UDUMP_OK;
    if (!udump_view_valid(tensor) || tensor->rank < 3) return udump_fail(error, UDUMP_ERROR_ARGUMENT, name, "not a view of channels");
    if (!state) return udump_fail_memory(error, name, sizeof *state);
    name_folder(place, name);
    status = make_folder(dumper, state, name, error);
    if (status) return status;
    size_t length = strlen(name);
    snprintf(name + length, sizeof name - length, "/%03" PRId32 "-%s-%03" PRId32 "-", place->image, place->block, place->step);
    status = submit(dumper, name, tensor, dumper->time, error);
    return status ? status : note(dumper, name, place, tensor, dumper->time, error);
}

static udump_status finish(udump_dumper *dumper, bool keep, udump_error *error) {
    struct state *state = dumper->state;
    (void)keep;
    (void)error;
    for (struct folder *folder = state ? state->made : NULL, *next; folder; folder = next) {
        next = folder->next;
        free(folder->name);
        free(folder);
    }
    free(state);
    return UDUMP_OK;
}

const udump_dump_format udump_dump_bin = { .tensor = on_tensor, .finish = finish };
