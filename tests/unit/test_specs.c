/* Block names, layer specs and step specs: the vectors, and where errors are. */
#include "text/block.h"
#include "text/layer_spec.h"
#include "unetdump.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VECTOR_TOTAL = 60 }; /* step_specs.json names no step past this, and no total */

static const udump_block_set sdxl = { .in_count = 9, .out_count = 9 };

static void block_names(void **state) {
    (void)state;
    char name[UDUMP_BLOCK_NAME], set[64];
    assert_int_equal(udump_block_count(&udump_sd1_blocks), UDUMP_SD1_BLOCKS);
    for (int32_t i = 0; i < UDUMP_SD1_BLOCKS; i++) {
        assert_true(udump_block_format(&udump_sd1_blocks, i, name));
        assert_string_equal(name, udump_sd1_block_names[i]);
        assert_int_equal(udump_block_find(&udump_sd1_blocks, name, strlen(name)), i);
    }
    assert_false(udump_block_format(&udump_sd1_blocks, -1, name));
    assert_string_equal(name, "");
    assert_false(udump_block_format(&udump_sd1_blocks, 25, name));
    assert_int_equal(udump_block_find(&udump_sd1_blocks, "IN12", 4), -1);
    assert_int_equal(udump_block_find(&udump_sd1_blocks, "IN001", 5), -1);
    assert_int_equal(udump_block_find(&udump_sd1_blocks, "", 0), -1);
    assert_true(udump_block_format(&sdxl, 9, name));
    assert_string_equal(name, "M00");
    assert_true(udump_block_format(&sdxl, 18, name));
    assert_string_equal(name, "OUT08");
    udump_block_describe(&sdxl, set);
    assert_string_equal(set, "IN00..IN08, M00, OUT00..OUT08");
}

static void check_layer_case(const json_t *entry) {
    const char *spec = json_string_value(json_object_get(entry, "spec"));
    uint8_t selected[UDUMP_SD1_BLOCKS], expected[UDUMP_SD1_BLOCKS] = { 0 };
    udump_error error;
    udump_status status = udump_layer_spec_parse(&udump_sd1_blocks, spec, selected, &error);
    if (json_is_true(json_object_get(entry, "error"))) {
        if (status != UDUMP_ERROR_SYNTAX) fail_msg("'%s' should not parse", spec);
        return;
    }
    if (status) fail_msg("'%s': %s at %d", spec, error.what, (int)error.offset);
    size_t index;
    json_t *block, *blocks = json_object_get(entry, "blocks");
    json_array_foreach(blocks, index, block) {
        int32_t place = udump_block_find(&udump_sd1_blocks, json_string_value(block), json_string_length(block));
        assert_true(place >= 0);
        expected[place] = 1;
    }
    if (memcmp(selected, expected, sizeof expected) != 0) fail_msg("'%s' selects other blocks", spec);
}

static void check_step_case(const json_t *entry) {
    const char *spec = json_string_value(json_object_get(entry, "spec"));
    json_t *given_total = json_object_get(entry, "total");
    int32_t total = given_total ? (int32_t)json_integer_value(given_total) : VECTOR_TOTAL;
    uint8_t selected[VECTOR_TOTAL], expected[VECTOR_TOTAL] = { 0 };
    assert_in_range(total, 1, VECTOR_TOTAL);
    udump_error error;
    udump_status status = udump_steps_parse(spec, total, selected, NULL, &error);
    if (json_is_true(json_object_get(entry, "error"))) {
        if (status != UDUMP_ERROR_SYNTAX) fail_msg("'%s' should not parse", spec);
        return;
    }
    if (status) fail_msg("'%s': %s at %d", spec, error.what, (int)error.offset);
    size_t index;
    json_t *step;
    json_array_foreach(json_object_get(entry, "steps"), index, step) expected[json_integer_value(step) - 1] = 1;
    if (memcmp(selected, expected, (size_t)total) != 0) fail_msg("'%s' selects other steps", spec);
}

static void check_file(const char *name, const char *part, size_t at_least, void (*check)(const json_t *)) {
    json_t *file = json_load_file(name, 0, NULL), *cases = part ? json_object_get(file, part) : file, *entry;
    assert_true(json_array_size(cases) >= at_least);
    size_t index;
    json_array_foreach(cases, index, entry) check(entry);
    json_decref(file);
}

