/* The tokenizer against transformers' ids, the labels, and what a plain prompt is. */
#include "text/bpe.h"
#include "text/merges.h"
#include "text/chunks.h"
#include "text/tokenizer.h"
#include "unetdump.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_ids(const char *text, const int32_t *expected, int32_t expected_count) {
    int32_t *ids = NULL, count = -1;
    udump_error error;
    if (udump_tokenize(text, &ids, &count, &error)) fail_msg("'%s': %s", text, error.what);
    if (count != expected_count) fail_msg("'%s': %d tokens, expected %d", text, (int)count, (int)expected_count);
    for (int32_t i = 0; i < count; i++)
        if (ids[i] != expected[i]) fail_msg("'%s': token %d is %d, expected %d", text, (int)i, (int)ids[i], (int)expected[i]);
    free(ids);
}

static void equals_the_vectors(void **state) {
    (void)state;
    json_t *cases = json_load_file(TEST_DATA "/vectors/tokens.json", 0, NULL);
    assert_true(json_array_size(cases) >= 60);
    size_t index;
    json_t *entry;
    json_array_foreach(cases, index, entry) {
        json_t *ids = json_object_get(entry, "ids");
        int32_t expected[512];
        assert_true(json_array_size(ids) <= 512);
        for (size_t i = 0; i < json_array_size(ids); i++) expected[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        assert_ids(json_string_value(json_object_get(entry, "text")), expected, (int32_t)json_array_size(ids));
    }
    json_decref(cases);
}

#define ASSERT_IDS(text, ...) \
    do { \
        const int32_t expected_ids[] = { __VA_ARGS__ }; \
        assert_ids(text, expected_ids, (int32_t)(sizeof expected_ids / sizeof *expected_ids)); \
    } while (0)

/* Ids from transformers' CLIPTokenizerFast 4.44 and CLIPTokenizer 5.23, which agree on these. */
static void normalises_as_transformers(void **state) {
    (void)state;
    assert_ids("", NULL, 0);
    assert_ids(" \t\n\v\f\r\xC2\x85\xC2\xA0\xE1\x9A\x80\xE2\x80\x83\xE2\x80\xA8\xE3\x80\x80", NULL, 0);
    ASSERT_IDS("\xC3\xA9", 4166); /* composed e acute */
    ASSERT_IDS("e\xCC\x81", 4166); /* decomposed */
    ASSERT_IDS("E\xCC\x81", 4166); /* composed first, lower case after */
    ASSERT_IDS("\xC4\xB0", 328, 16384); /* U+0130: i and U+0307, two words */
    ASSERT_IDS("I\xCC\x87", 328, 16384); /* composed to U+0130 on the way */
    ASSERT_IDS("\xCE\xA3\xCE\xA3", 139, 225, 139, 481); /* no final sigma */
    ASSERT_IDS("o\xCC\x82\xCC\xA3", 157, 119, 503); /* marks out of order: U+1ED9 */
    ASSERT_IDS("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", 15197, 506); /* jamo: U+D55C */
    ASSERT_IDS("\xEC\x96\xB4\xE1\x86\xA7", 31625, 112, 157, 228, 356); /* U+11A7 is no final consonant, and stays */
    ASSERT_IDS("\xE2\x84\xAA", 330); /* the Kelvin sign is a k */
    ASSERT_IDS("a\xE2\x80\x8B" "b", 320, 9844, 321); /* a zero width space is a symbol */
    ASSERT_IDS("\x01" "a", 445, 320);
    ASSERT_IDS("\xEF\xBF\xBD", 39802);
}

static void start_and_end_in_the_text(void **state) {
    (void)state;
    ASSERT_IDS("a<|endoftext|>b", 320, 49407, 321);
    ASSERT_IDS("A <|StartOfText|> B", 320, 49406, 321);
    ASSERT_IDS("!<|endoftext|>'s", 256, 49407, 568);
    ASSERT_IDS("<|endoftext|", 27, 347, 40786, 4160, 347);
}

/* The definition, rank by rank: slow, and nothing like the heap. */
static int32_t encode_by_rank(const char *word, int32_t *ids) {
    int32_t count = (int32_t)strlen(word);
    for (int32_t i = 0; i < count; i++) ids[i] = udump_clip_byte_ids[(uint8_t)word[i]];
    ids[count - 1] += UDUMP_CLIP_WORD_END;
    for (int32_t rank = 0; rank < UDUMP_CLIP_MERGES; rank++) {
        int32_t kept = 0;
        for (int32_t i = 0; i < count; i++, kept++) {
            bool pair = i + 1 < count && ids[i] == udump_clip_merges[rank][0] && ids[i + 1] == udump_clip_merges[rank][1];
            ids[kept] = pair ? UDUMP_CLIP_FIRST_MERGE + rank : ids[i];
            i += pair;
        }
        count = kept;
    }
    return count;
}

static void merges_by_rank_then_from_the_left(void **state) {
    (void)state;
    ASSERT_IDS("aaaaaaa", 6727, 9583);
    uint32_t random = 12345;
    for (int round = 0; round < 200; round++) {
        char word[40] = "";
        int length = 1 + round % 36;
        for (int i = 0; i < length; i++) {
            random = random * 1664525u + 1013904223u;
            word[i] = round % 2 ? "aeinorst"[random >> 29] : (char)('a' + (random >> 24) % 26);
        }
        int32_t expected[40];
        assert_ids(word, expected, encode_by_rank(word, expected));
    }
}

/* A quadratic tokenizer would not come back from these within the patience of a test. */
static void long_words_and_runs_of_marks(void **state) {
    (void)state;
    enum { COUNT = 1000000 };
    char *text = malloc(4 * COUNT + 2);
    assert_non_null(text);
    int32_t *ids, count;
    memset(text, 'a', COUNT);
    text[COUNT] = 0;
    assert_int_equal(udump_tokenize(text, &ids, &count, NULL), UDUMP_OK);
    size_t bytes = 0;
    for (int32_t i = 0; i < count; i++) bytes += udump_token_bytes(ids[i], (char[UDUMP_TOKEN_TEXT]){ 0 });
    assert_int_equal(bytes, COUNT);
    free(ids);

    for (int i = 0; i < COUNT; i++) memcpy(text + 4 * i, "\xCC\x81\xCC\xA3", 4); /* U+0301 goes behind U+0323, every one of them */
    text[4 * COUNT] = 0;
    assert_int_equal(udump_tokenize(text, &ids, &count, NULL), UDUMP_OK);
    assert_true(count > 0);
    free(ids);
    free(text);
}

static void assert_place(const udump_error *error, udump_status status, int64_t offset, int64_t line, int64_t column) {
    assert_int_equal(error->status, status);
    assert_int_equal(error->offset, offset);
    assert_int_equal(error->line, line);
    assert_int_equal(error->column, column);
}

static void refuses_what_is_not_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t offset, line, column;
        const char *found;
    } cases[] = {
        { "ab\xFF", 2, 1, 3, "the byte 0xFF" },
        { "\xC0\x80", 0, 1, 1, "the byte 0xC0" },               /* an overlong form */
        { "a\n\xC3\xA9\xED\xA0\x80", 3, 2, 2, "the byte 0xED" }, /* a surrogate */
        { "\xF4\x90\x80\x80", 0, 1, 1, "the byte 0xF4" },       /* above U+10FFFF */
        { "\xE2\x82", 0, 1, 1, "the byte 0xE2" },               /* cut off */
        { "x\x80", 1, 1, 2, "the byte 0x80" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids, count;
        udump_error error;
        assert_int_equal(udump_tokenize(cases[i].text, &ids, &count, &error), UDUMP_ERROR_ARGUMENT);
        assert_place(&error, UDUMP_ERROR_ARGUMENT, cases[i].offset, cases[i].line, cases[i].column);
        assert_string_equal(error.found, cases[i].found);
        assert_int_equal(udump_tokenize(cases[i].text, &ids, &count, NULL), UDUMP_ERROR_ARGUMENT);
        assert_int_equal(udump_tokens(cases[i].text, NULL, 0, &count, &error), UDUMP_ERROR_ARGUMENT);
        assert_place(&error, UDUMP_ERROR_ARGUMENT, cases[i].offset, cases[i].line, cases[i].column);
    }
}

