/* A device whose memory ends: what does not fit is refused before it is begun, with both figures, and the session goes on; as it does after any single
 * allocation that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "emulated.h"

static udump_model *model;
static const udump_emulated_counts *counts;

static int setup(void **state) {
    if (make_base(state)) return -1;
    udump_model_options options = emulated_options();
    model = emulated_load("sd2", &options);
    counts = emulated_counts();
    return 0;
}

static int teardown(void **state) {
    udump_model_release(model);
    return remove_base(state);
}

static void set_number(const char *name, long long value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", value);
    assert_int_equal(setenv(name, text, 1), 0);
}

static udump_flow keep_work(void *user, const udump_run_info *run) {
    *(int64_t *)user = run->work_bytes;
    return UDUMP_STOP;
}

static udump_flow drop_canvas(void *user, const udump_canvas *canvas) {
    (void)user, (void)canvas;
    return UDUMP_CONTINUE;
}

/* What a run says it works in is what it takes: with a byte less it is refused, before anything is taken; with so much it runs. */
static void test_refused(void **state) {
    (void)state;
    int64_t work_bytes = 0;
    udump_generate_options o = emulated_run(2);
    udump_sink tells = { .struct_bytes = sizeof tells, .user = &work_bytes, .begin = keep_work, .canvas = drop_canvas },
               sink = { .struct_bytes = sizeof sink, .canvas = drop_canvas };
    udump_error error;
    o.features = "M00";
    udump_session *session = recording_session(model);
    assert_int_equal(udump_generate(session, &o, &tells, &error), UDUMP_ERROR_CANCELLED);
    udump_session_destroy(session);
    assert_true(work_bytes > 64 << 20); /* the ring is a part of it */

    session = recording_session(model);
    size_t used_bytes = counts->used_bytes;
    set_number("UDUMP_EMULATED_MEMORY_BYTES", (long long)used_bytes + work_bytes - 1);
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_ERROR_MEMORY);
    assert_string_equal(error.where, "device memory");
    assert_non_null(strstr(error.expected, " MiB more for activations and canvases"));
    assert_non_null(strstr(error.found, " MiB free of "));
    assert_true(counts->used_bytes < used_bytes + (size_t)work_bytes / 2); /* what encoded the prompts */
    set_number("UDUMP_EMULATED_MEMORY_BYTES", (long long)used_bytes + work_bytes);
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_OK); /* no room for graphs is no failure */
    unsetenv("UDUMP_EMULATED_MEMORY_BYTES");
    udump_session_destroy(session);
}

/* Weights too. */
static void test_model_is_refused(void **state) {
    (void)state;
    udump_model *second = NULL;
    udump_error error;
    udump_model_options options = emulated_options();
    size_t used_bytes = counts->used_bytes;
    set_number("UDUMP_EMULATED_MEMORY_BYTES", (long long)used_bytes + (1 << 20));
    assert_int_equal(udump_model_load(emulated_checkpoint("sd2"), &options, &second, &error), UDUMP_ERROR_MEMORY);
    unsetenv("UDUMP_EMULATED_MEMORY_BYTES");
    assert_string_equal(error.where, "device memory");
    assert_non_null(strstr(error.expected, " MiB more for weights"));
    assert_non_null(strstr(error.found, "1.0 MiB free of "));
    assert_int_equal(counts->used_bytes, used_bytes);
}

struct picture {
    uint8_t pixels[16 * 16 * 3];
};

static udump_flow keep_picture(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)image, (void)variant, (void)infotext;
    memcpy(((struct picture *)user)->pixels, picture->pixels, sizeof(struct picture));
    return UDUMP_CONTINUE;
}

/* Each allocation of a session and its run in turn. */
static void test_each_failure(void **state) {
    (void)state;
    struct picture expected, found;
    udump_generate_options o = emulated_run(4); /* the last two steps are graphs */
    udump_sink sink = { .struct_bytes = sizeof sink, .user = &expected, .canvas = drop_canvas, .image = keep_picture };
    udump_session *session = recording_session(model);
    long begin = counts->allocations, failures = 0, survived = 0;
    o.features = "M00";
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_OK);
    udump_session_destroy(session);
    sink.user = &found;
    long all = counts->allocations - begin + 2; /* the session's own came before */
    size_t used_bytes = counts->used_bytes;
    for (long n = 1; n <= all; n++) {
        session = NULL;
        set_number("UDUMP_EMULATED_FAIL_AT", counts->allocations + n);
        udump_status status = udump_session_create(model, &session, NULL);
        if (!status) status = udump_generate(session, &o, &sink, NULL);
        unsetenv("UDUMP_EMULATED_FAIL_AT");
        assert_true(status == UDUMP_OK || status == UDUMP_ERROR_MEMORY);
        failures += status != UDUMP_OK;
        survived += status == UDUMP_OK;
        memset(&found, 0, sizeof found);
        if (!session) session = recording_session(model);
        assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_OK);
        assert_memory_equal(&found, &expected, sizeof found);
        udump_session_destroy(session);
        assert_int_equal(counts->used_bytes, used_bytes);
    }
    assert_true(failures >= 4 && survived >= 2); /* scratch, arenas, rings; graphs, without which it goes on */
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused), cmocka_unit_test(test_model_is_refused), cmocka_unit_test(test_each_failure) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
