#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

void *udump_aligned_alloc(size_t bytes) {
    if (bytes > SIZE_MAX - HUGE_PAGE_BYTES) return NULL;
    bool huge = bytes >= 4 * (size_t)HUGE_PAGE_BYTES;
    size_t alignment = huge ? HUGE_PAGE_BYTES : UDUMP_ALIGNMENT_BYTES, rounded = (bytes + alignment - 1) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded ? rounded : alignment);
    if (memory && huge) madvise(memory, rounded, MADV_HUGEPAGE); /* fewer page faults; where the system will not, nothing is lost */
    return memory;
}

void udump_aligned_free(void *memory) { free(memory); }
