/* Folders: names, content, the manifest, the writers' pool and what happens when the system refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <png.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "output/manifest.h"
#include "output/writers.h"
#include "unetdump.h"

#include "folders.h"

/* ---------------------------------------------------------------- the run that the tests play */

static const char infotext[] = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7.1, Seed: 5, Size: 16x8";
static uint8_t pixels[12 * 24 * 3];
static float values[4 * 3 * 2];

static const udump_column columns[3] = { { 49406, "<start>", -1, 1.0f }, { 2368, "cat", 0, 1.1f }, { 49407, "<end>", -1, 1.0f } };
static const udump_run_context contexts[2] = { { "a (cat:1.1)", 3, columns }, { NULL, 2, NULL } };
static const udump_run_prompt prompts[] = { { "IN00", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 0, 20, 0, 1 },
    { "IN01", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 0, 20, 0, 1 }, { "IN02", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 1, 20, 0, 1 },
    { "IN00", UDUMP_SIDE_COND, UDUMP_VARIANT_ERASED, 1, 20, 0, 1 }, { "IN00", UDUMP_SIDE_UNCOND, UDUMP_VARIANT_ENABLED, 1, 20, 0, 1 } };
static const char *const words[] = { "cat", "d\xFFg" }, *const skipped[] = { "IN00" };

static const udump_run_info run = { .prompt = "a \"cat\" \xE7\x8C\xAB", .negative_prompt = "", .sampler = "Euler a", .schedule = "Uniform",
    .rng = "nv", .model = "de\xFFmo",
    .model_hash = "0123456789", .device = "cpu", .precision = "fp32", .infotext = infotext, .seed = 5, .cfg = 7.1f, .width_px = 16,
        .height_px = 8, .steps = 20,
    .batch_size = 1, .evaluations = 20, .variants = 2, .contexts = contexts, .context_count = 2, .prompts = prompts, .prompt_count = 5,
    .words = words, .word_count = 2, .skipped = skipped, .skipped_count = 1, .picture_count = 4, .picture_bytes = 1000, .tensor_count = 1,
    .tensor_bytes = 96, .tensor_tile_count = 4 };

static udump_place place_of(udump_side side) {
    return (udump_place){ .image = 0, .block = "OUT11", .block_index = 24, .step = 20, .sampler_step = 19, .sigma = 0.1,
        .timestep = 1.0 / 3.0, .side = side, .context = -1 };
}

static udump_canvas canvas_of(udump_side side, bool average) {
    udump_canvas canvas = { .picture = { pixels, average ? 2 : 5, average ? 3 : 7, average ? 1 : 3, 24 }, .place = place_of(side),
        .average = average, .columns = average ? 1 : 2,
        .rows = average ? 1 : 2, .tile_width_px = 2, .tile_height_px = 3, .infotext = infotext };
    return canvas;
}

/* Everything that one captured block of a run brings; the memory is scribbled over after each call. */
static void play(const udump_sink *sink) {
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) values[i] = (float)i;
    udump_canvas average = canvas_of(UDUMP_SIDE_COND, true), canvas = canvas_of(UDUMP_SIDE_COND, false);
    udump_canvas uncond = canvas_of(UDUMP_SIDE_UNCOND, false);
    udump_place place = place_of(UDUMP_SIDE_COND);
    udump_view tensor = { values, UDUMP_F32, 3, { 4, 3, 2 }, { 1, 8, 4 } };
    udump_picture picture = { pixels, 16, 8, 3, 50 };
    assert_int_equal(sink->begin(sink->user, &run), UDUMP_CONTINUE);
    assert_int_equal(sink->canvas(sink->user, &average), UDUMP_CONTINUE);
    assert_int_equal(sink->canvas(sink->user, &canvas), UDUMP_CONTINUE);
    assert_int_equal(sink->canvas(sink->user, &uncond), UDUMP_CONTINUE);
    if (sink->tensor) assert_int_equal(sink->tensor(sink->user, &place, &tensor), UDUMP_CONTINUE);
    assert_int_equal(sink->image(sink->user, 0, UDUMP_VARIANT_ENABLED, &picture, infotext), UDUMP_CONTINUE);
    memset(pixels, 0xEE, sizeof pixels);
    memset(values, 0xEE, sizeof values);
}

