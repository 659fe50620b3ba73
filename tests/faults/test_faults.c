/* Everything that can fail, made to fail, one call after the other: nothing crashes or leaks, each failure is a status that says what, and in the
 * folder every file that has its name is the whole file. What a fault is survived by (EINTR, a short write) changes nothing. A process that is killed in
 * the middle of a write leaves whole files too, and a run that goes on from there ends with the same folder.
 * Which calls: all of them where FAULTS is "all"; else a part, from the call FAULTS_FIRST on (0), so that a run takes seconds. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../unit/folders.h"
#include "interpose.h"

static char tiny[128], tiny_sdxl[128];
static udump_model *model, *narrow, *reference; /* of the scenarios that need one: by our kernels, by oneDNN, and in plain C */
static udump_model *pooled;                     /* in plain C, too, and with pooled vectors */
static bool resuming; /* a run goes on from what a killed one left */

/* As where there is AMX: bf16 is multiplied by oneDNN, here in fp32 on rounded values where nothing faster is there. */
bool __wrap_udump_dnn_has_bf16(void);
bool __wrap_udump_dnn_has_bf16(void) { return true; }

/* ---- scenarios: each does one thing with the library, and leaves nothing behind */

typedef udump_status (*scenario_fn)(udump_error *error);

static udump_model_options on(udump_device device, udump_precision precision) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = precision;
    options.threads = 1;
    return options;
}

static udump_status load_with(udump_device device, udump_precision precision, udump_error *error) {
    const udump_model_options options = on(device, precision);
    udump_model *loaded = NULL;
    udump_status status = udump_model_load(tiny, &options, &loaded, error);
    udump_model_release(loaded);
    return status;
}

static udump_status load_reference(udump_error *error) { return load_with(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, error); }
static udump_status load_cpu(udump_error *error) { return load_with(UDUMP_DEVICE_CPU, UDUMP_PRECISION_FP32, error); }
static udump_status load_dnn(udump_error *error) { return load_with(UDUMP_DEVICE_CPU, UDUMP_PRECISION_BF16, error); }

static udump_status load_additions(udump_error *error) {
    udump_model_options options = on(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    const udump_lora loras[] = { { .path = TEST_ROOT "/tests/parity/goldens/lora-kohya.safetensors", .block_weights = "IN04=0.5,TE=0" },
        { .path = TEST_ROOT "/tests/parity/goldens/lycoris.safetensors" } };
    udump_model *loaded = NULL;
    options.loras = loras;
    options.lora_count = 2;
    options.embeddings = TEST_ROOT "/tests/parity/goldens/embeddings";
    udump_status status = udump_model_load(TEST_ROOT "/models/demo", &options, &loaded, error);
    udump_model_release(loaded);
    return status;
}

static udump_generate_options everything(void) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a (~: _: red; OUT06-OUT08: green :~) circle";
    o.negative_prompt = "(square:1.2)";
    o.width_px = o.height_px = 64;
    o.steps = 1;
    o.features = "IN05";
    o.diff = "OUT11";
    o.attention = "OUT05";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP;
    o.attention_words = "circle";
    static const udump_style averaged = { .struct_bytes = sizeof averaged, .average = UDUMP_AVERAGE_SUM };
    o.style = &averaged;
    o.want_tensors = 1;
    o.batch_count = 2;
    return o;
}

static udump_status generate(udump_model *with, udump_dump dump, udump_error *error) {
    const udump_generate_options o = everything();
    udump_folder_options options;
    udump_session *session = NULL;
    udump_folder *folder = NULL;
    udump_error closing;
    udump_folder_options_init(&options);
    options.dump = dump;
    options.resume = resuming;
    udump_status status = udump_folder_open(below("out"), &options, &folder, error);
    if (!status) status = udump_session_create(with, &session, error);
    if (!status) status = udump_generate(session, &o, udump_folder_sink(folder), error);
    udump_session_destroy(session);
    udump_status closed = udump_folder_close(folder, !status, &closing);
    if (closed && (!status || status == UDUMP_ERROR_CANCELLED)) {
        *error = closing;
        return closed;
    }
    return status ? status : udump_report_write(below("out"), error);
}

static udump_status generate_npy(udump_error *error) { return generate(model, UDUMP_DUMP_NPY, error); }
static udump_status generate_dnn(udump_error *error) { return generate(narrow, UDUMP_DUMP_NPY, error); }
static udump_status generate_safetensors(udump_error *error) { return generate(model, UDUMP_DUMP_SAFETENSORS, error); }

