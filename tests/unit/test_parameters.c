/* Infotexts read back: the webui's rules for its own text, what becomes of the values, and what is said about the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/infotext.h"
#include "unetdump.h"

static udump_parameters *parse(const char *text) {
    udump_parameters *parameters = NULL;
    udump_error error;
    assert_int_equal(udump_parameters_parse(text, &parameters, &error), UDUMP_OK);
    assert_non_null(parameters);
    return parameters;
}

/* expected: "key=value", ... */
static void check_list(const char *text, int32_t expected_count, const char *const *expected) {
    udump_parameters *parameters = parse(text);
    int32_t count;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    for (int32_t i = 0; i < count && i < expected_count; i++) {
        char line[512];
        snprintf(line, sizeof line, "%s=%s", list[i].key, list[i].value);
        assert_string_equal(line, expected[i]);
    }
    assert_int_equal(count, expected_count);
    udump_parameters_free(parameters);
}
#define CHECK(text, ...) \
    check_list(text, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *), (const char *const[]){ __VA_ARGS__ })

static const char webui[] = "photo of a (cat:1.2), <b>studio</b>\nsecond line\nNegative prompt: blurry, bad: anatomy\nlow quality\n"
                            "Steps: 25, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 6.5, Seed: 3456789012, Size: 768x512, Model hash: "
                            "6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: vae-ft-mse.safetensors, Denoising strength: 0.45, "
                            "Clip skip: 2, ENSD: 31337, RNG: CPU, Hires upscale: 2, Hires upscaler: Latent, Eta: 0.67, Lora hashes: \"style: "
                            "9ab3, other: 12\", Wildcard prompt: \"a \\\"b\\\", c\\u00e9\\nd\", Version: v1.10.1";

static void the_webuis_own_text(void **state) {
    (void)state;
    CHECK(webui, "Prompt=photo of a (cat:1.2), <b>studio</b>\nsecond line", "Negative prompt=blurry, bad: anatomy\nlow quality", "Steps=25",
        "Sampler=DPM++ 2M SDE", "Schedule type=Karras", "CFG scale=6.5", "Seed=3456789012", "Size=768x512", "Model hash=6ce0161689",
        "Model=v1-5-pruned-emaonly", "VAE hash=735e4c3a44", "VAE=vae-ft-mse.safetensors", "Denoising strength=0.45", "Clip skip=2",
        "ENSD=31337", "RNG=CPU", "Hires upscale=2", "Hires upscaler=Latent", "Eta=0.67", "Lora hashes=style: 9ab3, other: 12",
        "Wildcard prompt=a \"b\", c\xC3\xA9\nd", "Version=v1.10.1");
}

static void prompts_are_stripped_line_by_line(void **state) {
    (void)state;
    CHECK(" \n  a cat \n\n  on a mat\nNegative prompt:   dog \n Steps: 1, Seed: 2, Size: 8x8 \n", "Prompt=a cat\n\non a mat",
        "Negative prompt=dog", "Steps=1", "Seed=2", "Size=8x8");
    CHECK("Negative prompt: dog\nSteps: 1, Seed: 2, Size: 8x8", "Prompt=", "Negative prompt=dog", "Steps=1", "Seed=2", "Size=8x8");
    CHECK("Steps: 1, Seed: 2, Size: 8x8", "Prompt=", "Negative prompt=", "Steps=1", "Seed=2", "Size=8x8");
    CHECK("a\r\nb\r\nSteps: 1, Seed: 2, Size: 8x8", "Prompt=a\nb", "Negative prompt=", "Steps=1", "Seed=2", "Size=8x8");
}

static void few_matches_are_prompt(void **state) {
    (void)state;
    CHECK("a cat\nSteps: 20, Seed: 5", "Prompt=a cat\nSteps: 20, Seed: 5", "Negative prompt=");
    CHECK("", "Prompt=", "Negative prompt=");
    CHECK("only this", "Prompt=only this", "Negative prompt=");
    CHECK("Negative prompt: only this", "Prompt=", "Negative prompt=only this");
}

