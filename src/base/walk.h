/* The files of a folder and of those within it. */
#ifndef UDUMP_BASE_WALK_H
#define UDUMP_BASE_WALK_H

#include <stdbool.h>

#include "unetdump.h"

/* Another status than OK ends the walk, and is what it returns. name: the last part of path. */
typedef udump_status (*udump_walk_fn)(void *user, const char *path, const char *name);

/* Visits each regular file, in the order of names' bytes, folders among them, down to `depth` folders within the first. follow: links are followed, to a folder that one is
 * in not again. What cannot be read on the way is passed over. Errors: FILE (the folder cannot be read), MEMORY. */
udump_status udump_walk(const char *folder, int depth, bool follow, udump_walk_fn visit, void *user, udump_error *error);

#endif
