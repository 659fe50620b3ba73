/* The formats that a folder writes tensors in. */
#ifndef UDUMP_OUTPUT_DUMP_H
#define UDUMP_OUTPUT_DUMP_H

#include <stdbool.h>

#include "output/manifest.h"
#include "output/parts.h"
#include "output/writers.h"

typedef struct udump_dumper udump_dumper;

/* One dump format. Everything but finish runs in the sink's thread and hands what takes time to the writers. */
typedef struct udump_dump_format {
    udump_status (*begin)(udump_dumper *dumper, const udump_run_info *run, udump_error *error); /* may be NULL, and need not come */
    udump_status (*tensor)(udump_dumper *dumper, const udump_place *place, const udump_view *tensor, udump_error *error);
    udump_status (*part)(udump_dumper *dumper, const udump_place *place, const udump_rows *rows, udump_error *error); /* NULL: takes none */
    udump_status (*infotext)(
        udump_dumper *dumper, int32_t image, udump_variant variant, const char *text, udump_error *error); /* may be NULL */
    /* After each batch, once the writers are done with it: what is not under its name yet gets it. May be NULL. */
    udump_status (*end_batch)(udump_dumper *dumper, udump_error *error);
    /* Once the writers are done: frees the state; with keep, what is not under its name yet gets it, else it is removed. */
    udump_status (*finish)(udump_dumper *dumper, bool keep, udump_error *error);
} udump_dump_format;

struct udump_dumper {
    const udump_dump_format *format;
    const char *folder;
    udump_writers *writers;
    udump_manifest *manifest;
    int64_t time; /* of the run's start, Unix seconds */
    void *state; /* the format's; NULL at first */
};

extern const udump_dump_format udump_dump_npy;
extern const udump_dump_format udump_dump_bin;
extern const udump_dump_format udump_dump_safetensors;

/* Rows of a tensor on their way into a file that is written in pieces: copies them and queues them. file is given to done once they are
 * written, which may finish the file, and to release in any case; both may be NULL. Errors: MEMORY, and the writers' first. */
typedef struct udump_rows_target {
    const struct udump_draft *draft;
    uint64_t offset; /* of the whole tensor's values */
    void *file;
    int64_t files;   /* see udump_write_job */
    udump_status (*done)(void *file, int64_t rows, udump_error *error);
    void (*release)(void *file);
} udump_rows_target;
udump_status udump_dump_submit_rows(
    const udump_dumper *dumper, const char *name, const udump_rows_target *target, const udump_rows *rows, udump_error *error);

#endif