static void refuses_a_text_that_is_too_long(void **state) {
    (void)state;
    char *text = malloc((size_t)UDUMP_TEXT_BYTES_MAX + 2);
    assert_non_null(text);
    memset(text, ' ', (size_t)UDUMP_TEXT_BYTES_MAX + 1);
    text[UDUMP_TEXT_BYTES_MAX + 1] = 0;
    int32_t *ids, count;
    udump_error error;
    assert_int_equal(udump_tokenize(text, &ids, &count, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.what, "67108864"));
    free(text);
}

static void a_token_has_a_text(void **state) {
    (void)state;
    static const struct {
        int32_t id;
        const char *text;
    } cases[] = { { 320, "a" }, { 64, "a" }, { 2242, "cute" }, { 4166, "\xC3\xA9" }, { 7334, "\xF0\x9F\x98\x80" }, { 568, "'s" },
        { 163, "\xEF\xBF\xBD" }, { 49405, "jekyll" }, { 49406, "<|startoftext|>" }, { 49407, "<|endoftext|>" }, { -1, "" }, { 49408, "" } };
    char text[UDUMP_TOKEN_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_token_text(cases[i].id, text);
        assert_string_equal(text, cases[i].text);
    }
    assert_int_equal(udump_token_bytes(163, text), 1);
    assert_int_equal((uint8_t)text[0], 0xE7);
    assert_int_equal(udump_token_bytes(188, text), 1); /* the byte 0 */
    assert_int_equal(udump_token_bytes(49408, text), 0);
    size_t longest = 0;
    for (int32_t id = 0; id <= UDUMP_CLIP_END; id++) {
        size_t length = udump_token_bytes(id, text);
        assert_in_range(length, 1, UDUMP_CLIP_TOKEN_BYTES);
        if (length > longest) longest = length;
        udump_token_text(id, text);
        assert_true(strlen(text) < UDUMP_TOKEN_TEXT);
    }
    assert_int_equal(longest, 32); /* eight emoji of four bytes */
}