/* ---------------------------------------------------------------- content */

static bool contains(const udump_bytes *bytes, const char *text, size_t length) {
    return memmem(bytes->data, bytes->size, text, length) != NULL;
}

/* Compares with what play() had in pixels at the time of the call. */
static void check_pixels(const char *path, int width, int height, int channels, int row_bytes) {
    png_image image = { .version = PNG_IMAGE_VERSION };
    uint8_t read[sizeof pixels];
    assert_true(png_image_begin_read_from_file(&image, path));
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.format, channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB);
    assert_true(PNG_IMAGE_SIZE(image) <= sizeof read);
    assert_true(png_image_finish_read(&image, NULL, read, 0, NULL));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width * channels; x++) assert_int_equal(read[y * width * channels + x], (uint8_t)((y * row_bytes + x) * 7));
}

static void files_are_named_and_filled(void **state) {
    (void)state;
    const char *path = below("new/parents/run");
    udump_folder *folder = open_folder(path, UDUMP_DUMP_NPY, 2);
    play(udump_folder_sink(folder));
    assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK);
    static const char *const names[] = { "000.png", "000-unet-OUT11-020.png", "000-unet-OUT11-020-average.png",
        "000-unet-OUT11-020-uncond.png", "000-unet-OUT11-020.npy", "manifest.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = udump_file_join(path, names[i]);
        assert_true(exists(name));
        free(name);
    }
    assert_int_equal(count_entries(path), 6);
    check_pixels(below("new/parents/run/000.png"), 16, 8, 3, 50);
    check_pixels(below("new/parents/run/000-unet-OUT11-020-uncond.png"), 5, 7, 3, 24);
    check_pixels(below("new/parents/run/000-unet-OUT11-020-average.png"), 2, 3, 1, 24);
    udump_bytes image = read_all(below("new/parents/run/000.png")),
                canvas = read_all(below("new/parents/run/000-unet-OUT11-020-uncond.png"));
    static const char line[] = "Size: 16x8\nLayer Name: OUT11, Feature Steps: 20";
    assert_true(contains(&image, infotext, strlen(infotext)));
    assert_false(contains(&image, line, strlen(line)));
    assert_true(contains(&canvas, line, strlen(line)));
    free(image.data);
    free(canvas.data);
    udump_array array;
    assert_int_equal(udump_npy_read(below("new/parents/run/000-unet-OUT11-020.npy"), &array, NULL), UDUMP_OK);
    const float *read = array.view.data;
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 6; i++) assert_true(read[c * 6 + i] == (float)(c + 4 * (i % 2) + 8 * (i / 2)));
    udump_array_free(&array);
}

static void check_string(const json_t *object, const char *key, const char *value) {
    assert_string_equal(json_string_value(json_object_get(object, key)), value);
}
static void check_integer(const json_t *object, const char *key, json_int_t value) {
    assert_true(json_is_integer(json_object_get(object, key)));
    assert_int_equal(json_integer_value(json_object_get(object, key)), value);
}
static void check_sizes(const json_t *object, const char *key, size_t count, const int *sizes) {
    const json_t *array = json_object_get(object, key);
    assert_int_equal(json_array_size(array), count);
    for (size_t i = 0; i < count; i++) assert_int_equal(json_integer_value(json_array_get(array, i)), sizes[i]);
}
static void check_keys(json_t *object, const char *keys) {
    char found[512] = "";
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        strcat(found, key);
        strcat(found, " ");
    }
    assert_string_equal(found, keys);
}

