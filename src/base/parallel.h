/* The one parallel loop. Built on OpenMP (whose pool oneDNN shares), or on plain threads with UDUMP_PLAIN_THREADS (ThreadSanitizer
 * does not understand OpenMP's barriers). */
#ifndef UDUMP_BASE_PARALLEL_H
#define UDUMP_BASE_PARALLEL_H

#include <stdint.h>

/* body is called with disjoint ranges [begin, end) that cover [0, count); thread is 0..threads-1, each used by one range. */
typedef void (*udump_parallel_fn)(void *arg, int64_t begin, int64_t end, int thread);

/* Runs body over count items on at most `threads` threads, in even contiguous ranges: the split depends only on count and threads,
 * so that sums repeat bit by bit. */
void udump_parallel_for(int threads, int64_t count, udump_parallel_fn body, void *arg);

/* How many of `threads` are worth waking for `work` multiply-adds, or what takes as long: each should have some 40 microseconds to do,
 * for waking one costs several, and far more where other programs keep the cores busy. At least 1. */
enum { UDUMP_WORK_PER_THREAD = 1 << 21 };
static inline int udump_threads_worth(int threads, int64_t work) {
    int64_t worth = work / UDUMP_WORK_PER_THREAD;
    return worth >= threads ? threads : worth > 1 ? (int)worth : 1;
}

/* How many of `threads` this thread's loops get: fewer where the system refuses to start them. To be asked before oneDNN, whose pool it is too, starts any. */
enum { UDUMP_THREADS_MOST = 1024 };
int udump_threads_start(int threads);

/* Cores that this process may use. */
int udump_core_count(void);

#endif
