#include <math.h>

#include "backend/cuda/plans.h"

enum { RUNS = 6 }; /* the first warms up */

/* Milliseconds of the shortest run; infinity where one fails. */
static float time_candidate(cudaStream_t stream, const cudaEvent_t events[2], int32_t candidate, udump_begin_fn begin, void *user) {
    float shortest = INFINITY, elapsed;
    for (int run = 0; run < RUNS; run++) {
        bool fine = cudaEventRecord(events[0], stream) == cudaSuccess && begin(user, candidate) && cudaEventRecord(events[1], stream) == cudaSuccess
            && cudaEventSynchronize(events[1]) == cudaSuccess && cudaEventElapsedTime(&elapsed, events[0], events[1]) == cudaSuccess;
        if (!fine) return cudaGetLastError(), INFINITY;
        if (run && elapsed < shortest) shortest = elapsed;
    }
    return shortest;
}

int32_t udump_fastest(cudaStream_t stream, int32_t count, udump_begin_fn begin, void *user) {
    cudaEvent_t events[2] = { NULL, NULL };
    float shortest = INFINITY;
    int32_t fastest = -1;
    bool there = cudaEventCreateWithFlags(&events[0], cudaEventDefault) == cudaSuccess && cudaEventCreateWithFlags(&events[1], cudaEventDefault) == cudaSuccess;
    for (int32_t i = 0; there && i < count; i++) {
        float elapsed = time_candidate(stream, events, i, begin, user);
        if (!(elapsed < shortest)) continue;
        shortest = elapsed;
        fastest = i;
    }
    for (int i = 0; i < 2; i++)
        if (events[i]) cudaEventDestroy(events[i]);
    return fastest;
}
