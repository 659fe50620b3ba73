#include "output/writers.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

struct node {
    udump_write_job job;
    struct node *next;
};

struct udump_writers {
    pthread_mutex_t lock;      /* over everything below */
    pthread_cond_t work, room; /* a job was queued, or closing; a job is done */
    struct node *first, **last;
    size_t held_bytes, most_bytes; /* of jobs queued or being written */
    int64_t held_jobs, most_jobs, held_files, written;
    bool closing;
    udump_error error; /* of the first job that failed; status UDUMP_OK until then */
    int thread_count;
    pthread_t threads[UDUMP_WRITERS_MOST_THREADS];
};

static void job_release(const udump_write_job *job) {
    free(job->path);
    if (job->release) job->release(job->data);
    else free(job->data);
}

static udump_status job_run(const udump_write_job *job, udump_error *error) {
    if (job->write) return job->write(job->data, job->path, error);
    if (!job->encode) return udump_file_save(job->path, job->data, job->data_size, error);
    udump_bytes content;
    udump_status status = job->encode(job->data, &content, error);
    if (status) {
        if (!error->where[0]) snprintf(error->where, sizeof error->where, "%s", job->path);
        return status;
    }
    status = udump_file_save(job->path, content.data, content.size, error);
    free(content.data);
    return status;
}

/* Waits for a job and takes it off the queue; NULL when there will be none. Called with the lock held. */
static struct node *take(udump_writers *writers) {
    while (!writers->first && !writers->closing) pthread_cond_wait(&writers->work, &writers->lock);
    struct node *node = writers->first;
    if (!node) return NULL;
    writers->first = node->next;
    if (!writers->first) writers->last = &writers->first;
    return node;
}

static void *writer_main(void *arg) {
    udump_writers *writers = arg;
    pthread_mutex_lock(&writers->lock);
    for (struct node *node; (node = take(writers));) {
        pthread_mutex_unlock(&writers->lock);
        udump_error error = { .status = UDUMP_OK };
        udump_status status = job_run(&node->job, &error);
        size_t size = node->job.data_size;
        int64_t files = node->job.files;
        job_release(&node->job);
        free(node);
        pthread_mutex_lock(&writers->lock);
        writers->held_bytes -= size;
        writers->held_jobs--;
        writers->held_files -= files;
        if (!status) writers->written += files;
        else if (!writers->error.status) writers->error = error;
        pthread_cond_broadcast(&writers->room);
    }
    pthread_mutex_unlock(&writers->lock);
    return NULL;
}

/* Starts as many threads as can be had. They take no signals: those are the application's. */
static void start_threads(udump_writers *writers, int threads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (writers->thread_count < threads) {
        if (pthread_create(&writers->threads[writers->thread_count], NULL, writer_main, writers)) break;
        writers->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

udump_status udump_writers_create(int threads, size_t most_bytes, int64_t most_jobs, udump_writers **out, udump_error *error) {
    if (threads < 1 || threads > UDUMP_WRITERS_MOST_THREADS || most_jobs < 1)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "writer threads", "must be in 1..%d, not %d", UDUMP_WRITERS_MOST_THREADS, threads);
    udump_writers *writers = calloc(1, sizeof *writers);
    if (!writers) return udump_fail_memory(error, "", sizeof *writers);
    pthread_mutex_init(&writers->lock, NULL);
    pthread_cond_init(&writers->work, NULL);
    pthread_cond_init(&writers->room, NULL);
    writers->last = &writers->first;
    writers->most_bytes = most_bytes;
    writers->most_jobs = most_jobs;
    start_threads(writers, threads);
    if (!writers->thread_count) {
        udump_writers_finish(writers, NULL);
        return udump_fail(error, UDUMP_ERROR_MEMORY, "", "no writer thread could be started");
    }
    *out = writers;
    return UDUMP_OK;
}

static bool has_room(const udump_writers *writers, size_t bytes) {
    if (!writers->held_jobs) return true;
    return writers->held_jobs < writers->most_jobs && writers->held_bytes <= writers->most_bytes &&
        bytes <= writers->most_bytes - writers->held_bytes;
}

udump_status udump_writers_submit(udump_writers *writers, const udump_write_job *job, udump_error *error) {
    struct node *node = malloc(sizeof *node);
    if (!node) {
        job_release(job);
        return udump_fail_memory(error, "", sizeof *node);
    }
    *node = (struct node){ *job, NULL };
    pthread_mutex_lock(&writers->lock);
    while (!writers->error.status && !has_room(writers, job->data_size)) pthread_cond_wait(&writers->room, &writers->lock);
    udump_status status = writers->error.status;
    if (status) {
        if (error) *error = writers->error;
        job_release(job);
        free(node);
    } else {
        writers->held_bytes += job->data_size;
        writers->held_jobs++;
        writers->held_files += job->files;
        *writers->last = node;
        writers->last = &node->next;
        pthread_cond_signal(&writers->work);
    }
    pthread_mutex_unlock(&writers->lock);
    return status;
}

udump_status udump_writers_submit_to(
    udump_writers *writers, const char *folder, const char *name, udump_write_job *job, udump_error *error) {
    job->path = udump_file_join(folder, name);
    if (job->path) return udump_writers_submit(writers, job, error);
    job_release(job);
    return udump_fail_memory(error, folder, strlen(folder));
}

udump_status udump_writers_wait(udump_writers *writers, udump_error *error) {
    pthread_mutex_lock(&writers->lock);
    while (writers->held_jobs) pthread_cond_wait(&writers->room, &writers->lock);
    udump_status status = writers->error.status;
    if (status && error) *error = writers->error;
    pthread_mutex_unlock(&writers->lock);
    return status;
}

void udump_writers_count(udump_writers *writers, int64_t *written, int64_t *waiting) {
    pthread_mutex_lock(&writers->lock);
    if (written) *written = writers->written;
    if (waiting) *waiting = writers->held_files;
    pthread_mutex_unlock(&writers->lock);
}

udump_status udump_writers_finish(udump_writers *writers, udump_error *error) {
    if (!writers) return UDUMP_OK;
    pthread_mutex_lock(&writers->lock);
    writers->closing = true;
    pthread_cond_broadcast(&writers->work);
    pthread_mutex_unlock(&writers->lock);
    for (int i = 0; i < writers->thread_count; i++) pthread_join(writers->threads[i], NULL);
    udump_status status = writers->error.status;
    if (status && error) *error = writers->error;
    pthread_cond_destroy(&writers->room);
    pthread_cond_destroy(&writers->work);
    pthread_mutex_destroy(&writers->lock);
    free(writers);
    return status;
}
