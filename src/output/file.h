/* Files that appear under their final name whole or not at all. */
#ifndef UDUMP_OUTPUT_FILE_H
#define UDUMP_OUTPUT_FILE_H

#include <stdbool.h>

#include "unetdump.h"

/* Bytes on the heap; release with free(data). */
typedef struct udump_bytes {
    uint8_t *data;
    size_t size;
} udump_bytes;

/* Writes a file beside path and renames it to path, so that path holds the old file or the whole new one; on failure nothing stays
 * behind. A symbolic link is followed; what is neither a file nor a folder (a device, a pipe) is written to directly.
 * Thread-safe. Errors: FILE (path and the system's reason), MEMORY. */
udump_status udump_file_save(const char *path, const void *data, size_t size, udump_error *error);

/* A whole file as text, on the heap; *text stays NULL where there is none. Errors: FILE, FORMAT (no file, or larger than any that a run writes),
 * MEMORY. */
udump_status udump_file_read_text(const char *path, char **text, udump_error *error);

/* Creates folder and its parents where they do not exist, and makes sure that files can be created there. Errors: FILE, MEMORY. */
udump_status udump_file_make_folder(const char *folder, udump_error *error);
/* How much of the path, from its beginning, names something that is there. */
size_t udump_file_existing_bytes(const char *path);
/* Removes a folder, and those that it is in but what was there before, as long as they are empty. */
void udump_file_remove_empty(const char *folder, size_t existing_bytes);
/* Keeps the folder for its caller until *lock is closed, which the process's end does too; *lock is -1 where the file system knows no locks. Errors: FILE (it is kept
 * by another run). */
udump_status udump_file_lock_folder(const char *folder, int *lock, udump_error *error);

/* Opens a new file in path's folder, under a hidden name that nothing has yet; *temporary, on the heap, is that name.
 * -1 with errno set, and *temporary NULL, on failure. */
int udump_file_open_beside(const char *path, char **temporary);
/* The number of the process that writes, or wrote, the file of such a name; 0 of another name. */
long udump_file_writer(const char *name);
/* Whether it is of a process that is no more, on this machine. */
bool udump_file_is_left(const char *name);

/* Removes the file if there is one. Errors: FILE. */
udump_status udump_file_remove(const char *path, udump_error *error);

/* "cannot be ACTION: No space left on device", with path as where; code is an errno. Returns UDUMP_ERROR_FILE. */
udump_status udump_file_fail(udump_error *error, const char *path, const char *action, int code);

/* folder/name on the heap; NULL without memory. */
char *udump_file_join(const char *folder, const char *name);

/* All of it. 0, or an errno. Closes fd in any case: some file systems report a full disk only then. */
int udump_file_write_and_close(int fd, const uint8_t *data, size_t size);

#endif
