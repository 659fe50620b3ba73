/* Tensors on the disk: npy, bin and safetensors; tensors in parts; what is left when a run fails or the disk is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tensor/view.h"

#include "folders.h"

enum { H = 3, W = 5, CHANNELS = 4, HEADS = 2, TOKENS = 7, HEAD_DIM = 6, MAP = H * W };

/* A made-up tensor: channels last in memory where it is one of channels, as the pipeline hands them over. */
struct tensor {
    udump_place place;
    udump_view view;
    float values[HEADS * MAP * MAP]; /* the largest kind's */
};

static void make_tensor(struct tensor *tensor, udump_kind kind, int image, udump_side side, udump_variant variant) {
    bool channels = kind == UDUMP_KIND_FEATURES || kind == UDUMP_KIND_DIFF || kind == UDUMP_KIND_VQK;
    static const int64_t shapes[][5] = { [UDUMP_KIND_FEATURES] = { 3, CHANNELS, H, W }, [UDUMP_KIND_DIFF] = { 3, CHANNELS, H, W },
        [UDUMP_KIND_K] = { 3, HEADS, TOKENS, HEAD_DIM }, [UDUMP_KIND_QK] = { 4, HEADS, TOKENS, H, W },
        [UDUMP_KIND_VQK] = { 3, CHANNELS, H, W }, [UDUMP_KIND_WORDS] = { 3, 2, H, W }, [UDUMP_KIND_SELF_QUERIES] = { 4, HEADS, 3, H, W },
        [UDUMP_KIND_SELF_RECEIVED] = { 3, HEADS, H, W }, [UDUMP_KIND_SELF_ENTROPY] = { 3, HEADS, H, W },
        [UDUMP_KIND_SELF_PCA] = { 3, 3, H, W }, [UDUMP_KIND_SELF_MAP] = { 3, HEADS, MAP, MAP }, [UDUMP_KIND_HEAT] = { 3, 2, H, W } };
    tensor->place = (udump_place){ .kind = kind, .image = image, .variant = variant, .block = kind == UDUMP_KIND_HEAT ? "" : "OUT11",
        .step = 20, .sampler_step = 20, .sigma = 0.25, .timestep = 1, .side = side, .context = kind == UDUMP_KIND_QK ? 0 : -1 };
    tensor->view = udump_view_make(tensor->values, UDUMP_F32, (int)shapes[kind][0], shapes[kind] + 1);
    if (channels) memcpy(tensor->view.stride, (int64_t[]){ 1, W * CHANNELS, CHANNELS }, 3 * sizeof(int64_t));
    int64_t count = udump_view_count(&tensor->view);
    for (int64_t i = 0; i < count; i++)
        tensor->values[i] = (float)(1 + i) + 1000.0f * (float)kind + 100000.0f * (float)image + (side ? 0.25f : 0) + (variant ? 0.5f : 0);
}

static const udump_column columns[] = { { 49406, "<start>", -1, 1.0f }, { 736, "red", 0, 1.1f } };
static const udump_run_context contexts[] = { { "a \"red\"", 2, columns } };

static udump_run_info run_info(int64_t tensors) {
    return (udump_run_info){ .prompt = "a \"red\"",
        .infotext = "a \"red\"\nSteps: 20",
        .batch_size = 2,
        .variants = 2,
        .contexts = contexts,
        .context_count = 1,
        .tensor_count = tensors,
        .tensor_bytes = 4096 * tensors,
        .tensor_tile_count = 16 * tensors };
}

static const udump_sink *begin(udump_folder *folder, int64_t tensors) {
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = run_info(tensors);
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    return sink;
}

/* Every kind of tensor at one place, of two images, sides and variants; what is pointed to is scribbled over after each call. */
static const udump_kind kinds[] = { UDUMP_KIND_FEATURES, UDUMP_KIND_DIFF, UDUMP_KIND_K, UDUMP_KIND_QK, UDUMP_KIND_VQK, UDUMP_KIND_WORDS,
    UDUMP_KIND_SELF_QUERIES, UDUMP_KIND_SELF_RECEIVED, UDUMP_KIND_SELF_ENTROPY, UDUMP_KIND_SELF_PCA, UDUMP_KIND_HEAT };
enum { KINDS = sizeof kinds / sizeof *kinds, TENSORS = KINDS * 8 };

