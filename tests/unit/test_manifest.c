/* What a folder says of a run: file names, manifest.json, tokens.json, diff.csv, and whether the disk has room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <locale.h>
#include <math.h>

#include "output/budget.h"
#include "output/diff_csv.h"
#include "output/name.h"

#include "folders.h"

/* ---------------------------------------------------------------- names */

static void places_are_named(void **state) {
    (void)state;
    static const struct { udump_place place; bool average; const char *name;
    } cases[] = {
        { { .kind = UDUMP_KIND_FEATURES, .block = "OUT11", .step = 20 }, false, "000-unet-OUT11-020.png" },
        { { .kind = UDUMP_KIND_FEATURES, .block = "OUT11", .step = 20 }, true, "000-unet-OUT11-020-average.png" },
        { { .kind = UDUMP_KIND_FEATURES,
              .block = "IN00",
              .step = 1234,
              .image = 1000,
              .side = UDUMP_SIDE_UNCOND,
              .variant = UDUMP_VARIANT_ERASED },
            false, "1000-unet-IN00-1234-uncond-erased.png" },
        { { .kind = UDUMP_KIND_DIFF, .block = "M00", .step = 1 }, true, "000-diff-M00-001-average.png" },
        { { .kind = UDUMP_KIND_K, .block = "M00", .step = 1 }, false, "000-attn-M00-001-k.png" },
        { { .kind = UDUMP_KIND_QK, .block = "M00", .step = 1, .depth = 2, .side = UDUMP_SIDE_UNCOND, .variant = UDUMP_VARIANT_ERASED },
            true, "000-attn-M00-001-uncond-erased-qk-d2-average.png" },
        { { .kind = UDUMP_KIND_VQK, .block = "M00", .step = 1, .depth = 1 }, false, "000-attn-M00-001-vqk-d1.png" },
        { { .kind = UDUMP_KIND_WORDS, .block = "M00", .step = 1, .image = 3 }, false, "003-attn-M00-001-words.png" },
        { { .kind = UDUMP_KIND_SELF_QUERIES, .block = "M00", .step = 1 }, false, "000-attn-M00-001-self-queries.png" },
        { { .kind = UDUMP_KIND_QK, .block = "M00", .step = 1, .part = 1, .depth = 2, .variant = UDUMP_VARIANT_ERASED }, false,
            "000-attn-M00-001-and1-erased-qk-d2.png" },
        { { .kind = UDUMP_KIND_HEAT, .part = 3 }, false, "000-heat-and3.png" },
        { { .kind = UDUMP_KIND_SELF_RECEIVED, .block = "M00", .step = 1 }, false, "000-attn-M00-001-self-received.png" },
        { { .kind = UDUMP_KIND_SELF_ENTROPY, .block = "M00", .step = 1 }, false, "000-attn-M00-001-self-entropy.png" },
        { { .kind = UDUMP_KIND_SELF_PCA, .block = "M00", .step = 1 }, false, "000-attn-M00-001-self-pca.png" },
        { { .kind = UDUMP_KIND_SELF_MAP, .block = "M00", .step = 1 }, false, "000-attn-M00-001-self-map.png" },
        { { .kind = UDUMP_KIND_HEAT, .block = "" }, false, "000-heat.png" },
        { { .kind = UDUMP_KIND_HEAT, .side = UDUMP_SIDE_UNCOND, .variant = UDUMP_VARIANT_ERASED }, true,
            "000-heat-uncond-erased-average.png" },
        { { .kind = UDUMP_KIND_OVERLAY, .block = "", .word = "red" }, false, "000-heat-red.png" },
        { { .kind = UDUMP_KIND_OVERLAY, .word = "Red2", .variant = UDUMP_VARIANT_ERASED, .image = 12 }, false, "012-heat-erased-Red2.png" },
    };
    char name[UDUMP_NAME_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(udump_name_place(&cases[i].place, cases[i].average, ".png", name, NULL), UDUMP_OK);
        assert_string_equal(name, cases[i].name);
    }
    assert_int_equal(udump_name_tensor(&cases[5].place, name, NULL), UDUMP_OK);
    assert_string_equal(name, "attn-M00-001-uncond-erased-qk-d2");
    assert_int_equal(udump_name_image(7, UDUMP_VARIANT_ENABLED, ".png", name, NULL), UDUMP_OK);
    assert_string_equal(name, "007.png");
    assert_int_equal(udump_name_image(7, UDUMP_VARIANT_ERASED, ".png", name, NULL), UDUMP_OK);
    assert_string_equal(name, "007-erased.png");
}

