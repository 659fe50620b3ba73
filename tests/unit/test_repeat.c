/* What is promised of repeating: the same machine, threads, batch and precision give the same bits, whatever else runs in the process. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "recording.h"

enum { SIDE_PX = 64, STEPS = 2, SESSIONS = 3 };

static udump_model *load(udump_precision precision) {
    udump_model_options options;
    udump_model *model = NULL;
    udump_model_options_init(&options);
    options.precision = precision;
    options.threads = 2;
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", &options, &model, NULL), UDUMP_OK);
    return model;
}

static udump_generate_options everything(void) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a (~: _: red; OUT06-OUT08: green :~) circle [on a blue|on a red] background";
    o.width_px = o.height_px = SIDE_PX;
    o.steps = STEPS;
    o.sampler = "DPM++ SDE"; /* draws noise at every step */
    o.batch_size = 2;
    o.features = o.attention = o.diff = "";
    o.attention_kinds = UDUMP_ATTEND_QK | UDUMP_ATTEND_SELF;
    o.attention_words = "circle";
    o.want_tensors = 1;
    return o;
}

struct worker {
    udump_model *model;
    recording got;
};

static void *repeat(void *user) {
    struct worker *worker = user;
    udump_session *session = recording_session(worker->model);
    const udump_generate_options o = everything();
    record(session, &o, &worker->got);
    udump_session_destroy(session);
    return NULL;
}

struct disturber {
    udump_model *model;
    atomic_bool end;
};

/* Other sizes, batches and prompts, one after the other, in one session. */
static void *disturb(void *user) {
    struct disturber *disturber = user;
    udump_session *session = recording_session(disturber->model);
    for (int i = 0; !atomic_load(&disturber->end); i++) {
        udump_generate_options o;
        udump_generate_options_init(&o);
        o.prompt = i % 2 ? "a square" : "a circle AND a square";
        o.width_px = 64 + 8 * (i % 4);
        o.height_px = 72;
        o.steps = 1;
        o.batch_size = 1 + i % 3;
        o.features = i % 2 ? "" : NULL;
        const udump_sink sink = { .struct_bytes = sizeof sink };
        assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_OK);
    }
    udump_session_destroy(session);
    return NULL;
}

/* Alone, then several at once beside sessions that do other things, then in a model loaded anew. */
static void expect_same_bits(udump_precision precision) {
    struct worker alone = { .model = load(precision) }, beside[SESSIONS] = { 0 }, anew = { 0 };
    struct disturber disturber = { .model = alone.model };
    pthread_t threads[SESSIONS], disturbing;
    repeat(&alone);
    assert_int_equal(pthread_create(&disturbing, NULL, disturb, &disturber), 0);
    for (int i = 0; i < SESSIONS; i++) {
        beside[i].model = alone.model;
        assert_int_equal(pthread_create(&threads[i], NULL, repeat, &beside[i]), 0);
    }
    for (int i = 0; i < SESSIONS; i++) pthread_join(threads[i], NULL);
    atomic_store(&disturber.end, true);
    pthread_join(disturbing, NULL);
    anew.model = load(precision);
    repeat(&anew);
    assert_same_recording(&alone.got, &anew.got);
    for (int i = 0; i < SESSIONS; i++) assert_same_recording(&alone.got, &beside[i].got);
    for (int i = 0; i < SESSIONS; i++) recording_free(&beside[i].got);
    recording_free(&alone.got);
    recording_free(&anew.got);
    udump_model_release(alone.model);
    udump_model_release(anew.model);
}

static void test_fp32(void **state) {
    (void)state;
    expect_same_bits(UDUMP_PRECISION_FP32);
}

static void test_bf16(void **state) {
    (void)state;
    expect_same_bits(UDUMP_PRECISION_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_fp32), cmocka_unit_test(test_bf16) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