static void equal_the_vectors(void **state) {
    (void)state;
    check_file(TEST_DATA "/vectors/layer_specs.json", NULL, 60, check_layer_case);
    check_file(TEST_DATA "/vectors/step_specs.json", NULL, 60, check_step_case);
    check_file(TEST_DATA "/vectors/decisions.json", "layer_specs", 11, check_layer_case);
    check_file(TEST_DATA "/vectors/decisions.json", "step_specs", 8, check_step_case);
}

typedef struct error_case {
    const char *spec;
    int64_t offset, line, column;
    const char *expected, *found;
} error_case;

static void check_error(const error_case *c, udump_status status, const udump_error *error, const char *where) {
    if (status != UDUMP_ERROR_SYNTAX) fail_msg("'%s' should not parse", c->spec);
    assert_int_equal(error->status, UDUMP_ERROR_SYNTAX);
    if (error->offset != c->offset) fail_msg("'%s': offset %d, expected %d", c->spec, (int)error->offset, (int)c->offset);
    assert_int_equal(error->line, c->line);
    assert_int_equal(error->column, c->column);
    assert_string_equal(error->where, where);
    assert_string_equal(error->expected, c->expected);
    assert_string_equal(error->found, c->found);
}

static void layer_errors_have_a_place(void **state) {
    (void)state;
    static const char block[] = "a block: IN00..IN11, M00, OUT00..OUT11", more[] = "',' or '-'", after_range[] = "',' or '('";
    static const error_case cases[] = {
        { "in00", 0, 1, 1, block, "'i'" },
        { "IN0", 0, 1, 1, block, "'I'" },
        { "IN12", 0, 1, 1, block, "IN12" },
        { "M00,M01", 4, 1, 5, block, "M01" },
        { "IN000", 4, 1, 5, more, "'0'" },
        { "IN00 IN01", 5, 1, 6, more, "'I'" },
        { "IN00(2)", 4, 1, 5, more, "'('" },
        { "IN00-", 5, 1, 6, block, "the end" },
        { "IN00 - ,", 7, 1, 8, block, "','" },
        { "IN00--IN02", 5, 1, 6, block, "'-'" },
        { "IN00-IN02-IN04", 9, 1, 10, after_range, "'-'" },
        { "IN00-IN02(+2)(2)", 13, 1, 14, "','", "'('" },
        { "IN00-IN05(0)", 10, 1, 11, "a step from 1, as in (+2)", "0" },
        { "IN00-IN05(+00)", 11, 1, 12, "a step from 1", "00" },
        { "IN00-IN05(-1)", 10, 1, 11, "a step from 1, as in (+2)", "'-'" },
        { "IN00-IN05(2", 11, 1, 12, "')'", "the end" },
        { "IN00-IN05(2.5)", 11, 1, 12, "')'", "'.'" },
        { "IN00,\n\xE7\x8A\xAC", 6, 2, 1, block, "'\xE7\x8A\xAC'" },
        { "IN00,\n M00 \xC3\xA9", 11, 2, 6, more, "'\xC3\xA9'" },
        { "IN00\xFF", 4, 1, 5, more, "the byte 0xFF" },
        { "OUT05\xE3\x80\x80", 5, 1, 6, more, "'\xE3\x80\x80'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t selected[UDUMP_SD1_BLOCKS];
        udump_error error;
        udump_status status = udump_layer_spec_parse(&udump_sd1_blocks, cases[i].spec, selected, &error);
        check_error(&cases[i], status, &error, "layer spec");
        assert_int_equal(udump_layer_spec_parse(&udump_sd1_blocks, cases[i].spec, selected, NULL), UDUMP_ERROR_SYNTAX);
    }
}

static void layers_of_another_family(void **state) {
    (void)state;
    uint8_t selected[20];
    udump_error error;
    selected[19] = 7; /* past the set: untouched */
    assert_int_equal(udump_layer_spec_parse(&sdxl, "\tIN08 -\r\n OUT00 , ,OUT08", selected, &error), UDUMP_OK);
    for (int i = 0; i < 19; i++) assert_int_equal(selected[i], (i >= 8 && i <= 10) || i == 18);
    assert_int_equal(selected[19], 7);
    assert_int_equal(udump_layer_spec_parse(&sdxl, "IN09", selected, &error), UDUMP_ERROR_SYNTAX);
    assert_string_equal(error.expected, "a block: IN00..IN08, M00, OUT00..OUT08");
    assert_string_equal(error.found, "IN09");
    assert_int_equal(udump_layer_spec_parse(&sdxl, "IN00-OUT08(99999999999999999999999)", selected, &error), UDUMP_OK);
    for (int i = 0; i < 19; i++) assert_int_equal(selected[i], i == 0);
}

static void step_errors_have_a_place(void **state) {
    (void)state;
    static const char step[] = "a step: a whole number from 1", more[] = "',' or '-'";
    static const error_case cases[] = {
        { "0", 0, 1, 1, step, "0" },
        { "1,000", 2, 1, 3, step, "000" },
        { "-3", 0, 1, 1, step, "'-'" },
        { "3-0", 2, 1, 3, step, "0" },
        { "3-", 2, 1, 3, step, "the end" },
        { "1 x", 2, 1, 3, more, "'x'" },
        { "1.5", 1, 1, 2, more, "'.'" },
        { "2(1)", 1, 1, 2, more, "'('" },
        { "17-- 32", 3, 1, 4, step, "'-'" },
        { "7-24(3)-", 7, 1, 8, "','", "'-'" },
        { "1-5(0)", 4, 1, 5, "a step from 1, as in (+2)", "0" },
        { "1-5()", 4, 1, 5, "a step from 1, as in (+2)", "')'" },
        { "1-5(++2)", 5, 1, 6, "a step from 1", "'+'" },
        { "1,\n2,\n\xC3\xA9", 6, 3, 1, step, "'\xC3\xA9'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t selected[10];
        udump_error error;
        check_error(&cases[i], udump_steps_parse(cases[i].spec, 10, selected, NULL, &error), &error, "step spec");
    }
}

static void steps_past_the_total(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int32_t beyond;
        uint8_t selected[5];
    } cases[] = {
        { "", 0, { 1, 1, 1, 1, 1 } },
        { "2,99", 1, { 0, 1, 0, 0, 0 } },
        { "4-99", 0, { 0, 0, 0, 1, 1 } }, /* cut at the total: no mistake */
        { "99-4", 0, { 0, 0, 0, 1, 1 } },
        { "6-8", 3, { 0 } },
        { "8-6(+2),7", 3, { 0 } },
        { "5-6(5)", 0, { 0, 0, 0, 0, 1 } },
        { "00003", 0, { 0, 0, 1, 0, 0 } },
        { "99999999999999999999999999", 1, { 0 } },
        { "1-99999999999999999999999999(99999999999999999999999999)", 0, { 1, 0, 0, 0, 0 } },
        { "6-99999999999999999999999999", INT32_MAX, { 0 } },
        { "6-9999999999,6-9999999999,2", INT32_MAX, { 0, 1, 0, 0, 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t selected[6] = { 9, 9, 9, 9, 9, 9 };
        int32_t beyond = -1;
        assert_int_equal(udump_steps_parse(cases[i].spec, 5, selected, &beyond, NULL), UDUMP_OK);
        if (beyond != cases[i].beyond) fail_msg("'%s': %d beyond, expected %d", cases[i].spec, (int)beyond, (int)cases[i].beyond);
        assert_memory_equal(selected, cases[i].selected, 5);
        assert_int_equal(selected[5], 9);
    }
}

static void step_arguments(void **state) {
    (void)state;
    uint8_t selected[1];
    int32_t beyond;
    udump_error error;
    assert_int_equal(udump_steps_parse(NULL, 1, selected, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_steps_parse("1", 1, NULL, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_steps_parse("1", -1, selected, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_steps_parse("", 0, NULL, &beyond, &error), UDUMP_OK);
    assert_int_equal(beyond, 0);
    assert_int_equal(udump_steps_parse("1-3", 0, NULL, &beyond, &error), UDUMP_OK);
    assert_int_equal(beyond, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_names),
        cmocka_unit_test(equal_the_vectors),
        cmocka_unit_test(layer_errors_have_a_place),
        cmocka_unit_test(layers_of_another_family),
        cmocka_unit_test(step_errors_have_a_place),
        cmocka_unit_test(steps_past_the_total),
        cmocka_unit_test(step_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
