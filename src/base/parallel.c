#include "base/parallel.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>
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

/* OpenMP ends the program where it cannot start a thread (a limit of the user's or the container's), so that is tried before. Each thread that calls
 * has threads of its own: so many are known to run, so many were refused. */
static _Thread_local int running = 1, refused = INT_MAX;

static void *wait_for_others(void *lock) {
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

/* This process's threads; -1 where that cannot be seen. */
static int count_tasks(void) {
    struct stat tasks; /* a folder has a link from each folder in it, and two more */
    return stat("/proc/self/task", &tasks) ? -1 : (int)tasks.st_nlink - 2;
}

/* A thread that has ended counts for a little longer. */
static void wait_for_tasks(int most) {
    for (int i = 0; i < 1000 && count_tasks() > most; i++) usleep(100);
}

/* How many of `threads`, the caller among them, can be there at a time. */
static int try_threads(int threads) {
    pthread_t handles[2 * UDUMP_THREADS_MOST];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int count = 1, tasks = count_tasks();
    pthread_mutex_lock(&lock);
    while (count < threads && pthread_create(&handles[count], NULL, wait_for_others, &lock) == 0) count++;
    pthread_mutex_unlock(&lock);
    for (int i = 1; i < count; i++) pthread_join(handles[i], NULL);
    wait_for_tasks(tasks);
    return count;
}

int udump_threads_start(int threads) {
    if (threads > UDUMP_THREADS_MOST) threads = UDUMP_THREADS_MOST;
    if (threads <= running || threads >= refused) return threads < running ? threads : running;
    int there = try_threads(2 * threads); /* OpenMP ends those that a smaller loop has no use for, and starts others before they are gone */
    running = there < 2 ? 1 : there / 2;
    if (running < threads) refused = threads;
    return running;
}

/* OpenMP's threads are not there in a child, which would wait for them: before a fork they end, and come again when they are wanted. Plain threads
 * never outlast their work. */
static void end_threads(void) {
    omp_pause_resource_all(omp_pause_soft);
    running = 1;
    refused = INT_MAX; /* else nothing would be tried again, and one thread would do all */
}
static void watch_forks(void) { pthread_atfork(end_threads, NULL, NULL); }

void udump_parallel_for(int threads, int64_t count, udump_parallel_fn body, void *arg) {
    if (threads > count) threads = (int)count;
    if (threads <= 1) {
        if (count > 0) body(arg, 0, count, 0);
        return;
    }
    static pthread_once_t watched = PTHREAD_ONCE_INIT;
    pthread_once(&watched, watch_forks);
    /* A loop over shares, not over threads: right, and the same to the bit, with fewer threads than asked for. */
#pragma omp parallel for num_threads(udump_threads_start(threads)) schedule(static, 1)
    for (int i = 0; i < threads; i++) body(arg, range_begin(count, threads, i), range_begin(count, threads, i + 1), i);
}

#endif
