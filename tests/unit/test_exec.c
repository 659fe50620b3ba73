/* The execution context: the arena's two ends, the dry pass, the sticky error, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/ops.h"

static int open_reference(void **state) {
    udump_exec *x = malloc(sizeof *x);
    void *device;
    const udump_backend *backend = udump_backend_reference();
    if (!x || backend->device_open(&(udump_device_request){ .threads = 1, .compute = UDUMP_F32 }, &device, NULL)) return -1;
    *state = x;
    return udump_exec_open(x, backend, device, 1, UDUMP_F32, NULL);
}

static int close_reference(void **state) {
    udump_exec *x = *state;
    void *device = x->device;
    const udump_backend *backend = x->backend;
    udump_exec_close(x);
    backend->device_close(device);
    free(x);
    return 0;
}

/* One pass: temporaries, a skip, a release. Peak: 2 * 1024 + 512 bytes while all three are there. */
static void pass(udump_exec *x, udump_tensor out[3]) {
    out[0] = udump_tensor_new(x, UDUMP_F32, 1, 16, 16, 1);
    out[1] = udump_skip_push(x, 1, 8, 16, 1);
    size_t mark = udump_arena_mark(x);
    out[2] = udump_tensor_new(x, UDUMP_F32, 1, 16, 16, 1);
    udump_arena_release(x, mark);
}

static void test_dry_pass_sizes_the_arena(void **state) {
    udump_exec *x = *state;
    udump_tensor t[3];
    udump_exec_begin_dry(x);
    pass(x, t);
    assert_int_equal(udump_exec_end_dry(x, NULL), UDUMP_OK);
    assert_int_equal(x->arena_bytes, 2 * 1024 + 512);
    pass(x, t);
    assert_int_equal(x->status, UDUMP_OK);
    assert_int_equal(t[0].offset_bytes, 0);
    assert_int_equal(t[1].offset_bytes, 2048); /* at the top */
    assert_int_equal(t[2].offset_bytes, 1024);
    assert_int_equal(udump_arena_mark(x), 1024);
}

static void test_arena_does_not_overflow(void **state) {
    udump_exec *x = *state;
    udump_tensor t[3];
    udump_exec_begin_dry(x);
    pass(x, t);
    assert_int_equal(udump_exec_end_dry(x, NULL), UDUMP_OK);
    pass(x, t);
    udump_tensor_new(x, UDUMP_F32, 1, 16, 16, 2); /* 1024 + 512 are in use: 2048 more do not fit */
    assert_int_equal(x->status, UDUMP_ERROR_INTERNAL);
    udump_error error;
    assert_int_equal(udump_exec_status(x, &error), UDUMP_ERROR_INTERNAL);
    assert_non_null(strstr(error.what, "arena is too small"));
}

static void test_first_failure_sticks(void **state) {
    udump_exec *x = *state;
    udump_exec_fail(x, UDUMP_ERROR_DEVICE, "here", "first %d", 1);
    udump_exec_fail(x, UDUMP_ERROR_MEMORY, "there", "second");
    udump_error error;
    assert_int_equal(udump_exec_status(x, &error), UDUMP_ERROR_DEVICE);
    assert_string_equal(error.what, "first 1");
    assert_string_equal(error.where, "here");
    udump_exec_reset(x);
    assert_int_equal(udump_exec_status(x, NULL), UDUMP_OK);
}

static void test_shapes_that_disagree_fail(void **state) {
    udump_exec *x = *state;
    udump_exec_begin_dry(x);
    udump_tensor a = udump_tensor_new(x, UDUMP_F32, 1, 4, 4, 8), b = udump_tensor_new(x, UDUMP_F32, 1, 4, 5, 8);
    udump_concat_channels(x, a, b);
    assert_int_equal(x->status, UDUMP_ERROR_INTERNAL);
    assert_string_equal(x->error.where, "concat_channels");
    assert_non_null(strstr(x->error.what, "[1, 4, 4, 8] and [1, 4, 5, 8]"));
}

static void test_cancel_stops_operations(void **state) {
    udump_exec *x = *state;
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    x->cancel = &cancel;
    assert_false(udump_exec_stopped(x));
    udump_cancel_raise(&cancel);
    assert_true(udump_exec_stopped(x));
    assert_int_equal(x->status, UDUMP_ERROR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dry_pass_sizes_the_arena, open_reference, close_reference),
        cmocka_unit_test_setup_teardown(test_arena_does_not_overflow, open_reference, close_reference),
        cmocka_unit_test_setup_teardown(test_first_failure_sticks, open_reference, close_reference),
        cmocka_unit_test_setup_teardown(test_shapes_that_disagree_fail, open_reference, close_reference),
        cmocka_unit_test_setup_teardown(test_cancel_stops_operations, open_reference, close_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
