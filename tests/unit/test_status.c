/* The error detail: positions in code points, and the one line it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/status.h"

static void test_position_counts_code_points(void **state) {
    (void)state;
    udump_error error;
    const char text[] = "é\nüx y"; /* é and ü are two bytes each */
    assert_int_equal(udump_fail_syntax(&error, "prompt", text, 6, "unexpected text", "a block"), UDUMP_ERROR_SYNTAX);
    assert_int_equal(error.offset, 4);
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 3);
}

static void test_one_line(void **state) {
    (void)state;
    udump_error error;
    char line[256];
    udump_fail_values(&error, UDUMP_ERROR_WEIGHTS, "unet/conv_in.weight", "tensor has the wrong shape", "[4, 4]", "[4, 5]");
    size_t length = udump_error_format(&error, line, sizeof line);
    assert_string_equal(line, "unet/conv_in.weight: tensor has the wrong shape: expected [4, 4], found [4, 5]");
    assert_int_equal(length, strlen(line));
    udump_fail_syntax(&error, "layers", "IN0", 0, "unknown block", "IN00..IN11");
    udump_error_format(&error, line, sizeof line);
    assert_string_equal(line, "layers: unknown block at column 1: expected IN00..IN11");
}

static void test_format_never_overflows(void **state) {
    (void)state;
    udump_error error;
    char line[8] = "xxxxxxx";
    udump_fail(&error, UDUMP_ERROR_FILE, "a long place", "something");
    assert_int_equal(udump_error_format(&error, line, 5), strlen("a long place: something"));
    assert_string_equal(line, "a lo");
    assert_int_equal(line[5], 'x');
}

/* Of what is too long both ends are left, in whole characters. */
static void test_long_texts(void **state) {
    (void)state;
    udump_error error;
    char word[500] = "";
    for (int i = 0; i < 130; i++) strcat(word, "\xE6\x97\xA5"); /* three bytes each */
    udump_fail(&error, UDUMP_ERROR_ARGUMENT, word, "'%s' is no word of the prompt", word);
    for (int i = 0; i < 2; i++) {
        const char *text = i ? error.what : error.where, *gap = strstr(text, " ... ");
        assert_non_null(gap);
        assert_in_range(strlen(text), sizeof error.what - 6, sizeof error.what - 1);
        assert_int_equal((gap - text) % 3, i); /* after the quote */
        assert_true(strncmp(gap + 5, "\xE6\x97\xA5", 3) == 0);
    }
    assert_string_equal(strstr(error.what, "' is"), "' is no word of the prompt");
}

static void test_null_detail_is_accepted(void **state) {
    (void)state;
    assert_int_equal(udump_fail(NULL, UDUMP_ERROR_FILE, "x", "y"), UDUMP_ERROR_FILE);
    assert_int_equal(udump_fail_values(NULL, UDUMP_ERROR_FILE, "x", "y", NULL, NULL), UDUMP_ERROR_FILE);
    assert_int_equal(udump_fail_syntax(NULL, "x", "text", 2, "y", NULL), UDUMP_ERROR_SYNTAX);
}

static void test_bf16_rounds_to_nearest_even(void **state) {
    (void)state;
    assert_int_equal(udump_f32_to_bf16(1.0f), 0x3F80);
    assert_int_equal(udump_f32_to_bf16(udump_bits_to_f32(0x3F808000)), 0x3F80); /* halfway: to even, down */
    assert_int_equal(udump_f32_to_bf16(udump_bits_to_f32(0x3F818000)), 0x3F82); /* halfway: to even, up */
    assert_int_equal(udump_f32_to_bf16(udump_bits_to_f32(0x3F808001)), 0x3F81);
    assert_int_equal(udump_f32_to_bf16(udump_bits_to_f32(0x7F800001)) & 0x7FC0, 0x7FC0); /* NaN stays NaN */
    assert_int_equal(udump_f32_to_bf16(udump_bits_to_f32(0x7F7FFFFF)), 0x7F80); /* the largest rounds to infinity */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_position_counts_code_points), cmocka_unit_test(test_one_line), cmocka_unit_test(test_format_never_overflows),
        cmocka_unit_test(test_long_texts), cmocka_unit_test(test_null_detail_is_accepted), cmocka_unit_test(test_bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
