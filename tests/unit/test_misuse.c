/* What a program may do wrong: null pointers, calls out of order, calls from within callbacks. Each is a status and a detail, and the session goes on. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "unetdump.h"

static udump_model *model;
static udump_session *session;
static udump_generate_options options;

static int load(void **state) {
    (void)state;
    udump_error error;
    if (udump_model_load(TEST_ROOT "/models/demo", NULL, &model, &error) || udump_session_create(model, &session, &error)) return 1;
    udump_generate_options_init(&options);
    options.prompt = "a red circle";
    options.width_px = options.height_px = 64;
    options.steps = 2;
    options.features = "M00";
    return 0;
}

static int unload(void **state) {
    (void)state;
    udump_session_destroy(session);
    udump_model_release(model);
    return 0;
}

/* call must fail as a wrong argument, and say of what. */
#define REFUSES_NULL(call)                                 \
    do {                                                   \
        udump_error error = { 0 };                         \
        assert_int_equal((call), UDUMP_ERROR_ARGUMENT);    \
        assert_int_equal(error.status, UDUMP_ERROR_ARGUMENT); \
        assert_string_equal(error.what, "a null pointer"); \
        assert_true(error.where[0] != '\0');               \
    } while (0)

static void test_null_pointers(void **state) {
    (void)state;
    udump_block_info block;
    udump_tap_info tap;
    udump_tensor_info tensor;
    udump_context *context;
    udump_sweep_cell cell;
    int32_t there;
    REFUSES_NULL(udump_step(NULL, NULL, &error));
    REFUSES_NULL(udump_end(NULL, 0, &error));
    REFUSES_NULL(udump_latent_view(NULL, &(udump_view){ 0 }, &error));
    REFUSES_NULL(udump_model_get_block(NULL, 0, &block, &error));
    REFUSES_NULL(udump_model_get_block(model, 0, NULL, &error));
    REFUSES_NULL(udump_model_get_tap(NULL, 0, &tap, &error));
    REFUSES_NULL(udump_model_get_tap(model, 0, NULL, &error));
    REFUSES_NULL(udump_model_get_tensor(NULL, 0, &tensor, &error));
    REFUSES_NULL(udump_model_get_tensor(model, 0, NULL, &error));
    REFUSES_NULL(udump_session_set_hook(NULL, 0, NULL, NULL, &error));
    REFUSES_NULL(udump_latent_view(session, NULL, &error));
    REFUSES_NULL(udump_table_set(NULL, 0, 0, NULL, &error));
    REFUSES_NULL(udump_context_from_tensor(model, NULL, &context, &error));
    REFUSES_NULL(udump_context_replace(NULL, &(udump_view){ 0 }, &context, &error));
    REFUSES_NULL(udump_sweep_get_cell(NULL, 0, &cell, &error));
    REFUSES_NULL(udump_sweep_result_get(NULL, 0, &cell, &there, NULL, &error));
    assert_null(udump_folder_sink(NULL));
    assert_int_equal(udump_model_get_block(NULL, 0, &block, NULL), UDUMP_ERROR_ARGUMENT); /* without a detail, too */
}

/* What a callback tries on the session that calls it, and what came of it. */
enum { STEP, END, END_DECODING, BEGIN, GENERATE, ENCODE, TABLE, OTHER, HOOK, LATENT, TRIES };
static int tried;
static udump_status came[TRIES];
static udump_error details[TRIES];

static void try_all(void) {
    udump_context *context = NULL;
    udump_table *table = NULL;
    came[STEP] = udump_step(session, NULL, &details[STEP]);
    came[END] = udump_end(session, 0, &details[END]);
    came[END_DECODING] = udump_end(session, 1, &details[END_DECODING]);
    came[BEGIN] = udump_begin(session, &options, NULL, NULL, &details[BEGIN]);
    came[GENERATE] = udump_generate(session, &options, NULL, &details[GENERATE]);
    came[ENCODE] = udump_context_encode(session, "a", &context, &details[ENCODE]);
    came[TABLE] = udump_table_encode(session, &options, &table, &details[TABLE]);
    came[OTHER] = udump_session_set_other(session, NULL, &details[OTHER]);
    came[HOOK] = udump_session_set_hook(session, 0, NULL, NULL, &details[HOOK]);
    came[LATENT] = udump_latent_view(session, &(udump_view){ 0 }, &details[LATENT]);
    for (int i = 0; i < TRIES; i++) {
        assert_int_equal(came[i], UDUMP_ERROR_STATE);
        assert_int_equal(details[i].status, UDUMP_ERROR_STATE);
    }
    tried++;
}

