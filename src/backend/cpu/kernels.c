#include "backend/cpu/kernels.h"

const udump_kernels *udump_kernels_best(void) {
    if (udump_kernels_avx512()) return udump_kernels_avx512();
    if (udump_kernels_avx2()) return udump_kernels_avx2();
    return udump_kernels_generic();
}
