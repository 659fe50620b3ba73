/* A host program with two devices: a model lives on the second, and what the program's thread has current stays so, whatever is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/module.h"
#include "emulated.h"

static const udump_backend *backend;
static void *first, *second; /* what a thread has current that is at the one or the other */

static void *current(void) { return backend->enter(NULL); }

static cudaError_t set_device(int device) {
    cudaError_t (*set)(int) = NULL;
    *(void **)&set = dlsym(dlopen(EMULATED_MODULE, RTLD_NOW | RTLD_NOLOAD), "cudaSetDevice");
    assert_non_null(set);
    return set(device);
}

static int setup(void **state) {
    const udump_module *module;
    if (make_base(state) || setenv("UDUMP_EMULATED_DEVICES", "2", 1)) return -1;
    assert_int_equal(udump_module_load("cuda", EMULATED_MODULE, &module, NULL), UDUMP_OK);
    backend = module->backend;
    assert_null(current());
    assert_int_equal(set_device(1), cudaSuccess);
    second = current();
    assert_int_equal(set_device(0), cudaSuccess);
    first = current();
    assert_ptr_not_equal(first, second);
    return 0;
}

/* Nothing of ours is at the program's device. */
static void assert_kept(void) {
    assert_ptr_equal(current(), first);
    assert_int_equal(emulated_counts()->bound[0], 0);
}

static udump_flow look_around(void *user, const udump_progress *progress) {
    (void)progress;
    backend->leave(first); /* a callback may do as it likes */
    ++*(int *)user;
    return UDUMP_CONTINUE;
}

static void test_rendering(void **state) {
    (void)state;
    static const float value[4] = { 1, 2, 3, 4 };
    udump_renderer *renderer = NULL;
    udump_renderer_options options;
    udump_image canvas;
    const udump_view here = { .data = (void *)value, .dtype = UDUMP_F32, .rank = 3, .shape = { 1, 2, 2 }, .stride = { 4, 2, 1 } };
    udump_renderer_options_init(&options);
    options.cuda_module = EMULATED_MODULE;
    options.device_index = 1;
    assert_int_equal(udump_renderer_create(&options, &renderer, NULL), UDUMP_OK);
    assert_kept();
    assert_int_equal(udump_renderer_render(renderer, &here, NULL, NULL, &canvas, NULL, NULL), UDUMP_OK);
    assert_kept();
    udump_image_free(&canvas);
    udump_renderer_destroy(renderer);
    assert_kept();
}

static void test_kept(void **state) {
    (void)state;
    int steps = 0;
    udump_model_options options = emulated_options();
    options.device_index = 1;
    options.prediction = UDUMP_PREDICTION_AUTO; /* asks the model itself */
    udump_model *model = emulated_load("sd2", &options);
    assert_kept();
    udump_session *session = NULL;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_kept();
    udump_generate_options o = emulated_run(3);
    o.features = o.attention = "M00";
    udump_sink sink = { .struct_bytes = sizeof sink, .user = &steps, .progress = look_around };
    udump_error error;
    if (udump_generate(session, &o, &sink, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_int_equal(steps, 3);
    assert_kept();
    udump_context *context = NULL;
    udump_table *table = NULL;
    udump_view latent;
    assert_int_equal(udump_context_encode(session, "a green circle", &context, NULL), UDUMP_OK);
    assert_kept();
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_kept();
    assert_int_equal(udump_begin(session, &o, table, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
    assert_kept();
    assert_int_equal(udump_latent_view(session, &latent, NULL), UDUMP_OK);
    assert_kept();
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
    assert_kept();
    udump_table_free(table);
    udump_context_release(context);
    udump_session_destroy(session);
    assert_kept();
    udump_model_release(model);
    assert_kept();
}

static void test_refused(void **state) {
    (void)state;
    udump_model_options options = emulated_options();
    udump_model *model = NULL;
    options.device_index = 1;
    assert_int_equal(udump_model_load(below("nowhere"), &options, &model, NULL), UDUMP_ERROR_FILE);
    assert_kept();
    assert_int_equal(setenv("UDUMP_EMULATED_MEMORY_BYTES", "1000000", 1), 0);
    assert_int_equal(udump_model_load(emulated_checkpoint("sd2"), &options, &model, NULL), UDUMP_ERROR_MEMORY);
    assert_int_equal(unsetenv("UDUMP_EMULATED_MEMORY_BYTES"), 0);
    assert_kept();
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_kept), cmocka_unit_test(test_rendering), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, setup, remove_base);
}
