#include "base/digest.h"

#include <stdint.h>
#include <stdio.h>

void udump_digest_start(udump_digest *digest) { sha256_init(&digest->state); }

void udump_digest_add(udump_digest *digest, const void *data, size_t size) { sha256_update(&digest->state, size, data); }

void udump_digest_finish(udump_digest *digest, char text[UDUMP_DIGEST_TEXT]) {
    uint8_t bytes[SHA256_DIGEST_SIZE];
    sha256_digest(&digest->state, sizeof bytes, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void udump_digest_of(const void *data, size_t size, char text[UDUMP_DIGEST_TEXT]) {
    udump_digest digest;
    udump_digest_start(&digest);
    udump_digest_add(&digest, data, size);
    udump_digest_finish(&digest, text);
}
