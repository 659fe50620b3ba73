/* The safetensors dump: a file for each image, https://huggingface.co/docs/safetensors: the header's length in 8 bytes, the header (JSON,
 * padded with spaces), then the tensors without gaps. Values go straight to the file, behind room kept for the header, which is written
 * last; where the room turns out too small the values are moved up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/draft.h"
#include "output/dump.h"
#include "output/json.h"
#include "output/name.h"
#include "tensor/view.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files' numbers are little-endian");

enum {
    LENGTH_BYTES = 8,
    DATA_ALIGNMENT = 4096,
    ROOM_AT_LEAST = 4096,
    ROOM_PER_TENSOR = 640,       /* its entry and its place; the longest take about 600 */
    LEAST_PER_TENSOR = 300,      /* what the shortest take, at least */
    HEADER_MOST_BYTES = 100000000 /* the Rust and Python package's limit */
};

/* The file of one image and its erased twin. */
struct file {
    int32_t image;
    char name[UDUMP_NAME_BYTES];
    udump_draft draft; /* not open before the first tensor */
    uint64_t room;     /* where the values begin */
    uint64_t bytes;    /* of the values */
    udump_text tensors;  /* "name":{...}, each with a comma before it */
    udump_text places;   /* the same, of the metadata */
    char *infotexts[2];  /* of the variants; NULL where none was told */
    udump_parts parts;
    struct file *next;
};

struct state {
    uint64_t room; /* of each file */
    struct file *first;
};

static struct state *state_of(udump_dumper *dumper) {
    if (!dumper->state) {
        struct state *state = dumper->state = calloc(1, sizeof *state);
        if (state) state->room = ROOM_AT_LEAST;
    }
    return dumper->state;
}

static uint64_t aligned(uint64_t bytes) { return (bytes + DATA_ALIGNMENT - 1) / DATA_ALIGNMENT * DATA_ALIGNMENT; }

static udump_status fail_long(udump_error *error, const char *where) {
    return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, where,
        "more tensors of an image than a safetensors file can name: its header has at most %d bytes", HEADER_MOST_BYTES);
}

static udump_status begin(udump_dumper *dumper, const udump_run_info *run, udump_error *error) {
    struct state *state = state_of(dumper);
    if (!state) return udump_fail_memory(error, dumper->folder, sizeof *state);
    uint64_t images = (uint64_t)(run->batch_size > 0 ? run->batch_size : 1) * (uint64_t)(run->batch_count > 0 ? run->batch_count : 1);
    uint64_t tensors = run->tensor_count > 0 ? (uint64_t)run->tensor_count / images + 1 : 0;
    if (tensors > HEADER_MOST_BYTES / LEAST_PER_TENSOR) return fail_long(error, dumper->folder);
    /* as a JSON string in JSON a text takes up to twice its length, unless it is all control characters */
    uint64_t texts = strlen(udump_manifest_run(dumper->manifest)) + strlen(udump_manifest_contexts(dumper->manifest));
    if (run->infotext) texts += 2 * strlen(run->infotext);
    uint64_t room = LENGTH_BYTES + ROOM_AT_LEAST + 2 * texts + tensors * ROOM_PER_TENSOR;
    state->room = aligned(room < HEADER_MOST_BYTES ? room : HEADER_MOST_BYTES - DATA_ALIGNMENT);
    return UDUMP_OK;
}

static udump_status file_of(udump_dumper *dumper, int32_t image, struct file **file, udump_error *error) {
    struct state *state = state_of(dumper);
    if (!state) return udump_fail_memory(error, dumper->folder, sizeof *state);
    for (*file = state->first; *file; *file = (*file)->next)
        if ((*file)->image == image) return UDUMP_OK;
    struct file *created = calloc(1, sizeof *created);
    if (!created) return udump_fail_memory(error, dumper->folder, sizeof *created);
    udump_status status = udump_name_image(image, UDUMP_VARIANT_ENABLED, ".safetensors", created->name, error);
    if (status) {
        free(created);
        return status;
    }
    created->image = image;
    created->room = state->room;
    created->next = state->first;
    *file = state->first = created;
    return UDUMP_OK;
}

