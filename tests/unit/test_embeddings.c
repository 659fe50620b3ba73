/* Textual inversion embeddings: where they stand in chunks, which files are read, and what transformers makes of prompts with them
 * (tests/parity/make_embedding_goldens.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/model.h"
#include "parity.h"
#include "text/chunks.h"
#include "text/emphasis.h"
#include "text/tokenizer.h"

#define EMBEDDINGS TEST_ROOT "/tests/parity/goldens/embeddings"

static udump_status load_with(const char *folder, udump_device device, udump_model **model, udump_error *error) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = UDUMP_PRECISION_FP32;
    options.embeddings = folder;
    *model = NULL;
    return udump_model_load(TEST_ROOT "/models/demo", &options, model, error);
}

/* ---- chunks */

/* Two words that begin alike, and one of many vectors. */
typedef struct words {
    udump_chunk_embedding items[3];
    udump_chunk_embeddings all;
} words;

static void make_words(words *w) {
    static char *const names[] = { "deep-sea", "deep", "wide" };
    static const int32_t vectors[] = { 2, 3, 70 };
    int32_t first = UDUMP_EMBEDDING_IDS;
    for (int i = 0; i < 3; first += vectors[i++]) {
        w->items[i] = (udump_chunk_embedding){ .name = names[i], .vectors = vectors[i], .first_id = first };
        assert_int_equal(udump_tokenize(names[i], &w->items[i].ids, &w->items[i].id_count, NULL), UDUMP_OK);
    }
    w->all = (udump_chunk_embeddings){ w->items, 3 };
}

static udump_chunks chunks_of(const char *prompt) {
    words w;
    udump_prompt_piece *pieces;
    int32_t count;
    udump_chunks chunks;
    make_words(&w);
    assert_int_equal(udump_emphasis_parse(prompt, &pieces, &count, NULL), UDUMP_OK);
    assert_int_equal(udump_chunks_make(pieces, count, &w.all, &chunks, NULL), UDUMP_OK);
    udump_emphasis_free(pieces, count);
    for (int i = 0; i < 3; i++) free(w.items[i].ids);
    return chunks;
}

static void expect_column(const udump_chunks *chunks, int32_t at, int32_t id, const char *text, int32_t word, float weight) {
    const udump_column *column = &chunks->columns[at];
    assert_int_equal(chunks->ids[at], column->id);
    if (id) assert_int_equal(column->id, id);
    assert_string_equal(column->text, text);
    assert_int_equal(column->word, word);
    assert_true(column->weight == weight && chunks->weights[at] == weight);
}

static void test_places(void **state) {
    (void)state;
    udump_chunks chunks = chunks_of("a (DEEP-sea:1.5) deep fish");
    assert_int_equal(chunks.count, 1);
    expect_column(&chunks, 1, 0, "a", 0, 1);
    expect_column(&chunks, 2, UDUMP_EMBEDDING_IDS, "deep-sea", 1, 1.5f); /* the longer word, in any case */
    expect_column(&chunks, 3, UDUMP_EMBEDDING_IDS + 1, "deep-sea", 1, 1.5f);
    expect_column(&chunks, 4, UDUMP_EMBEDDING_IDS + 2, "deep", 2, 1);
    expect_column(&chunks, 6, UDUMP_EMBEDDING_IDS + 4, "deep", 2, 1);
    expect_column(&chunks, 7, 0, "fish", 3, 1);
    expect_column(&chunks, 8, 0, "<end>", -1, 1);
    udump_chunks_free(&chunks);
    chunks = chunks_of("deepsea deepness"); /* other words */
    for (int32_t i = 0; i < UDUMP_CHUNK_TOKENS; i++) assert_true(chunks.ids[i] < UDUMP_EMBEDDING_IDS);
    udump_chunks_free(&chunks);
}

/* How many places of each chunk are taken. */
static void expect_taken(const char *prompt, int count, const int *taken) {
    udump_chunks chunks = chunks_of(prompt);
    assert_int_equal(chunks.count, count);
    for (int chunk = 0; chunk < count; chunk++) {
        int found = 0;
        for (int32_t i = 0; i < UDUMP_CHUNK_TOKENS; i++) found += chunks.columns[chunk * UDUMP_CHUNK_TOKENS + i].word >= 0;
        if (found != taken[chunk]) fail_msg("%s: chunk %d has %d tokens, expected %d", prompt, chunk, found, taken[chunk]);
    }
    udump_chunks_free(&chunks);
}

