/* Options structs of other versions' sizes: a program built for an older library, whose structs are shorter, and for a newer one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"
#include "folders.h"

enum { CANARY = 0x5A, MORE_BYTES = 64 };

/* A program's struct, with what lies behind it. */
struct held {
    union {
        size_t struct_bytes;
        char bytes[1024];
    };
};

static void *filled(struct held *held, size_t struct_bytes) {
    memset(held, CANARY, sizeof *held);
    udump_options_init(held, struct_bytes);
    return held;
}

static void expect_canary(const struct held *held, size_t from) {
    for (size_t i = from; i < sizeof *held; i++) assert_int_equal(held->bytes[i], CANARY);
}

static void test_init_stays_within_the_struct(void **state) {
    (void)state;
    struct held held;
    for (size_t bytes = sizeof held.struct_bytes; bytes < 600; bytes += 8) {
        filled(&held, bytes);
        assert_int_equal(held.struct_bytes, bytes);
        for (size_t i = sizeof held.struct_bytes; i < bytes; i++) assert_int_equal(held.bytes[i], 0);
        expect_canary(&held, bytes);
    }
}

static udump_status load(void *options, udump_error *error) {
    udump_model *model = NULL;
    udump_status status = udump_model_load(TEST_ROOT "/models/demo", options, &model, error);
    udump_model_release(model);
    return status;
}

static udump_status generate(const void *options, const void *sink, udump_error *error) {
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_status status = udump_model_load(TEST_ROOT "/models/demo", NULL, &model, error);
    if (!status) status = udump_session_create(model, &session, error);
    if (!status) status = udump_generate(session, options, sink, error);
    udump_session_destroy(session);
    udump_model_release(model);
    return status;
}

static void set_small(udump_generate_options *o) {
    o->prompt = "a red circle";
    o->width_px = o->height_px = 8;
    o->steps = 1;
}

static udump_status generate_small(void *options, udump_error *error) {
    set_small(options);
    return generate(options, NULL, error);
}

static udump_status apply(void *options, udump_error *error) {
    udump_parameters *parameters = NULL;
    udump_status status = udump_parameters_parse("a red circle\nSteps: 3, Sampler: Euler, CFG scale: 2, Seed: 5, Size: 64x32", &parameters, error);
    if (!status) status = udump_parameters_apply(parameters, options, error);
    const udump_generate_options *o = options;
    if (!status) assert_true(o->steps == 3 && o->seed == 5 && o->height_px == 32);
    udump_parameters_free(parameters);
    return status;
}

static udump_status render(void *style, udump_error *error) {
    float values[16] = { 1, 2, 3 };
    udump_view view = { values, UDUMP_F32, 3, { 1, 4, 4 }, { 16, 4, 1 } };
    udump_image image = { 0 };
    udump_status status = udump_render(&view, style, &image, NULL, error);
    udump_image_free(&image);
    return status;
}

static udump_status open_one(void *options, udump_error *error) {
    udump_folder *folder = NULL;
    udump_status status = udump_folder_open(below("folder"), options, &folder, error);
    if (!status) status = udump_folder_close(folder, 0, error);
    return status;
}

static udump_status watch(void *sink, udump_error *error) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    set_small(&o);
    return generate(&o, sink, error);
}

/* Each with what takes it, and how long it was when there was nothing behind its last member. */
static const struct kind {
    const char *name;
    udump_status (*use)(void *options, udump_error *error);
    size_t bytes, shorter_bytes;
} kinds[] = {
    { "model options", load, sizeof(udump_model_options), offsetof(udump_model_options, plan_cache) },
    { "style", render, sizeof(udump_style), offsetof(udump_style, average) },
    { "generate options", generate_small, sizeof(udump_generate_options), offsetof(udump_generate_options, cancel) },
    { "generate options", apply, sizeof(udump_generate_options), offsetof(udump_generate_options, cancel) },
    { "folder options", open_one, sizeof(udump_folder_options), offsetof(udump_folder_options, force) },
    { "sink", watch, sizeof(udump_sink), offsetof(udump_sink, progress) },
};

static void test_older_newer_and_none(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *kind = &kinds[i];
        struct held held;
        udump_error error = { 0 };
        assert_int_equal(kind->use(filled(&held, kind->shorter_bytes), &error), UDUMP_OK);
        expect_canary(&held, kind->shorter_bytes);
        assert_int_equal(kind->use(filled(&held, kind->bytes + MORE_BYTES), &error), UDUMP_OK); /* newer, and nothing of that is set */
        filled(&held, kind->bytes + MORE_BYTES);
        held.bytes[kind->bytes + MORE_BYTES - 1] = 1;
        assert_int_equal(kind->use(&held, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, kind->name);
        assert_non_null(strstr(error.what, "this version of the library does not know"));
        filled(&held, kind->bytes);
        held.struct_bytes = 0;
        assert_int_equal(kind->use(&held, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, kind->name);
        assert_non_null(strstr(error.what, "not initialised"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_init_stays_within_the_struct), cmocka_unit_test(test_older_newer_and_none) };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