static void make_nth(struct tensor *tensor, int n) {
    make_tensor(tensor, kinds[n % KINDS], n / KINDS % 2, n / KINDS / 2 % 2 ? UDUMP_SIDE_UNCOND : UDUMP_SIDE_COND,
        n / KINDS / 4 ? UDUMP_VARIANT_ERASED : UDUMP_VARIANT_ENABLED);
}

static void play(const udump_sink *sink) {
    struct tensor *tensor = malloc(sizeof *tensor);
    for (int n = 0; n < TENSORS; n++) {
        make_nth(tensor, n);
        assert_int_equal(sink->tensor(sink->user, &tensor->place, &tensor->view), UDUMP_CONTINUE);
        memset(tensor->values, 0xEE, sizeof tensor->values);
    }
    free(tensor);
}

static void finish(udump_folder *folder) { assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK); }

static json_t *load_files(const char *folder) {
    char path[200];
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *root = json_load_file(below(path), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_t *files = json_incref(json_object_get(root, "files"));
    json_decref(root);
    return files;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static udump_bytes read_in(const char *folder, const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return read_all(below(path));
}

/* The tensor's values in C order. */
static void check_values(const struct tensor *tensor, const void *read, size_t bytes) {
    float expected[sizeof tensor->values / sizeof *tensor->values];
    size_t count = (size_t)udump_view_count(&tensor->view);
    udump_view_read_f32(&tensor->view, expected);
    assert_int_equal(bytes, count * sizeof *expected);
    assert_memory_equal(read, expected, bytes);
}

/* ---------------------------------------------------------------- npy */

static void npy_holds_every_kind(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("npy"), UDUMP_DUMP_NPY, 3);
    play(begin(folder, TENSORS));
    finish(folder);
    json_t *files = load_files("npy");
    struct tensor *tensor = malloc(sizeof *tensor);
    assert_int_equal(json_array_size(files), TENSORS);
    for (int n = 0; n < TENSORS; n++) {
        make_nth(tensor, n);
        char path[300];
        snprintf(path, sizeof path, "npy/%s", text_of(json_array_get(files, (size_t)n), "file"));
        udump_array array;
        assert_int_equal(udump_npy_read(below(path), &array, NULL), UDUMP_OK);
        assert_int_equal(array.view.rank, tensor->view.rank);
        for (int i = 0; i < array.view.rank; i++) assert_int_equal(array.view.shape[i], tensor->view.shape[i]);
        check_values(tensor, array.view.data, (size_t)udump_view_count(&array.view) * sizeof(float));
        udump_array_free(&array);
    }
    assert_string_equal(text_of(json_array_get(files, 3), "file"), "000-attn-OUT11-020-qk.npy");
    assert_string_equal(text_of(json_array_get(files, TENSORS - 1), "file"), "001-heat-uncond-erased.npy");
    assert_int_equal(count_entries(below("npy")), TENSORS + 2); /* with manifest.json and tokens.json: none took another one's name */
    free(tensor);
    json_decref(files);
}

/* ---------------------------------------------------------------- parts */

/* Rows first .. first + rows of a SELF_MAP, along its second dimension, in memory of their own. */
static udump_flow hand_rows(const udump_sink *sink, const struct tensor *tensor, int64_t first, int64_t rows) {
    float *values = malloc((size_t)(HEADS * rows * MAP) * sizeof *values);
    for (int64_t head = 0; head < HEADS; head++)
        memcpy(values + head * rows * MAP, tensor->values + (head * MAP + first) * MAP, (size_t)(rows * MAP) * sizeof *values);
    udump_view whole = tensor->view, part = udump_view_make(values, UDUMP_F32, 3, (int64_t[]){ HEADS, rows, MAP });
    whole.data = NULL;
    udump_flow flow = sink->part(sink->user, &tensor->place, &whole, 1, first, &part);
    memset(values, 0xEE, (size_t)(HEADS * rows * MAP) * sizeof *values);
    free(values);
    return flow;
}


static struct tensor *make_map(int image) {
    struct tensor *tensor = malloc(sizeof *tensor);
    make_tensor(tensor, UDUMP_KIND_SELF_MAP, image, UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED);
    return tensor;
}

static const char map_name[] = "000-attn-OUT11-020-self-map.npy";

static void npy_grows_by_parts(void **state) {
    (void)state;
    static const int64_t steps[] = { 1, 2, 7, MAP };
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        udump_folder *folder = open_folder(below("parts"), UDUMP_DUMP_NPY, 3);
        const udump_sink *sink = begin(folder, 2);
        struct tensor *maps[2] = { make_map(0), make_map(1) }; /* their rows come by turns */
        for (int64_t first = 0; first < MAP; first += steps[s])
            for (int i = 0; i < 2; i++) {
                int64_t rows = MAP - first < steps[s] ? MAP - first : steps[s];
                char path[64];
                snprintf(path, sizeof path, "parts/%03d-attn-OUT11-020-self-map.npy", i);
                assert_int_equal(hand_rows(sink, maps[i], first, rows), UDUMP_CONTINUE);
                if (first + rows < MAP) assert_false(exists(below(path)));
            }
        finish(folder);
        assert_int_equal(count_entries(below("parts")), 3);
        json_t *files = load_files("parts");
        assert_int_equal(json_array_size(files), 2);
        char *text = json_dumps(json_object_get(json_array_get(files, 0), "shape"), 0);
        assert_string_equal(text, "[2, 15, 15]");
        assert_string_equal(text_of(json_array_get(files, 0), "file"), map_name);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(files, 0), "heads")), HEADS);
        free(text);
        json_decref(files);
        for (int i = 0; i < 2; i++) {
            char path[64];
            snprintf(path, sizeof path, "parts/%03d-attn-OUT11-020-self-map.npy", i);
            udump_array array;
            assert_int_equal(udump_npy_read(below(path), &array, NULL), UDUMP_OK);
            check_values(maps[i], array.view.data, (size_t)udump_view_count(&array.view) * sizeof(float));
            udump_array_free(&array);
            unlink(below(path));
            free(maps[i]);
        }
    }
}