static udump_status parse_texts(udump_error *error) {
    static const char text[] = "a (~: IN00-IN03: [red:blue:0.5]; _: (green:1.3) :~) [cat|dog] AND (b) BREAK c :0.5";
    uint8_t selected[25];
    udump_prompt *prompt = NULL;
    udump_token tokens[64];
    int32_t count;
    udump_parameters *parameters = NULL;
    udump_lora_tags *tags = NULL;
    udump_generate_options options;
    udump_generate_options_init(&options);
    udump_status status = udump_layers_parse(NULL, "IN00-OUT11(+2)", selected, 25, error);
    if (!status) status = udump_prompt_parse(NULL, text, 10, 0, &prompt, error);
    udump_prompt_free(prompt);
    if (!status) status = udump_tokens("a (red:1.2) caf\xC3\xA9", tokens, 64, &count, error);
    if (!status)
        status = udump_parameters_parse("a cat\nNegative prompt: b\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Note: \"a, b\"", &parameters, error);
    if (!status) status = udump_parameters_apply(parameters, &options, error);
    udump_parameters_free(parameters);
    if (!status) status = udump_lora_tags_parse("a <lora:b:0.5:0.8> c <lyco:d>", &tags, error);
    udump_lora_tags_free(tags);
    return status;
}

static udump_status make_contexts(udump_error *error) {
    udump_generate_options o = everything();
    udump_session *session = NULL;
    udump_table *table = NULL;
    udump_context *context = NULL;
    udump_status status = udump_session_create(reference, &session, error);
    if (!status) status = udump_context_encode(session, "a red circle", &context, error);
    if (!status) status = udump_table_encode(session, &o, &table, error);
    if (!status) status = udump_table_set(table, -1, -1, context, error);
    udump_context_release(context);
    udump_table_free(table);
    udump_session_destroy(session);
    return status;
}

/* Whatever fails, the pointer is as it was: it may be released. */
static udump_status take_context(udump_error *error) {
    udump_model_info info;
    udump_model_get_info(pooled, &info);
    float *values = calloc((size_t)info.context_dim, sizeof *values);
    udump_view view = { values, UDUMP_F32, 2, { 1, info.context_dim }, { info.context_dim, 1 } };
    udump_context *context = NULL, *other = NULL;
    udump_status status = values ? udump_context_from_tensor(pooled, &view, &context, error) : UDUMP_OK;
    if (values && !status) status = udump_context_replace(context, &view, &other, error);
    udump_context_release(context);
    udump_context_release(other);
    free(values);
    return status;
}

static udump_status render_and_read(udump_error *error) {
    float values[4 * 8 * 8];
    for (int i = 0; i < 4 * 8 * 8; i++) values[i] = (float)(i % 17) - 8;
    udump_view view = { values, UDUMP_F32, 3, { 4, 8, 8 }, { 64, 8, 1 } };
    udump_style style;
    udump_image canvas = { 0 }, average = { 0 }, read = { 0 }, resized = { 0 };
    udump_array array = { 0 };
    udump_parameters *parameters = NULL;
    udump_style_init(&style);
    style.color = "rgb:v;where(v>0.5,v**2,sin(v));1-v";
    style.average = UDUMP_AVERAGE_L2;
    udump_status status = udump_render(&view, &style, &canvas, &average, error);
    if (!status) status = udump_png_write(below("a.png"), &canvas.picture, "a\nSteps: 1, Seed: 2, Size: 8x8", error);
    if (!status) status = udump_png_read(below("a.png"), &read, error);
    if (!status) status = udump_picture_resize(&read.picture, 40, 24, &resized, error);
    if (!status) status = udump_parameters_read(below("a.png"), &parameters, error);
    if (!status) status = udump_npy_read(TEST_ROOT "/tests/fuzz/corpus/npy/fortran.npy", &array, error);
    udump_image_free(&canvas);
    udump_image_free(&average);
    udump_image_free(&read);
    udump_image_free(&resized);
    udump_parameters_free(parameters);
    udump_array_free(&array);
    return status;
}

/* ---- running them */