static void check_run(json_t *object) {
    check_keys(object, "prompt negative_prompt seed sampler schedule cfg width height steps steps_asked evaluations batch_size batch_count variants rng model "
                       "model_hash loras color transform device device_note precision infotext fingerprint words skipped prompts blocks ");
    check_string(object, "prompt", run.prompt);
    check_string(object, "model", "de\xEF\xBF\xBDmo"); /* a path need not be UTF-8; JSON must */
    check_string(object, "infotext", infotext);
    check_integer(object, "seed", 5);
    check_integer(object, "width", 16);
    check_integer(object, "height", 8);
    check_integer(object, "variants", 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(object, "words"), 1)), "d\xEF\xBF\xBDg");
    assert_string_equal(json_string_value(json_array_get(json_object_get(object, "skipped"), 0)), "IN00");
    assert_true(json_real_value(json_object_get(object, "cfg")) == 7.1);
}

static void manifest_lists_everything_in_order(void **state) {
    (void)state;
    const char *path = below("listed");
    udump_folder *folder = open_folder(path, UDUMP_DUMP_NPY, 3);
    play(udump_folder_sink(folder));
    assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK);
    json_t *root = json_load_file(below("listed/manifest.json"), 0, NULL);
    assert_non_null(root);
    check_keys(root, "unetdump run contexts beside files ");
    check_string(root, "unetdump", udump_version());
    check_run(json_object_get(root, "run"));
    const json_t *files = json_object_get(root, "files");
    assert_int_equal(json_array_size(files), 5);
    static const char *const names[] = { "000-unet-OUT11-020-average.png", "000-unet-OUT11-020.png", "000-unet-OUT11-020-uncond.png",
        "000-unet-OUT11-020.npy", "000.png" };
    for (size_t i = 0; i < 5; i++) check_string(json_array_get(files, i), "file", names[i]);
    json_t *average = json_array_get(files, 0), *canvas = json_array_get(files, 1), *uncond = json_array_get(files, 2);
    json_t *tensor = json_array_get(files, 3), *image = json_array_get(files, 4);
    check_keys(
        canvas, "file source image variant block depth step evaluation sampler_step sigma timestep side kind shape dtype grid tile ");
    check_string(canvas, "source", "unet");
    check_string(canvas, "block", "OUT11");
    check_string(canvas, "kind", "features");
    check_string(canvas, "side", "cond");
    check_string(canvas, "dtype", "uint8");
    check_string(uncond, "side", "uncond");
    check_string(average, "kind", "features");
    assert_true(json_is_true(json_object_get(average, "average")));
    assert_null(json_object_get(canvas, "average"));
    check_string(canvas, "variant", "enabled");
    check_integer(canvas, "depth", 0);
    check_integer(canvas, "image", 0);
    check_integer(canvas, "step", 20);
    check_integer(canvas, "evaluation", 20);
    check_integer(canvas, "sampler_step", 19);
    assert_true(json_real_value(json_object_get(canvas, "sigma")) == 0.1);
    assert_true(json_real_value(json_object_get(canvas, "timestep")) == 1.0 / 3.0);
    check_sizes(canvas, "shape", 3, (int[]){ 4, 3, 2 });
    check_sizes(canvas, "grid", 2, (int[]){ 2, 2 });
    check_sizes(canvas, "tile", 2, (int[]){ 2, 3 });
    check_sizes(average, "shape", 2, (int[]){ 3, 2 });
    check_sizes(average, "grid", 2, (int[]){ 1, 1 });
    check_keys(tensor, "file source image variant block depth step evaluation sampler_step sigma timestep side kind shape dtype ");
    check_string(tensor, "dtype", "float32");
    check_sizes(tensor, "shape", 3, (int[]){ 4, 3, 2 });
    check_keys(image, "file source image variant shape dtype ");
    check_string(image, "source", "image");
    check_sizes(image, "shape", 3, (int[]){ 8, 16, 3 });
    json_decref(root);
}