static void expect_close(udump_folder *folder, int keep, udump_status status, const char *what) {
    udump_error error = { .what = "" };
    assert_int_equal(udump_folder_close(folder, keep, &error), status);
    assert_string_equal(error.what, what);
}

/* What is whole stays, what is not leaves no trace; a run that ended well must have brought all rows. */
static void unfinished_parts_disappear(void **state) {
    (void)state;
    static const udump_dump dumps[] = { UDUMP_DUMP_NPY, UDUMP_DUMP_SAFETENSORS };
    struct tensor *map = make_map(0);
    for (int i = 0; i < 4; i++) {
        int keep = i % 2;
        udump_folder *folder = open_folder(below("unfinished"), dumps[i / 2], 2);
        const udump_sink *sink = begin(folder, 1);
        assert_int_equal(hand_rows(sink, map, 0, 5), UDUMP_CONTINUE);
        assert_int_equal(hand_rows(sink, map, 5, 5), UDUMP_CONTINUE);
        assert_int_equal(count_entries(below("unfinished")), 2); /* hidden; unfinished.jsonl */
        if (keep) expect_close(folder, keep, UDUMP_ERROR_STATE, "the run ended before the tensor's last rows");
        else expect_close(folder, keep, UDUMP_OK, "");
        assert_int_equal(count_entries(below("unfinished")), 0);
    }
    free(map);
}

