/* cells/KEY.json: what a cell of a sweep is and left. The last of its files: a cell with a record whose hashes are those of the other two
 * is whole.
 *
 * {"unetdump": version, "key", "cell": {all that the key is the hash of}, "picture": hash, "latent": hash,
 *  "blocks": [{"block", "step", "side", "l2", "relative_l2", "max", "cosine"}]} */
#ifndef UDUMP_PIPELINE_SWEEP_RECORD_H
#define UDUMP_PIPELINE_SWEEP_RECORD_H

#include <jansson.h>

#include "base/digest.h"
#include "output/file.h"
#include "pipeline/sweep_plan.h"

typedef struct udump_sweep_record {
    char picture[UDUMP_DIGEST_TEXT], latent[UDUMP_DIGEST_TEXT];
    json_t *blocks; /* an array */
} udump_sweep_record;

/* folder/cells/KEY and the suffix, on the heap; NULL without memory. */
char *udump_sweep_file(const char *folder, const char *key, const char *suffix);
/* The whole of a file. *bytes stay empty, without an error, where there is none. Errors: FILE, FORMAT (longer than most), MEMORY. */
udump_status udump_sweep_read_file(const char *path, size_t most_bytes, udump_bytes *bytes, udump_error *error);

/* Takes blocks (may be NULL) over. cell: the identity, one JSON object. Errors: FILE, MEMORY. */
udump_status udump_sweep_record_write(const char *folder, const char *key, const char *cell, const udump_sweep_record *record, udump_error *error);
/* A record's text. False where it is none for key. record->blocks is yours (json_decref). */
bool udump_sweep_record_parse(const char *text, size_t size, const char *key, udump_sweep_record *record);
/* Whether the cell is there and whole; if so, record (may be NULL) is set. Errors: FILE (not where a file is missing), MEMORY. */
udump_status udump_sweep_record_read(const char *folder, const char *key, bool *whole, udump_sweep_record *record, udump_error *error);

#endif