static void numbers_beyond_json_are_kept(void **state) {
    (void)state;
    udump_manifest *manifest = udump_manifest_create();
    udump_run_info odd = { .seed = UINT64_MAX, .cfg = 0.1f };
    udump_canvas canvas = canvas_of(UDUMP_SIDE_COND, false);
    canvas.place.sigma = INFINITY;
    canvas.place.timestep = NAN;
    assert_int_equal(udump_manifest_set_run(manifest, &odd, NULL), UDUMP_OK);
    assert_int_equal(udump_manifest_add_canvas(manifest, "a.png", &canvas, NULL), UDUMP_OK);
    udump_bytes text;
    assert_int_equal(udump_manifest_format(manifest, NULL, 0, &text, NULL), UDUMP_OK);
    assert_int_equal(text.data[text.size - 1], '\n');
    json_t *root = json_loadb((const char *)text.data, text.size, 0, NULL);
    check_string(json_object_get(root, "run"), "seed", "18446744073709551615");
    check_string(json_object_get(root, "run"), "prompt", "");
    assert_true(json_real_value(json_object_get(json_object_get(root, "run"), "cfg")) == 0.1);
    const json_t *file = json_array_get(json_object_get(root, "files"), 0);
    assert_true(json_is_null(json_object_get(file, "sigma")));
    assert_true(json_is_null(json_object_get(file, "timestep")));
    json_decref(root);
    free(text.data);
    udump_manifest_free(manifest);
    udump_manifest_free(NULL);
}

/* ---------------------------------------------------------------- opening and closing */

static void a_failed_run_has_no_manifest(void **state) {
    (void)state;
    const char *path = below("failed");
    udump_folder *folder = open_folder(path, UDUMP_DUMP_NONE, 0);
    assert_null(udump_folder_sink(folder)->tensor);
    assert_null(udump_folder_sink(folder)->progress);
    play(udump_folder_sink(folder));
    assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK);
    assert_true(exists(below("failed/manifest.json")));
    folder = open_folder(path, UDUMP_DUMP_NONE, 0); /* a second run into the same folder: until it begins, the first one stays whole */
    assert_true(exists(below("failed/manifest.json")));
    play(udump_folder_sink(folder));
    assert_false(exists(below("failed/manifest.json")));
    assert_int_equal(udump_folder_close(folder, 0, NULL), UDUMP_OK);
    assert_false(exists(below("failed/manifest.json")));
    assert_true(exists(below("failed/000.png"))); /* what was whole stays */
    assert_int_equal(udump_folder_close(NULL, 1, NULL), UDUMP_OK);
}

static void expect_open_error(const char *path, const udump_folder_options *options, udump_status status, const char *what) {
    udump_error error = { .status = UDUMP_OK };
    udump_folder *folder = NULL;
    assert_int_equal(udump_folder_open(path, options, &folder, &error), status);
    assert_int_equal(error.status, status);
    assert_string_equal(error.what, what);
    assert_null(folder);
}

