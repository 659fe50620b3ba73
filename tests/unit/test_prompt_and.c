/* AND: how the webui splits a prompt, what that means for blocks and steps, and a run as its CFGDenoiser combines it
 * (tests/parity/make_and_goldens.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "parity.h"
#include "pipeline/session.h"
#include "text/prompt_and.h"

/* ---- text. What the webui's re_AND and re_weight make of these. */

typedef struct split {
    const char *prompt;
    int32_t count;
    struct {
        const char *text;
        float weight;
    } parts[3];
} split;

static void test_split(void **state) {
    (void)state;
    static const split splits[] = {
        { "a cat", 1, { { "a cat", 1 } } },
        { "", 1, { { "", 1 } } },
        { "a cat :1.2 AND a dog :0.8", 2, { { "a cat", 1.2f }, { " a dog", 0.8f } } },
        { "a cat:1.2", 1, { { "a cat", 1.2f } } },
        { "a AND b AND c", 3, { { "a", 1 }, { " b", 1 }, { " c", 1 } } },
        { "AND", 2, { { "", 1 }, { "", 1 } } },
        { "a AND", 2, { { "a", 1 }, { "", 1 } } },
        { "SAND ANDES _AND and", 1, { { "SAND ANDES _AND and", 1 } } },
        { "(a AND b:1.5)", 2, { { "(a", 1 }, { " b:1.5)", 1 } } },
        { "a\n:\t-2.\nAND\nb :+.5  ", 2, { { "a", -2 }, { "\nb", 0.5f } } },
        { "a:1.2.3 AND b:.", 2, { { "a:1.2.3", 1 }, { " b:.", 1 } } },
        { "a 1.5 AND :2", 2, { { "a 1.5", 1 }, { "", 2 } } },
        { "a::2 AND b: - 2", 2, { { "a:", 2 }, { " b: - 2", 1 } } },
        { "a:1e3 AND b:99999999999", 2, { { "a:1e3", 1 }, { " b", 1e6f } } },
        { "\xE7\x8A\xAC\xE3\x80\x80:2 AND\xC2\xA0z", 2, { { "\xE7\x8A\xAC", 2 }, { "\xC2\xA0z", 1 } } },
        { "\xE7\x8A\xAC" "AND b", 1, { { "\xE7\x8A\xAC" "AND b", 1 } } },
    };
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        udump_and_part *parts;
        int32_t count;
        assert_int_equal(udump_and_split(splits[i].prompt, &parts, &count, NULL), UDUMP_OK);
        if (count != splits[i].count) fail_msg("%s: %d parts", splits[i].prompt, (int)count);
        for (int32_t k = 0; k < count; k++)
            if (strcmp(parts[k].text, splits[i].parts[k].text) != 0 || parts[k].weight != splits[i].parts[k].weight)
                fail_msg("%s: '%s' %g", splits[i].prompt, parts[k].text, (double)parts[k].weight);
        udump_and_free(parts, count);
    }
}

static void test_too_many(void **state) {
    (void)state;
    char text[256] = "a";
    udump_and_part *parts;
    int32_t count;
    udump_error error;
    for (int i = 1; i < UDUMP_AND_PARTS_MOST; i++) strcat(text, " AND a");
    assert_int_equal(udump_and_split(text, &parts, &count, &error), UDUMP_OK);
    udump_and_free(parts, count);
    strcat(text, " AND a");
    assert_int_equal(udump_and_split(text, &parts, &count, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "AND joins more than 16 prompts");
}

/* Each part has a schedule of its own; together they change wherever one does. */
static void test_schedules(void **state) {
    (void)state;
    static const struct {
        int32_t until;
        const char *first, *second;
    } expected[] = { { 3, "a", " c" }, { 5, "b", " c" }, { 10, "b", " d" } };
    udump_prompt *prompt;
    int32_t count;
    assert_int_equal(udump_prompt_parse(NULL, "[a:b:3]:2 AND [c:d:5]", 10, 0, &prompt, NULL), UDUMP_OK);
    const udump_prompt_entry *entries = udump_prompt_schedule(prompt, 0, &count);
    assert_int_equal(count, 3);
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].until, expected[i].until);
        assert_int_equal(entries[i].part_count, 2);
        assert_string_equal(entries[i].parts[0].text, expected[i].first);
        assert_string_equal(entries[i].parts[1].text, expected[i].second);
        assert_true(entries[i].parts[0].weight == 2 && entries[i].parts[1].weight == 1);
    }
    udump_prompt_free(prompt);
}

/* ---- blocks */

static void expect_parts(const udump_model *model, const char *prompt, int32_t enabled, int32_t erased) {
    udump_parts parts;
    udump_error error;
    if (udump_parts_find(model, prompt, 2, &parts, &error)) fail_msg("%s: %s", prompt, error.what);
    assert_int_equal(parts.count[0], enabled);
    assert_int_equal(parts.count[1], erased);
    assert_int_equal(parts.most, enabled > erased ? enabled : erased);
}

