#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#ifndef UDUMP_PLAIN_THREADS
#include <omp.h>
#endif

int udump_core_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

static int64_t range_begin(int64_t count, int threads, int thread) {
    return count / threads * thread + (thread < count % threads ? thread : count % threads);
}

#ifdef UDUMP_PLAIN_THREADS

struct worker {
    udump_parallel_fn body;
    void *arg;
    int64_t begin, end;
    int thread;
    pthread_t handle;
    int started;
};

static void *worker_main(void *arg) {
    struct worker *worker = arg;
    worker->body(worker->arg, worker->begin, worker->end, worker->thread);
    return NULL;
}

void udump_parallel_for(int threads, int64_t count, udump_parallel_fn body, void *arg) {
    enum { MOST = 64 };
    struct worker workers[MOST];
    if (threads > MOST) threads = MOST;
    if (threads > count) threads = (int)count;
    if (threads <= 1) {
        if (count > 0) body(arg, 0, count, 0);
        return;
    }
    for (int i = 0; i < threads; i++) {
        workers[i] = (struct worker){ body, arg, range_begin(count, threads, i), range_begin(count, threads, i + 1), i, 0, 0 };
        if (i > 0) workers[i].started = pthread_create(&workers[i].handle, NULL, worker_main, &workers[i]) == 0;
    }
    for (int i = 0; i < threads; i++)
        if (!workers[i].started) worker_main(&workers[i]); /* the caller's own share, and what could not be started */
    for (int i = 1; i < threads; i++)
        if (workers[i].started) pthread_join(workers[i].handle, NULL);
}

#else

/* OpenMP's threads are not there in a child, which would wait for them: before a fork they end, and come again when they are wanted. Plain threads
 * never outlast their work. */
static void end_threads(void) { omp_pause_resource_all(omp_pause_soft); }
static void watch_forks(void) { pthread_atfork(end_threads, NULL, NULL); }

void udump_parallel_for(int threads, int64_t count, udump_parallel_fn body, void *arg) {
    if (threads > count) threads = (int)count;
    if (threads <= 1) {
        if (count > 0) body(arg, 0, count, 0);
        return;
    }
    static pthread_once_t watched = PTHREAD_ONCE_INIT;
    pthread_once(&watched, watch_forks);
    /* A loop over shares, not over threads: right even if OpenMP gives fewer threads than asked for. */
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; i++) body(arg, range_begin(count, threads, i), range_begin(count, threads, i + 1), i);
}

#endif