static void folders_that_cannot_be_are_refused(void **state) {
    (void)state;
    write_text(below("plain"), "text");
    expect_open_error(below("plain"), NULL, UDUMP_ERROR_FILE, "cannot be created: Not a directory");
    expect_open_error(below("plain/sub/run"), NULL, UDUMP_ERROR_FILE, "cannot be created: Not a directory");
    udump_error error;
    udump_folder *folder = NULL;
    /* a folder that takes no files, from root either */
    assert_int_equal(udump_folder_open("/proc/self/fdinfo", NULL, &folder, &error), UDUMP_ERROR_FILE);
    assert_int_equal(strncmp(error.what, "cannot be written to: ", 22), 0);
    assert_null(folder);
    expect_open_error("", NULL, UDUMP_ERROR_ARGUMENT, "a folder's path is needed");
    mkdir(below("odd"), 0777);
    mkdir(below("odd/manifest.json"), 0777);
    folder = open_folder(below("odd"), UDUMP_DUMP_NONE, 0);
    assert_int_equal(udump_folder_sink(folder)->begin(udump_folder_sink(folder)->user, &run), UDUMP_STOP);
    assert_int_equal(udump_folder_close(folder, 0, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "cannot be removed: Is a directory");
    udump_folder_options options;
    udump_folder_options_init(&options);
    options.writer_threads = 65;
    expect_open_error(below("never"), &options, UDUMP_ERROR_ARGUMENT, "must be in 0..64, not 65");
    options.writer_threads = -1;
    expect_open_error(below("never"), &options, UDUMP_ERROR_ARGUMENT, "must be in 0..64, not -1");
    options.writer_threads = 1;
    options.dump = (udump_dump)9;
    expect_open_error(below("never"), &options, UDUMP_ERROR_ARGUMENT, "unknown format 9");
    options.struct_bytes = 0;
    expect_open_error(below("never"), &options, UDUMP_ERROR_ARGUMENT, "not initialised: struct_bytes is 0");
    assert_false(exists(below("never")));
}

static void odd_paths_are_taken(void **state) {
    (void)state;
    static const char *const names[] = { "slash/", "two//slashes///", "dot/./run", "existing", "existing" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        udump_folder *folder = NULL;
        assert_int_equal(udump_folder_open(below(names[i]), NULL, &folder, NULL), UDUMP_OK);
        assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK);
        assert_int_equal(count_entries(below(names[i])), 1); /* the manifest; the probe is gone */
    }
}

static void bad_calls_stop_the_run(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("bad"), UDUMP_DUMP_NPY, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_canvas canvas = canvas_of(UDUMP_SIDE_COND, false);
    udump_error error;
    canvas.place.block = "../OUT11";
    assert_int_equal(sink->canvas(sink->user, &canvas), UDUMP_STOP);
    canvas.place.block = NULL;
    assert_int_equal(sink->canvas(sink->user, &canvas), UDUMP_STOP);
    canvas = canvas_of(UDUMP_SIDE_COND, false);
    canvas.picture.channels = 2;
    assert_int_equal(sink->canvas(sink->user, &canvas), UDUMP_STOP);
    udump_place place = place_of(UDUMP_SIDE_COND);
    udump_view tensor = { NULL, UDUMP_F32, 1, { 3 }, { 1 } };
    assert_int_equal(sink->tensor(sink->user, &place, &tensor), UDUMP_STOP);
    assert_int_equal(udump_folder_close(folder, 1, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.found, "../OUT11"); /* the first one */
    assert_int_equal(count_entries(below("bad")), 0);
    folder = open_folder(below("bad"), UDUMP_DUMP_NPY, 1);
    sink = udump_folder_sink(folder);
    assert_int_equal(sink->begin(sink->user, &run), UDUMP_CONTINUE);
    canvas = canvas_of(UDUMP_SIDE_COND, false);
    assert_int_equal(sink->canvas(sink->user, &canvas), UDUMP_CONTINUE);
    assert_int_equal(sink->begin(sink->user, &run), UDUMP_STOP);
    assert_int_equal(udump_folder_close(folder, 1, &error), UDUMP_ERROR_STATE);
    assert_int_equal(access(below("bad/unfinished.jsonl"), F_OK), 0); /* the first run's files are known */
}

/* A limit on a file's size stands in for a full disk. */
static void a_full_disk_is_reported_and_leaves_nothing(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("full"), UDUMP_DUMP_NPY, 2);
    const udump_sink *sink = udump_folder_sink(folder);
    float *large = calloc(64 * 64, sizeof *large);
    udump_view tensor = { large, UDUMP_F32, 3, { 1, 64, 64 }, { 4096, 64, 1 } };
    struct rlimit before, limited;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limited = before;
    limited.rlim_cur = 8192;
    setrlimit(RLIMIT_FSIZE, &limited);
    udump_flow flow = UDUMP_CONTINUE;
    for (int i = 1; i <= 1000 && flow == UDUMP_CONTINUE; i++) {
        udump_place place = place_of(UDUMP_SIDE_COND);
        place.step = i;
        flow = sink->tensor(sink->user, &place, &tensor);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    assert_int_equal(flow, UDUMP_STOP); /* told while the run goes on, not only at its end */
    udump_error error;
    assert_int_equal(udump_folder_close(folder, 1, &error), UDUMP_ERROR_FILE);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_string_equal(error.what, "cannot be written: File too large");
    assert_int_equal(strncmp(error.where, below("full/000-unet-OUT11-0"), strlen(below("full/000-unet-OUT11-0"))), 0);
    assert_int_equal(count_entries(below("full")), 0);
    free(large);
}

/* ---------------------------------------------------------------- the pool */

static udump_write_job job_of(int number, size_t size) {
    char name[32];
    snprintf(name, sizeof name, "pool/%03d", number);
    uint8_t *data = malloc(size);
    memset(data, number, size);
    return (udump_write_job){ .path = strdup(below(name)), .data = data, .data_size = size, .files = 1 };
}

static udump_status encode_doubled(const void *data, udump_bytes *content, udump_error *error) {
    (void)error;
    content->size = 2000;
    content->data = malloc(content->size);
    memset(content->data, *(const uint8_t *)data ^ 0xFF, content->size);
    return UDUMP_OK;
}

static void two_hundred_jobs_over_three_threads(void **state) {
    (void)state;
    mkdir(below("pool"), 0777);
    udump_writers *writers;
    assert_int_equal(udump_writers_create(3, 10000, 7, &writers, NULL), UDUMP_OK);
    for (int i = 0; i < 200; i++) {
        udump_write_job job = job_of(i, 1000);
        if (i % 2) job.encode = encode_doubled;
        assert_int_equal(udump_writers_submit(writers, &job, NULL), UDUMP_OK);
        int64_t written, waiting;
        udump_writers_count(writers, &written, &waiting);
        assert_true(waiting <= 7 && written <= i + 1 && written + waiting == i + 1);
    }
    assert_int_equal(udump_writers_finish(writers, NULL), UDUMP_OK);
    assert_int_equal(count_entries(below("pool")), 200);
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "pool/%03d", i);
        udump_bytes bytes = read_all(below(name));
        assert_int_equal(bytes.size, i % 2 ? 2000 : 1000);
        for (size_t at = 0; at < bytes.size; at++) assert_int_equal(bytes.data[at], i % 2 ? i ^ 0xFF : i);
        free(bytes.data);
        unlink(below(name));
    }
}

