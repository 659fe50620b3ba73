/* Emphasis and schedules against the webui's own parsers, chunks, and the public prompt. */
#include "text/chunks.h"
#include "text/emphasis.h"
#include "text/prompt_schedule.h"
#include "unetdump.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void emphasis_equals_the_vectors(void **state) {
    (void)state;
    json_t *vectors = json_load_file(TEST_DATA "/vectors/prompt_syntax.json", 0, NULL);
    const json_t *cases = json_object_get(vectors, "emphasis"), *entry;
    assert_true(json_array_size(cases) >= 60);
    size_t i;
    json_array_foreach(cases, i, entry) {
        const json_t *weights = json_object_get(entry, "weights");
        const char *prompt = json_string_value(json_object_get(entry, "prompt"));
        udump_prompt_piece *pieces;
        int32_t count;
        assert_int_equal(udump_emphasis_parse(prompt, &pieces, &count, NULL), UDUMP_OK);
        if ((size_t)count != json_array_size(weights)) fail_msg("'%s': %d pieces", prompt, (int)count);
        for (int32_t k = 0; k < count; k++) {
            const json_t *pair = json_array_get(weights, (size_t)k);
            assert_string_equal(pieces[k].text, json_string_value(json_array_get(pair, 0)));
            double weight = json_number_value(json_array_get(pair, 1)); /* the same products in the same order, but for the last bit */
            if (fabs(pieces[k].weight - weight) > 1e-15 * fabs(weight)) fail_msg("'%s': weight %.17g, expected %.17g", prompt, pieces[k].weight, weight);
        }
        udump_emphasis_free(pieces, count);
    }
    json_decref(vectors);
}

static void schedules_equal_the_vectors(void **state) {
    (void)state;
    json_t *vectors = json_load_file(TEST_DATA "/vectors/prompt_syntax.json", 0, NULL);
    const json_t *cases = json_object_get(vectors, "schedules"), *entry;
    assert_true(json_array_size(cases) >= 60);
    size_t i;
    json_array_foreach(cases, i, entry) {
        const json_t *schedule = json_object_get(entry, "schedule");
        const char *prompt = json_string_value(json_object_get(entry, "prompt"));
        udump_scheduled_text *entries;
        int32_t count, steps = (int32_t)json_integer_value(json_object_get(entry, "steps"));
        assert_int_equal(udump_prompt_schedule_parse(prompt, steps, &entries, &count, NULL), UDUMP_OK);
        if ((size_t)count != json_array_size(schedule)) fail_msg("'%s': %d entries", prompt, (int)count);
        for (int32_t k = 0; k < count; k++) {
            const json_t *pair = json_array_get(schedule, (size_t)k);
            if (entries[k].until != json_integer_value(json_array_get(pair, 0))
                || strcmp(entries[k].text, json_string_value(json_array_get(pair, 1))) != 0)
                fail_msg("'%s': entry %d is '%s' until %d", prompt, (int)k, entries[k].text, (int)entries[k].until);
        }
        udump_prompt_schedule_free(entries, count);
    }
    json_decref(vectors);
}