static void expect_refused(const udump_model *model, const char *prompt, const char *line) {
    udump_parts parts;
    udump_error error;
    char found[512];
    assert_int_equal(udump_parts_find(model, prompt, 1, &parts, &error), UDUMP_ERROR_UNSUPPORTED);
    udump_error_format(&error, found, sizeof found);
    assert_string_equal(found, line);
}

static void test_blocks(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    expect_parts(model, "a", 1, 1);
    expect_parts(model, "a (~: IN03: b AND c; _: d :~)", 2, 1); /* the other blocks have theirs in both rows */
    expect_parts(model, "a AND b (~: IN03: c :~)", 2, 2);
    expect_parts(model, "a AND (~: IN03: c :~)", 2, 2);
    expect_refused(model, "a AND b (~: IN03: AND c AND d:~)",
        "prompt: AND joins unequal numbers of prompts in the blocks: expected 4 prompts in IN00, or one, found 2");
    expect_refused(model, "a AND b (~: IN03: :2 :~)", "prompt: the blocks' prompts have unequal weights: expected a weight of 1 in IN03, found 2");
    expect_refused(model, "a (~: IN03: :0.5 :~)", "prompt: the blocks' prompts have unequal weights: expected a weight of 1 in IN03, found 0.5");
    udump_model_release(model);
}

/* ---- runs */

typedef struct run {
    goldens g;
    int compared;
} run;

static udump_flow compare_block(void *user, const udump_place *place, const udump_view *view) {
    run *r = user;
    char name[64];
    size_t own = (size_t)udump_view_count(view);
    snprintf(name, sizeof name, "step%d/%s", (int)place->step, place->block);
    golden expected = read_golden(&r->g, name);
    if (!expected.values) return UDUMP_CONTINUE;
    assert_int_equal(expected.count, 3 * own);
    float *found = values_of(view);
    double error = relative_error(found, expected.values + (place->side == UDUMP_SIDE_UNCOND ? 2 : (size_t)place->part) * own, own);
    if (!(error <= PARITY_FP32)) fail_msg("%s, part %d: relative error %.3g", name, (int)place->part, error);
    r->compared++;
    free(found);
    free(expected.values);
    return UDUMP_CONTINUE;
}

static const char *joined_prompt(void) {
    static char text[1024];
    strcpy(text, "a red circle :0.7 AND ");
    for (int i = 0; i < 26; i++) strcat(text, "a green square ");
    return strcat(text, ":.45");
}

/* The latent after the last step of a run from the goldens' noise; [latents, h, w, 4], to be freed. */
static float *last_latent(udump_session *session, udump_generate_options *o, const udump_table *table, const udump_sink *sink, const goldens *g) {
    goldens base = open_goldens("128x128");
    golden noise = need_golden(&base, "noise");
    udump_view view = udump_view_make(noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, 16, 16 });
    udump_error error;
    o->noise = &view;
    if (udump_begin(session, o, table, sink, &error)) fail_msg("%s: %s", error.where, error.what);
    for (int step = 1; step <= o->steps; step++) {
        assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
        if (!g) continue;
        char name[64];
        float last[4 * 16 * 16];
        snprintf(name, sizeof name, "step%d/latent", step);
        golden expected = need_golden(g, name);
        to_channels_last(last, expected.values, 4, 16 * 16);
        assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
        double worst = relative_error(view.data, last, expected.count);
        print_message("%s: relative error %.3g\n", name, worst);
        assert_true(worst <= PARITY_FP32);
        free(expected.values);
    }
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    float *latent = values_of(&view);
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
    free(noise.values);
    close_goldens(&base);
    return latent;
}

static void run_parity(udump_device device) {
    run r = { .g = open_goldens("and") };
    udump_model *model = load_demo(device, UDUMP_PRECISION_FP32);
    udump_session *session;
    udump_generate_options o = parity_options(128, 128, 3);
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &r, .tensor = compare_block };
    o.prompt = joined_prompt();
    o.negative_prompt = PARITY_NEGATIVE;
    o.features = "";
    o.side = UDUMP_SIDE_BOTH;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    free(last_latent(session, &o, NULL, &sink, &r.g));
    assert_int_equal(r.compared, 2 * 3);
    udump_table *table;
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_rows(table), 3);
    free(last_latent(session, &o, table, &sink, &r.g)); /* a table knows its parts */
    udump_table_free(table);
    udump_session_destroy(session);
    udump_model_release(model);
    close_goldens(&r.g);
}

static void test_parity(void **state) {
    (void)state;
    run_parity(UDUMP_DEVICE_AUTO);
    run_parity(UDUMP_DEVICE_REFERENCE);
}