/* A gate that jobs wait at, so that the test decides when the pool goes on. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    int open;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

static udump_status encode_behind_gate(const void *data, udump_bytes *content, udump_error *error) {
    (void)error;
    pthread_mutex_lock(&gate.lock);
    while (!gate.open) pthread_cond_wait(&gate.opened, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    content->data = malloc(1);
    content->data[0] = *(const uint8_t *)data;
    content->size = 1;
    return UDUMP_OK;
}

static void open_gate(int open) {
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

struct submitter {
    udump_writers *writers;
    udump_write_job job;
    atomic_int done;
};

static void *submit_one(void *arg) {
    struct submitter *submitter = arg;
    udump_writers_submit(submitter->writers, &submitter->job, NULL);
    atomic_store(&submitter->done, 1);
    return NULL;
}

/* Fills a pool behind the gate with sizes, then checks that one more job waits until the gate opens. */
static void check_blocking(size_t most_bytes, int64_t most_jobs, int count, size_t size, size_t last_size) {
    udump_writers *writers;
    open_gate(0);
    assert_int_equal(udump_writers_create(2, most_bytes, most_jobs, &writers, NULL), UDUMP_OK);
    for (int i = 0; i < count; i++) {
        udump_write_job job = job_of(i, size);
        job.encode = encode_behind_gate;
        assert_int_equal(udump_writers_submit(writers, &job, NULL), UDUMP_OK);
    }
    struct submitter submitter = { writers, job_of(count, last_size), 0 };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, submit_one, &submitter), 0);
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    assert_int_equal(atomic_load(&submitter.done), 0);
    int64_t written, waiting;
    udump_writers_count(writers, &written, &waiting);
    assert_int_equal(written, 0);
    assert_int_equal(waiting, count);
    open_gate(1);
    pthread_join(thread, NULL);
    assert_int_equal(udump_writers_finish(writers, NULL), UDUMP_OK);
    assert_int_equal(count_entries(below("pool")), count + 1);
    for (int i = 0; i <= count; i++) {
        char name[32];
        snprintf(name, sizeof name, "pool/%03d", i);
        unlink(below(name));
    }
}

