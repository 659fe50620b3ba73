/* The outbox's ring, on a device whose work is done late: parcels of all sizes arrive in order, whole, and none is overwritten before it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/module.h"
#include "pipeline/look.h"

enum { PARCELS = 400, LARGEST_BYTES = 40 << 20 };

static int32_t delivered;
static size_t sizes[PARCELS];

static void deliver(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data) {
    (void)look, (void)x;
    const uint8_t *bytes = data;
    assert_int_equal(parcel->first, delivered);
    size_t last = sizes[delivered] - 1;
    assert_int_equal(bytes[0], (uint8_t)delivered);
    assert_int_equal(bytes[last / 2], (uint8_t)delivered);
    assert_int_equal(bytes[last], (uint8_t)delivered);
    delivered++;
}

static void test_ring(void **state) {
    (void)state;
    const udump_module *module;
    const udump_device_request request = { .threads = 1, .compute = UDUMP_F32 };
    void *device = NULL;
    udump_error error;
    uint32_t random = 1;
    assert_int_equal(udump_module_load("cuda", EMULATED_MODULE, &module, &error), UDUMP_OK);
    udump_exec *x = calloc(1, sizeof *x);
    udump_look *look = calloc(1, sizeof *look);
    uint8_t *pattern = malloc(LARGEST_BYTES);
    assert_true(x && look && pattern);
    assert_int_equal(module->backend->device_open(&request, &device, &error), UDUMP_OK);
    assert_int_equal(udump_exec_open(x, module->backend, device, 1, UDUMP_F32, &error), UDUMP_OK);
    udump_exec_begin_dry(x);
    assert_null(udump_outbox_reserve(look, x, LARGEST_BYTES));
    assert_int_equal(udump_exec_end_dry(x, &error), UDUMP_OK);
    udump_ring ring = { .bytes = 0 };
    assert_int_equal(udump_outbox_create(&look->outbox, &ring, x, &error), UDUMP_OK);
    for (int32_t i = 0; i < PARCELS; i++) {
        random = random * 1664525u + 1013904223u;
        /* mostly small, now and then one that fills half of the ring */
        sizes[i] = i % 50 == 49 ? LARGEST_BYTES : 1 + (random >> 8) % (i % 10 == 0 ? 3 << 20 : 5000);
        memset(pattern, i, sizes[i]);
        void *room = udump_outbox_reserve(look, x, sizes[i]);
        assert_non_null(room);
        x->backend->write(x, room, pattern, sizes[i]);
        udump_outbox_send(look, x, &(udump_parcel){ .deliver = deliver, .first = i }, sizes[i]);
        if (i % 60 == 0) udump_outbox_sweep(look, x);
    }
    assert_true(delivered > 0 && delivered < PARCELS);
    udump_outbox_flush(look, x);
    assert_int_equal(delivered, PARCELS);
    assert_null(udump_outbox_reserve(look, x, (size_t)LARGEST_BYTES * 3)); /* more than the dry pass saw */
    assert_int_equal(udump_exec_status(x, &error), UDUMP_ERROR_INTERNAL);
    udump_outbox_free(&look->outbox, x);
    udump_ring_free(&ring, x);
    udump_exec_close(x);
    module->backend->device_close(device);
    free(x);
    free(look);
    free(pattern);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ring) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