/* What is not in the vectors: deep, broken and degenerate brackets. */
static void schedules_stay_literal_where_they_are_broken(void **state) {
    (void)state;
    static const struct {
        const char *prompt;
        int32_t count;
        const char *first, *last;
    } cases[] = { { "", 1, "", "" }, { "[a:b:c]", 1, "[a:b:c]", "[a:b:c]" }, { "[a:3", 1, "[a:3", "[a:3" }, { "a|b [c:3]", 1, "a|b [c:3]", "a|b [c:3]" },
        { "[:3]", 2, "", "" }, { "[::3]", 2, "", "" }, { "[a:0]", 1, "a", "a" }, { "[a:-3]", 1, "a", "a" }, { "[a:99]", 1, "", "" },
        { "[a:1.5]", 1, "", "" }, { "[a::.5]b", 2, "ab", "b" }, { "[|]", 10, "", "" }, { "[a|]", 10, "a", "" }, { "([a:3]", 2, "(", "(a" },
        { "[a:b:3:4]", 1, "[a:b:3:4]", "[a:b:3:4]" }, { "[a\\:b:3]", 2, "", "a\\:b" },
        { "[a:b:3e0]", 2, "a", "b" }, { "[a:b:0.02E+1]", 2, "a", "b" }, { "[a:b:30e-1 ]", 2, "a", "b" }, { "[a:b:0e999]", 1, "b", "b" },
        { "[a:b:1e999]", 1, "a", "a" }, { "[a:b:1e-999]", 1, "b", "b" }, { "[a:b:3e]", 1, "[a:b:3e]", "[a:b:3e]" },
        { "[a:b:\u3000 3\u00a0]", 2, "a", "b" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_scheduled_text *entries;
        int32_t count;
        assert_int_equal(udump_prompt_schedule_parse(cases[i].prompt, 10, &entries, &count, NULL), UDUMP_OK);
        if (count != cases[i].count || strcmp(entries[0].text, cases[i].first) || strcmp(entries[count - 1].text, cases[i].last))
            fail_msg("'%s': %d entries, '%s' to '%s'", cases[i].prompt, (int)count, entries[0].text, entries[count - 1].text);
        udump_prompt_schedule_free(entries, count);
    }
    char deep[4001];
    memset(deep, '[', 2000);
    memset(deep + 2000, ']', 2000);
    deep[4000] = 0;
    udump_scheduled_text *entries;
    int32_t count;
    assert_int_equal(udump_prompt_schedule_parse(deep, 10, &entries, &count, NULL), UDUMP_OK);
    assert_string_equal(entries[0].text, deep);
    udump_prompt_schedule_free(entries, count);
}

static void numbers_of_emphasis(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *text;
        double weight;
        int32_t count;
    } cases[] = { { "(a:.5)", "a", 0.5, 1 }, { "(a:1.)", "a", 1, 1 }, { "(a:.)", "a:.", 1.1, 1 }, { "(a:-1)", "a", -1, 1 },
        { "(a: +2.25 )", "a", 2.25, 1 }, { "(a:1e3)", "a:1e3", 1.1, 1 }, { "(a:)", "a:", 1.1, 1 },
        { "((((a))))", "a", 1.1 * 1.1 * 1.1 * 1.1, 1 }, { "[[a]]", "a", 1 / 1.1 / 1.1, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_prompt_piece *pieces;
        int32_t count;
        assert_int_equal(udump_emphasis_parse(cases[i].prompt, &pieces, &count, NULL), UDUMP_OK);
        assert_int_equal(count, cases[i].count);
        assert_string_equal(pieces[0].text, cases[i].text);
        assert_true(fabs(pieces[0].weight - cases[i].weight) < 1e-15);
        udump_emphasis_free(pieces, count);
    }
}

/* Numbers of hundreds of digits, and brackets of thousands: no infinity, nothing that is not a number. */
static void numbers_stay_finite(void **state) {
    (void)state;
    char digits[401], text[512];
    memset(digits, '9', 400);
    digits[400] = 0;
    static const struct {
        const char *before, *after;
        double weight;
    } weights[] = { { "(a:0.", ")", 1 }, { "(a:", ")", 1e6 }, { "(a:-", ".5)", -1e6 }, { "((a:", "):0)", 0 } };
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        udump_prompt_piece *pieces;
        int32_t count;
        snprintf(text, sizeof text, "%s%s%s", weights[i].before, digits, weights[i].after);
        assert_int_equal(udump_emphasis_parse(text, &pieces, &count, NULL), UDUMP_OK);
        assert_string_equal(pieces[0].text, "a");
        if (!(fabs(pieces[0].weight - weights[i].weight) < 1e-12)) fail_msg("%s...%s: weight %g", weights[i].before, weights[i].after, pieces[0].weight);
        udump_emphasis_free(pieces, count);
    }
    static const char *const befores[] = { "[a:0.", "[a:", "[a:-" };
    for (size_t i = 0; i < sizeof befores / sizeof *befores; i++) {
        udump_scheduled_text *entries;
        int32_t count;
        snprintf(text, sizeof text, "%s%s]", befores[i], digits);
        assert_int_equal(udump_prompt_schedule_parse(text, 10, &entries, &count, NULL), UDUMP_OK);
        assert_string_equal(entries[count - 1].text, i == 2 ? "a" : "");
        udump_prompt_schedule_free(entries, count);
    }
    static char deep[30002];
    memset(deep, '(', 30000);
    deep[30000] = 'a';
    udump_prompt_piece *pieces;
    int32_t count;
    assert_int_equal(udump_emphasis_parse(deep, &pieces, &count, NULL), UDUMP_OK);
    for (int32_t i = 0; i < count; i++) assert_true(isfinite(pieces[i].weight));
    udump_emphasis_free(pieces, count);
}