static void test_never_split(void **state) {
    (void)state;
    expect_taken("a a a a a wide", 1, (const int[]){ 75 });
    expect_taken("a a a a a a wide", 2, (const int[]){ 6, 70 });
    expect_taken("a, a a a a a wide", 2, (const int[]){ 7, 70 }); /* a comma moves nothing where the chunk is not full */
    expect_taken("wide deep deep", 2, (const int[]){ 73, 3 });
    expect_taken("wide wide wide", 3, (const int[]){ 70, 70, 70 });
    expect_taken("wide, a a a a deep", 2, (const int[]){ 71, 7 }); /* full: what follows the comma moves, the embedding behind it */
    expect_taken("wide a a a a a a", 2, (const int[]){ 75, 1 });
}

/* ---- encodings */

static void compare(udump_session *session, const goldens *g, const char *name, const char *prompt) {
    udump_context *context;
    udump_view view;
    udump_error error;
    golden expected = need_golden(g, name);
    if (udump_context_encode(session, prompt, &context, &error)) fail_msg("%s: %s", error.where, error.what);
    udump_context_get_view(context, &view);
    assert_int_equal(udump_view_count(&view), expected.count);
    double worst = relative_error(view.data, expected.values, expected.count);
    print_message("%s: relative error %.3g\n", name, worst);
    assert_true(worst <= PARITY_FP32);
    udump_context_release(context);
    free(expected.values);
}

static void run_parity(udump_device device) {
    goldens g = open_goldens("embeddings");
    udump_model *model;
    udump_session *session;
    char chunks[1024] = "";
    assert_int_equal(load_with(EMBEDDINGS, device, &model, NULL), UDUMP_OK);
    assert_null(udump_model_warning(model, 0));
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (int i = 0; i < 73; i++) strcat(chunks, "circle ");
    strcat(chunks, "fancy-style red");
    compare(session, &g, "plain", "a red circle, fancy-style on a blue background");
    compare(session, &g, "plain", "a red circle, FANCY-Style on a blue background");
    compare(session, &g, "weighted", "a (fancy-style:1.4) (circle:0.8) (single:1.2)");
    compare(session, &g, "chunks", chunks);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

static void test_parity(void **state) {
    (void)state;
    run_parity(UDUMP_DEVICE_AUTO);
    run_parity(UDUMP_DEVICE_REFERENCE);
}

/* Words without an embedding are what they were. */
static void test_other_words(void **state) {
    (void)state;
    goldens g = open_goldens("text");
    udump_model *model;
    udump_session *session;
    assert_int_equal(load_with(EMBEDDINGS, UDUMP_DEVICE_AUTO, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    compare(session, &g, "cond", PARITY_PROMPT);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&g);
}

/* ---- attention words */

static udump_flow count_columns(void *user, const udump_run_info *run) {
    int *counts = user;
    for (int32_t i = 0; i < run->context_count; i++)
        for (int32_t column = 0; column < run->contexts[i].tokens; column++)
            counts[0] += strcmp(run->contexts[i].columns[column].text, "fancy-style") == 0;
    return UDUMP_CONTINUE;
}

static udump_flow take_words(void *user, const udump_place *place, const udump_view *tensor) {
    int *counts = user;
    if (place->kind != UDUMP_KIND_WORDS) return UDUMP_CONTINUE;
    float *values = values_of(tensor);
    counts[1]++;
    counts[2] += largest_magnitude(values, (size_t)udump_view_count(tensor)) > 0;
    free(values);
    return UDUMP_CONTINUE;
}

static void test_attention_words(void **state) {
    (void)state;
    udump_model *model;
    udump_session *session;
    int counts[3] = { 0 };
    assert_int_equal(load_with(EMBEDDINGS, UDUMP_DEVICE_AUTO, &model, NULL), UDUMP_OK);
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    udump_generate_options o = parity_options(64, 64, 1);
    o.prompt = "a circle, fancy-style";
    o.attention = "OUT05";
    o.attention_words = "Fancy-Style";
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = counts, .begin = count_columns, .tensor = take_words };
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_OK);
    assert_int_equal(counts[0], 4);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[2], 1);
    o.prompt = "a circle, fancy style";
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_ERROR_ARGUMENT);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* ---- files that are left out */

