#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>

void *udump_aligned_alloc(size_t bytes) {
    if (bytes > SIZE_MAX - UDUMP_ALIGNMENT_BYTES) return NULL;
    size_t rounded = (bytes + UDUMP_ALIGNMENT_BYTES - 1) / UDUMP_ALIGNMENT_BYTES * UDUMP_ALIGNMENT_BYTES;
    return aligned_alloc(UDUMP_ALIGNMENT_BYTES, rounded ? rounded : UDUMP_ALIGNMENT_BYTES);
}

void udump_aligned_free(void *memory) { free(memory); }
