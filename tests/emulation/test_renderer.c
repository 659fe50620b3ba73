/* Tensors on the device, rendered there: the same pictures as of the same values on the host; what a stream has still to do is waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/cuda.h"
#include "backend/module.h"
#include "base/half.h"
#include "unetdump.h"

enum { C = 21, H = 9, W = 13, COUNT = C * H * W };

/* Somebody else's program: memory and a stream of the device, by the module's own means. */
struct other {
    const udump_backend *backend;
    void *device, *memory;
    udump_exec x;
};

static void other_open(struct other *other) {
    const udump_module *module;
    const udump_device_request request = { .threads = 1, .compute = UDUMP_F32 };
    assert_int_equal(udump_module_load("cuda", EMULATED_MODULE, &module, NULL), UDUMP_OK);
    other->backend = module->backend;
    assert_int_equal(other->backend->device_open(&request, &other->device, NULL), UDUMP_OK);
    assert_int_equal(udump_exec_open(&other->x, other->backend, other->device, 1, UDUMP_F32, NULL), UDUMP_OK);
    assert_non_null(other->memory = other->backend->memory_alloc(other->device, COUNT * sizeof(float)));
}

static void other_close(struct other *other) {
    other->backend->memory_free(other->device, other->memory);
    udump_exec_close(&other->x);
    other->backend->device_close(other->device);
}

static void assert_same_image(const udump_image *found, const udump_image *expected) {
    const udump_picture *a = &found->picture, *b = &expected->picture;
    assert_true(a->width_px == b->width_px && a->height_px == b->height_px && a->channels == b->channels);
    assert_true(found->columns == expected->columns && found->rows == expected->rows);
    assert_memory_equal(a->pixels, b->pixels, (size_t)a->width_px * (size_t)a->height_px * (size_t)a->channels);
}

static void render_both(udump_renderer *renderer, struct other *other, const void *host, const udump_view *like, size_t bytes, const char *color) {
    udump_style style;
    udump_image found[2], expected[2];
    udump_error error = { .status = UDUMP_OK };
    udump_view on_host = *like, on_device = *like;
    udump_style_init(&style);
    style.color = color;
    style.average = UDUMP_AVERAGE_L2;
    on_host.data = (void *)host;
    on_device.data = other->memory;
    other->backend->write(&other->x, other->memory, host, bytes); /* begun, not done */
    void *stream = udump_cuda_state_of(&other->x)->stream;
    assert_int_equal(udump_render(&on_host, &style, &expected[0], &expected[1], &error), UDUMP_OK);
    if (udump_renderer_render(renderer, &on_device, stream, &style, &found[0], &found[1], &error)) fail_msg("%s: %s", error.where, error.what);
    for (int i = 0; i < 2; i++) {
        assert_same_image(&found[i], &expected[i]);
        udump_image_free(&found[i]);
        udump_image_free(&expected[i]);
    }
}

static void test_render(void **state) {
    (void)state;
    static float values[COUNT];
    static uint16_t halves[COUNT];
    struct other other = { .memory = NULL };
    udump_renderer *renderer = NULL;
    udump_renderer_options options;
    udump_renderer_options_init(&options);
    options.cuda_module = EMULATED_MODULE;
    for (int i = 0; i < COUNT; i++) {
        values[i] = (float)((i * 7919) % 1000) / 250 - 2;
        halves[i] = udump_f32_to_bf16(values[i]);
    }
    other_open(&other);
    assert_int_equal(udump_renderer_create(&options, &renderer, NULL), UDUMP_OK);
    const udump_view planes = { .dtype = UDUMP_F32, .rank = 3, .shape = { C, H, W }, .stride = { H * W, W, 1 } },
                     channels_last = { .dtype = UDUMP_BF16, .rank = 3, .shape = { C, H, W }, .stride = { 1, W * C, C } };
    static const char *const colors[] = { NULL, "white-black", "red-blue", "rgb:v;0;-v" };
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
        render_both(renderer, &other, values, &planes, sizeof values, colors[i]);
        render_both(renderer, &other, halves, &channels_last, sizeof halves, colors[i]);
    }
    udump_image canvas;
    udump_error error;
    udump_view on_device = planes;
    on_device.data = other.memory;
    assert_true(other.backend->graph_begin(&other.x)); /* somebody's graph stays whole */
    assert_int_equal(udump_renderer_render(renderer, &on_device, udump_cuda_state_of(&other.x)->stream, NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "stream");
    void *graph = other.backend->graph_end(&other.x);
    assert_non_null(graph);
    other.backend->graph_free(&other.x, graph);
    udump_renderer_destroy(renderer);
    other_close(&other);
}