static udump_chunks chunks_of(const char *prompt) {
    udump_prompt_piece *pieces;
    int32_t count;
    udump_chunks chunks;
    assert_int_equal(udump_emphasis_parse(prompt, &pieces, &count, NULL), UDUMP_OK);
    assert_int_equal(udump_chunks_make(pieces, count, NULL, &chunks, NULL), UDUMP_OK);
    udump_emphasis_free(pieces, count);
    for (int32_t i = 0; i < chunks.count * UDUMP_CHUNK_TOKENS; i++) {
        assert_int_equal(chunks.ids[i], chunks.columns[i].id);
        assert_true(chunks.weights[i] == chunks.columns[i].weight);
        if (i % UDUMP_CHUNK_TOKENS == 0) assert_string_equal(chunks.columns[i].text, "<start>");
        if (i % UDUMP_CHUNK_TOKENS == UDUMP_CHUNK_TOKENS - 1) assert_string_equal(chunks.columns[i].text, "<end>");
    }
    return chunks;
}

static void words_of_columns(void **state) {
    (void)state;
    udump_chunks chunks = chunks_of("a (jekyllhyde:1.3) BREAK it's");
    assert_int_equal(chunks.count, 2);
    assert_int_equal(chunks.columns[0].word, -1);
    assert_int_equal(chunks.columns[1].word, 0);
    assert_int_equal(chunks.columns[2].word, 1);
    assert_int_equal(chunks.columns[4].word, 1); /* one word, three tokens */
    assert_true(chunks.weights[4] == 1.3f && chunks.weights[5] == 1);
    assert_int_equal(chunks.columns[5].word, -1);
    assert_int_equal(chunks.columns[78].word, 2);
    assert_string_equal(chunks.columns[78].text, "it");
    assert_string_equal(chunks.columns[79].text, "'s");
    udump_chunks_free(&chunks);
    static const struct {
        const char *prompt;
        int32_t count;
    } counts[] = { { "", 1 }, { "a BREAK", 1 }, { "BREAK a", 2 }, { "a BREAK BREAK b", 3 }, { "(a BREAK b)", 1 } };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        chunks = chunks_of(counts[i].prompt);
        assert_int_equal(chunks.count, counts[i].count);
        udump_chunks_free(&chunks);
    }
}

/* A prompt of `before` words, a comma, and `after` words: how many tokens the first chunk and the second one keep. */
static void expect_split(int before, int after, int first, int second) {
    char text[1024] = "";
    for (int i = 0; i < before; i++) strcat(text, "a ");
    strcat(text, ", ");
    for (int i = 0; i < after; i++) strcat(text, "b ");
    udump_chunks chunks = chunks_of(text);
    int used[2] = { 0, 0 };
    for (int32_t i = 0; i < chunks.count * UDUMP_CHUNK_TOKENS; i++) used[i / UDUMP_CHUNK_TOKENS] += chunks.columns[i].word >= 0;
    assert_int_equal(used[0], first);
    assert_int_equal(used[1], second);
    udump_chunks_free(&chunks);
}

static void commas_move_what_follows(void **state) {
    (void)state;
    expect_split(60, 14, 75, 0);
    expect_split(60, 15, 61, 15); /* the comma is at place 60: 15 before the end */
    expect_split(55, 20, 56, 20); /* 20 before the end: still moved */
    expect_split(54, 21, 75, 1);  /* 21: too far */
    expect_split(74, 1, 75, 1);
    expect_split(75, 3, 75, 4); /* a comma on a full chunk goes on with the next */
    char *text = malloc(2 * 64 * 75 + 8);
    text[0] = 0;
    for (int i = 0; i < 64 * 75; i++) memcpy(text + 2 * i, "a ", 3);
    udump_chunks chunks = chunks_of(text);
    assert_int_equal(chunks.count, UDUMP_CHUNKS_MOST);
    udump_chunks_free(&chunks);
    strcat(text, "a");
    udump_prompt_piece piece = { text, 1 };
    assert_int_equal(udump_chunks_make(&piece, 1, NULL, &chunks, NULL), UDUMP_ERROR_UNSUPPORTED);
    free(text);
}