static float *latent_of(udump_session *session, const char *prompt, float cfg, const char *diff) {
    udump_generate_options o = parity_options(128, 128, 2);
    o.prompt = prompt;
    o.negative_prompt = "blue";
    o.cfg = cfg;
    o.diff = diff;
    return last_latent(session, &o, NULL, NULL, NULL);
}

static void expect_same(udump_session *session, const char *a, float cfg_a, const char *b, float cfg_b, bool same) {
    float *first = latent_of(session, a, cfg_a, NULL), *second = latent_of(session, b, cfg_b, NULL);
    double error = relative_error(first, second, 4 * 16 * 16);
    if ((error < 1e-5) != same) fail_msg("%s | %s: relative error %g", a, b, error);
    free(first);
    free(second);
}

static void test_meanings(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    expect_same(session, "a red circle:0.5", 7, "a red circle", 3.5f, true);
    expect_same(session, "a red circle:3", 1, "a red circle", 3, true); /* cfg 1 needs the negative prompt here */
    expect_same(session, "a circle:0.5 AND a circle:0.5", 7, "a circle", 7, true);
    expect_same(session, "a circle AND a square:0", 7, "a circle", 7, true);
    expect_same(session, "a circle AND a square", 7, "a circle", 7, false);
    expect_same(session, "(~: IN00-OUT11: a circle AND a square:-.5 :~)", 7, "a circle AND a square:-0.5", 7, true);
    expect_same(session, "a circle(~: IN00-OUT05: AND a square :~)", 7, "a circle AND a square", 7, false);
    expect_same(session, "[a:b:1] AND [c|d]", 7, "[a:b:1] AND [c:d:1]", 7, true);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* The twin's row that the joined prompt adds weighs nothing. */
static void test_diff(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    float *twins = latent_of(session, "a circle (~: IN00-OUT11: AND a square:0.5 :~)", 7, "OUT05"),
          *joined = latent_of(session, "a circle AND a square:0.5", 7, NULL), *plain = latent_of(session, "a circle", 7, NULL);
    assert_true(relative_error(twins, joined, 4 * 16 * 16) < 1e-5);
    assert_true(relative_error(twins + 4 * 16 * 16, plain, 4 * 16 * 16) < 1e-5);
    free(twins);
    free(joined);
    free(plain);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* Row `row` of a block: so many tokens, the first ones those of the text by itself, the others its last. */
static void expect_padded(udump_session *session, const udump_table *table, int32_t row, const char *text, int32_t tokens) {
    udump_context *alone, *context = udump_table_get(table, 12, row);
    udump_view own, padded;
    assert_int_equal(udump_context_encode(session, text, &alone, NULL), UDUMP_OK);
    udump_context_get_view(alone, &own);
    udump_context_get_view(context, &padded);
    assert_int_equal(padded.shape[0], tokens);
    size_t dim = (size_t)own.shape[1];
    const float *values = own.data, *found = padded.data;
    const udump_column *columns = udump_context_columns(alone), *labels = udump_context_columns(context);
    for (int32_t t = 0; t < tokens; t++) {
        int32_t from = t < own.shape[0] ? t : (int32_t)own.shape[0] - 1;
        assert_memory_equal(found + (size_t)t * dim, values + (size_t)from * dim, dim * sizeof *values);
        assert_int_equal(labels[t].id, columns[from].id);
        assert_int_equal(labels[t].word, columns[from].word);
    }
    udump_context_release(alone);
}

/* The webui makes the shorter ones as long as the longest by their last row, which is attended to that much more; cond and uncond it leaves as they are. */
static void test_unequal_lengths(void **state) {
    (void)state;
    char text[2000] = " a red circle";
    udump_model *model = load_demo(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32);
    udump_session *session = NULL;
    udump_table *table;
    udump_generate_options o;
    udump_generate_options_init(&o);
    for (int i = 0; i < 13; i++) strcat(text, " on a blue and green background"); /* 3 tokens, and 13 times 6: two chunks */
    char prompt[2200];
    snprintf(prompt, sizeof prompt, "a circle AND%s AND a square", text);
    o.prompt = prompt;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_rows(table), 4);
    expect_padded(session, table, 0, "a circle ", 154);
    expect_padded(session, table, 1, text, 154);
    expect_padded(session, table, 2, " a square", 154);
    expect_padded(session, table, 3, "", 77);
    assert_ptr_equal(udump_table_get(table, 0, 0), udump_table_get(table, 24, 0)); /* one for all blocks */
    udump_table_free(table);
    o.prompt = "a circle AND a square";
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    expect_padded(session, table, 1, " a square", 77);
    udump_table_free(table);
    udump_session_destroy(session);
    udump_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parity), cmocka_unit_test(test_meanings), cmocka_unit_test(test_diff), cmocka_unit_test(test_split), cmocka_unit_test(test_too_many), cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_unequal_lengths) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