static void rows_that_do_not_fit_are_refused(void **state) {
    (void)state;
    static const udump_dump dumps[] = { UDUMP_DUMP_NPY, UDUMP_DUMP_SAFETENSORS };
    static const struct { int64_t heads, tokens, rows, first; int axis, rank; const char *what; } cases[] = {
        { HEADS, MAP, 2, 6, 1, 3, "rows out of order: expected row 5, not 6" },
        { HEADS, MAP, 5, 0, 1, 3, "rows out of order: expected row 5, not 0" },
        { HEADS, MAP, 2, 4, 1, 3, "rows out of order: expected row 5, not 4" },
        { HEADS, MAP, 11, 5, 1, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 2, -1, 1, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 2, INT64_MAX, 1, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 0, 5, 1, 3, "rows that do not suit the whole tensor" },
        { HEADS + 1, MAP, 2, 5, 1, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 2, 5, 3, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 2, 5, -1, 3, "rows that do not suit the whole tensor" },
        { HEADS, MAP, 2, 5, 1, 7, "rows that do not suit the whole tensor" },
        { HEADS, MAP + 1, 2, 5, 1, 3, "the tensor's shape changed between its rows" },
    };
    struct tensor *map = make_map(0);
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        udump_folder *folder = open_folder(below("unfit"), dumps[i % 2], 1);
        const udump_sink *sink = begin(folder, 1);
        assert_int_equal(hand_rows(sink, map, 0, 5), UDUMP_CONTINUE);
        udump_view whole = udump_view_make(NULL, UDUMP_F32, 3, (int64_t[]){ HEADS, cases[i / 2].tokens, MAP });
        udump_view part = udump_view_make(map->values, UDUMP_F32, 3, (int64_t[]){ cases[i / 2].heads, cases[i / 2].rows, MAP });
        part.rank = cases[i / 2].rank;
        assert_int_equal(sink->part(sink->user, &map->place, &whole, cases[i / 2].axis, cases[i / 2].first, &part), UDUMP_STOP);
        expect_close(folder, 1, UDUMP_ERROR_ARGUMENT, cases[i / 2].what);
        assert_int_equal(count_entries(below("unfit")), 0);
    }
    free(map);
}

/* ---------------------------------------------------------------- bin */

/* The path of channel c beside that of channel 0, as the manifest has it. */
static void name_channel(const char *first, int c, char name[200]) {
    snprintf(name, 200, "%s", first);
    char *number = strstr(name, "-020-0000-");
    assert_non_null(number);
    char digits[16];
    snprintf(digits, sizeof digits, "%04d", c);
    memcpy(number + 5, digits, 4);
}

static void check_channels(const struct tensor *tensor, const json_t *file) {
    int channels = tensor->view.rank == 4 ? HEADS * TOKENS : CHANNELS;
    float *all = malloc((size_t)channels * MAP * sizeof *all);
    assert_int_equal(json_integer_value(json_object_get(file, "files")), channels);
    for (int c = 0; c < channels; c++) {
        char name[200];
        name_channel(text_of(file, "file"), c, name);
        udump_bytes bytes = read_in("bin", name);
        assert_int_equal(bytes.size, MAP * sizeof(float));
        memcpy(all + c * MAP, bytes.data, bytes.size);
        free(bytes.data);
    }
    check_values(tensor, all, (size_t)channels * MAP * sizeof *all);
    free(all);
}

static void check_bin_name(const char *name, const char *start, int64_t before) {
    int64_t seconds;
    int end = 0;
    assert_int_equal(strncmp(name, start, strlen(start)), 0);
    assert_int_equal(sscanf(name + strlen(start), "%" SCNd64 ".bin%n", &seconds, &end), 1);
    assert_string_equal(name + strlen(start) + end, "");
    assert_true(seconds >= before && seconds <= time(NULL));
}

static void bin_is_a_file_a_channel(void **state) {
    (void)state;
    int64_t before = time(NULL);
    udump_folder *folder = open_folder(below("bin"), UDUMP_DUMP_BIN, 3);
    assert_null(udump_folder_sink(folder)->part);
    const udump_sink *sink = begin(folder, TENSORS);
    play(sink);
    struct tensor *tensor = malloc(sizeof *tensor);
    make_tensor(tensor, UDUMP_KIND_QK, 0, UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED);
    tensor->place.depth = 1;
    assert_int_equal(sink->tensor(sink->user, &tensor->place, &tensor->view), UDUMP_CONTINUE);
    int64_t written = 0, waiting = 1;
    while (waiting) udump_folder_count(folder, &written, &waiting);
    assert_int_equal(written, 8 * (2 * CHANNELS + HEADS * TOKENS) + HEADS * TOKENS);
    finish(folder);
    json_t *files = load_files("bin");
    assert_int_equal(json_array_size(files), 8 * 3 + 1); /* of attention QK only */
    check_channels(tensor, json_array_get(files, 24));
    check_bin_name(text_of(json_array_get(files, 24), "file"), "attention/d1/000-OUT11-020-0000-", before);
    size_t at = 0;
    for (int n = 0; n < TENSORS; n++) {
        make_nth(tensor, n);
        if (tensor->place.kind != UDUMP_KIND_FEATURES && tensor->place.kind != UDUMP_KIND_DIFF && tensor->place.kind != UDUMP_KIND_QK)
            continue;
        check_channels(tensor, json_array_get(files, at++));
    }
    check_bin_name(text_of(json_array_get(files, 0), "file"), "features/000-OUT11-020-0000-", before);
    check_bin_name(text_of(json_array_get(files, 1), "file"), "diff/000-OUT11-020-0000-", before);
    check_bin_name(text_of(json_array_get(files, 2), "file"), "attention/000-OUT11-020-0000-", before);
    check_bin_name(text_of(json_array_get(files, 6), "file"), "features/uncond/000-OUT11-020-0000-", before);
    check_bin_name(text_of(json_array_get(files, 23), "file"), "attention/uncond-erased/001-OUT11-020-0000-", before);
    assert_int_equal(count_entries(below("bin")), 5); /* three folders, the manifest, the tokens */
    assert_int_equal(count_entries(below("bin/features")), 2 * CHANNELS + 3);
    assert_int_equal(count_entries(below("bin/attention")), 2 * HEADS * TOKENS + 4);
    assert_int_equal(count_entries(below("bin/attention/uncond-erased")), 2 * HEADS * TOKENS);
    free(tensor);
    json_decref(files);
}

