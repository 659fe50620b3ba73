/* What a former run of the same options left in a folder, for a run that goes on from there. */
#ifndef UDUMP_OUTPUT_RESUME_H
#define UDUMP_OUTPUT_RESUME_H

#include <jansson.h>
#include <stdbool.h>

#include "output/text.h"
#include "unetdump.h"

typedef struct udump_resume {
    int64_t time;   /* of the former run's start; 0: it left nothing */
    json_t *files;  /* of batches that are whole, as in the manifest; NULL: none */
    udump_text rows; /* of diff.csv, without the header */
    bool *done;     /* [batches] */
    int32_t batches, done_count, batch_size;
} udump_resume;

/* Reads the journal, or else the manifest, and looks at the files themselves; removes what killed processes left half-written. run_json: the
 * manifest's "run". resume is to be freed also after a failure. Errors: ARGUMENT (the folder is another run's; says in what), FILE, MEMORY. */
udump_status udump_resume_read(
    const char *folder, const udump_run_info *run, const char *run_json, udump_resume *resume, udump_error *error);
void udump_resume_free(udump_resume *resume);

/* Whether the batch that begins with this image is whole. */
bool udump_resume_has(const udump_resume *resume, int32_t first_image);
/* Its entries (a comma and a line break between them) and rows, behind what is there; *cross becomes true if some of them are of
 * cross-attention. False without memory. */
bool udump_resume_copy(const udump_resume *resume, int32_t first_image, udump_text *files, udump_text *rows, bool *cross);

/* Whether the file that an entry of the manifest is about is there and whole: its length, and what a PNG ends with. */
bool udump_file_is_whole(const char *folder, const json_t *entry);

#endif