static void write_file(const char *path, const char *header, size_t data_bytes, int byte) {
    FILE *file = fopen(path, "wb");
    size_t length = strlen(header);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) fputc((int)(length >> 8 * i & 255), file);
    fputs(header, file);
    for (size_t i = 0; i < data_bytes; i++) fputc(byte, file);
    assert_int_equal(fclose(file), 0);
}

static void test_left_out(void **state) {
    (void)state;
    char folder[] = "/tmp/udump_embeddings_XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    static const struct {
        const char *name, *header, *warning;
        int bytes, byte;
    } files[] = {
        { "a.pt", "", "a.pt: a pickled checkpoint (.ckpt, .pt, .pth, .bin) can run any code and is not read: convert it to safetensors: expected .safetensors", 0, 0 },
        { "b.safetensors", "{\"emb_params\":{\"dtype\":\"F32\",\"shape\":[1,768],\"data_offsets\":[0,3072]}}",
            "b.safetensors: emb_params: an embedding of another shape: expected [1..75, 48], found [1, 768]", 3072, 0 },
        { "c.safetensors", "{\"clip_g\":{\"dtype\":\"F16\",\"shape\":[1,1],\"data_offsets\":[0,2]},\"clip_l\":{\"dtype\":\"F16\",\"shape\":[1,1],\"data_offsets\":[2,4]}}",
            "c.safetensors: an embedding for a model with two text encoders, as SDXL's", 4, 0 },
        { "d.safetensors", "{\"x\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},\"y\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[2,4]}}",
            "d.safetensors: no embedding: expected emb_params, clip_l and clip_g, or a single tensor", 4, 0 },
        { "e.safetensors", "{\"x\":{\"dtype\":\"F16\",\"shape\":[48],\"data_offsets\":[0,96]}}", "e.safetensors: x: values are NaN or infinite", 96, 255 },
        { "f.safetensors", "{", "f.safetensors: not valid JSON: string or '}' expected near end of file at byte 8", 0, 0 },
        { "g.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[76,48],\"data_offsets\":[0,14592]}}",
            "g.safetensors: x: an embedding of another shape: expected [1..75, 48], found [76, 48]", 14592, 0 },
        { "h.safetensors", "{\"x\":{\"dtype\":\"F16\",\"shape\":[48],\"data_offsets\":[0,96]}}", NULL, 96, 0 },
        { "notes.txt", "", NULL, 0, 0 },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        write_file(path, files[i].header, (size_t)files[i].bytes, files[i].byte);
    }
    udump_model *model;
    udump_error error;
    assert_int_equal(load_with(folder, UDUMP_DEVICE_REFERENCE, &model, &error), UDUMP_OK);
    assert_int_equal(model->embeddings.words.count, 1);
    assert_string_equal(model->embeddings.words.items[0].name, "h");
    int32_t warnings = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char expected[512];
        snprintf(expected, sizeof expected, "%s/%s", folder, files[i].warning ? files[i].warning : "");
        if (files[i].warning) assert_string_equal(udump_model_warning(model, warnings++), expected);
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        remove(path);
    }
    assert_null(udump_model_warning(model, warnings));
    udump_model_release(model);
    rmdir(folder);
    assert_int_equal(load_with(folder, UDUMP_DEVICE_REFERENCE, &model, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.where, folder);
    assert_string_equal(error.what, "cannot be read: No such file or directory");
    assert_int_equal(load_with(EMBEDDINGS "/fancy-style.safetensors", UDUMP_DEVICE_REFERENCE, &model, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "cannot be read: Not a directory");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_places), cmocka_unit_test(test_never_split), cmocka_unit_test(test_parity),
        cmocka_unit_test(test_other_words), cmocka_unit_test(test_attention_words), cmocka_unit_test(test_left_out) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