/* ---------------------------------------------------------------- safetensors */

/* A file, taken apart as the format's description says. */
struct opened {
    udump_bytes bytes;
    json_t *header;
    const uint8_t *data;
    size_t data_size;
};

static struct opened open_safetensors(const char *folder, const char *name) {
    struct opened file = { .bytes = read_in(folder, name) };
    uint64_t length;
    assert_true(file.bytes.size > sizeof length);
    memcpy(&length, file.bytes.data, sizeof length);
    assert_true(length <= file.bytes.size - sizeof length);
    file.header = json_loadb((const char *)file.bytes.data + sizeof length, (size_t)length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(file.header);
    assert_int_equal(file.bytes.data[sizeof length], '{');
    file.data = file.bytes.data + sizeof length + length;
    file.data_size = file.bytes.size - sizeof length - (size_t)length;
    assert_int_equal((sizeof length + length) % 64, 0);
    return file;
}

static void close_safetensors(struct opened *file) {
    json_decref(file->header);
    free(file->bytes.data);
}

/* Tensors without gaps from the first byte to the last, and all of the metadata's values strings. Returns how many tensors. */
static int check_layout(const struct opened *file) {
    const char *name;
    json_t *entry;
    int64_t end = 0;
    int count = 0;
    json_object_foreach(file->header, name, entry) {
        if (!strcmp(name, "__metadata__")) continue;
        const json_t *offsets = json_object_get(entry, "data_offsets");
        assert_int_equal(json_integer_value(json_array_get(offsets, 0)), end); /* in the order of the header */
        end = json_integer_value(json_array_get(offsets, 1));
        assert_string_equal(text_of(entry, "dtype"), "F32");
        count++;
    }
    assert_int_equal(end, file->data_size);
    json_object_foreach(json_object_get(file->header, "__metadata__"), name, entry) assert_true(json_is_string(entry));
    return count;
}

static const void *find_tensor(const struct opened *file, const char *name, const udump_view *view, size_t *size) {
    const json_t *entry = json_object_get(file->header, name), *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    assert_int_equal(json_array_size(shape), view->rank);
    for (int i = 0; i < view->rank; i++) assert_int_equal(json_integer_value(json_array_get(shape, (size_t)i)), view->shape[i]);
    size_t start = (size_t)json_integer_value(json_array_get(offsets, 0)), end = (size_t)json_integer_value(json_array_get(offsets, 1));
    assert_true(start <= end && end <= file->data_size);
    *size = end - start;
    return file->data + start;
}

static void check_metadata(const struct opened *file) {
    const json_t *metadata = json_object_get(file->header, "__metadata__");
    json_t *run = json_loads(text_of(metadata, "run"), 0, NULL), *all = json_loads(text_of(metadata, "contexts"), 0, NULL);
    json_t *place = json_loads(text_of(metadata, "attn-OUT11-020-uncond-qk"), 0, NULL);
    assert_string_equal(text_of(metadata, "unetdump"), udump_version());
    assert_string_equal(text_of(run, "prompt"), "a \"red\"");
    assert_string_equal(text_of(json_array_get(all, 0), "text"), "a \"red\"");
    assert_string_equal(text_of(metadata, "infotext"), "of \"0\"");
    assert_string_equal(text_of(metadata, "infotext-erased"), "of 0, erased");
    assert_string_equal(text_of(place, "kind"), "qk");
    assert_string_equal(text_of(place, "side"), "uncond");
    assert_int_equal(json_integer_value(json_object_get(place, "heads")), HEADS);
    assert_true(json_real_value(json_object_get(place, "sigma")) == 0.25);
    json_decref(run);
    json_decref(all);
    json_decref(place);
}

/* announced: what the run's info says of the number of tensors; too few, and the header outgrows its room. */
static void check_safetensors(const char *name, int64_t announced, int more) {
    static const uint8_t pixels[3] = { 1, 2, 3 };
    udump_folder *folder = open_folder(below(name), UDUMP_DUMP_SAFETENSORS, 3);
    const udump_sink *sink = begin(folder, announced);
    struct tensor *tensor = malloc(sizeof *tensor), *map = make_map(0);
    udump_picture picture = { pixels, 1, 1, 3, 3 };
    assert_int_equal(hand_rows(sink, map, 0, 7), UDUMP_CONTINUE);
    play(sink);
    assert_int_equal(hand_rows(sink, map, 7, 8), UDUMP_CONTINUE);
    for (int i = 0; i < more; i++) {
        make_tensor(tensor, UDUMP_KIND_QK, 0, UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED);
        tensor->place.step = 100 + i;
        assert_int_equal(sink->tensor(sink->user, &tensor->place, &tensor->view), UDUMP_CONTINUE);
    }
    assert_int_equal(sink->image(sink->user, 0, UDUMP_VARIANT_ENABLED, &picture, "of \"0\""), UDUMP_CONTINUE);
    assert_int_equal(sink->image(sink->user, 0, UDUMP_VARIANT_ERASED, &picture, "of 0, erased"), UDUMP_CONTINUE);
    assert_int_equal(sink->image(sink->user, 5, UDUMP_VARIANT_ENABLED, &picture, "of one without tensors"), UDUMP_CONTINUE);
    finish(folder);
    assert_int_equal(count_entries(below(name)), 2 + 3 + 2);
    struct opened files[2] = { open_safetensors(name, "000.safetensors"), open_safetensors(name, "001.safetensors") };
    assert_int_equal(check_layout(&files[0]), TENSORS / 2 + 1 + more);
    assert_int_equal(check_layout(&files[1]), TENSORS / 2);
    check_metadata(&files[0]);
    size_t size;
    const void *read = find_tensor(&files[0], "attn-OUT11-020-self-map", &map->view, &size);
    check_values(map, read, size);
    json_t *listed = load_files(name);
    for (size_t i = 0, n = 0; i < json_array_size(listed) && n < TENSORS; i++) { /* the map came between */
        const json_t *file = json_array_get(listed, i);
        make_nth(tensor, (int)n++);
        assert_string_equal(text_of(file, "file"), tensor->place.image ? "001.safetensors" : "000.safetensors");
        read = find_tensor(&files[tensor->place.image], text_of(file, "tensor"), &tensor->view, &size);
        check_values(tensor, read, size);
    }
    json_decref(listed);
    close_safetensors(&files[0]);
    close_safetensors(&files[1]);
    free(tensor);
    free(map);
}

static void safetensors_holds_an_image_s_tensors(void **state) {
    (void)state;
    check_safetensors("safetensors", TENSORS + 1, 0);
}

static void safetensors_header_may_outgrow_its_room(void **state) {
    (void)state;
    check_safetensors("outgrown", 0, 0);
    check_safetensors("far-outgrown", 0, 1500); /* values of more than the megabyte that is moved at a time */
    check_safetensors("roomy", 20000, 0); /* what is left of it is blank */
}

/* Not after hours of sampling, but before. */
static void more_than_a_header_can_name_is_refused(void **state) {
    (void)state;
    udump_folder_options options;
    udump_folder_options_init(&options);
    options.dump = UDUMP_DUMP_SAFETENSORS;
    options.force = 1;
    static const int64_t counts[] = { 800000, INT64_MAX };
    for (int i = 0; i < 2; i++) {
        udump_folder *folder;
        assert_int_equal(udump_folder_open(below("names"), &options, &folder, NULL), UDUMP_OK);
        const udump_sink *sink = udump_folder_sink(folder);
        udump_run_info info = { .batch_size = 2, .tensor_count = counts[i] };
        assert_int_equal(sink->begin(sink->user, &info), UDUMP_STOP);
        expect_close(folder, 0, UDUMP_ERROR_UNSUPPORTED,
            "more tensors of an image than a safetensors file can name: its header has at most 100000000 bytes");
    }
}

static void scalars_and_empty_tensors_are_kept(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("empty"), UDUMP_DUMP_SAFETENSORS, 1);
    const udump_sink *sink = begin(folder, 2);
    float value = 42;
    udump_view views[2] = { udump_view_make(&value, UDUMP_F32, 0, NULL), udump_view_make(NULL, UDUMP_F32, 3, (int64_t[]){ 0, 3, 3 }) };
    udump_place place = { .block = "M00", .step = 1 };
    assert_int_equal(sink->tensor(sink->user, &place, &views[0]), UDUMP_CONTINUE);
    place.step = 2;
    assert_int_equal(sink->tensor(sink->user, &place, &views[1]), UDUMP_CONTINUE);
    finish(folder);
    struct opened file = open_safetensors("empty", "000.safetensors");
    assert_int_equal(check_layout(&file), 2);
    assert_int_equal(file.data_size, sizeof value);
    assert_memory_equal(file.data, &value, sizeof value);
    close_safetensors(&file);
}

