/* Files as this room reads them: regular, opened read-only, read at given offsets. Nothing is mapped, so that a file that shrinks
 * while it is read is an error and not a signal. */
#ifndef UDUMP_WEIGHTS_FILE_H
#define UDUMP_WEIGHTS_FILE_H

#include <stdbool.h>

#include "unetdump.h"

typedef struct udump_weight_file {
    int fd;
    uint64_t size_bytes; /* when it was opened, */
    int64_t changed_ns;  /* and when it had last been changed by then */
    char *path;          /* owned; for messages */
} udump_weight_file;

/* *file needs no close after a failure. Errors: FILE (the system's reason, or not a regular file), MEMORY. */
udump_status udump_weight_file_open(const char *path, udump_weight_file *file, udump_error *error);
void udump_weight_file_close(udump_weight_file *file);

/* Exactly size_bytes bytes from offset_bytes on. tensor (may be NULL) is named in errors. Safe from several threads at once.
 * Errors: FILE, FORMAT (the file ends before). */
udump_status udump_weight_file_read(const udump_weight_file *file, uint64_t offset_bytes, void *destination, size_t size_bytes,
    const char *tensor, udump_error *error);

/* Whether what was read is one state of the file. Errors: FORMAT (it was changed since it was opened), FILE. */
udump_status udump_weight_file_check(const udump_weight_file *file, udump_error *error);

/* A whole small file, as bytes without a terminator; *text is yours to free. Nothing is allocated for one larger than
 * limit_bytes. Errors: FILE, FORMAT (too large), MEMORY. */
udump_status udump_weight_file_text(const char *path, size_t limit_bytes, char **text, size_t *size_bytes, udump_error *error);

/* "folder/name", to be freed; NULL without memory. */
char *udump_weight_path(const char *folder, const char *name);

/* An error's `where`: "path: tensor", or the path alone where tensor is NULL. Control characters become '?', so that a hostile name
 * cannot steer a terminal; of a long path the end stays, of a long name the beginning. */
enum { UDUMP_WEIGHT_PLACE_BYTES = 256 };
void udump_weight_place(char place[UDUMP_WEIGHT_PLACE_BYTES], const char *path, const char *tensor);

/* Whether name ends with end, in any case; as the names of pickled checkpoints do (.ckpt, .pt, .pth, .bin); and the error for those. */
bool udump_name_ends(const char *name, const char *end);
bool udump_is_pickle_name(const char *name);
udump_status udump_fail_pickle(const char *path, udump_error *error);

#endif
