#include "output/dump.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/draft.h"
#include "tensor/view.h"

struct rows_job {
    udump_rows_target target;
    udump_view whole; /* its shape */
    int32_t axis;
    int64_t first, rows;
    float values[];
};

static udump_status write_rows(void *data, const char *path, udump_error *error) {
    const struct rows_job *job = data;
    (void)path; /* the draft knows it */
    udump_status status = udump_draft_write_rows(
        job->target.draft, job->target.offset, &job->whole, job->axis, job->first, job->rows, job->values, error);
    return status || !job->target.done ? status : job->target.done(job->target.file, job->rows, error);
}

static void release_rows(void *data) {
    struct rows_job *job = data;
    if (job->target.release) job->target.release(job->target.file);
    free(job);
}

udump_status udump_dump_submit_rows(
    const udump_dumper *dumper, const char *name, const udump_rows_target *target, const udump_rows *rows, udump_error *error) {
    size_t size;
    bool fits = udump_size_mul((size_t)udump_view_count(rows->values), sizeof(float), &size)
        && udump_size_add(size, sizeof(struct rows_job), &size);
    struct rows_job *job = fits ? malloc(size) : NULL;
    if (!job) {
        if (target->release) target->release(target->file);
        return udump_fail_memory(error, name, fits ? size : SIZE_MAX);
    }
    *job = (struct rows_job){ .target = *target, .whole = *rows->whole, .axis = rows->axis, .first = rows->first,
        .rows = rows->values->shape[rows->axis] };
    udump_view_read_f32(rows->values, job->values);
    udump_write_job write = { .data = job, .data_size = size, .files = target->files, .write = write_rows, .release = release_rows };
    return udump_writers_submit_to(dumper->writers, dumper->folder, name, &write, error);
}