/* ---------------------------------------------------------------- failures */

static void views_that_are_none_are_refused(void **state) {
    (void)state;
    static const udump_dump dumps[] = { UDUMP_DUMP_NPY, UDUMP_DUMP_BIN, UDUMP_DUMP_SAFETENSORS };
    float values[4] = { 0 };
    for (int i = 0; i < 12; i++) {
        udump_folder *folder = open_folder(below("bad"), dumps[i % 3], 1);
        const udump_sink *sink = begin(folder, 1);
        udump_place place = { .block = i / 3 == 1 ? ".." : "M00", .image = i / 3 == 2 ? -1 : 0 };
        udump_view view = udump_view_make(values, UDUMP_F32, 3, (int64_t[]){ 1, 2, 2 });
        if (i / 3 == 0) view.data = NULL;
        if (i / 3 == 3) view.rank = 7;
        assert_int_equal(sink->tensor(sink->user, &place, &view), UDUMP_STOP);
        udump_error error;
        assert_int_equal(udump_folder_close(folder, 1, &error), UDUMP_ERROR_ARGUMENT);
        assert_int_equal(count_entries(below("bad")), 0);
    }
}

/* A failed run: pictures and tensors that were whole stay, what was not under its name yet goes. */
static void a_failed_run_keeps_what_was_whole(void **state) {
    (void)state;
    static const struct { udump_dump dump; int entries; } cases[] = { { UDUMP_DUMP_NPY, TENSORS }, { UDUMP_DUMP_BIN, 3 },
        { UDUMP_DUMP_SAFETENSORS, 0 } };
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "failed-%d", i);
        udump_folder *folder = open_folder(below(name), cases[i].dump, 2);
        play(begin(folder, TENSORS));
        assert_int_equal(udump_folder_close(folder, 0, NULL), UDUMP_OK);
        assert_int_equal(count_entries(below(name)), cases[i].entries);
    }
}

