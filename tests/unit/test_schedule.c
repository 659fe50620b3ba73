/* src/sample: noise levels, schedules and names, against k-diffusion. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "sample/sampler.h"

enum { LEVELS = 1000 };

static udump_noise_levels make_levels(void) {
    udump_noise_levels levels;
    assert_int_equal(udump_noise_levels_make(&levels, LEVELS, 0.00085, 0.012, NULL), UDUMP_OK);
    return levels;
}

static json_t *load(const char *path) {
    json_error_t problem;
    json_t *root = json_load_file(path, 0, &problem);
    if (!root) fail_msg("%s:%d: %s", path, problem.line, problem.text);
    return root;
}

static double number(const json_t *array, size_t i) { return json_number_value(json_array_get(array, i)); }

static void levels_equal_ldm(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    json_t *root = load(TEST_DATA "/sample/schedules.json");
    const json_t *expected = json_object_get(root, "levels"), *place;
    size_t i;
    assert_int_equal(levels.count, LEVELS);
    assert_int_equal(json_array_size(json_object_get(expected, "places")), 10);
    json_array_foreach(json_object_get(expected, "places"), i, place) {
        size_t at = (size_t)json_integer_value(place);
        assert_true(levels.alphas_cumprod[at] == (float)number(json_object_get(expected, "alphas_cumprod"), i));
        assert_true(fabs(levels.sigmas[at] / number(json_object_get(expected, "sigmas"), i) - 1) < 1e-6);
        assert_true(levels.log_sigmas[at] == log(levels.sigmas[at]));
    }
    json_decref(root);
    udump_noise_levels_free(&levels);
    assert_null(levels.sigmas);
}

static void levels_refuse_bad_betas(void **state) {
    (void)state;
    static const struct {
        int32_t count;
        double start, end;
    } bad[] = { { 1, 0.1, 0.2 }, { -5, 0.1, 0.2 }, { 100001, 1e-4, 2e-4 }, { 10, 0, 0.2 }, { 10, -1, 0.2 }, { 10, 0.3, 0.2 },
        { 10, 0.1, 1 }, { 10, NAN, 0.2 }, { 10, 0.1, NAN }, { 10, 1e-12, 1e-12 } /* 1 in float32 */,
        { 1000, 0.5, 0.9 } /* 0 in float32 */ };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        udump_noise_levels levels;
        udump_error error = { 0 };
        assert_int_equal(udump_noise_levels_make(&levels, bad[i].count, bad[i].start, bad[i].end, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, "noise levels");
        assert_null(levels.sigmas);
    }
}

static void schedules_equal_k_diffusion(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    json_t *root = load(TEST_DATA "/sample/schedules.json");
    const json_t *schedule;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(root, "schedules")), 10);
    json_array_foreach(json_object_get(root, "schedules"), i, schedule) {
        int32_t steps = (int32_t)json_integer_value(json_object_get(schedule, "steps"));
        bool karras = !strcmp(json_string_value(json_object_get(schedule, "name")), "Karras");
        const json_t *expected = json_object_get(schedule, "sigmas"), *timesteps = json_object_get(schedule, "timesteps");
        double sigmas[32];
        udump_schedule_sigmas(&levels, karras ? UDUMP_SCHEDULE_KARRAS : UDUMP_SCHEDULE_UNIFORM, steps, sigmas);
        assert_int_equal(json_array_size(expected), steps + 1);
        for (int32_t k = 0; k < steps; k++) {
            assert_true(fabs(sigmas[k] / number(expected, (size_t)k) - 1) < 1e-6);
            assert_true(fabs(udump_sigma_to_timestep(&levels, sigmas[k]) - number(timesteps, (size_t)k)) < 3e-4);
        }
        assert_true(sigmas[steps] == 0);
    }
    json_decref(root);
    udump_noise_levels_free(&levels);
}

static void ddim_timesteps_equal_the_webui(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    json_t *root = load(TEST_DATA "/sample/schedules.json");
    const json_t *one, *timestep;
    size_t i, k;
    assert_int_equal(json_array_size(json_object_get(root, "ddim")), 6);
    json_array_foreach(json_object_get(root, "ddim"), i, one) {
        int32_t timesteps[64], steps = (int32_t)json_integer_value(json_object_get(one, "steps"));
        const json_t *expected = json_object_get(one, "timesteps");
        assert_int_equal(udump_schedule_ddim(&levels, steps, NULL), json_array_size(expected));
        udump_schedule_ddim(&levels, steps, timesteps);
        json_array_foreach(expected, k, timestep) assert_int_equal(timesteps[k], json_integer_value(timestep));
    }
    json_decref(root);
    udump_noise_levels_free(&levels);
}

