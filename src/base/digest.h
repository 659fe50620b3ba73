/* SHA-256, by Nettle: what names the results of a sweep, and tells whether a file is whole. */
#ifndef UDUMP_BASE_DIGEST_H
#define UDUMP_BASE_DIGEST_H

#include <nettle/sha2.h>
#include <stddef.h>

enum { UDUMP_DIGEST_TEXT = 2 * SHA256_DIGEST_SIZE + 1 }; /* hexadecimal, and the terminator */

typedef struct udump_digest {
    struct sha256_ctx state;
} udump_digest;

void udump_digest_start(udump_digest *digest);
void udump_digest_add(udump_digest *digest, const void *data, size_t size);
void udump_digest_finish(udump_digest *digest, char text[UDUMP_DIGEST_TEXT]);
/* Of one piece of memory. */
void udump_digest_of(const void *data, size_t size, char text[UDUMP_DIGEST_TEXT]);

#endif
