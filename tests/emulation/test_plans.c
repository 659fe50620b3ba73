/* The file of measured engines: what is written is what is found again, what is foreign or broken is as if it were not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/module.h"
#include "backend/ops.h"
#include "emulated.h"

enum { FILE_MOST = 1 << 16 };

static udump_flow stop(void *user, const udump_run_info *run) {
    (void)user, (void)run;
    return UDUMP_STOP;
}

static const udump_emulated_counts *counts; /* there once a model is */

static udump_model *load(const char *plan_cache) {
    udump_model_options options = emulated_options();
    options.plan_cache = plan_cache;
    udump_model *model = emulated_load("sd2", &options);
    counts = emulated_counts();
    return model;
}

/* Prepares a run; how many engines were timed. */
static long prepare_size(udump_model *model, int32_t width_px) {
    udump_generate_options o = emulated_run(1);
    udump_sink sink = { .struct_bytes = sizeof sink, .begin = stop };
    long before = counts->timings;
    udump_session *session = recording_session(model);
    o.width_px = width_px;
    o.height_px = 8;
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_ERROR_CANCELLED);
    udump_session_destroy(session);
    return counts->timings - before;
}

static long prepare(const char *plan_cache) {
    udump_model *model = load(plan_cache);
    long timings = prepare_size(model, 8);
    udump_model_release(model);
    return timings;
}

/* The one file in the folder, as text of at most FILE_MOST bytes. */
static char path[1024];

static size_t read_file(const char *folder, char *text) {
    DIR *dir = opendir(folder);
    int files = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
        snprintf(path, sizeof path, "%s/%.200s", folder, entry->d_name);
        assert_int_equal(strncmp(entry->d_name, "plans-", 6), 0); /* no draft is left */
        files++;
    }
    closedir(dir);
    assert_int_equal(files, 1);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, FILE_MOST - 1, file);
    fclose(file);
    text[length] = 0;
    return length;
}

static void write_file(const char *text, size_t length) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Every line's engine is the fastest there; "conv2d 0 [2, 1, 1, 32] to 32, ..." and "linear 0 [2, 32] to 64". */
static int check_choices(char *text) {
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        const char *to = strstr(line, "] to "), *colon = strrchr(line, ':');
        if (lines == 0 || strncmp(line, "end ", 4) == 0) continue;
        assert_true(to && colon);
        int out = atoi(to + 5), rank = -1, engine = -1;
        assert_int_equal(sscanf(colon, ": %d %d", &rank, &engine), 2);
        assert_int_equal(rank, out % 3);
        assert_int_equal(engine, 40 + rank);
    }
    return lines - 2;
}

static void test_kept(void **state) {
    (void)state;
    static char first[FILE_MOST], second[FILE_MOST];
    const char *folder = below("cache");
    assert_true(prepare(folder) > 0);
    size_t length = read_file(folder, first);
    assert_int_equal(strncmp(first, "unetdump plans 2: emulated device, 9.0, 2 multiprocessors; driver 13000; cuDNN 91900; cuBLASLt 130100\n", 99), 0);
    assert_int_equal(prepare(below("cache")), 0);
    assert_int_equal(read_file(below("cache"), second), length);
    assert_string_equal(first, second);
    assert_true(check_choices(second) > 20);
}

/* Two that read the file before the other wrote: neither's choices are lost. */
static void test_shared(void **state) {
    (void)state;
    udump_model *models[2] = { load(below("shared")), load(below("shared")) };
    for (int i = 0; i < 2; i++) assert_true(prepare_size(models[i], 8 + 8 * i) > 0);
    for (int i = 0; i < 2; i++) assert_int_equal(prepare_size(models[i], 16 - 8 * i), 0); /* what the other measured */
    for (int i = 0; i < 2; i++) udump_model_release(models[i]);
    models[0] = load(below("shared"));
    for (int i = 0; i < 2; i++) assert_int_equal(prepare_size(models[0], 8 + 8 * i), 0);
    udump_model_release(models[0]);
}

/* What may befall a file. All lead to the same file again. */
static void test_broken(void **state) {
    (void)state;
    static char whole[FILE_MOST], broken[FILE_MOST], again[FILE_MOST];
    const char *folder = below("broken");
    prepare(folder);
    size_t length = read_file(folder, whole);
    char *first_choice = strchr(whole, '\n') + 1, *its_colon = strchr(first_choice, ':');
    for (int way = 0; way < 8; way++) {
        memcpy(broken, whole, length + 1);
        size_t size = length, at = (size_t)(its_colon - whole);
        if (way == 0) size = 0;
        if (way == 1) size = length - 1;                                /* cut off */
        if (way == 2) size = length / 2;
        if (way == 3) broken[15] = '1';                                 /* another format */
        if (way == 4) memset(broken + length / 3, 0xFF, length / 3);    /* not text */
        if (way == 5) broken[at + 2] = '-';                             /* no number of an engine */
        if (way == 6) broken[at + 2] = '9';                             /* one that is not there: alone measured again */
        if (way == 7) broken[length++] = 'x', size = length, length--;  /* more than there should be */
        write_file(broken, size);
        long timings = prepare(below("broken"));
        assert_true(timings > 0);
        if (way == 6) assert_int_equal(timings, 3 * 6); /* three engines that run, each so often */
        assert_int_equal(read_file(below("broken"), again), length);
        assert_string_equal(again, whole);
    }
}