static void values_as_the_webui_matches_them(void **state) {
    (void)state;
    CHECK("x\nA: 1, B: 2, CC: 3, DD: 4, EE: 5", "Prompt=x", "Negative prompt=", "CC=3", "DD=4", "EE=5"); /* a key has two letters */
    CHECK("x\nAA: 1,, BB:2,CC : 3, DD/E-F g: , EE: 5", "Prompt=x", "Negative prompt=", "AA=1", "BB=2", "CC =3", "DD/E-F g=", "EE=5");
    CHECK("x\nAA: \"1, 2\", BB: \"open, CC: 3, DD: \"a\"b, EE: \"\"", "Prompt=x", "Negative prompt=", "AA=1, 2", "BB=\"open", "CC=3",
        "DD=\"a\"b", "EE=");
    CHECK("x\nAA: \"bad \\x escape\", BB: \"\\\"\", CC: \"\\\\\"", "Prompt=x", "Negative prompt=", "AA=\"bad \\x escape\"", "BB=\"", "CC=\\");
    CHECK("x\n?AA: 1, \xC3\xA9t\xC3\xA9: 2, CC: 3", "Prompt=x", "Negative prompt=", "AA=1", "\xC3\xA9t\xC3\xA9=2", "CC=3");
    CHECK("x\nAA: 1, BB: 2, AA: 3", "Prompt=x", "Negative prompt=", "AA=1", "BB=2", "AA=3");
    udump_parameters *twice = parse("x\nAA: 1, BB: 2, AA: 3");
    assert_string_equal(udump_parameters_get(twice, "AA"), "3");
    assert_string_equal(udump_parameters_get(twice, "Prompt"), "x");
    assert_null(udump_parameters_get(twice, "CC"));
    udump_parameters_free(twice);
}

static void a_canvas_has_a_line_more(void **state) {
    (void)state;
    CHECK("x\nSteps: 1, Seed: 2, Size: 8x8\nLayer Name: OUT11, Feature Steps: 3, Attention: qk, Side: uncond", "Prompt=x", "Negative prompt=",
        "Steps=1", "Seed=2", "Size=8x8");
    CHECK("x\nSteps: 1, Seed: 2, Size: 8x8\nAttention: heat", "Prompt=x", "Negative prompt=", "Steps=1", "Seed=2", "Size=8x8");
    CHECK("x\nLayer Name: OUT11, Feature Steps: 3", "Prompt=x\nLayer Name: OUT11, Feature Steps: 3", "Negative prompt=");
    CHECK("Layer Name: OUT11, Feature Steps: 3", "Prompt=Layer Name: OUT11, Feature Steps: 3", "Negative prompt=");
}

static void options_from_a_picture(void **state) {
    (void)state;
    udump_parameters *parameters = parse("a cat\nNegative prompt: dog\nSteps: 25, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 18446744073709551615, "
                                         "Size: 768x512, Variation seed: 7, Variation seed strength: 0.25, Denoising strength: 0.45, Clip skip: 2, "
                                         "ENSD: -31337, RNG: CPU, Eta DDIM: 0.5, Sigma noise: 1.003");
    udump_generate_options options;
    udump_generate_options_init(&options);
    assert_int_equal(udump_parameters_apply(parameters, &options, NULL), UDUMP_OK);
    assert_string_equal(options.prompt, "a cat");
    assert_string_equal(options.negative_prompt, "dog");
    assert_string_equal(options.sampler, "DPM++ 2M Karras");
    assert_null(options.schedule);
    assert_int_equal(options.steps, 25);
    assert_true(options.cfg == 6.5f);
    assert_true(options.seed == UINT64_MAX);
    assert_int_equal(options.width_px, 768);
    assert_int_equal(options.height_px, 512);
    assert_true(options.variation_seed == 7 && options.variation_strength == 0.25);
    assert_true(*options.strength == 0.45 && *options.eta == 0.5 && *options.s_noise == 1.003);
    assert_int_equal(options.clip_skip, 2);
    assert_true(options.ensd == -31337);
    assert_int_equal(options.rng, UDUMP_RNG_CPU);
    udump_parameters_free(parameters);
}

