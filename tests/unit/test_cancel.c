/* A cancel from another thread, and a checkpoint that changes while it is read. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "folders.h"

/* ---- cancelling */

struct shared {
    udump_cancel cancel;
    atomic_int step, raised_at; /* sampler steps finished; how many when the flag went up */
};

static udump_flow on_progress(void *user, const udump_progress *progress) {
    struct shared *shared = user;
    atomic_store(&shared->step, progress->step);
    return UDUMP_CONTINUE;
}

/* Raises the flag once the second step is done, from its own thread. */
static void *watch(void *user) {
    struct shared *shared = user;
    while (atomic_load(&shared->step) < 2) nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    udump_cancel_raise(&shared->cancel);
    atomic_store(&shared->raised_at, atomic_load(&shared->step));
    return NULL;
}

static void test_cancel_is_heard_within_a_step(void **state) {
    (void)state;
    struct shared shared = { .cancel = UDUMP_CANCEL_INIT };
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_generate_options o;
    udump_error error;
    pthread_t thread;
    udump_generate_options_init(&o);
    o.prompt = "a red circle";
    o.width_px = o.height_px = 32;
    o.steps = 1000;
    o.cancel = &shared.cancel;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &shared, .progress = on_progress };
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", NULL, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(pthread_create(&thread, NULL, watch, &shared), 0);
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_ERROR_CANCELLED);
    pthread_join(thread, NULL);
    assert_string_equal(error.what, "cancelled");
    /* the one that ran when the flag went up, and the one that may have ended between the flag and its being noted */
    assert_in_range(atomic_load(&shared.step), 2, atomic_load(&shared.raised_at) + 1);
    shared.cancel = (udump_cancel)UDUMP_CANCEL_INIT; /* the session goes on */
    o.steps = 1;
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_OK);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* With a caller's table nothing is encoded on the way, which would have begun anew. */
static void test_a_cancelled_session_goes_on_with_a_table(void **state) {
    (void)state;
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_table *table = NULL;
    udump_generate_options o;
    udump_error error;
    int32_t remaining = 1;
    udump_generate_options_init(&o);
    o.prompt = "a red circle";
    o.width_px = o.height_px = 32;
    o.steps = 1;
    o.attention = "M00";
    o.attention_words = "circle";
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", NULL, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    o.cancel = &cancel;
    assert_int_equal(udump_begin(session, &o, table, NULL, NULL), UDUMP_OK);
    udump_cancel_raise(&cancel);
    assert_int_equal(udump_step(session, &remaining, &error), UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_ERROR_CANCELLED);
    o.cancel = NULL;
    assert_int_equal(udump_begin(session, &o, table, NULL, &error), UDUMP_OK);
    assert_int_equal(udump_step(session, &remaining, &error), UDUMP_OK);
    assert_int_equal(udump_end(session, 1, &error), UDUMP_OK);
    udump_table_free(table);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* Prompts are encoded before the first step: a flag that is up by then is heard there. */
static void test_cancel_is_heard_before_the_first_step(void **state) {
    (void)state;
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    udump_model *model = NULL;
    udump_session *session = NULL;
    udump_context *context = NULL;
    udump_generate_options o;
    udump_error error;
    udump_generate_options_init(&o);
    o.prompt = "a red circle";
    o.width_px = o.height_px = 32;
    o.cancel = &cancel;
    assert_int_equal(udump_model_load(TEST_ROOT "/models/demo", NULL, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    udump_cancel_raise(&cancel);
    o.prompt = "a (red"; /* the cancel comes before the encoding, not before the prompts are read */
    o.width_px = 33;
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_ERROR_ARGUMENT);
    o.width_px = 32;
    assert_int_equal(udump_begin(session, &o, NULL, NULL, &error), UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_context_encode(session, "a red circle", &context, &error), UDUMP_OK); /* which has no flag */
    udump_context_release(context);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* ---- a changing file */

static void copy_file(const char *from, const char *to) {
    udump_bytes bytes = read_all(from);
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    fclose(file);
    free(bytes.data);
}

static void copy_demo(const char *to) {
    static const char *const files[] = { "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "text_encoder/model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors" };
    char path[1200], from[1200];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", to, files[i]);
        snprintf(from, sizeof from, TEST_ROOT "/models/demo/%s", files[i]);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        assert_int_equal(udump_file_make_folder(path, NULL), UDUMP_OK);
        *slash = '/';
        copy_file(from, path);
    }
}

struct change {
    const char *path;
    off_t size;
    int64_t after_ns;
};

static void *truncate_later(void *user) {
    const struct change *change = user;
    nanosleep(&(struct timespec){ .tv_nsec = change->after_ns }, NULL);
    if (truncate(change->path, change->size)) abort();
    return NULL;
}

static void *overwrite_later(void *user) {
    static const char other[4096];
    const struct change *change = user;
    nanosleep(&(struct timespec){ .tv_nsec = change->after_ns }, NULL);
    int file = open(change->path, O_WRONLY);
    if (file < 0 || pwrite(file, other, sizeof other, change->size) != sizeof other || close(file)) abort();
    return NULL;
}

/* Loads the folder's model while its U-Net is changed beside. Whether it was refused, as what it then is, with the file's name and, if not NULL, that reason. */
static bool refused_beside(const char *folder, const struct change *change, void *(*how)(void *), const char *reason) {
    pthread_t thread;
    udump_model *model = NULL;
    udump_error error = { 0 };
    assert_int_equal(pthread_create(&thread, NULL, how, (void *)change), 0);
    udump_status status = udump_model_load(folder, NULL, &model, &error);
    pthread_join(thread, NULL);
    udump_model_release(model);
    if (!status) return false;
    assert_int_equal(status, UDUMP_ERROR_FORMAT);
    assert_non_null(strstr(error.where, "diffusion_pytorch_model.safetensors"));
    if (reason) assert_non_null(strstr(error.what, reason));
    return true;
}

static const char *const unet_file = "model/unet/diffusion_pytorch_model.safetensors";

/* Whenever it happens: loaded whole before it did, or refused; never a crash, as a mapping of the file would have. */
static void test_a_model_cut_while_it_is_read(void **state) {
    (void)state;
    int refused = 0;
    for (int i = 0; i < 6; i++) {
        char folder[600], path[600];
        snprintf(folder, sizeof folder, "%s", below("model"));
        snprintf(path, sizeof path, "%s", below(unet_file));
        copy_demo(folder);
        refused += refused_beside(folder, &(struct change){ path, i % 2 ? 1000000 : 20, (int64_t)i * i * 1600000 }, truncate_later, NULL);
    }
    assert_true(refused > 0); /* the first is cut at once */
}

/* As long as before, with other values in it: no tensor of it may have come from one state and the next from another. */
static void test_a_model_changed_while_it_is_read(void **state) {
    (void)state;
    char folder[600], path[600];
    snprintf(folder, sizeof folder, "%s", below("model"));
    snprintf(path, sizeof path, "%s", below(unet_file));
    copy_demo(folder);
    int refused = 0;
    for (int i = 0; i < 12; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); /* the last change is older than a file system's clock tells apart */
        refused += refused_beside(folder, &(struct change){ path, 3000000, (int64_t)i * 1000000 }, overwrite_later, "changed while it was read");
    }
    assert_true(refused > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cancel_is_heard_within_a_step), cmocka_unit_test(test_cancel_is_heard_before_the_first_step),
        cmocka_unit_test(test_a_cancelled_session_goes_on_with_a_table),
        cmocka_unit_test(test_a_model_cut_while_it_is_read),
        cmocka_unit_test(test_a_model_changed_while_it_is_read) };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
