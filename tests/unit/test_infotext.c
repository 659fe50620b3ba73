/* The webui's infotext: order, quoting, numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "output/infotext.h"

static udump_infotext plain(void) {
    return (udump_infotext){ .prompt = "a red circle", .negative_prompt = "blurry", .steps = 20, .sampler = "DPM++ 2M",
        .schedule = "Karras", .cfg = 7.0f,
        .seed = 123456789, .width_px = 512, .height_px = 768, .model_hash = "6ce0161689", .model = "v1-5-pruned", .rng = "CPU",
            .version = "0.1.0" };
}

static void expect(const udump_infotext *info, const char *expected) {
    char *text = udump_infotext_format(info);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void everything_in_order(void **state) {
    (void)state;
    udump_infotext info = plain();
    expect(&info,
        "a red circle\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 123456789, "
        "Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned, RNG: CPU, Version: unetdump 0.1.0");
}

static void missing_values_are_left_out(void **state) {
    (void)state;
    udump_infotext info = plain();
    info.negative_prompt = "";
    info.model_hash = NULL;
    info.rng = NULL;
    info.model = "";
    info.seed = UINT64_MAX;
    expect(&info, "a red circle\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 18446744073709551615, "
                  "Size: 512x768, Version: unetdump 0.1.0");
    udump_infotext least = { .steps = 1, .cfg = 1, .width_px = 8, .height_px = 16 };
    expect(&least, "Steps: 1, CFG scale: 1.0, Seed: 0, Size: 8x16"); /* the webui strips the whole text: no empty first line */
}

static void prompts_keep_their_lines(void **state) {
    (void)state;
    udump_infotext info = { .prompt = " \n a cat,\n\"two\": lines \n", .negative_prompt = "x,\ny: z", .steps = 1, .cfg = 1 };
    expect(&info, "a cat,\n\"two\": lines \n\nNegative prompt: x,\ny: z\nSteps: 1, CFG scale: 1.0, Seed: 0, Size: 0x0");
}