static void the_public_prompt(void **state) {
    (void)state;
    udump_prompt *prompt;
    int32_t count;
    assert_int_equal(udump_prompt_parse(NULL, "a (~: M00: (red:1.5) :~) ball", 20, 0, &prompt, NULL), UDUMP_OK);
    assert_string_equal(udump_prompt_block(prompt, 12), "a  (red:1.5)  ball");
    assert_string_equal(udump_prompt_block(prompt, 0), "a  ball");
    assert_string_equal(udump_prompt_erased(prompt), "a  ball");
    assert_null(udump_prompt_block(prompt, 25));
    assert_null(udump_prompt_schedule(prompt, 25, &count));
    const udump_prompt_entry *entry = udump_prompt_schedule(prompt, 12, &count);
    assert_int_equal(count, 1);
    assert_int_equal(entry->until, 20);
    assert_int_equal(entry->part_count, 1);
    assert_int_equal(entry->parts[0].piece_count, 3);
    assert_true(entry->parts[0].pieces[1].weight == 1.5);
    assert_ptr_equal(udump_prompt_schedule(prompt, 0, &count), udump_prompt_schedule(prompt, 1, &count)); /* equal texts are parsed once */
    udump_prompt_free(prompt);

    udump_error error;
    static const char *const fine[] = { "[a]", "[a\\|b]", "[(a:1.2)]", "SAND ANDES _AND", "a:b|c", "[a|b]" };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(udump_prompt_parse(NULL, fine[i], 20, 0, &prompt, &error), UDUMP_OK);
        udump_prompt_free(prompt);
    }
    assert_int_equal(udump_prompt_parse(NULL, "a AND b:2", 20, 1, &prompt, &error), UDUMP_OK); /* text in a negative prompt */
    entry = udump_prompt_schedule(prompt, 0, &count);
    assert_int_equal(entry->part_count, 1);
    assert_string_equal(entry->parts[0].text, "a AND b:2");
    assert_true(entry->parts[0].weight == 1);
    udump_prompt_free(prompt);
    assert_int_equal(udump_prompt_parse(NULL, "a (~: IN99: b:~)", 20, 0, &prompt, &error), UDUMP_ERROR_SYNTAX);
    assert_int_equal(error.column, 7);
    assert_int_equal(udump_prompt_parse(NULL, "a", 0, 0, &prompt, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_prompt_parse(NULL, NULL, 1, 0, &prompt, &error), UDUMP_ERROR_ARGUMENT);
    udump_prompt_free(NULL);
}

/* A text of 8 KB that is another one at each of 1000 steps, and one that takes turns. */
static void different_texts_are_bounded(void **state) {
    (void)state;
    static char text[16384];
    memset(text, 'x', 8192);
    strcpy(text + 8192, "[a|b]");
    udump_prompt *prompt;
    udump_error error;
    assert_int_equal(udump_prompt_parse(NULL, text, 1000, 0, &prompt, &error), UDUMP_OK);
    udump_prompt_free(prompt);
    char *end = text + 8193;
    for (int i = 0; i < 1000; i++) end += sprintf(end, "%s%x", i ? "|" : "", (unsigned)i);
    strcpy(end, "]");
    assert_int_equal(udump_prompt_parse(NULL, text, 1000, 0, &prompt, &error), UDUMP_ERROR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emphasis_equals_the_vectors),
        cmocka_unit_test(schedules_equal_the_vectors),
        cmocka_unit_test(schedules_stay_literal_where_they_are_broken),
        cmocka_unit_test(numbers_of_emphasis),
        cmocka_unit_test(numbers_stay_finite),
        cmocka_unit_test(words_of_columns),
        cmocka_unit_test(commas_move_what_follows),
        cmocka_unit_test(the_public_prompt),
        cmocka_unit_test(different_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
