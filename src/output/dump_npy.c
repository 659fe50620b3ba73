/* The npy dump: a file for each tensor. One that comes in parts is a draft until its last rows are written. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/status.h"
#include "output/draft.h"
#include "output/dump.h"
#include "output/name.h"
#include "output/npy.h"
#include "output/npy_header.h"

/* Shared by the list of parts, while rows are to come, and by the rows on their way to the disk; the last one removes what is not whole. */
struct growing {
    atomic_int references;
    atomic_llong left; /* rows to be written */
    udump_draft draft;
};

static void release(void *file) {
    struct growing *growing = file;
    if (atomic_fetch_sub(&growing->references, 1) != 1) return;
    udump_draft_discard(&growing->draft);
    free(growing);
}

static udump_status rows_done(void *file, int64_t rows, udump_error *error) {
    struct growing *growing = file;
    return atomic_fetch_sub(&growing->left, rows) == rows ? udump_draft_keep(&growing->draft, error) : UDUMP_OK;
}

static udump_status begin_part(udump_dumper *dumper, udump_part *part, udump_error *error) {
    char header[UDUMP_NPY_MOST_WRITTEN_BYTES];
    part->offset = udump_npy_header_format(part->whole.rank, part->whole.shape, header);
    char *path = udump_file_join(dumper->folder, part->name);
    struct growing *growing = calloc(1, sizeof *growing);
    udump_status status = path && growing ? udump_draft_open(path, &growing->draft, error)
                                          : udump_fail_memory(error, part->name, sizeof *growing);
    free(path);
    if (status) {
        free(growing);
        return status;
    }
    atomic_init(&growing->references, 1);
    atomic_init(&growing->left, part->whole.shape[part->axis]);
    part->file = growing;
    return udump_draft_write(&growing->draft, header, (size_t)part->offset, 0, error);
}

static void drop(udump_parts *parts, udump_part *part) {
    if (part->file) release(part->file);
    udump_parts_drop(parts, part);
}

static udump_parts *parts_of(udump_dumper *dumper) {
    if (!dumper->state) dumper->state = calloc(1, sizeof(udump_parts));
    return dumper->state;
}

static udump_status on_part(udump_dumper *dumper, const udump_place *place, const udump_rows *rows, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    udump_parts *parts = parts_of(dumper);
    udump_part *part;
    bool begun;
    udump_status status = udump_name_place(place, false, ".npy", name, error);
    if (!status && !parts) status = udump_fail_memory(error, name, sizeof *parts);
    if (!status) status = udump_parts_take(parts, name, rows, &part, &begun, error);
    if (!status && begun && (status = begin_part(dumper, part, error))) drop(parts, part);
    if (status) return status;
    struct growing *growing = part->file;
    bool complete = udump_part_is_complete(part);
    atomic_fetch_add(&growing->references, 1);
    const udump_rows_target target = { &growing->draft, part->offset, growing, complete, rows_done, release };
    if (complete) drop(parts, part);
    status = udump_dump_submit_rows(dumper, name, &target, rows, error);
    if (!status && complete)
        status = udump_manifest_add_tensor(dumper->manifest, &(udump_manifest_tensor){ .file = name }, place, rows->whole, error);
    return status;
}

static udump_status on_tensor(udump_dumper *dumper, const udump_place *place, const udump_view *tensor, udump_error *error) {
    char name[UDUMP_NAME_BYTES];
    udump_bytes content;
    udump_status status = udump_name_place(place, false, ".npy", name, error);
    if (!status) status = udump_npy_encode(tensor, &content, error);
    if (status) return status;
    udump_write_job job = { .data = content.data, .data_size = content.size, .files = 1 };
    status = udump_writers_submit_to(dumper->writers, dumper->folder, name, &job, error);
    if (!status) status = udump_manifest_add_tensor(dumper->manifest, &(udump_manifest_tensor){ .file = name }, place, tensor, error);
    return status;
}

static udump_status finish(udump_dumper *dumper, bool keep, udump_error *error) {
    udump_parts *parts = dumper->state;
    udump_status status = UDUMP_OK;
    if (keep && parts && parts->first)
        status = udump_fail(error, UDUMP_ERROR_STATE, parts->first->name, "the run ended before the tensor's last rows");
    while (parts && parts->first) drop(parts, parts->first);
    free(parts);
    return status;
}

const udump_dump_format udump_dump_npy = { .tensor = on_tensor, .part = on_part, .finish = finish };
