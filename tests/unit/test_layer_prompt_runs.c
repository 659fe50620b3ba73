/* Runs with layer prompts: what they say of every block's prompt, schedules inside, tables from prompts, errors' positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "demo_runs.h"

static const char prompt[] = "a (~: IN00-IN08: red; OUT03-OUT11: green; _: blue :~) circle";
static const char negative[] = "blurry(~: M00: dark :~)";

/* The run says what every block attends to, on both sides, with and without. */
static void test_run_tells_each_blocks_prompt(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = demo_run(prompt, negative, "M00");
    recording r = { 0 };
    record(session, &o, &r);
    int seen[2][2] = { { 0 } };
    for (int32_t i = 0; i < r.prompt_count; i++) {
        const kept_prompt *p = &r.prompts[i];
        udump_prompt *parsed[2];
        bool off = p->variant == UDUMP_VARIANT_ERASED, uncond = p->side == UDUMP_SIDE_UNCOND;
        int32_t block = 0;
        while (block < BLOCKS && strcmp(udump_block_name(NULL, block), p->block) != 0) block++;
        assert_in_range(block, 0, BLOCKS - 1);
        assert_int_equal(p->until, STEPS);
        assert_in_range(p->context, 0, r.context_count - 1);
        assert_int_equal(udump_prompt_parse(NULL, prompt, STEPS, 0, &parsed[0], NULL), UDUMP_OK);
        assert_int_equal(udump_prompt_parse(NULL, negative, STEPS, 1, &parsed[1], NULL), UDUMP_OK);
        assert_string_equal(
            r.contexts[p->context].text, off ? udump_prompt_erased(parsed[uncond]) : udump_prompt_block(parsed[uncond], block));
        udump_prompt_free(parsed[0]);
        udump_prompt_free(parsed[1]);
        seen[off][uncond]++;
    }
    assert_true(seen[0][0] == seen[0][1] && seen[1][0] == seen[0][0] && seen[1][1] == seen[0][0]);
    assert_true(seen[0][0] == BLOCKS || seen[0][0] == 16); /* of all blocks, or of those that attend */
    assert_int_equal(r.context_count, 3 + 1 + 1 + 1); /* red, green, blue, none; dark, none; each once */
    recording_free(&r);
    udump_session_destroy(session);
}

/* A schedule inside a layer prompt: its stretches, and a run that is each text's own while it holds. */
static void test_schedule_in_a_layer_prompt(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = demo_run("a (~: M00-OUT11: [red:green:1] :~) circle", "", NULL);
    udump_generate_options start = demo_run("a (~: M00-OUT11: red :~) circle", "", NULL);
    recording scheduled = { 0 }, first = { 0 };
    record(session, &o, &scheduled);
    record(session, &start, &first);
    size_t bytes = (size_t)scheduled.latent_count * sizeof(float);
    assert_memory_equal(scheduled.latents[0], first.latents[0], bytes);
    assert_memory_not_equal(scheduled.latents[1], first.latents[1], bytes);
    int until[STEPS + 1] = { 0 };
    for (int32_t i = 0; i < scheduled.prompt_count; i++) {
        const kept_prompt *p = &scheduled.prompts[i];
        assert_in_range(p->until, 1, STEPS);
        if (p->side != UDUMP_SIDE_COND || strcmp(p->block, "OUT11") != 0) continue;
        until[p->until]++;
        if (!strstr(scheduled.contexts[p->context].text, p->until == 1 ? "red" : "green"))
            fail_msg("until step %d: %s", (int)p->until, scheduled.contexts[p->context].text);
    }
    assert_true(until[1] == 1 && until[STEPS] == 1);
    recording_free(&scheduled);
    recording_free(&first);
    udump_session_destroy(session);
}