static void name_overlay(const char *word, char name[UDUMP_NAME_BYTES]) {
    udump_place place = { .kind = UDUMP_KIND_OVERLAY, .word = word };
    assert_int_equal(udump_name_place(&place, false, ".png", name, NULL), UDUMP_OK);
}

/* Words come from a user's prompt: no name leaves the folder, hides, or is another one's. */
static void words_become_safe_and_stay_distinct(void **state) {
    (void)state;
    char longest[2][400];
    memset(longest, 'a', sizeof longest);
    longest[0][399] = longest[1][399] = '\0';
    longest[1][398] = 'b';
    const char *const words[] = { "red", "Red", "../../etc/passwd", "/", ".", "..", "a/b", "a_b", "a-b", "a b", "_2f", "a_2fb", "\xC3\xA9",
        "\xE7\x8C\xAB", "\xE7\x8C\xAC", "\xC3", "\xFF", "\n", "*", "average", "erased", "uncond", "and1", "and", "and1st", "_61verage", "averages", "uncond-erased",
        "\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C\xAB\xE7\x8C"
        "\xAB\xE7\x8C\xAB"
        "\xE7\x8C\xAB\xE7\x8C\xAB",
        longest[0], longest[1] };
    enum { COUNT = sizeof words / sizeof *words };
    char names[COUNT + 4][UDUMP_NAME_BYTES];
    for (int i = 0; i < COUNT; i++) name_overlay(words[i], names[i]);
    const udump_place heats[4] = { { .kind = UDUMP_KIND_HEAT, .part = 1 }, { .kind = UDUMP_KIND_HEAT, .side = UDUMP_SIDE_UNCOND }, { .kind = UDUMP_KIND_HEAT,
        .variant = UDUMP_VARIANT_ERASED }, { .kind = UDUMP_KIND_HEAT } };
    for (int i = 0; i < 4; i++) assert_int_equal(udump_name_place(&heats[i], i == 3, ".png", names[COUNT + i], NULL), UDUMP_OK);
    for (int i = 0; i < COUNT + 4; i++) {
        assert_true(strlen(names[i]) < 200);
        assert_int_equal(strncmp(names[i], "000-heat", 8), 0);
        size_t plain = strspn(names[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
        assert_string_equal(names[i] + plain, ".png");
        for (int j = 0; j < i; j++) assert_string_not_equal(names[i], names[j]);
    }
    assert_string_equal(names[2], "000-heat-_2e_2e_2f_2e_2e_2fetc_2fpasswd.png");
    assert_string_equal(names[12], "000-heat-_c3_a9.png");
    assert_string_equal(names[19], "000-heat-_61verage.png");
}

static void bad_places_are_refused(void **state) {
    (void)state;
    static const struct { udump_place place; const char *what; } cases[] = {
        { { .kind = (udump_kind)13, .block = "M00" }, "unknown kind 13" },
        { { .kind = (udump_kind)-1, .block = "M00" }, "unknown kind -1" },
        { { .block = NULL }, "a block's name does not suit a file's" },
        { { .block = "" }, "a block's name does not suit a file's" },
        { { .block = "../M00" }, "a block's name does not suit a file's" },
        { { .block = "M00-" }, "a block's name does not suit a file's" },
        { { .block = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456" }, "a block's name does not suit a file's" },
        { { .block = "M00", .image = -1 }, "a negative image: -1" },
        { { .block = "M00", .step = -2 }, "a negative number: step -2, depth 0, part 0" },
        { { .block = "M00", .depth = -3 }, "a negative number: step 0, depth -3, part 0" },
        { { .kind = UDUMP_KIND_OVERLAY }, "an overlay without its word" },
        { { .kind = UDUMP_KIND_OVERLAY, .word = "" }, "an overlay without its word" },
    };
    char name[UDUMP_NAME_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_error error;
        assert_int_equal(udump_name_place(&cases[i].place, false, "", name, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.what, cases[i].what);
    }
    assert_int_equal(udump_name_image(-1, UDUMP_VARIANT_ENABLED, ".png", name, NULL), UDUMP_ERROR_ARGUMENT);
}

/* ---------------------------------------------------------------- the manifest */

static const udump_column columns[] = { { 49406, "<start>", -1, 1.0f }, { 736, "red", 0, 1.1f }, { 49407, "<end>", -1, 1.0f } };
static const udump_run_context contexts[] = { { "a \"red\" \xFF", 3, columns }, { NULL, 77, NULL } };
static const udump_run_prompt prompts[] = {
    { "IN00", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 0, 5, 0, 1 }, { "IN01", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 0, 5, 0, 1 },
    { "M00", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 1, 5, 0, 1 }, { "OUT00", UDUMP_SIDE_COND, UDUMP_VARIANT_ENABLED, 0, 5, 0, 1 },
    { "IN00", UDUMP_SIDE_COND, UDUMP_VARIANT_ERASED, 0, 5, 0, 1 }, { "IN00", UDUMP_SIDE_UNCOND, UDUMP_VARIANT_ERASED, 0, 5, 0, 1 },
    { "IN00", UDUMP_SIDE_UNCOND, UDUMP_VARIANT_ERASED, 0, 9, 0, 1 },
};
static const char *const words[] = { "red", "\xE7\x8C\xAB" }, *const skipped[] = { "IN00", "IN03" };

static const udump_block_info blocks[] = { { .name = "IN00", .channels = 320 }, { .name = "IN01", .channels = 320, .attention_depth = 2, .heads = 5, .head_dim = 64 } };

static udump_run_info run_info(void) {
    return (udump_run_info){ .prompt = "a (~: M00: b :~)", .batch_size = 1, .variants = 2, .contexts = contexts, .context_count = 2,
        .prompts = prompts, .prompt_count = 7, .words = words, .word_count = 2, .skipped = skipped, .skipped_count = 2,
        .blocks = blocks, .block_count = 2 };
}

static uint8_t pixels[64 * 64 * 3];

static udump_flow show(const udump_sink *sink, udump_kind kind, bool average, int columns_count, int rows, int w, int h) {
    udump_canvas canvas = { .picture = { pixels, columns_count * (w + 1) - 1, rows * (h + 1) - 1, 3, 64 * 3 },
        .place = { .kind = kind, .block = "M00", .block_index = 12, .depth = 1, .step = 4, .sampler_step = 2, .sigma = 0.5, .timestep = 501,
            .side = UDUMP_SIDE_UNCOND, .context = kind >= UDUMP_KIND_K && kind <= UDUMP_KIND_WORDS ? 1 : -1, .word = "red" },
        .average = average, .columns = columns_count, .rows = rows, .tile_width_px = w, .tile_height_px = h, .infotext = "a" };
    return sink->canvas(sink->user, &canvas);
}

static void finish(udump_folder *folder) { assert_int_equal(udump_folder_close(folder, 1, NULL), UDUMP_OK); }

static json_t *load(const char *path) {
    json_t *root = json_load_file(below(path), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    return root;
}

/* JSON text against an expected one in which ' stands for ". */
static void check_json(const char *text, const char *expected) {
    char *quoted = strdup(expected);
    for (char *at = quoted; *at; at++)
        if (*at == '\'') *at = '"';
    assert_string_equal(text, quoted);
    free(quoted);
}

/* An object's text in one line, with its keys in order. */
static void check_text(const json_t *value, const char *expected) {
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    check_json(text, expected);
    free(text);
}

static void check_tail(const json_t *files, size_t index, const char *expected) {
    char *text = json_dumps(json_array_get(files, index), 0), *tail = strstr(text, "\"kind\"");
    assert_non_null(tail);
    check_json(tail, expected);
    free(text);
}

static void every_canvas_says_its_tensor_s_shape(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("shapes"), UDUMP_DUMP_NONE, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = run_info();
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    static const struct { udump_kind kind; bool average; int columns, rows, w, h; const char *tail;
    } cases[] = {
        { UDUMP_KIND_FEATURES, false, 3, 2, 4, 5,
            "'kind': 'features', 'shape': [6, 5, 4], 'dtype': 'uint8', 'grid': [3, 2], 'tile': [4, 5]}" },
        { UDUMP_KIND_FEATURES, true, 1, 1, 4, 5,
            "'kind': 'features', 'average': true, 'shape': [5, 4], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_DIFF, false, 3, 2, 4, 5, "'kind': 'diff', 'shape': [6, 5, 4], 'dtype': 'uint8', 'grid': [3, 2], 'tile': [4, 5]}" },
        { UDUMP_KIND_K, false, 1, 2, 3, 6,
            "'kind': 'k', 'context': 1, 'heads': 2, 'tokens': 3, 'shape': [2, 3, 6], 'dtype': 'uint8', 'grid': [1, 2], 'tile': [3, 6]}" },
        { UDUMP_KIND_K, true, 1, 1, 3, 6,
            "'kind': 'k', 'context': 1, 'average': true, 'tokens': 3, 'shape': [3, 6], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [3, 6]}" },
        { UDUMP_KIND_QK, false, 3, 2, 4, 5,
            "'kind': 'qk', 'context': 1, 'heads': 2, 'tokens': 3, 'shape': [2, 3, 5, 4], 'dtype': 'uint8', 'grid': [3, 2], 'tile': [4, "
            "5]}" },
        { UDUMP_KIND_QK, true, 3, 1, 4, 5,
            "'kind': 'qk', 'context': 1, 'average': true, 'tokens': 3, 'shape': [3, 5, 4], 'dtype': 'uint8', 'grid': [3, 1], 'tile': [4, "
            "5]}" },
        { UDUMP_KIND_VQK, false, 3, 2, 4, 5,
            "'kind': 'vqk', 'context': 1, 'shape': [6, 5, 4], 'dtype': 'uint8', 'grid': [3, 2], 'tile': [4, 5]}" },
        { UDUMP_KIND_WORDS, false, 2, 1, 4, 5,
            "'kind': 'words', 'context': 1, 'shape': [2, 5, 4], 'dtype': 'uint8', 'grid': [2, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_SELF_QUERIES, false, 3, 2, 4, 5,
            "'kind': 'self-queries', 'heads': 2, 'shape': [2, 3, 5, 4], 'dtype': 'uint8', 'grid': [3, 2], 'tile': [4, 5]}" },
        { UDUMP_KIND_SELF_QUERIES, true, 3, 1, 4, 5,
            "'kind': 'self-queries', 'average': true, 'shape': [3, 5, 4], 'dtype': 'uint8', 'grid': [3, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_SELF_RECEIVED, false, 4, 2, 4, 5,
            "'kind': 'self-received', 'heads': 8, 'shape': [8, 5, 4], 'dtype': 'uint8', 'grid': [4, 2], 'tile': [4, 5]}" },
        { UDUMP_KIND_SELF_ENTROPY, true, 1, 1, 4, 5,
            "'kind': 'self-entropy', 'average': true, 'shape': [5, 4], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_SELF_PCA, false, 1, 1, 4, 5,
            "'kind': 'self-pca', 'shape': [3, 5, 4], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_HEAT, false, 2, 1, 4, 5, "'kind': 'heat', 'shape': [2, 5, 4], 'dtype': 'uint8', 'grid': [2, 1], 'tile': [4, 5]}" },
        { UDUMP_KIND_OVERLAY, false, 1, 1, 40, 50,
            "'kind': 'overlay', 'word': 'red', 'shape': [50, 40, 3], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [40, 50]}" },
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(
            show(sink, cases[i].kind, cases[i].average, cases[i].columns, cases[i].rows, cases[i].w, cases[i].h), UDUMP_CONTINUE);
    udump_picture image = { pixels, 6, 5, 3, 64 * 3 };
    assert_int_equal(sink->image(sink->user, 2, UDUMP_VARIANT_ERASED, &image, "a"), UDUMP_CONTINUE);
    finish(folder);
    json_t *root = load("shapes/manifest.json"), *files = json_object_get(root, "files");
    assert_int_equal(json_array_size(files), COUNT + 1);
    for (int i = 0; i < COUNT; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(files, (size_t)i), "file"));
        char path[300];
        snprintf(path, sizeof path, "shapes/%s", name);
        assert_true(exists(below(path)));
        check_tail(files, (size_t)i, cases[i].tail);
    }
    check_text(json_array_get(files, 1),
        "{'file': '000-unet-M00-004-uncond-d1-average.png', 'source': 'unet', 'image': 0, 'variant': 'enabled', 'block': 'M00', 'depth': "
        "1, "
        "'step': 4, 'evaluation': 4, 'sampler_step': 2, 'sigma': 0.5, 'timestep': 501.0, 'side': 'uncond', 'kind': 'features', "
        "'average': true, 'shape': [5, 4], 'dtype': 'uint8', 'grid': [1, 1], 'tile': [4, 5]}");
    check_text(json_array_get(files, COUNT),
        "{'file': '002-erased.png', 'source': 'image', 'image': 2, 'variant': 'erased', 'shape': [5, 6, 3], 'dtype': 'uint8'}");
    json_decref(root);
}

static void the_run_is_described(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("run"), UDUMP_DUMP_NONE, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = run_info();
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    finish(folder);
    json_t *root = load("run/manifest.json"), *run = json_object_get(root, "run");
    check_text(json_object_get(run, "words"), "['red', '\xE7\x8C\xAB']");
    check_text(json_object_get(run, "skipped"), "['IN00', 'IN03']");
    check_text(json_object_get(run, "blocks"), "[{'name': 'IN00', 'channels': 320, 'attention_depth': 0, 'heads': 0}, {'name': 'IN01', 'channels': 320, 'attention_depth': 2, 'heads': 5}]");
    check_text(json_object_get(run, "prompts"),
        "[{'first': 'IN00', 'last': 'IN01', 'side': 'cond', 'variant': 'enabled', 'context': 0, 'until': 5}, "
        "{'first': 'M00', 'last': 'M00', 'side': 'cond', 'variant': 'enabled', 'context': 1, 'until': 5}, "
        "{'first': 'OUT00', 'last': 'OUT00', 'side': 'cond', 'variant': 'enabled', 'context': 0, 'until': 5}, "
        "{'first': 'IN00', 'last': 'IN00', 'side': 'cond', 'variant': 'erased', 'context': 0, 'until': 5}, "
        "{'first': 'IN00', 'last': 'IN00', 'side': 'uncond', 'variant': 'erased', 'context': 0, 'until': 5}, "
        "{'first': 'IN00', 'last': 'IN00', 'side': 'uncond', 'variant': 'erased', 'context': 0, 'until': 9}]");
    check_text(json_object_get(root, "contexts"),
        "[{'text': 'a \\'red\\' \xEF\xBF\xBD', 'tokens': 3, 'columns': ['<start>', 'red', '<end>']}, "
        "{'text': null, 'tokens': 77, 'columns': null}]");
    check_text(json_object_get(root, "files"), "[]");
    json_decref(root);
    assert_int_equal(count_entries(below("run")), 1); /* nothing to say of tokens and diffs */
}

/* ---------------------------------------------------------------- tokens.json, diff.csv */

static udump_place diff_place(const char *block, int step, udump_side side) {
    return (udump_place){ .kind = UDUMP_KIND_DIFF, .image = 1, .block = block, .step = step, .side = side };
}

static void tokens_are_listed_where_cross_attention_was_seen(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("tokens"), UDUMP_DUMP_NONE, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = run_info();
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    assert_int_equal(show(sink, UDUMP_KIND_SELF_PCA, false, 1, 1, 4, 5), UDUMP_CONTINUE);
    assert_int_equal(show(sink, UDUMP_KIND_QK, false, 3, 2, 4, 5), UDUMP_CONTINUE);
    finish(folder);
    json_t *root = load("tokens/tokens.json");
    json_real_set(
        json_object_get(json_array_get(json_object_get(json_array_get(root, 0), "columns"), 1), "weight"), 1.5); /* 1.1, rounded */
    check_text(root,
        "[{'text': 'a \\'red\\' \xEF\xBF\xBD', 'columns': [{'column': 0, 'id': 49406, 'text': '<start>', 'word': -1, 'weight': 1.0}, "
        "{'column': 1, 'id': 736, 'text': 'red', 'word': 0, 'weight': 1.5}, "
        "{'column': 2, 'id': 49407, 'text': '<end>', 'word': -1, 'weight': 1.0}]}, {'text': null, 'columns': null}]");
    json_decref(root);
    folder = open_folder(below("tokens-self"), UDUMP_DUMP_NONE, 1);
    sink = udump_folder_sink(folder);
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    assert_int_equal(show(sink, UDUMP_KIND_SELF_PCA, false, 1, 1, 4, 5), UDUMP_CONTINUE);
    finish(folder);
    assert_false(exists(below("tokens-self/tokens.json")));
}

static void differences_are_listed(void **state) {
    (void)state;
    udump_folder *folder = open_folder(below("diff"), UDUMP_DUMP_NONE, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_run_info info = run_info();
    const udump_place places[3] = { diff_place("IN00", 1, UDUMP_SIDE_COND), diff_place("M00", 20, UDUMP_SIDE_UNCOND),
        diff_place("../x", 1, UDUMP_SIDE_COND) };
    const udump_diff_norms norms[2] = { { 1.0 / 3.0, 0.5, 1e-20, -1.0 }, { 123456789.25, INFINITY, NAN, 1.0 } };
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    assert_int_equal(sink->diff(sink->user, &places[0], &norms[0]), UDUMP_CONTINUE);
    assert_int_equal(sink->diff(sink->user, &places[1], &norms[1]), UDUMP_CONTINUE);
    assert_false(exists(below("diff/diff.csv"))); /* not before the end */
    finish(folder);
    udump_bytes text = read_all(below("diff/diff.csv"));
    text.data[text.size] = '\0';
    assert_string_equal((const char *)text.data, "image,block,step,side,l2,relative_l2,max,cosine\n"
                                                 "1,IN00,1,cond,0.333333333,0.5,1e-20,-1\n1,M00,20,uncond,123456789,inf,nan,1\n");
    free(text.data);
    folder = open_folder(below("diff"), UDUMP_DUMP_NONE, 1);
    sink = udump_folder_sink(folder);
    assert_int_equal(sink->diff(sink->user, &places[2], &norms[0]), UDUMP_STOP);
    assert_int_equal(udump_folder_close(folder, 0, NULL), UDUMP_ERROR_ARGUMENT);
}

static void differences_have_a_point_in_every_locale(void **state) {
    (void)state;
    static const char *const with_comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR" };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof with_comma / sizeof *with_comma && !found; i++) found = setlocale(LC_NUMERIC, with_comma[i]);
    if (!found) skip();
    udump_text text = { 0 };
    const udump_place place = diff_place("IN00", 1, UDUMP_SIDE_COND);
    bool added = udump_diff_csv_add(&text, &place, &(udump_diff_norms){ 0.5, 1.5, 2.5, 0.25 });
    setlocale(LC_NUMERIC, "C");
    assert_true(added);
    assert_string_equal(strchr(text.data, '\n'), "\n1,IN00,1,cond,0.5,1.5,2.5,0.25\n");
    free(text.data);
}

/* A run that failed leaves none of them, and takes away a former run's. */
static void a_failed_run_says_nothing(void **state) {
    (void)state;
    static const char *const names[] = { "manifest.json", "tokens.json", "diff.csv", "report.html" };
    udump_run_info info = run_info();
    const udump_place place = diff_place("IN00", 1, UDUMP_SIDE_COND);
    mkdir(below("failed"), 0777);
    for (int i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "failed/%s", names[i]);
        write_text(below(path), "of a former run");
    }
    udump_folder *folder = open_folder(below("failed"), UDUMP_DUMP_NONE, 1);
    const udump_sink *sink = udump_folder_sink(folder);
    assert_int_equal(count_entries(below("failed")), 4);
    assert_int_equal(sink->begin(sink->user, &info), UDUMP_CONTINUE);
    assert_int_equal(count_entries(below("failed")), 1); /* unfinished.jsonl */
    assert_int_equal(sink->diff(sink->user, &place, &(udump_diff_norms){ 1, 1, 1, 1 }), UDUMP_CONTINUE);
    assert_int_equal(show(sink, UDUMP_KIND_QK, false, 3, 2, 4, 5), UDUMP_CONTINUE);
    assert_int_equal(udump_folder_close(folder, 0, NULL), UDUMP_OK);
    assert_int_equal(count_entries(below("failed")), 1); /* the picture */
}

/* ---------------------------------------------------------------- room */

static void a_run_s_size_is_bounded_from_above(void **state) {
    (void)state;
    udump_run_info info = { .batch_size = 2, .picture_count = 10, .picture_bytes = 5000, .tensor_count = 4, .tensor_bytes = 64000,
        .tensor_tile_count = 160 };
    udump_budget none = udump_budget_of(&info, UDUMP_DUMP_NONE, 4096), npy = udump_budget_of(&info, UDUMP_DUMP_NPY, 4096);
    udump_budget bin = udump_budget_of(&info, UDUMP_DUMP_BIN, 4096), safetensors = udump_budget_of(&info, UDUMP_DUMP_SAFETENSORS, 4096);
    assert_int_equal(none.files, 11);
    assert_int_equal(npy.files, 15);
    assert_int_equal(bin.files, 171);
    assert_int_equal(safetensors.files, 13);
    assert_true(none.bytes >= 5000 + 11 * 4095 && none.bytes < 5000 + 11 * 4096 + 20000);
    assert_true(npy.bytes >= none.bytes + 64000 + 4 * 4095 && bin.bytes >= none.bytes + 64000 + 160 * 4095);
    assert_true(bin.bytes < none.bytes + 64000 + 160 * 4096 + 20000 && safetensors.bytes > none.bytes + 64000);
    info = (udump_run_info){ .batch_size = 1, .picture_count = INT64_MAX / 2, .picture_bytes = INT64_MAX, .tensor_count = INT64_MAX,
        .tensor_bytes = INT64_MAX, .tensor_tile_count = INT64_MAX };
    bin = udump_budget_of(&info, UDUMP_DUMP_BIN, 4096);
    assert_int_equal(bin.files, INT64_MAX);
    assert_int_equal(bin.bytes, INT64_MAX);
    info = (udump_run_info){ .batch_size = -1, .picture_count = -5, .picture_bytes = INT64_MIN, .tensor_count = -1 };
    none = udump_budget_of(&info, UDUMP_DUMP_SAFETENSORS, 512);
    assert_int_equal(none.files, 1);
    assert_int_equal(none.bytes, 512);
}

static udump_status try_run(int force, const udump_run_info *info, udump_error *error) {
    udump_folder_options options;
    udump_folder_options_init(&options);
    options.force = force;
    udump_folder *folder;
    write_text(below("manifest.json"), "of a former run");
    assert_int_equal(udump_folder_open(below(""), &options, &folder, NULL), UDUMP_OK);
    const udump_sink *sink = udump_folder_sink(folder);
    udump_flow flow = sink->begin(sink->user, info);
    udump_status status = udump_folder_close(folder, flow == UDUMP_CONTINUE, error);
    assert_int_equal(flow, status ? UDUMP_STOP : UDUMP_CONTINUE);
    return status;
}

static void a_run_that_does_not_fit_is_refused_unless_forced(void **state) {
    (void)state;
    udump_run_info info = { .batch_size = 1, .picture_count = 12, .picture_bytes = INT64_C(4000000000000000000) };
    udump_error error;
    assert_int_equal(try_run(0, &info, &error), UDUMP_ERROR_FILE);
    static const char start[] = "the run may write 13 files, up to 4.00 EB; the disk has ";
    assert_int_equal(strncmp(error.what, start, strlen(start)), 0);
    assert_string_equal(error.what + strlen(error.what) - 5, " free");
    assert_string_equal(error.where, below(""));
    udump_bytes former = read_all(below("manifest.json")); /* refused before anything was touched */
    assert_int_equal(former.size, strlen("of a former run"));
    free(former.data);
    assert_int_equal(try_run(1, &info, &error), UDUMP_OK);
    info.picture_bytes = 1000;
    assert_int_equal(try_run(0, &info, &error), UDUMP_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_named),
        cmocka_unit_test(words_become_safe_and_stay_distinct),
        cmocka_unit_test(bad_places_are_refused),
        cmocka_unit_test(every_canvas_says_its_tensor_s_shape),
        cmocka_unit_test(the_run_is_described),
        cmocka_unit_test(tokens_are_listed_where_cross_attention_was_seen),
        cmocka_unit_test(differences_are_listed),
        cmocka_unit_test(differences_have_a_point_in_every_locale),
        cmocka_unit_test(a_failed_run_says_nothing),
        cmocka_unit_test(a_run_s_size_is_bounded_from_above),
        cmocka_unit_test(a_run_that_does_not_fit_is_refused_unless_forced),
    };
    return cmocka_run_group_tests_name("manifest", tests, make_base, remove_base);
}