static int is_hidden(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    return path[walk->base] == '.';
}

/* From now on no file may be longer than so many bytes, which stands in for a full disk; 0: they may again. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    signal(SIGXFSZ, bytes ? SIG_IGN : SIG_DFL);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* Plays until the disk is full; the run hears of it, and neither a manifest nor a hidden file stays. */
static void fill(const char *name, udump_dump dump, bool parts, rlim_t most_bytes, const char *what) {
    udump_folder *folder = open_folder(below(name), dump, 2);
    const udump_sink *sink = begin(folder, 0);
    struct tensor *map = make_map(0);
    udump_flow flow = UDUMP_CONTINUE;
    if (most_bytes) limit_files(most_bytes);
    for (int step = 1; step <= 5000 && flow == UDUMP_CONTINUE; step++) {
        map->place.kind = parts ? UDUMP_KIND_SELF_MAP : UDUMP_KIND_FEATURES;
        map->place.step = step;
        if (!parts) flow = sink->tensor(sink->user, &map->place, &map->view);
        for (int64_t first = 0; parts && first < MAP && flow == UDUMP_CONTINUE; first += 5) flow = hand_rows(sink, map, first, 5);
        nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
    }
    assert_int_equal(flow, UDUMP_STOP);
    expect_close(folder, 1, UDUMP_ERROR_FILE, what);
    if (most_bytes) limit_files(0);
    char path[100];
    snprintf(path, sizeof path, "%s/manifest.json", name);
    assert_false(exists(below(path)));
    assert_true(!exists(below(name)) || nftw(below(name), is_hidden, 16, FTW_PHYS) == 0);
    free(map);
}

