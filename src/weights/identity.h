/* What a file or folder is, whatever it is called and wherever it lies. */
#ifndef UDUMP_WEIGHTS_IDENTITY_H
#define UDUMP_WEIGHTS_IDENTITY_H

#include "base/digest.h"
#include "unetdump.h"

/* A file: the SHA-256 of its bytes. A folder: that of the names and SHA-256 of its .safetensors and .json files, and those of the folders in it,
 * three deep: what loading a checkpoint or embeddings may read. Hidden names are left out, links are followed. Errors: FILE, MEMORY. */
udump_status udump_identity_find(const char *path, char text[UDUMP_DIGEST_TEXT], udump_error *error);

#endif