static udump_status open_draft(udump_dumper *dumper, struct file *file, udump_error *error) {
    if (udump_draft_is_open(&file->draft)) return UDUMP_OK;
    char *path = udump_file_join(dumper->folder, file->name);
    udump_status status = path ? udump_draft_open(path, &file->draft, error) : udump_fail_memory(error, file->name, strlen(dumper->folder));
    free(path);
    return status;
}

/* Lists the tensor and keeps the bytes behind the others for it; *offset is of its values, from the file's start. */
static udump_status list_tensor(struct file *file, const char *name, const udump_place *place, const udump_view *tensor, uint64_t *offset,
    udump_error *error) {
    udump_json entry = udump_json_start();
    uint64_t end = file->bytes + (uint64_t)udump_view_count(tensor) * sizeof(float);
    udump_json_put_text(&entry, "dtype", "F32");
    udump_json_put_sizes(&entry, "shape", tensor->rank, tensor->shape);
    udump_json_put_sizes(&entry, "data_offsets", 2, (int64_t[]){ (int64_t)file->bytes, (int64_t)end });
    bool good = udump_text_print(&file->tensors, ", \"%s\": ", name) && udump_json_finish(&entry, &file->tensors);
    json_decref(entry.object);
    char *text = udump_manifest_place(place, tensor);
    good = good && text && udump_text_print(&file->places, ", \"%s\": ", name) && udump_json_write(json_string(text), &file->places);
    free(text);
    if (!good) return udump_fail_memory(error, name, file->tensors.size + file->places.size);
    if (file->tensors.size + file->places.size > HEADER_MOST_BYTES) return fail_long(error, file->name);
    *offset = file->room + file->bytes;
    file->bytes = end;
    return UDUMP_OK;
}

static udump_status prepare(udump_dumper *dumper, const udump_place *place, char name[UDUMP_NAME_BYTES], struct file **file,
    udump_error *error) {
    udump_status status = udump_name_tensor(place, name, error);
    if (!status) status = file_of(dumper, place->image, file, error);
    return status ? status : open_draft(dumper, *file, error);
}

static udump_status note(udump_dumper *dumper, const struct file *file, const char *name, const udump_place *place, const udump_view *whole,
    udump_error *error) {
    return udump_manifest_add_tensor(
        dumper->manifest, &(udump_manifest_tensor){ .file = file->name, .tensor = name }, place, whole, error);
}

/* A tensor as the only rows of itself. */
static udump_status submit_whole(
    udump_dumper *dumper, const struct file *file, uint64_t offset, const udump_view *tensor, udump_error *error) {
    udump_view flat = *tensor;
    if (!flat.rank) flat = udump_view_make(tensor->data, tensor->dtype, 1, (int64_t[]){ 1 });
    const udump_rows rows = { &flat, 0, 0, &flat };
    return udump_dump_submit_rows(dumper, file->name, &(udump_rows_target){ .draft = &file->draft, .offset = offset }, &rows, error);
}

static udump_status on_tensor(udump_dumper *dumper, const udump_place *place, const udump_view *tensor, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    struct file *file;
    uint64_t offset;
    if (!udump_view_valid(tensor)) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "not a valid tensor view");
    udump_status status = prepare(dumper, place, name, &file, error);
    if (!status) status = list_tensor(file, name, place, tensor, &offset, error);
    if (!status && udump_view_count(tensor)) status = submit_whole(dumper, file, offset, tensor, error);
    return status ? status : note(dumper, file, name, place, tensor, error);
}

static udump_status on_part(udump_dumper *dumper, const udump_place *place, const udump_rows *rows, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    struct file *file;
    udump_part *part;
    bool begun;
    udump_status status = prepare(dumper, place, name, &file, error);
    if (!status) status = udump_parts_take(&file->parts, name, rows, &part, &begun, error);
    if (!status && begun && (status = list_tensor(file, name, place, rows->whole, &part->offset, error)))
        udump_parts_drop(&file->parts, part);
    if (status) return status;
    const udump_rows_target target = { .draft = &file->draft, .offset = part->offset };
    bool complete = udump_part_is_complete(part);
    if (complete) udump_parts_drop(&file->parts, part);
    status = udump_dump_submit_rows(dumper, file->name, &target, rows, error);
    return status || !complete ? status : note(dumper, file, name, place, rows->whole, error);
}

