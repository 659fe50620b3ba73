#include <math.h>

#include "backend/cuda/plans.h"

enum { RUNS = 6 /* the first warms up */, CACHES = 4 };

/* Memory that is overwritten before each run: the card is busy while the host prepares the candidate, so that what is timed is the card's work alone, as in
 * a graph; and what the run before it left in the cache is gone. NULL where there is none: then the times have the host's part in them. */
typedef struct busy {
    void *memory;
    size_t bytes;
} busy;

static busy busy_open(void) {
    busy b = { NULL, 0 };
    int device = 0, cache_bytes = 0;
    bool known = cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&cache_bytes, cudaDevAttrL2CacheSize, device) == cudaSuccess;
    b.bytes = CACHES * (size_t)cache_bytes;
    if (!known || !b.bytes || cudaMalloc(&b.memory, b.bytes) != cudaSuccess) b.memory = NULL, cudaGetLastError();
    return b;
}

/* Milliseconds; NaN where it fails. */
static float time_once(cudaStream_t stream, const cudaEvent_t events[2], const busy *b, int32_t candidate, udump_begin_fn begin, void *user) {
    float elapsed = NAN;
    bool fine = (!b->memory || cudaMemsetAsync(b->memory, 0, b->bytes, stream) == cudaSuccess) && cudaEventRecord(events[0], stream) == cudaSuccess
        && begin(user, candidate) && cudaEventRecord(events[1], stream) == cudaSuccess && cudaEventSynchronize(events[1]) == cudaSuccess
        && cudaEventElapsedTime(&elapsed, events[0], events[1]) == cudaSuccess;
    return fine ? elapsed : (cudaGetLastError(), NAN);
}

/* In turns, as clocks rise and fall. shortest: [count]; NaN of what failed. */
static void time_all(cudaStream_t stream, const cudaEvent_t events[2], int32_t count, udump_begin_fn begin, void *user, float *shortest) {
    const busy b = busy_open();
    for (int32_t i = 0; i < count; i++) shortest[i] = INFINITY;
    for (int run = 0; run < RUNS; run++)
        for (int32_t i = 0; i < count; i++) {
            if (isnan(shortest[i])) continue;
            float elapsed = time_once(stream, events, &b, i, begin, user);
            if (isnan(elapsed) || (run && elapsed < shortest[i])) shortest[i] = elapsed;
        }
    cudaFree(b.memory);
}

int32_t udump_fastest(cudaStream_t stream, int32_t count, udump_begin_fn begin, void *user) {
    cudaEvent_t events[2] = { NULL, NULL };
    float shortest[UDUMP_CANDIDATES_MOST];
    int32_t fastest = -1;
    bool there = cudaEventCreateWithFlags(&events[0], cudaEventDefault) == cudaSuccess && cudaEventCreateWithFlags(&events[1], cudaEventDefault) == cudaSuccess;
    if (there) time_all(stream, events, count, begin, user, shortest);
    for (int32_t i = 0; there && i < count; i++)
        if (!isnan(shortest[i]) && (fastest < 0 || shortest[i] < shortest[fastest])) fastest = i;
    for (int i = 0; i < 2; i++)
        if (events[i]) cudaEventDestroy(events[i]);
    return fastest;
}
