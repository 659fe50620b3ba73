/* Every table of the CPU's kernels that this machine runs; linked with kernels_wide.c and tiles_plain.c. */
#ifndef UDUMP_TESTS_KERNELS_HERE_H
#define UDUMP_TESTS_KERNELS_HERE_H

#include "backend/cpu/kernels.h"

enum { MOST_KERNELS = 4 };

const udump_kernels *kernels_wide(void);
const udump_attend_kernels *tiles_plain(void);

/* Which tiles go with a table: the best one's are this machine's. */
static inline const udump_attend_kernels *tiles_beside(const udump_kernels *kernels) {
    return kernels == kernels_wide() ? tiles_plain() : kernels == udump_kernels_best() ? udump_attend_amx() : NULL;
}

/* Returns how many; the last is the one that the library takes. */
static inline int kernels_here(const udump_kernels *kernels[MOST_KERNELS]) {
    const udump_kernels *all[MOST_KERNELS] = { kernels_wide(), udump_kernels_generic(), udump_kernels_avx2(), udump_kernels_avx512() };
    int count = 0;
    for (int i = 0; i < MOST_KERNELS; i++)
        if (all[i]) kernels[count++] = all[i];
    return count;
}

#endif