static void a_full_queue_holds_the_caller_back(void **state) {
    (void)state;
    check_blocking(1000, 100, 4, 250, 1);    /* by bytes */
    check_blocking(1000, 100, 3, 250, 251);  /* by bytes: the next would not fit */
    check_blocking(1000, 3, 3, 1, 1);        /* by jobs */
    check_blocking(1000, 100, 1, 5000, 1);   /* larger than the bound: let in alone */
}

static void the_first_error_is_kept(void **state) {
    (void)state;
    udump_writers *writers;
    udump_error error = { .status = UDUMP_OK };
    assert_int_equal(udump_writers_create(1, 1000, 10, &writers, NULL), UDUMP_OK);
    udump_write_job bad = job_of(1, 10);
    free(bad.path);
    bad.path = strdup(below("missing/1"));
    assert_int_equal(udump_writers_submit(writers, &bad, NULL), UDUMP_OK);
    udump_status status = UDUMP_OK;
    int submitted = 0;
    for (; submitted < 1000 && !status; submitted++) {
        udump_write_job job = job_of(2, 10);
        status = udump_writers_submit(writers, &job, &error);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    assert_int_equal(status, UDUMP_ERROR_FILE);
    assert_string_equal(error.where, below("missing/1"));
    memset(&error, 0, sizeof error);
    assert_int_equal(udump_writers_finish(writers, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.where, below("missing/1"));
    assert_string_equal(error.what, "cannot be created: No such file or directory");
    unlink(below("pool/002"));
}

static udump_status encode_failing(const void *data, udump_bytes *content, udump_error *error) {
    (void)data;
    (void)content;
    return udump_fail(error, UDUMP_ERROR_INTERNAL, "", "no such luck");
}

static void an_encoder_s_error_names_the_file(void **state) {
    (void)state;
    udump_writers *writers;
    udump_error error;
    assert_int_equal(udump_writers_create(0, 1000, 10, &writers, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_writers_create(1, 1000, 10, &writers, NULL), UDUMP_OK);
    udump_write_job job = job_of(1, 10);
    job.encode = encode_failing;
    assert_int_equal(udump_writers_submit(writers, &job, NULL), UDUMP_OK);
    assert_int_equal(udump_writers_finish(writers, &error), UDUMP_ERROR_INTERNAL);
    assert_string_equal(error.what, "no such luck");
    assert_string_equal(error.where, below("pool/001"));
    assert_int_equal(count_entries(below("pool")), 0);
    assert_int_equal(udump_writers_finish(NULL, NULL), UDUMP_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_named_and_filled),
        cmocka_unit_test(manifest_lists_everything_in_order),
        cmocka_unit_test(numbers_beyond_json_are_kept),
        cmocka_unit_test(a_failed_run_has_no_manifest),
        cmocka_unit_test(folders_that_cannot_be_are_refused),
        cmocka_unit_test(odd_paths_are_taken),
        cmocka_unit_test(bad_calls_stop_the_run),
        cmocka_unit_test(a_full_disk_is_reported_and_leaves_nothing),
        cmocka_unit_test(two_hundred_jobs_over_three_threads),
        cmocka_unit_test(a_full_queue_holds_the_caller_back),
        cmocka_unit_test(the_first_error_is_kept),
        cmocka_unit_test(an_encoder_s_error_names_the_file),
    };
    return cmocka_run_group_tests_name("folder", tests, make_base, remove_base);
}