enum { PART = 20 }; /* how many calls of a scenario fail in a run that takes a part */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void empty_folder(const char *path) {
    if (exists(path)) assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

typedef enum outcome { FINISHED, FAILED, KILLED } outcome;

/* Nothing half-written: what is in out under its own name is, to the byte, what is in whole. */
static void check_folder(const char *out, outcome how) {
    DIR *folder = opendir(out);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char a[1024], b[1024];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (how != FINISHED && !strcmp(entry->d_name, "unfinished.jsonl")) continue;
        if (how == KILLED && udump_file_writer(entry->d_name)) continue;
        assert_int_not_equal(entry->d_name[0], '.'); /* a file that was given up is removed */
        snprintf(a, sizeof a, "%s/%s", out, entry->d_name);
        snprintf(b, sizeof b, "%s/%s", below("whole"), entry->d_name);
        udump_bytes found = read_all(a), expected = read_all(b);
        if (found.size != expected.size || memcmp(found.data, expected.data, found.size)) fail_msg("%s is not whole", entry->d_name);
        free(found.data);
        free(expected.data);
    }
    if (folder) closedir(folder);
}

/* How many calls of that kind the scenario makes. */
static int64_t count_calls(scenario_fn scenario, fault_kind kind) {
    udump_error error = { 0 };
    enum { ENDLESS = 1 << 30 };
    for (int warm = 0; warm < 2; warm++) { /* what is cached for good is cached */
        empty_folder(below("out"));
        assert_int_equal(scenario(&error), UDUMP_OK);
    }
    empty_folder(below("whole"));
    if (exists(below("out"))) assert_int_equal(rename(below("out"), below("whole")), 0);
    int64_t low = 0, high = ENDLESS; /* the last call that comes */
    while (low + 1 < high) {
        int64_t middle = high == ENDLESS ? (low ? 4 * low : 64) : (low + high) / 2;
        if (middle >= high) middle = (low + high) / 2;
        empty_folder(below("out"));
        fault_arm(kind, middle, EIO);
        scenario(&error);
        if (fault_disarm()) low = middle;
        else high = middle;
    }
    return low;
}

/* The nth call fails. Returns whether that was survived. */
static bool fail_at(scenario_fn scenario, fault_kind kind, int64_t nth, int code) {
    udump_error error = { 0 };
    empty_folder(below("out"));
    int64_t before = fault_live();
    fault_arm(kind, nth, code);
    udump_status status = scenario(&error);
    bool fired = fault_disarm();
    if (status && (!error.what[0] || error.status != status)) fail_msg("call %lld: status %d without a reason", (long long)nth, (int)status);
    if (status && !fired) fail_msg("call %lld was not reached, and yet: %s: %s", (long long)nth, error.where, error.what);
    if (fault_live() != before) fail_msg("call %lld: %lld allocations are left", (long long)nth, (long long)(fault_live() - before));
    check_folder(below("out"), status ? FAILED : FINISHED);
    return !status;
}

