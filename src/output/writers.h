/* A bounded pool of threads that encode and write files while sampling goes on. */
#ifndef UDUMP_OUTPUT_WRITERS_H
#define UDUMP_OUTPUT_WRITERS_H

#include "output/file.h"

typedef struct udump_writers udump_writers;

/* What to write. The pool owns path and data from udump_writers_submit on, whatever that returns. */
typedef struct udump_write_job {
    char *path;       /* on the heap; the file, and where an error says that it happened */
    void *data;       /* given to encode or write, then to release */
    size_t data_size; /* bytes; counted against the queue's bound */
    int64_t files;    /* that are finished once the job is: what udump_writers_count counts */
    void (*release)(void *data); /* NULL: free */
    /* Makes the file's content from data, in one of the pool's threads. NULL: data is the content. */
    udump_status (*encode)(const void *data, udump_bytes *content, udump_error *error);
    /* Instead: writes by itself, whatever it is that data says. */
    udump_status (*write)(void *data, const char *path, udump_error *error);
} udump_write_job;

enum { UDUMP_WRITERS_MOST_THREADS = 64 };

/* threads in 1..UDUMP_WRITERS_MOST_THREADS. Jobs that are queued or being written hold at most most_bytes of data and are at most
 * most_jobs (above 0); a single larger job is let in alone. Errors: ARGUMENT, MEMORY. */
udump_status udump_writers_create(int threads, size_t most_bytes, int64_t most_jobs, udump_writers **writers, udump_error *error);

/* Queues a job; waits while the queue is full. After a job has failed nothing more is queued: returns the first job's error.
 * May be called from several threads. */
udump_status udump_writers_submit(udump_writers *writers, const udump_write_job *job, udump_error *error);

/* The same with folder/name as the job's path, which is not set. Errors also: MEMORY. */
udump_status udump_writers_submit_to(
    udump_writers *writers, const char *folder, const char *name, udump_write_job *job, udump_error *error);

/* Waits until nothing is queued or being written. Returns the first job's error. */
udump_status udump_writers_wait(udump_writers *writers, udump_error *error);

/* Files written, and files of jobs that are queued or being written. Thread-safe. */
void udump_writers_count(udump_writers *writers, int64_t *written, int64_t *waiting);

/* Waits until every job is done, ends the threads and frees the pool. Returns the first job's error. Accepts NULL. */
udump_status udump_writers_finish(udump_writers *writers, udump_error *error);

#endif
