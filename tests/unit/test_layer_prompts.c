/* Layer prompts: the vectors, what is decided where they are silent, errors and their places. */
#include "text/layer_prompt.h"
#include "unetdump.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *text_of(const json_t *entry, const char *key) { return json_string_value(json_object_get(entry, key)); }

static int32_t index_of(const char *name) { return udump_block_find(&udump_sd1_blocks, name, strlen(name)); }

static void expect_runs(const json_t *entry) {
    udump_layer_prompts prompts;
    udump_error error;
    const char *prompt = text_of(entry, "prompt");
    if (udump_layer_prompts_parse(&udump_sd1_blocks, prompt, &prompts, &error)) fail_msg("'%s': %s", prompt, error.what);
    assert_int_equal(prompts.count, 25);
    int32_t next = 0;
    size_t i;
    const json_t *run;
    json_array_foreach(json_object_get(entry, "runs"), i, run) {
        int32_t first = index_of(json_string_value(json_array_get(run, 0))), last = index_of(json_string_value(json_array_get(run, 1)));
        assert_int_equal(first, next);
        for (next = first; next <= last; next++) assert_string_equal(prompts.texts[next], json_string_value(json_array_get(run, 2)));
    }
    assert_int_equal(next, 25);
    assert_string_equal(prompts.erased, text_of(entry, "erased"));
    udump_layer_prompts_free(&prompts);
}

/* The code points of text before byte `at`. */
static int64_t code_points(const char *text, size_t at) {
    int64_t count = 0;
    for (size_t i = 0; i < at; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

static void expect_error(const json_t *entry) {
    udump_layer_prompts prompts;
    udump_error error;
    const char *prompt = text_of(entry, "prompt");
    const json_t *line = json_object_get(entry, "line"), *place = json_object_get(entry, "group_pos");
    assert_int_equal(udump_layer_prompts_parse(&udump_sd1_blocks, prompt, &prompts, &error), UDUMP_ERROR_SYNTAX);
    assert_true(error.expected[0] && error.what[0]);
    assert_string_equal(error.where, "prompt");
    if (line) {
        assert_int_equal(error.line, json_integer_value(line));
        assert_int_equal(error.column, json_integer_value(json_object_get(entry, "column")));
    }
    bool found = !place;
    for (const char *group = prompt; place && (group = strstr(group, "(~:")); group += 3)
        found |= code_points(prompt, (size_t)(group + 3 - prompt)) + json_integer_value(place) == error.offset;
    if (!found) fail_msg("'%s': the error is at %lld, expected %lld after the group's begin", prompt, (long long)error.offset,
        (long long)json_integer_value(place));
}

static void expect_all(const json_t *cases, size_t least) {
    size_t i;
    const json_t *entry;
    assert_true(json_array_size(cases) >= least);
    json_array_foreach(cases, i, entry) {
        if (json_is_true(json_object_get(entry, "error"))) expect_error(entry);
        else expect_runs(entry);
    }
}

static void equals_the_vectors(void **state) {
    (void)state;
    json_t *cases = json_load_file(TEST_DATA "/vectors/layer_prompts.json", 0, NULL);
    expect_all(cases, 60);
    json_decref(cases);
}

static void equals_the_decisions(void **state) {
    (void)state;
    json_t *decisions = json_load_file(TEST_DATA "/vectors/decisions.json", 0, NULL);
    expect_all(json_object_get(decisions, "layer_prompts"), 14);
    json_decref(decisions);
}

static void parse_one(const char *prompt, const char *in00, const char *out11, const char *erased) {
    udump_layer_prompts prompts;
    assert_int_equal(udump_layer_prompts_parse(&udump_sd1_blocks, prompt, &prompts, NULL), UDUMP_OK);
    assert_string_equal(prompts.texts[0], in00);
    assert_string_equal(prompts.texts[24], out11);
    assert_string_equal(prompts.erased, erased);
    udump_layer_prompts_free(&prompts);
}

static void texts_keep_what_is_theirs(void **state) {
    (void)state;
    parse_one("", "", "", "");
    parse_one("\\(~: IN00: b :~)", "\\(~: IN00: b :~)", "\\(~: IN00: b :~)", "\\(~: IN00: b :~)");
    parse_one("\\\\(~:IN00:b:~)", "\\\\b", "\\\\", "\\\\");
    parse_one("(~:IN00:(a:1.2) \\(x\\):~)", "(a:1.2) \\(x\\)", "", "");
    parse_one("(~:IN00:a\\:~)", "a\\", "", ""); /* the first :~) closes, whatever is before it */
    parse_one("(~:_ : \t a\n b\n \t:~)", "a\n b", "a\n b", "");
    parse_one("(~:IN00:a\n ;:~)", "a\n ", "", ""); /* the last text ends in a semicolon: nothing is layout */
    parse_one("(~:OUT11,,IN00:x:~)(~::~)", "x", "x", "");
}

static void errors_say_what_was_found(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *expected, *found;
        int64_t line, column;
    } cases[] = {
        { "a (~: IN00 b :~)", "',' or '-'", "'b'", 1, 12 },
        { "a (~: IN00 :~)", "':'", "':~)'", 1, 12 },
        { "\xE7\x8A\xAC\n (~:IN00-:a:~)", NULL, "':'", 2, 10 },
        { "(~:,:a:~)", "a block, or _", "':'", 1, 5 },
        { "(~:IN00,_:a:~)", NULL, "'_'", 1, 9 },
        { "a (~: x", ":~)", "'('", 1, 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_layer_prompts prompts;
        udump_error error;
        assert_int_equal(udump_layer_prompts_parse(&udump_sd1_blocks, cases[i].prompt, &prompts, &error), UDUMP_ERROR_SYNTAX);
        if (error.line != cases[i].line || error.column != cases[i].column || strcmp(error.found, cases[i].found) != 0)
            fail_msg("'%s': line %d, column %d, found %s", cases[i].prompt, (int)error.line, (int)error.column, error.found);
        if (cases[i].expected) assert_string_equal(error.expected, cases[i].expected);
    }
    udump_layer_prompts prompts;
    assert_int_equal(udump_layer_prompts_parse(&udump_sd1_blocks, "a\xFF", &prompts, NULL), UDUMP_ERROR_ARGUMENT);
    char *text = malloc((size_t)UDUMP_PROMPT_BYTES_MOST + 2);
    memset(text, 'a', (size_t)UDUMP_PROMPT_BYTES_MOST + 1);
    text[UDUMP_PROMPT_BYTES_MOST + 1] = 0;
    assert_int_equal(udump_layer_prompts_parse(&udump_sd1_blocks, text, &prompts, NULL), UDUMP_ERROR_ARGUMENT);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_vectors),
        cmocka_unit_test(equals_the_decisions),
        cmocka_unit_test(texts_keep_what_is_theirs),
        cmocka_unit_test(errors_say_what_was_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
