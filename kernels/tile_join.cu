/* Every finite tile's range becomes that of all finite tiles: one block. */
#include "ranges.cuh"

enum { THREADS = 256 };

static __global__ void tile_join(udump_kernel_range *ranges, int count) {
    __shared__ udump_kernel_range all[THREADS];
    udump_kernel_range r = UDUMP_NO_RANGE;
    for (int i = (int)threadIdx.x; i < count; i += THREADS)
        if (ranges[i].finite) udump_range_join(&r, ranges[i]);
    udump_range_join_block(all, r, THREADS);
    for (int i = (int)threadIdx.x; i < count; i += THREADS)
        if (ranges[i].finite) ranges[i] = all[0];
}

void udump_kernel_tile_join(udump_kernel_range *ranges, int count, udump_stream stream) {
    UDUMP_LAUNCH(tile_join, 1, THREADS, 0, stream, ranges, count);
}