static void sigma_and_timestep_are_inverse(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    for (double t = 0; t <= LEVELS - 1; t += 0.37)
        assert_true(fabs(udump_sigma_to_timestep(&levels, udump_timestep_to_sigma(&levels, t)) - t) < 1e-9);
    assert_true(udump_sigma_to_timestep(&levels, 1e-3) == 0); /* clamped, as k-diffusion clamps the weight */
    assert_true(udump_sigma_to_timestep(&levels, 1e3) == LEVELS - 1);
    assert_true(udump_timestep_to_sigma(&levels, 2000) == udump_timestep_to_sigma(&levels, LEVELS - 1));
    assert_true(udump_timestep_to_sigma(&levels, -1) == udump_timestep_to_sigma(&levels, 0));
    udump_noise_levels_free(&levels);
}

static void names_are_found(void **state) {
    (void)state;
    static const struct {
        const char *sampler, *schedule, *name;
        udump_schedule_kind chosen, runs;
    } cases[] = {
        { NULL, NULL, "Euler a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "Euler", NULL, "Euler", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "euler A", "uniform", "Euler a", UDUMP_SCHEDULE_UNIFORM, UDUMP_SCHEDULE_UNIFORM },
        { "DPM++ 2M", "Automatic", "DPM++ 2M", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "dpm++ 2m", "UNIFORM", "DPM++ 2M", UDUMP_SCHEDULE_UNIFORM, UDUMP_SCHEDULE_UNIFORM },
        { "DPM++ 2M Karras", NULL, "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ 2M Karras", "Automatic", "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ 2M karras", "karras", "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "Euler a Karras", NULL, "Euler a", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "Euler Karras", NULL, "Euler", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ 2M Automatic", "Karras", "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "k_dpmpp_2m_ka", NULL, "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "k_dpmpp_2m", NULL, "DPM++ 2M", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "dpmpp_2m_karras", NULL, "DPM++ 2M", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "k_euler", NULL, "Euler", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "K_EULER_A", NULL, "Euler a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "k_euler_ancestral", NULL, "Euler a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "euler_ancestral", NULL, "Euler a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "euler_a", NULL, "Euler a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "ddim", "Karras", "DDIM", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_sampler_choice choice;
        assert_int_equal(udump_sampler_find(cases[i].sampler, cases[i].schedule, &choice, NULL), UDUMP_OK);
        assert_string_equal(choice.sampler->name, cases[i].name);
        assert_int_equal(choice.chosen, cases[i].chosen);
        assert_int_equal(choice.schedule, cases[i].runs);
    }
    assert_string_equal(udump_schedule_name(UDUMP_SCHEDULE_AUTOMATIC), "Automatic");
    assert_string_equal(udump_schedule_name(UDUMP_SCHEDULE_KARRAS), "Karras");
}

static void unknown_names_list_the_known(void **state) {
    (void)state;
    static const char *const unknown[] = { "", "Eule", "Euler b", "Euler aKarras", "Euler  Karras", "Euler Karras Karras", " Euler",
        "Euler ", "LMS", "DPM++ 2M SDE", "k_dpmpp_2m_k", "Euler a\xC3\xA4" };
    udump_sampler_choice choice = { 0 };
    udump_error error;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_int_equal(udump_sampler_find(unknown[i], NULL, &choice, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, "sampler");
        assert_string_equal(error.what, "unknown sampler");
        assert_string_equal(error.expected, "Euler a, Euler, DPM++ 2M or DDIM");
        assert_string_equal(error.found, unknown[i]);
    }
    assert_int_equal(udump_sampler_find("Euler", "Exponential", &choice, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "schedule");
    assert_string_equal(error.what, "unknown schedule");
    assert_string_equal(error.expected, "Automatic, Uniform or Karras");
    assert_string_equal(error.found, "Exponential");
    assert_int_equal(udump_sampler_find("Euler Karras", "Uniform", &choice, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "schedule");
    assert_string_equal(error.expected, "Karras");
    assert_string_equal(error.found, "Uniform");
    assert_int_equal(udump_sampler_find("nothing", NULL, &choice, NULL), UDUMP_ERROR_ARGUMENT);
    assert_null(choice.sampler); /* untouched by all of these */

    char endless[1000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    assert_int_equal(udump_sampler_find(endless, NULL, &choice, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(strlen(error.found), sizeof error.found - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_equal_ldm),
        cmocka_unit_test(levels_refuse_bad_betas),
        cmocka_unit_test(schedules_equal_k_diffusion),
        cmocka_unit_test(ddim_timesteps_equal_the_webui),
        cmocka_unit_test(sigma_and_timestep_are_inverse),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(unknown_names_list_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