static void public_tokens(void **state) {
    (void)state;
    udump_token tokens[160];
    int32_t count = -1;
    assert_int_equal(udump_tokens("a cute girl", tokens, 160, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 3);
    assert_int_equal(tokens[1].id, 2242);
    assert_string_equal(tokens[1].text, "cute");
    assert_true(tokens[1].weight == 1.0f);
    assert_int_equal(tokens[1].chunk, 0);
    assert_int_equal(tokens[1].column, 2);

    char text[400] = "";
    for (int i = 0; i < 152; i++) strcat(text, "a ");
    tokens[100].id = -5;
    assert_int_equal(udump_tokens(text, tokens, 100, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 152);
    assert_int_equal(tokens[100].id, -5); /* past the capacity: untouched */
    assert_int_equal(udump_tokens(text, tokens, 160, &count, NULL), UDUMP_OK);
    static const int32_t places[][3] = { { 0, 0, 1 }, { 74, 0, 75 }, { 75, 1, 78 }, { 149, 1, 152 }, { 150, 2, 155 } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        assert_int_equal(tokens[places[i][0]].chunk, places[i][1]);
        assert_int_equal(tokens[places[i][0]].column, places[i][2]);
    }
    assert_int_equal(udump_tokens("  ", NULL, 0, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 0);

    udump_error error;
    assert_int_equal(udump_tokens(NULL, tokens, 1, &count, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_tokens("a", tokens, 1, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_tokens("a", NULL, 1, &count, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_tokens("a", tokens, -1, &count, &error), UDUMP_ERROR_ARGUMENT);
}

static void one_fixed_prompt(void **state) {
    (void)state;
    static const struct {
        const char *prompt;
        udump_status status;
    } refused[] = { { "[a|b]", UDUMP_ERROR_ARGUMENT }, { "[a:b:0.5]", UDUMP_ERROR_ARGUMENT }, { "a cat AND a dog", UDUMP_ERROR_UNSUPPORTED },
        { "a (~: IN00: b :~)", UDUMP_ERROR_ARGUMENT }, { "a (~: IN00: b", UDUMP_ERROR_SYNTAX } };
    int32_t count;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        udump_error error;
        assert_int_equal(udump_tokens(refused[i].prompt, NULL, 0, &count, &error), refused[i].status);
        assert_string_equal(error.where, "prompt");
    }
    udump_token tokens[4];
    assert_int_equal(udump_tokens("a (red:1.5) [ball]", tokens, 4, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 3);
    assert_true(tokens[0].weight == 1 && tokens[1].weight == 1.5f && tokens[2].weight == (float)(1 / 1.1));
    assert_string_equal(tokens[1].text, "red");
    assert_int_equal(udump_tokens("a BREAK \\(b\\)", tokens, 4, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 4);
    assert_int_equal(tokens[1].column, 78);
    assert_string_equal(tokens[1].text, "(");
}

/* AND's weight at the end is none of the text, with or without AND. */
static void tokens_are_those_of_a_run(void **state) {
    (void)state;
    static const char *const cases[][2] = { { "red circle at 1:1", "red circle at 1" }, { "a :1", "a" }, { "a:1.0 ", "a" },
        { "16:9:1", "16:9," } };
    udump_token tokens[2][8];
    int32_t count[2];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 2; k++) assert_int_equal(udump_tokens(cases[i][k], tokens[k], 8, &count[k], NULL), UDUMP_OK);
        assert_int_equal(count[0], count[1] - (strchr(cases[i][1], ',') != NULL));
        assert_memory_equal(tokens[0], tokens[1], (size_t)count[0] * sizeof **tokens);
    }
    udump_error error;
    assert_int_equal(udump_tokens("aspect ratio 16:9", NULL, 0, &count[0], &error), UDUMP_ERROR_UNSUPPORTED);
    assert_string_equal(error.what, "':9' at its end is a weight for the whole prompt, which has to be 1 here");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_vectors),
        cmocka_unit_test(normalises_as_transformers),
        cmocka_unit_test(start_and_end_in_the_text),
        cmocka_unit_test(merges_by_rank_then_from_the_left),
        cmocka_unit_test(long_words_and_runs_of_marks),
        cmocka_unit_test(refuses_what_is_not_utf8),
        cmocka_unit_test(refuses_a_text_that_is_too_long),
        cmocka_unit_test(a_token_has_a_text),
        cmocka_unit_test(public_tokens),
        cmocka_unit_test(one_fixed_prompt),
        cmocka_unit_test(tokens_are_those_of_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
