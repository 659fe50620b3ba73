/* The names by which checkpoints are known to others: of single files, the webui's "Model hash". Found in a thread beside whatever else is done meanwhile. */
#ifndef UDUMP_MODEL_HASH_H
#define UDUMP_MODEL_HASH_H

#include <pthread.h>
#include <stdbool.h>

#include "weights/identity.h"

enum { UDUMP_HASH_TEXT = 11 }; /* ten digits */

typedef struct udump_hashing {
    pthread_t thread;
    bool running;
    const char *path;
    char text[UDUMP_DIGEST_TEXT];
    udump_status status;
    udump_error error;
} udump_hashing;

/* Nothing is done where path is NULL or a folder, which the webui has no hash of. Where there is no thread to be had, it is found now. */
void udump_hash_begin(udump_hashing *hashing, const char *path);
/* Waits. text: the first ten digits of the file's SHA-256, "" where nothing was done. To be called after every begin. Errors: FILE, MEMORY. */
udump_status udump_hash_end(udump_hashing *hashing, char text[UDUMP_HASH_TEXT], udump_error *error);

#endif