/* Rows of a table: with, without, then the negative prompt's with and without. */
static void test_table_from_prompts(void **state) {
    (void)state;
    udump_session *session = recording_session(reference);
    udump_generate_options o = demo_run(prompt, negative, "");
    udump_table *table;
    udump_prompt *parsed[2];
    o.batch_size = 2;
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_rows(table), 8);
    assert_int_equal(udump_prompt_parse(NULL, prompt, STEPS, 0, &parsed[0], NULL), UDUMP_OK);
    assert_int_equal(udump_prompt_parse(NULL, negative, STEPS, 1, &parsed[1], NULL), UDUMP_OK);
    for (int32_t row = 0; row < 8; row++)
        for (int32_t block = 0; block < BLOCKS; block++) {
            const udump_prompt *p = parsed[row / 4];
            const char *expected = row / 2 % 2 ? udump_prompt_erased(p) : udump_prompt_block(p, block);
            udump_context *context = udump_table_get(table, block, row);
            assert_non_null(context);
            assert_string_equal(udump_context_text(context), expected);
        }
    assert_ptr_equal(udump_table_get(table, 0, 0), udump_table_get(table, 8, 1)); /* a text is encoded once */
    assert_ptr_equal(udump_table_get(table, 0, 2), udump_table_get(table, 24, 3));
    assert_ptr_not_equal(udump_table_get(table, 0, 0), udump_table_get(table, 24, 0));

    /* The run on that table is the run on the prompts. */
    o.no_canvas = 1;
    recording by_table = { 0 }, by_prompt = { 0 };
    udump_sink sink = recording_sink(&by_table);
    int32_t remaining = -1;
    assert_int_equal(udump_begin(session, &o, table, &sink, NULL), UDUMP_OK);
    while (remaining != 0) assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
    recording_check_counts(&by_table, &o);
    record(session, &o, &by_prompt);
    assert_int_equal(by_table.tensor_count, by_prompt.tensor_count);
    for (int32_t i = 0; i < by_table.tensor_count; i++) assert_same_tensor(&by_table.tensors[i], &by_prompt.tensors[i]);

    udump_table_free(table);
    o.cfg = 1;
    o.diff = NULL;
    assert_int_equal(udump_table_encode(session, &o, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_rows(table), 2);
    udump_table_free(table);
    recording_free(&by_table);
    recording_free(&by_prompt);
    udump_prompt_free(parsed[0]);
    udump_prompt_free(parsed[1]);
    udump_session_destroy(session);
}

/* A failed parse says where: line and column from 1, in code points. */
static void expect_position(udump_session *session, const char *text, const char *negative_text, int64_t line, int64_t column) {
    udump_generate_options o = demo_run(text, negative_text, NULL);
    udump_error error = { .status = UDUMP_OK };
    udump_table *table;
    assert_int_equal(udump_generate(session, &o, NULL, &error), UDUMP_ERROR_SYNTAX);
    if (error.line != line || error.column != column)
        fail_msg("%s: line %d, column %d, expected %d, %d", text, (int)error.line, (int)error.column, (int)line, (int)column);
    assert_true(strlen(error.expected) > 0);
    memset(&error, 0, sizeof error);
    assert_int_equal(udump_table_encode(session, &o, &table, &error), UDUMP_ERROR_SYNTAX);
    assert_true(error.line == line && error.column == column);
}

static void test_bad_layer_prompts(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    expect_position(session, "a (~:IN00:b", "", 1, 3);
    expect_position(session, "a\nbc (~:IN00b:~)", "", 2, 11);
    expect_position(session, "a (~:IN99:b:~)", "", 1, 6);
    expect_position(session, "a circle", "\xc3\xa9\n(~:IN00-IN02(0):b:~)", 2, 14);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_tells_each_blocks_prompt),
        cmocka_unit_test(test_schedule_in_a_layer_prompt),
        cmocka_unit_test(test_table_from_prompts),
        cmocka_unit_test(test_bad_layer_prompts),
    };
    return cmocka_run_group_tests(tests, demo_load, demo_unload);
}