static void values_are_quoted_like_json(void **state) {
    (void)state;
    udump_infotext info = { .steps = 1, .cfg = 1 };
    static const struct { const char *value, *printed; } cases[] = {
        { "\"a\\\tb\", \b\f\r\x01\x7F", "\"\\\"a\\\\\\tb\\\", \\b\\f\\r\\u0001\x7F\"" },
        { "a,b", "\"a,b\"" }, { "a:b", "\"a:b\"" }, { "a\nb", "\"a\\nb\"" }, { "a\"b", "a\"b" }, { "a\\b", "a\\b" },
        { "\xE7\x8C\xAB: \xC3\xA9", "\"\xE7\x8C\xAB: \xC3\xA9\"" }, { "\xE7\x8C\xAB", "\xE7\x8C\xAB" }, { "\xFF,", "\"\xEF\xBF\xBD,\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[256];
        info.model = cases[i].value;
        snprintf(expected, sizeof expected, "Steps: 1, CFG scale: 1.0, Seed: 0, Size: 0x0, Model: %s", cases[i].printed);
        expect(&info, expected);
    }
}

static void check_numbers(void) {
    static const struct { float value; const char *printed; } cases[] = {
        { 7.0f, "7.0" }, { 7.5f, "7.5" }, { 7.1f, "7.1" }, { 12.0f, "12.0" }, { 0.1f, "0.1" }, { 0.05f, "0.05" }, { 100.0f, "100.0" },
            { 0.0f, "0.0" }, { -1.5f, "-1.5" },
        { 1234.5678f, "1234.5677" }, { 0.0001f, "0.0001" }, { 0.00001f, "1e-05" }, { 0.000012f, "1.2e-05" }, { 1e15f,
            "1000000000000000.0" }, { 1e16f, "1e+16" },
        { 2.5e30f, "2.5e+30" }, { 16777216.0f, "16777216.0" }, { 0.33333334f, "0.33333334" }, { 30.0f, "30.0" }, { 1.0f, "1.0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_infotext info = { .steps = 1, .cfg = cases[i].value };
        char expected[128];
        snprintf(expected, sizeof expected, "Steps: 1, CFG scale: %s, Seed: 0, Size: 0x0", cases[i].printed);
        expect(&info, expected);
    }
}

static void numbers_print_like_python(void **state) {
    (void)state;
    check_numbers();
}

static void numbers_ignore_the_locale(void **state) {
    (void)state;
    static const char *const with_comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR" };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof with_comma / sizeof *with_comma && !found; i++) found = setlocale(LC_NUMERIC, with_comma[i]);
    if (!found) skip();
    check_numbers();
    setlocale(LC_NUMERIC, "C");
}

static void check_line(const char *before, const udump_place *place, int average, const char *expected) {
    char *text = udump_infotext_for_canvas(before, place, average);
    assert_string_equal(text, expected);
    free(text);
}

static void canvases_add_a_line(void **state) {
    (void)state;
    udump_place place = { .kind = UDUMP_KIND_FEATURES, .block = "OUT11", .step = 20 };
    check_line("a cat\nSteps: 20", &place, 0, "a cat\nSteps: 20\nLayer Name: OUT11, Feature Steps: 20");
    check_line("a cat\nSteps: 20", &place, 1, "a cat\nSteps: 20\nLayer Name: OUT11, Feature Steps: 20");
    place.block = "M00";
    place.step = 1;
    check_line(NULL, &place, 0, "Layer Name: M00, Feature Steps: 1");
    place.side = UDUMP_SIDE_UNCOND;
    place.variant = UDUMP_VARIANT_ERASED;
    check_line("", &place, 0, "Layer Name: M00, Feature Steps: 1, Side: uncond, Layer Prompts: erased");
}

static void other_pictures_say_what_they_are(void **state) {
    (void)state;
    udump_place place = { .kind = UDUMP_KIND_QK, .block = "OUT11", .step = 3 };
    check_line(NULL, &place, 0, "Layer Name: OUT11, Feature Steps: 3, Attention: qk");
    place.side = UDUMP_SIDE_UNCOND;
    place.depth = 2;
    check_line(NULL, &place, 1, "Layer Name: OUT11, Feature Steps: 3, Attention: qk, Side: uncond, Transformer Layer: 2, Average: heads");
    place = (udump_place){ .kind = UDUMP_KIND_VQK, .block = "M00", .step = 3 };
    check_line(NULL, &place, 1, "Layer Name: M00, Feature Steps: 3, Attention: vqk, Average: channels");
    place.kind = UDUMP_KIND_SELF_ENTROPY;
    check_line(NULL, &place, 1, "Layer Name: M00, Feature Steps: 3, Attention: self-entropy, Average: heads");
    place.kind = UDUMP_KIND_DIFF;
    check_line(NULL, &place, 1, "Layer Name: M00, Feature Steps: 3, Diff: enabled - erased, Average: channels");
    place = (udump_place){ .kind = UDUMP_KIND_HEAT, .block = "" };
    check_line("a cat\nSteps: 20", &place, 0, "a cat\nSteps: 20\nAttention: heat");
    place.kind = UDUMP_KIND_OVERLAY;
    place.word = "red";
    check_line(NULL, &place, 0, "Attention: overlay, Word: red");
    place.word = "a:\"\xFF"; /* from a user's prompt: what is punctuation here is quoted, what is not UTF-8 replaced */
    check_line(NULL, &place, 0, "Attention: overlay, Word: \"a:\\\"\xEF\xBF\xBD\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_in_order),
        cmocka_unit_test(missing_values_are_left_out),
        cmocka_unit_test(prompts_keep_their_lines),
        cmocka_unit_test(values_are_quoted_like_json),
        cmocka_unit_test(numbers_print_like_python),
        cmocka_unit_test(numbers_ignore_the_locale),
        cmocka_unit_test(canvases_add_a_line),
        cmocka_unit_test(other_pictures_say_what_they_are),
    };
    return cmocka_run_group_tests_name("infotext", tests, NULL, NULL);
}