/* More tiles than one launch colours, by a block's. */
static void test_many_tiles(void **state) {
    (void)state;
    enum { MANY = 65535 * 32 + 32 };
    struct other other = { .memory = NULL };
    udump_renderer *renderer = NULL;
    udump_renderer_options options;
    udump_image found, expected;
    udump_error error = { .status = UDUMP_OK };
    udump_style style;
    udump_style_init(&style);
    style.color = "white-black";
    style.transform = "linear:0,250";
    udump_renderer_options_init(&options);
    options.cuda_module = EMULATED_MODULE;
    uint16_t *values = malloc(MANY * sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < MANY; i++) values[i] = udump_f32_to_bf16((float)(i % 251));
    other_open(&other);
    other.backend->memory_free(other.device, other.memory);
    assert_non_null(other.memory = other.backend->memory_alloc(other.device, MANY * sizeof *values));
    other.backend->write(&other.x, other.memory, values, MANY * sizeof *values);
    udump_view on_host = { .data = values, .dtype = UDUMP_BF16, .rank = 3, .shape = { MANY, 1, 1 }, .stride = { 1, 1, 1 } };
    udump_view on_device = on_host;
    on_device.data = other.memory;
    assert_int_equal(udump_renderer_create(&options, &renderer, &error), UDUMP_OK);
    assert_int_equal(udump_render(&on_host, &style, &expected, NULL, &error), UDUMP_OK);
    void *stream = udump_cuda_state_of(&other.x)->stream;
    if (udump_renderer_render(renderer, &on_device, stream, &style, &found, NULL, &error)) fail_msg("%s: %s", error.where, error.what);
    assert_same_image(&found, &expected);
    udump_image_free(&found);
    udump_image_free(&expected);
    udump_renderer_destroy(renderer);
    other_close(&other);
    free(values);
}

/* What its numbers of pixels have no room for is refused, not divided by. */
static void test_vast_tile(void **state) {
    (void)state;
    struct other other = { .memory = NULL };
    udump_tile_range range;
    other_open(&other);
    const udump_tiles tiles = { .data = other.memory, .dtype = UDUMP_F32, .count = 1, .h = 65536, .w = 65536 }; /* all the same value */
    other.backend->tile_reduce(&other.x, &tiles, &range);
    assert_int_equal(other.x.status, UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(other.x.error.what, "65536 x 65536 values of one channel: on CUDA there may be 1073741824");
    other_close(&other);
}

static void test_bad(void **state) {
    (void)state;
    udump_renderer *renderer = NULL;
    udump_renderer_options options;
    udump_error error;
    udump_image canvas;
    udump_renderer_options_init(&options);
    options.cuda_module = "/nowhere/module.so";
    assert_int_equal(udump_renderer_create(&options, &renderer, &error), UDUMP_ERROR_DEVICE);
    assert_non_null(strstr(error.what, "/nowhere/module.so"));
    options.cuda_module = EMULATED_MODULE;
    options.device_index = 7;
    assert_int_equal(udump_renderer_create(&options, &renderer, &error), UDUMP_ERROR_DEVICE);
    assert_string_equal(error.what, "device 7: there are 1");
    options.device_index = 0;
    assert_int_equal(udump_renderer_create(&options, &renderer, &error), UDUMP_OK);
    const udump_view flat = { .data = &canvas, .dtype = UDUMP_F32, .rank = 1, .shape = { 4 }, .stride = { 1 } };
    assert_int_equal(udump_renderer_render(renderer, &flat, NULL, NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_renderer_render(renderer, NULL, NULL, NULL, &canvas, NULL, &error), UDUMP_ERROR_ARGUMENT);
    udump_renderer_destroy(renderer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_many_tiles),
        cmocka_unit_test(test_vast_tile),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