/* Prepares attention on a device of its own; how many ways were timed. A weight comes first: with it the libraries. */
static long prepare_attention(const udump_backend *backend, const char *folder, int32_t heads) {
    const udump_device_request request = { .threads = 1, .compute = UDUMP_F16, .plan_cache = folder };
    const float weight[64] = { 0 };
    const udump_linear_part part = { weight, NULL, 8 };
    udump_error error;
    udump_exec x;
    void *device = NULL;
    long before = counts->timings;
    assert_int_equal(backend->device_open(&request, &device, &error), UDUMP_OK);
    udump_packed *packed = backend->pack_linear(device, 8, 8, 1, &part, &error);
    assert_non_null(packed);
    assert_int_equal(udump_exec_open(&x, backend, device, 1, UDUMP_F16, &error), UDUMP_OK);
    udump_exec_begin_dry(&x);
    udump_attention(&x, udump_tensor_new(&x, UDUMP_F16, 1, 16, 64, 3 * 8 * heads), heads, false);
    udump_attention(&x, udump_tensor_new(&x, UDUMP_F16, 1, 1, 64, 3 * 8 * heads), heads, false); /* too short to ask */
    assert_int_equal(udump_exec_end_dry(&x, &error), UDUMP_OK);
    udump_exec_close(&x);
    backend->packed_free(packed);
    backend->device_close(device);
    return counts->timings - before;
}

/* By the vendor or by our kernel: the faster, once and for all. */
static void test_attention(void **state) {
    (void)state;
    static char text[FILE_MOST];
    const char *lines[] = { NULL, "\nattention F16 [1, 1024], 1 heads of 8: 1 0\n", "\nattention F16 [1, 1024], 2 heads of 8: 0 0\n" };
    udump_model *model = load(""); /* so that there are counts */
    const udump_module *module;
    assert_int_equal(udump_module_load("cuda", EMULATED_MODULE, &module, NULL), UDUMP_OK);
    for (int32_t heads = 1; heads <= 2; heads++) {
        assert_int_equal(prepare_attention(module->backend, below("attention"), heads), 2 * 6);
        assert_int_equal(prepare_attention(module->backend, below("attention"), heads), 0);
        read_file(below("attention"), text);
        assert_non_null(strstr(text, lines[heads]));
    }
    assert_int_equal(prepare_attention(module->backend, "", 1), 0);
    udump_model_release(model);
}

static void test_places(void **state) {
    (void)state;
    static char text[FILE_MOST];
    assert_int_equal(setenv("XDG_CACHE_HOME", below("xdg"), 1), 0);
    assert_int_equal(mkdir(below("xdg"), 0777), 0);
    assert_int_equal(prepare(""), 0); /* off: nothing is measured */
    assert_int_equal(count_entries(below("xdg")), 0);
    assert_true(prepare(NULL) > 0);
    assert_true(read_file(below("xdg/unetdump"), text) > 0);
    assert_true(prepare("/dev/null/nowhere") > 0); /* where nothing can be kept it is measured, and lasts as long as the model */
    unsetenv("XDG_CACHE_HOME");
    assert_int_equal(setenv("HOME", below("home"), 1), 0);
    assert_int_equal(mkdir(below("home"), 0777), 0);
    assert_true(prepare(NULL) > 0);
    assert_true(read_file(below("home/.cache/unetdump"), text) > 0);
}

/* Without cuDNN, or with one that does not work, our own kernels do its part, and the model says so. */
static void test_no_cudnn(void **state) {
    (void)state;
    static const struct {
        const char *value, *why;
    } ways[] = { { "0", "no cuDNN (no library): " }, { "2", "no cuDNN (a part is missing): " } };
    udump_model *model = load("");
    assert_null(udump_model_warning(model, 0));
    udump_model_release(model);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setenv("UDUMP_EMULATED_CUDNN", ways[i].value, 1), 0);
        model = load("");
        assert_non_null(udump_model_warning(model, 0));
        assert_int_equal(strncmp(udump_model_warning(model, 0), ways[i].why, strlen(ways[i].why)), 0);
        assert_null(udump_model_warning(model, 1));
        prepare_size(model, 8);
        udump_model_release(model);
    }
    unsetenv("UDUMP_EMULATED_CUDNN");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_kept), cmocka_unit_test(test_shared), cmocka_unit_test(test_broken), cmocka_unit_test(test_attention),
        cmocka_unit_test(test_places), cmocka_unit_test(test_no_cudnn) };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
