/* FNV-1a, 64 bits (Fowler, Noll, Vo): against mistakes, not against intent. */
#ifndef UDUMP_BASE_HASH_H
#define UDUMP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define UDUMP_HASH_START UINT64_C(0xCBF29CE484222325)

static inline uint64_t udump_hash_add(uint64_t hash, const void *data, size_t size_bytes) {
    const uint8_t *bytes = (const uint8_t *)data;
    for (size_t i = 0; i < size_bytes; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}

#endif