static udump_flow in_begin(void *user, const udump_run_info *run) { return (void)user, (void)run, try_all(), UDUMP_CONTINUE; }
static udump_flow in_canvas(void *user, const udump_canvas *canvas) { return (void)user, (void)canvas, try_all(), UDUMP_CONTINUE; }
static udump_flow in_progress(void *user, const udump_progress *progress) { return (void)user, (void)progress, try_all(), UDUMP_CONTINUE; }
static udump_flow in_hook(void *user, const udump_place *place, const udump_view *view) {
    return (void)user, (void)place, (void)view, try_all(), UDUMP_CONTINUE;
}
static udump_flow in_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)variant, (void)infotext, (void)image;
    try_all();
    memcpy(user, picture->pixels, 64 * 64 * 3);
    return UDUMP_CONTINUE;
}
static udump_flow keep_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)variant, (void)infotext, (void)image;
    memcpy(user, picture->pixels, 64 * 64 * 3);
    return UDUMP_CONTINUE;
}

static void test_callbacks_cannot_drive_their_run(void **state) {
    (void)state;
    static uint8_t plain[64 * 64 * 3], disturbed[64 * 64 * 3];
    udump_sink quiet = { .struct_bytes = sizeof quiet, .user = plain, .image = keep_image };
    udump_sink sink = { .struct_bytes = sizeof sink, .user = disturbed, .begin = in_begin, .canvas = in_canvas, .image = in_image, .progress = in_progress };
    assert_int_equal(udump_generate(session, &options, &quiet, NULL), UDUMP_OK);
    assert_int_equal(udump_session_set_hook(session, 12, in_hook, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_generate(session, &options, &sink, NULL), UDUMP_OK);
    assert_int_equal(udump_session_set_hook(session, -1, NULL, NULL, NULL), UDUMP_OK);
    assert_int_equal(tried, 1 + 3 * 2 + 1); /* begin; hook, canvas and progress at both steps; the picture */
    assert_memory_equal(plain, disturbed, sizeof plain);
    assert_int_equal(udump_step(session, NULL, NULL), UDUMP_ERROR_STATE); /* nothing of it is left */
}

static udump_flow pass_over(void *user, const udump_run_info *run) { return (void)user, (void)run, UDUMP_SKIP; }

static void test_success_leaves_the_detail_alone(void **state) {
    (void)state;
    udump_error error, before;
    memset(&error, 0x5A, sizeof error);
    before = error;
    udump_sink sink = { .struct_bytes = sizeof sink, .begin = pass_over };
    assert_int_equal(udump_generate(session, &options, &sink, &error), UDUMP_OK);
    assert_memory_equal(&error, &before, sizeof error);
}

/* Of 20 steps the first, not of one. */
static void test_a_context_is_as_at_the_first_step(void **state) {
    (void)state;
    udump_context *context;
    assert_int_equal(udump_context_encode(session, "a [red:green:0.5] circle", &context, NULL), UDUMP_OK);
    assert_string_equal(udump_context_text(context), "a red circle");
    udump_context_release(context);
    udump_error error;
    assert_int_equal(udump_context_encode(session, "aspect ratio 16:9", &context, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_null(strstr(error.what, "AND")); /* there is none */
    char words[65 * 75 * 2 + 1];
    for (size_t i = 0; i < sizeof words; i++) words[i] = i % 2 ? ' ' : 'a';
    words[sizeof words - 1] = 0;
    udump_context *before = context;
    assert_int_equal(udump_context_encode(session, words, &context, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_ptr_equal(context, before); /* as it was */
}

static void test_one_run_a_folder_at_a_time(void **state) {
    (void)state;
    char path[64];
    udump_error error;
    udump_folder *first = NULL, *second = NULL;
    snprintf(path, sizeof path, "misuse-%ld", (long)getpid());
    assert_int_equal(udump_folder_open(path, NULL, &first, &error), UDUMP_OK);
    assert_int_equal(udump_folder_open(path, NULL, &second, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "another run is writing to this folder");
    assert_string_equal(error.where, path);
    assert_int_equal(udump_folder_close(first, 0, NULL), UDUMP_OK);
    assert_int_equal(access(path, F_OK), -1); /* it was made for a run that left nothing */
    assert_int_equal(udump_folder_open(path, NULL, &second, &error), UDUMP_OK);
    assert_int_equal(udump_folder_close(second, 0, NULL), UDUMP_OK);
}

static atomic_int done;

static void *use_session(void *unused) {
    (void)unused;
    intptr_t wrong = 0;
    udump_context *context = NULL;
    udump_error error;
    for (int i = 0; i < 20; i++) {
        udump_status status = i % 3 ? udump_generate(session, &options, NULL, &error) : udump_context_encode(session, "a", &context, &error);
        wrong += status && status != UDUMP_ERROR_STATE;
        done += !status;
        udump_context_release(context);
        context = NULL;
    }
    return (void *)wrong;
}

/* Several threads in one session: one of them has it, the others are told. */
static void test_threads_in_one_session(void **state) {
    (void)state;
    pthread_t threads[3];
    void *wrong[3];
    udump_session *own = session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_session, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong[i]), 0);
        assert_null(wrong[i]);
    }
    assert_true(done > 0);
    assert_int_equal(udump_generate(session, &options, NULL, NULL), UDUMP_OK);
    udump_session_destroy(session);
    session = own;
}

struct meddling {
    atomic_bool begun, ended;
    int others; /* answers that were not STATE */
};

static udump_flow tell_steps(void *user, const udump_progress *progress) {
    struct meddling *m = user;
    atomic_store(&m->begun, true);
    if (progress->step == progress->steps) atomic_store(&m->ended, true); /* while the run still goes on */
    return UDUMP_CONTINUE;
}

static void *meddle(void *arg) {
    struct meddling *m = arg;
    udump_view view;
    udump_context *context = NULL;
    while (!atomic_load(&m->begun) && !atomic_load(&m->ended)) usleep(10);
    while (!atomic_load(&m->ended)) {
        udump_status answers[] = { udump_step(session, NULL, NULL), udump_latent_view(session, &view, NULL), udump_end(session, 0, NULL),
            udump_context_encode(session, "a", &context, NULL), udump_session_set_hook(session, -1, NULL, NULL, NULL) };
        for (size_t i = 0; i < sizeof answers / sizeof *answers && !atomic_load(&m->ended); i++)
            m->others += answers[i] != UDUMP_ERROR_STATE;
        udump_context_release(context);
        context = NULL;
    }
    return NULL;
}

/* From its first step to its last a generate has the session to itself, between the steps too. */
static void test_nobody_enters_between_steps(void **state) {
    (void)state;
    struct meddling m = { .others = 0 };
    udump_sink sink = { .struct_bytes = sizeof sink, .user = &m, .progress = tell_steps };
    udump_generate_options long_run = options;
    pthread_t thread;
    long_run.steps = 60;
    long_run.width_px = long_run.height_px = 8;
    assert_int_equal(pthread_create(&thread, NULL, meddle, &m), 0);
    udump_error error = { 0 };
    udump_status status = udump_generate(session, &long_run, &sink, &error);
    atomic_store(&m.ended, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (status) fail_msg("%s: %s", error.where, error.what);
    assert_int_equal(m.others, 0);
    assert_int_equal(udump_generate(session, &options, NULL, NULL), UDUMP_OK);
}

/* A child has no thread but the one that forked; the model goes on there. */
static void test_fork(void **state) {
    (void)state;
    static uint8_t expected[64 * 64 * 3], found[64 * 64 * 3];
    udump_sink sink = { .struct_bytes = sizeof sink, .user = expected, .image = keep_image };
    int ended = -1;
    assert_int_equal(udump_generate(session, &options, &sink, NULL), UDUMP_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        sink.user = found;
        alarm(120); /* it would hang */
        udump_status status = udump_generate(session, &options, &sink, NULL);
        _exit(status || memcmp(found, expected, sizeof found) != 0);
    }
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    assert_int_equal(udump_generate(session, &options, &sink, NULL), UDUMP_OK);
}

static void test_not_here(void **state) {
    (void)state;
    udump_error error;
    udump_generate_options several = options;
    udump_model_options wrong;
    udump_model *none = NULL;
    several.batch_count = 2;
    assert_int_equal(udump_begin(session, &several, NULL, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "batch count");
    udump_model_options_init(&wrong);
    wrong.threads = -1;
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &wrong, &none, &error), UDUMP_ERROR_ARGUMENT);
    wrong.threads = 0;
    wrong.lora_count = 1;
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &wrong, &none, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "1 of them, but their list is NULL");
    assert_int_equal(udump_step(session, NULL, &error), UDUMP_ERROR_STATE);
    assert_int_equal(udump_end(session, 0, &error), UDUMP_ERROR_STATE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_pointers),
        cmocka_unit_test(test_callbacks_cannot_drive_their_run),
        cmocka_unit_test(test_success_leaves_the_detail_alone),
        cmocka_unit_test(test_a_context_is_as_at_the_first_step),
        cmocka_unit_test(test_one_run_a_folder_at_a_time),
        cmocka_unit_test(test_threads_in_one_session),
        cmocka_unit_test(test_nobody_enters_between_steps),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_not_here),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