static void what_is_not_there_stays(void **state) {
    (void)state;
    udump_parameters *parameters = parse(webui);
    udump_generate_options options;
    udump_generate_options_init(&options);
    options.variation_seed = 99;
    assert_int_equal(udump_parameters_apply(parameters, &options, NULL), UDUMP_OK);
    assert_true(options.variation_seed == 99);
    assert_null(options.strength); /* of the second pass, "Hires upscale" */
    assert_string_equal(options.schedule, "Karras");
    udump_parameters_free(parameters);
}

/* The webui's "Hires fix" before 2023: a text to image, whatever its denoising strength says. */
static void a_first_pass_is_no_picture(void **state) {
    (void)state;
    udump_parameters *parameters = parse(
        "x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 1024x1024, Denoising strength: 0.7, First pass size: 512x512");
    udump_generate_options options;
    udump_generate_options_init(&options);
    assert_int_equal(udump_parameters_apply(parameters, &options, NULL), UDUMP_OK);
    assert_null(options.strength);
    assert_int_equal(options.width_px, 1024);
    udump_parameters_free(parameters);
}

static void uses(void **state) {
    (void)state;
    static const struct { const char *key; udump_parameter_use use; } cases[] = {
        { "Prompt", UDUMP_PARAMETER_USED }, { "Steps", UDUMP_PARAMETER_USED }, { "Eta", UDUMP_PARAMETER_USED },
        { "Model", UDUMP_PARAMETER_SILENT }, { "Version", UDUMP_PARAMETER_SILENT }, { "Model hash", UDUMP_PARAMETER_SILENT },
        { "Hires upscale", UDUMP_PARAMETER_LACKING }, { "Lora hashes", UDUMP_PARAMETER_SILENT }, { "ControlNet 0", UDUMP_PARAMETER_LACKING },
        { "Refiner", UDUMP_PARAMETER_LACKING }, { "Wildcard prompt", UDUMP_PARAMETER_UNKNOWN }, { "Models", UDUMP_PARAMETER_UNKNOWN },
        { "Tilings", UDUMP_PARAMETER_UNKNOWN }, { "First pass size", UDUMP_PARAMETER_LACKING },
    };
    udump_parameters *parameters = parse("x\nSteps: 1, Eta: 1, Model: a, Version: b, Model hash: c, Hires upscale: 2, Lora hashes: d, ControlNet 0: "
                                         "e, Refiner: f, Wildcard prompt: g, Models: h, Tilings: i, First pass size: 64x64");
    int32_t count;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int32_t i = 0;
        while (i < count && strcmp(list[i].key, cases[k].key)) i++;
        assert_true(i < count);
        assert_int_equal(list[i].use, cases[k].use);
    }
    udump_parameters_free(parameters);
}