static udump_status on_infotext(udump_dumper *dumper, int32_t image, udump_variant variant, const char *text, udump_error *error) {
    struct file *file;
    udump_status status = file_of(dumper, image, &file, error);
    char **kept = status ? NULL : &file->infotexts[variant != UDUMP_VARIANT_ENABLED];
    if (status || *kept || !text) return status;
    *kept = strdup(text);
    return *kept ? UDUMP_OK : udump_fail_memory(error, file->name, strlen(text));
}

static bool add_string(udump_text *header, const char *key, const char *text) {
    return udump_text_print(header, ", \"%s\": ", key) && udump_json_write(udump_json_string(text), header);
}

/* All values of the metadata are strings: what has structure is JSON in them. */
static bool format_header(const udump_dumper *dumper, const struct file *file, udump_text *header) {
    return udump_text_print(header, "{\"__metadata__\": {\"unetdump\": \"%s\"", udump_version())
        && add_string(header, "run", udump_manifest_run(dumper->manifest))
        && add_string(header, "contexts", udump_manifest_contexts(dumper->manifest))
        && (!file->infotexts[0] || add_string(header, "infotext", file->infotexts[0]))
        && (!file->infotexts[1] || add_string(header, "infotext-erased", file->infotexts[1]))
        && udump_text_add(header, file->places.data, file->places.size) && udump_text_print(header, "}")
        && udump_text_add(header, file->tensors.data, file->tensors.size) && udump_text_print(header, "}");
}

static udump_status write_header(const struct file *file, const udump_text *header, uint64_t room, udump_error *error) {
    uint64_t length = room - LENGTH_BYTES, at = LENGTH_BYTES + header->size;
    char blank[DATA_ALIGNMENT];
    memset(blank, ' ', sizeof blank);
    udump_status status = udump_draft_write(&file->draft, &length, sizeof length, 0, error);
    if (!status) status = udump_draft_write(&file->draft, header->data, header->size, LENGTH_BYTES, error);
    for (size_t count; at < room && !status; at += count) {
        count = room - at < sizeof blank ? (size_t)(room - at) : sizeof blank;
        status = udump_draft_write(&file->draft, blank, count, at, error);
    }
    return status;
}

static udump_status complete(udump_dumper *dumper, struct file *file, udump_error *error) {
    if (file->parts.first)
        return udump_fail(error, UDUMP_ERROR_STATE, file->parts.first->name, "the run ended before the tensor's last rows");
    udump_text header = { 0 };
    udump_status status = UDUMP_OK;
    uint64_t room = file->room;
    if (!format_header(dumper, file, &header)) status = udump_fail_memory(error, file->name, header.size);
    if (!status && header.size + LENGTH_BYTES > room) {
        room = aligned(header.size + LENGTH_BYTES);
        if (room - LENGTH_BYTES > HEADER_MOST_BYTES) status = fail_long(error, file->name);
        else status = udump_draft_shift(&file->draft, file->room, room, file->bytes, error);
    }
    if (!status) status = write_header(file, &header, room, error);
    free(header.data);
    return status ? status : udump_draft_keep(&file->draft, error);
}

static void file_free(struct file *file) {
    while (file->parts.first) udump_parts_drop(&file->parts, file->parts.first);
    udump_draft_discard(&file->draft);
    free(file->tensors.data);
    free(file->places.data);
    free(file->infotexts[0]);
    free(file->infotexts[1]);
    free(file);
}

/* The files so far: finished, or removed. */
static udump_status close_files(udump_dumper *dumper, bool keep, udump_error *error) {
    struct state *state = dumper->state;
    udump_status status = UDUMP_OK;
    for (struct file *file = state ? state->first : NULL, *next; file; file = next) {
        next = file->next;
        if (keep && !status && udump_draft_is_open(&file->draft)) status = complete(dumper, file, error);
        file_free(file);
    }
    if (state) state->first = NULL;
    return status;
}

static udump_status end_batch(udump_dumper *dumper, udump_error *error) { return close_files(dumper, true, error); }

static udump_status finish(udump_dumper *dumper, bool keep, udump_error *error) {
    udump_status status = close_files(dumper, keep, error);
    free(dumper->state);
    return status;
}

const udump_dump_format udump_dump_safetensors = {
    .begin = begin, .tensor = on_tensor, .part = on_part, .infotext = on_infotext, .end_batch = end_batch, .finish = finish
};
