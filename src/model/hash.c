#include "model/hash.h"

#include <string.h>
#include <sys/stat.h>

static void *find(void *user) {
    udump_hashing *hashing = user;
    hashing->status = udump_identity_find(hashing->path, hashing->text, &hashing->error);
    return NULL;
}

void udump_hash_begin(udump_hashing *hashing, const char *path) {
    struct stat info;
    memset(hashing, 0, sizeof *hashing);
    if (!path || stat(path, &info) || !S_ISREG(info.st_mode)) return; /* what cannot be read is told by who needs it */
    hashing->path = path;
    hashing->running = pthread_create(&hashing->thread, NULL, find, hashing) == 0;
    if (!hashing->running) find(hashing);
}

udump_status udump_hash_end(udump_hashing *hashing, char text[UDUMP_HASH_TEXT], udump_error *error) {
    if (hashing->running) pthread_join(hashing->thread, NULL);
    hashing->running = false;
    if (hashing->status && error) *error = hashing->error;
    memcpy(text, hashing->text, UDUMP_HASH_TEXT - 1);
    text[UDUMP_HASH_TEXT - 1] = '\0';
    return hashing->status;
}