/* A process of its own is killed in the nth call; one that waits for a thread that it does not have is ended, too, but not so. */
static void kill_at(scenario_fn scenario, fault_kind kind, int64_t nth) {
    enum { LONG_SECONDS = 60 };
    udump_error error = { 0 };
    int end = 0;
    empty_folder(below("out"));
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        alarm(LONG_SECONDS);
        fault_arm(kind, nth, FAULT_KILL);
        _exit(scenario(&error) ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    assert_int_equal(waitpid(child, &end, 0), child);
    if (!WIFSIGNALED(end) || WTERMSIG(end) != SIGKILL) fail_msg("call %lld: not killed, but status 0x%x", (long long)nth, (unsigned)end);
    check_folder(below("out"), KILLED);
}

/* And the run is taken up again, which ends as if nothing had been. */
static bool resume_after(scenario_fn scenario, fault_kind kind, int64_t nth) {
    udump_error error = { 0 };
    kill_at(scenario, kind, nth);
    resuming = true;
    udump_status status = scenario(&error);
    resuming = false;
    if (status) fail_msg("killed in call %lld, resumed: %s: %s", (long long)nth, error.where, error.what);
    check_folder(below("out"), FINISHED);
    assert_int_equal(count_entries(below("out")), count_entries(below("whole")));
    return true;
}

typedef enum expectation { FATAL, SURVIVED, EITHER } expectation;

static void fail_each(const char *name, scenario_fn scenario, fault_kind kind, int code, expectation expected) {
    const char *which = getenv("FAULTS"), *first = getenv("FAULTS_FIRST");
    int64_t calls = count_calls(scenario, kind), stride = which && !strcmp(which, "all") ? 1 : calls / PART + 1, done = 0, good = 0;
    double begin = seconds();
    if (!calls) fail_msg("%s makes no such call", name);
    for (int64_t nth = 1 + (first ? atoll(first) : 0) % stride; nth <= calls; nth += stride, done++) {
        bool fine = code == FAULT_KILL ? resume_after(scenario, kind, nth) : fail_at(scenario, kind, nth, code);
        if (fine ? expected == FATAL : expected == SURVIVED)
            fail_msg("%s: call %lld was %s", name, (long long)nth, fine ? "not noticed" : "to be survived");
        good += fine;
    }
    printf("%s: %lld of %lld calls failed, %lld survived, %.1f s\n", name, (long long)done, (long long)calls, (long long)good, seconds() - begin);
}

static void test_allocations(void **state) {
    (void)state;
    fail_each("texts", parse_texts, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("pictures", render_and_read, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("contexts", make_contexts, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("a context from a tensor", take_context, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("loading", load_reference, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("loading for our kernels", load_cpu, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("loading for oneDNN", load_dnn, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("loading a LoRA and embeddings", load_additions, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("a run with npy", generate_npy, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("a run by oneDNN", generate_dnn, FAULT_ALLOCATION, ENOMEM, EITHER);
    fail_each("a run with safetensors", generate_safetensors, FAULT_ALLOCATION, ENOMEM, EITHER);
}

static void test_dnn_calls(void **state) {
    (void)state;
    fail_each("loading for our kernels", load_cpu, FAULT_DNN, 0, FATAL);
    fail_each("loading for oneDNN", load_dnn, FAULT_DNN, 0, FATAL);
    fail_each("a run by our kernels", generate_npy, FAULT_DNN, 0, FATAL);
    fail_each("a run by oneDNN", generate_dnn, FAULT_DNN, 0, FATAL);
}

static void test_writes(void **state) {
    (void)state;
    fail_each("a full disk", generate_npy, FAULT_WRITE, ENOSPC, FATAL);
    fail_each("a broken disk", generate_safetensors, FAULT_WRITE, EIO, FATAL);
    fail_each("an interrupted write", generate_npy, FAULT_WRITE, EINTR, SURVIVED);
    fail_each("a short write", generate_safetensors, FAULT_WRITE, FAULT_SHORT, SURVIVED);
    fail_each("a rename that fails", generate_npy, FAULT_RENAME, EACCES, FATAL);
    fail_each("a close that fails", generate_npy, FAULT_CLOSE, EDQUOT, EITHER);
    fail_each("an open that fails", generate_npy, FAULT_OPEN, EMFILE, EITHER);
    fail_each("an open that is interrupted", generate_npy, FAULT_OPEN, EINTR, EITHER);
}

static void test_kills(void **state) {
    (void)state;
    fail_each("a kill in a file", generate_npy, FAULT_SAVE, FAULT_KILL, SURVIVED);
    fail_each("a kill in a file in pieces", generate_safetensors, FAULT_DRAFT, FAULT_KILL, SURVIVED);
}

static void test_reads(void **state) {
    (void)state;
    fail_each("a broken disk", load_reference, FAULT_READ, EIO, FATAL);
    fail_each("an interrupted read", load_reference, FAULT_READ, EINTR, SURVIVED);
    fail_each("a short read", load_reference, FAULT_READ, FAULT_SHORT, SURVIVED);
}

static int set_up(void **state) {
    char command[1024];
    if (make_base(state)) return -1;
    snprintf(tiny, sizeof tiny, "%s/tiny", base);
    snprintf(tiny_sdxl, sizeof tiny_sdxl, "%s/tiny-sdxl", base);
    snprintf(command, sizeof command, "'%s' '%s' f32 tiny >'%s/log' && '%s' '%s' f32 tiny-sdxl >>'%s/log'", RANDOM_MODEL, tiny, base,
        RANDOM_MODEL, tiny_sdxl, base);
    if (system(command)) return -1;
    const udump_model_options ours = on(UDUMP_DEVICE_CPU, UDUMP_PRECISION_FP32), dnn = on(UDUMP_DEVICE_CPU, UDUMP_PRECISION_BF16);
    const udump_model_options plain = on(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    bool bad = udump_model_load(tiny, &ours, &model, NULL) || udump_model_load(tiny, &dnn, &narrow, NULL);
    return bad || udump_model_load(tiny, &plain, &reference, NULL) || udump_model_load(tiny_sdxl, &plain, &pooled, NULL) ? -1 : 0;
}

static int tear_down(void **state) {
    udump_model_release(model);
    udump_model_release(narrow);
    udump_model_release(reference);
    udump_model_release(pooled);
    return remove_base(state);
}

/* test_faults [WHICH]: those whose names match. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_allocations), cmocka_unit_test(test_dnn_calls), cmocka_unit_test(test_writes),
        cmocka_unit_test(test_kills), cmocka_unit_test(test_reads) };
    setvbuf(stdout, NULL, _IOLBF, 0); /* all of them take an hour: each line when it is there */
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
