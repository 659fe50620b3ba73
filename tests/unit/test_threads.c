/* Two sessions on one model in two threads, with captures: small enough to run under ThreadSanitizer. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/parallel.h"
#include "unetdump.h"

enum { SIDE_PX = 32, BYTES = SIDE_PX * SIDE_PX * 3 };

struct worker {
    udump_model *model;
    uint8_t pixels[BYTES];
    int canvases;
    udump_status status;
};

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    struct worker *worker = user;
    worker->canvases += !canvas->average;
    return UDUMP_CONTINUE;
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)variant;
    struct worker *worker = user;
    (void)image, (void)infotext;
    memcpy(worker->pixels, picture->pixels, BYTES);
    return UDUMP_CONTINUE;
}

static void *work(void *arg) {
    struct worker *worker = arg;
    udump_session *session = NULL;
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a red circle on a blue background";
    o.width_px = o.height_px = SIDE_PX;
    o.steps = 2;
    o.features = "";
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = worker, .canvas = on_canvas, .image = on_image };
    worker->status = udump_session_create(worker->model, &session, NULL);
    if (!worker->status) worker->status = udump_generate(session, &o, &sink, NULL);
    udump_session_destroy(session);
    udump_model_release(worker->model);
    return NULL;
}

static void count_share(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    __atomic_fetch_add((int64_t *)arg, end - begin, __ATOMIC_RELAXED);
}

/* Where a limit of the user's lets no more threads begin, fewer do all of the work. */
static void test_threads_that_cannot_be_started(void **state) {
    (void)state;
    for (rlim_t most = 1; most <= 16; most += 3) {
        int ended;
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            int64_t sum = 0;
            bool held = getuid() || (setgid(65534) == 0 && setuid(65534) == 0); /* root has no such limit */
            if (!held || setrlimit(RLIMIT_NPROC, &(struct rlimit){ most, most })) _exit(0);
            for (int i = 0; i < 20; i++) udump_parallel_for(2 + i % 15, 100, count_share, &sum);
            _exit(sum != 20 * 100);
        }
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_int_equal(ended, 0);
    }
}

static void test_two_sessions_share_a_model(void **state) {
    (void)state;
    static struct worker workers[2];
    pthread_t threads[2];
    udump_model *model = NULL;
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", NULL, &model, NULL), UDUMP_OK);
    for (int i = 0; i < 2; i++) {
        workers[i].model = model;
        udump_model_retain(model);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    udump_model_release(model); /* the last reference falls in one of the threads */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].status, UDUMP_OK);
        assert_int_equal(workers[i].canvases, 25 * 2);
    }
    assert_memory_equal(workers[0].pixels, workers[1].pixels, BYTES);
}

static udump_flow raise_cancel(void *user, const udump_progress *progress) {
    (void)progress;
    udump_cancel_raise(user);
    return UDUMP_CONTINUE;
}

static void test_cancel_ends_within_a_step(void **state) {
    (void)state;
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.width_px = o.height_px = SIDE_PX;
    o.cancel = &cancel;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &cancel, .progress = raise_cancel };
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", NULL, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_ERROR_CANCELLED);
    udump_session_destroy(session);
    udump_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads_that_cannot_be_started),
        cmocka_unit_test(test_two_sessions_share_a_model), cmocka_unit_test(test_cancel_ends_within_a_step) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