static void bad_values(void **state) {
    (void)state;
    static const struct { const char *key, *value; } cases[] = { { "Steps", "0" }, { "Steps", "1001" }, { "Steps", "2.5" }, { "Steps", "" },
        { "Steps", "99999999999999999999" }, { "Seed", "-1" }, { "Seed", "18446744073709551616" }, { "Seed", "x" }, { "Size", "512" },
        { "Size", "512x" }, { "Size", "512x512x" }, { "Size", "0x8" }, { "Size", "-8x8" }, { "Size", "123456x8" }, { "CFG scale", "0" },
        { "CFG scale", "7,5" }, { "CFG scale", "nan" }, { "CFG scale", "1e999" }, { "RNG", "TPU" }, { "Clip skip", "0" }, { "ENSD", "1.5" },
        { "Eta", "much" }, { "Sampler", "" }, { "Denoising strength", "\xC2\xBD" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "x\nAA: 1, BB: 2, %s: \"%s\"", cases[i].key, cases[i].value);
        if (!cases[i].value[0]) snprintf(text, sizeof text, "x\nAA: 1, BB: 2, %s: ", cases[i].key);
        udump_parameters *parameters = parse(text);
        udump_generate_options options;
        udump_error error;
        udump_generate_options_init(&options);
        assert_int_equal(udump_parameters_apply(parameters, &options, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, cases[i].key);
        assert_string_equal(error.what, "not a value for this parameter");
        assert_string_equal(error.found, cases[i].value);
        udump_parameters_free(parameters);
    }
}

static void bad_text(void **state) {
    (void)state;
    udump_parameters *parameters = NULL;
    udump_error error;
    assert_int_equal(udump_parameters_parse("ab\xFF", &parameters, &error), UDUMP_ERROR_FORMAT);
    assert_string_equal(error.what, "parameters that are not UTF-8, from byte 2 on");
    assert_null(parameters);
    assert_int_equal(udump_parameters_parse(NULL, &parameters, &error), UDUMP_ERROR_ARGUMENT);
    size_t bytes = (1 << 20) + 1;
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    memset(text, 'a', bytes);
    text[bytes] = '\0';
    assert_int_equal(udump_parameters_parse(text, &parameters, &error), UDUMP_ERROR_UNSUPPORTED);
    text[bytes - 1] = '\0';
    assert_int_equal(udump_parameters_parse(text, &parameters, &error), UDUMP_OK);
    udump_parameters_free(parameters);
    free(text);
    udump_parameters_free(NULL);
}

/* What is written is read back, whatever stands in it. */
static void our_own_text_round_trips(void **state) {
    (void)state;
    uint64_t variation_seed = 1234;
    double eta = 0.1, s_noise = 1.0 / 3, strength = 0.3;
    udump_infotext info = { .prompt = "a (b:1.2), \"c\": d\nline", .loras = "<lora:x:0.5>", .lora_blocks = "x: IN04=0.5",
        .negative_prompt = "e: f, g", .steps = 20, .sampler = "DPM++ 2M",
        .schedule = "SGM Uniform", .cfg = 0.1f, .seed = UINT64_MAX - 1, .width_px = 512, .height_px = 768, .model = "odd, \"model\": \xE7\x8C\xAB\n",
        .variation_seed = &variation_seed, .variation_strength = 2.0 / 3, .strength = &strength, .clip_skip = 2, .ensd = 31337, .rng = "CPU",
        .eta = &eta, .s_noise = &s_noise, .vae_tile_px = 256, .version = "0.1.0" };
    char *text = udump_infotext_format(&info);
    assert_non_null(text);
    udump_parameters *parameters = parse(text);
    udump_generate_options o;
    udump_generate_options_init(&o);
    assert_int_equal(udump_parameters_apply(parameters, &o, NULL), UDUMP_OK);
    assert_string_equal(o.prompt, "a (b:1.2), \"c\": d\nline <lora:x:0.5>"); /* LoRAs are the caller's to load, and to take off */
    assert_string_equal(udump_parameters_get(parameters, "Lora block weights"), "x: IN04=0.5");
    assert_string_equal(o.negative_prompt, info.negative_prompt);
    assert_string_equal(o.sampler, "DPM++ 2M");
    assert_string_equal(o.schedule, "SGM Uniform");
    assert_true(o.cfg == 0.1f && o.seed == UINT64_MAX - 1 && o.variation_seed == 1234 && o.variation_strength == 2.0 / 3);
    assert_true(*o.strength == 0.3 && *o.eta == 0.1 && *o.s_noise == 1.0 / 3 && o.ensd == 31337 && o.clip_skip == 2 && o.vae_tile_px == 256);
    assert_string_equal(udump_parameters_get(parameters, "Model"), info.model);
    udump_parameters_free(parameters);
    free(text);
}

static void numbers_ignore_the_locale(void **state) {
    static const char *const with_comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR" };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof with_comma / sizeof *with_comma && !found; i++) found = setlocale(LC_NUMERIC, with_comma[i]);
    if (!found) skip();
    options_from_a_picture(state);
    our_own_text_round_trips(state);
    setlocale(LC_NUMERIC, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_webuis_own_text),
        cmocka_unit_test(prompts_are_stripped_line_by_line),
        cmocka_unit_test(few_matches_are_prompt),
        cmocka_unit_test(values_as_the_webui_matches_them),
        cmocka_unit_test(a_canvas_has_a_line_more),
        cmocka_unit_test(options_from_a_picture),
        cmocka_unit_test(what_is_not_there_stays),
        cmocka_unit_test(a_first_pass_is_no_picture),
        cmocka_unit_test(uses),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(our_own_text_round_trips),
        cmocka_unit_test(numbers_ignore_the_locale),
    };
    return cmocka_run_group_tests_name("parameters", tests, NULL, NULL);
}