static void a_full_disk_leaves_nothing_half(void **state) {
    (void)state;
    fill("full-npy", UDUMP_DUMP_NPY, false, 128, "cannot be written: File too large");
    fill("full-npy-parts", UDUMP_DUMP_NPY, true, 128, "cannot be written: File too large");
    fill("full-bin", UDUMP_DUMP_BIN, false, 128, "cannot be written: File too large");
    fill("full-safetensors", UDUMP_DUMP_SAFETENSORS, false, 128, "cannot be written: File too large");
    assert_int_equal(count_entries(below("full-npy")), 0);
    assert_int_equal(count_entries(below("full-npy-parts")), 0);
    assert_int_equal(count_entries(below("full-bin/features")), 0);
    assert_int_equal(count_entries(below("full-safetensors")), 0);
}

/* The header is written last: the disk may be full only then. */
static void a_header_without_room_is_reported(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("header"), UDUMP_DUMP_SAFETENSORS, 1);
    const udump_sink *sink = begin(folder, 1);
    struct tensor *map = make_map(0);
    assert_int_equal(sink->tensor(sink->user, &map->place, &map->view), UDUMP_CONTINUE);
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    limit_files(100);
    expect_close(folder, 1, UDUMP_ERROR_FILE, "cannot be written: File too large");
    limit_files(0);
    assert_int_equal(count_entries(below("header")), 0);
    free(map);
}

/* A real full disk, where the tests may mount one. */
static void a_small_disk_is_filled(void **state) {
    (void)state;
    static const udump_dump dumps[] = { UDUMP_DUMP_NPY, UDUMP_DUMP_BIN, UDUMP_DUMP_SAFETENSORS };
    mkdir(below("disk"), 0777);
    if (mount("tmpfs", below("disk"), "tmpfs", 0, "size=512k")) skip();
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "disk/%d", i);
        fill(name, dumps[i], i == 0, 0, "cannot be written: No space left on device");
        if (exists(below(name))) assert_int_equal(nftw(below(name), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
    udump_folder *folder = open_folder(below("disk/budget"), UDUMP_DUMP_NPY, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = { .batch_size = 1, .picture_count = 1, .picture_bytes = 600000 };
    udump_flow flow = sink->begin(sink->user, &info);
    udump_error error = { .what = "" };
    udump_status status = udump_folder_close(folder, 1, &error);
    int unmounted = umount(below("disk"));
    assert_int_equal(unmounted, 0);
    assert_int_equal(flow, UDUMP_STOP);
    assert_int_equal(status, UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "the run may write 2 files, up to 609 kB; the disk has 524 kB free");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(npy_holds_every_kind),
        cmocka_unit_test(npy_grows_by_parts),
        cmocka_unit_test(unfinished_parts_disappear),
        cmocka_unit_test(rows_that_do_not_fit_are_refused),
        cmocka_unit_test(bin_is_a_file_a_channel),
        cmocka_unit_test(safetensors_holds_an_image_s_tensors),
        cmocka_unit_test(safetensors_header_may_outgrow_its_room),
        cmocka_unit_test(more_than_a_header_can_name_is_refused),
        cmocka_unit_test(scalars_and_empty_tensors_are_kept),
        cmocka_unit_test(views_that_are_none_are_refused),
        cmocka_unit_test(a_failed_run_keeps_what_was_whole),
        cmocka_unit_test(a_full_disk_leaves_nothing_half),
        cmocka_unit_test(a_header_without_room_is_reported),
        cmocka_unit_test(a_small_disk_is_filled),
    };
    return cmocka_run_group_tests_name("dumps", tests, make_base, remove_base);
}
