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

/* The webui's rescale_zero_terminal_snr_abar, computed by torch 2.15. */
static void levels_are_rescaled(void **state) {
    (void)state;
    static const struct {
        int32_t at;
        float alpha;
    } expected[] = { { 0, 0.9991499781608582f }, { 1, 0.9982334971427917f }, { 500, 0.24101881682872772f }, { 998, 1.967892444554309e-07f },
        { 999, 4.8973451072242824e-08f } };
    udump_noise_levels levels = make_levels();
    udump_error error;
    assert_int_equal(udump_noise_levels_rescale(&levels, NULL), UDUMP_OK);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_true(levels.alphas_cumprod[expected[i].at] == expected[i].alpha);
        assert_true(fabs(levels.sigmas[expected[i].at] / sqrt(1 / (double)expected[i].alpha - 1) - 1) < 1e-12);
    }
    udump_noise_levels_free(&levels);
    assert_int_equal(udump_noise_levels_make(&levels, LEVELS, 0.00085, 0.1, NULL), UDUMP_OK); /* the last but one would be below the last */
    assert_int_equal(udump_noise_levels_rescale(&levels, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "they cannot be rescaled to end in nothing but noise");
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
    assert_int_equal(json_array_size(json_object_get(root, "schedules")), 74);
    int32_t equal[UDUMP_SCHEDULE_COUNT] = { 0 }, compared[UDUMP_SCHEDULE_COUNT] = { 0 };
    json_array_foreach(json_object_get(root, "schedules"), i, schedule) {
        int32_t steps = (int32_t)json_integer_value(json_object_get(schedule, "steps"));
        udump_sampler_choice choice;
        const char *name = json_string_value(json_object_get(schedule, "name"));
        levels.is_sdxl = strcmp(name, "Align Your Steps XL") == 0;
        assert_int_equal(udump_sampler_find("Euler", levels.is_sdxl ? "Align Your Steps" : name, &choice, NULL), UDUMP_OK);
        const json_t *expected = json_object_get(schedule, "sigmas"), *timesteps = json_object_get(schedule, "timesteps");
        double sigmas[40];
        int32_t length = udump_schedule_sigmas(&levels, choice.schedule, steps, NULL);
        if (choice.schedule != UDUMP_SCHEDULE_DDIM) assert_int_equal(length, steps);
        assert_int_equal(json_array_size(expected), length + 1);
        assert_int_equal(udump_schedule_sigmas(&levels, choice.schedule, steps, sigmas), length);
        for (int32_t k = 0; k < length; k++) {
            assert_true(fabs(sigmas[k] / number(expected, (size_t)k) - 1) < 5e-7);
            assert_true(fabs(udump_sigma_to_timestep(&levels, sigmas[k]) - number(timesteps, (size_t)k)) < 3e-4);
            equal[choice.schedule] += sigmas[k] == (double)(float)number(expected, (size_t)k);
            compared[choice.schedule]++;
        }
        double last = number(expected, (size_t)length);
        if (choice.schedule == UDUMP_SCHEDULE_KL_OPTIMAL) assert_true(last > 0 && fabs(sigmas[length] / last - 1) < 1e-6);
        else assert_true(last == 0 && sigmas[length] == 0);
    }
    for (int kind = UDUMP_SCHEDULE_UNIFORM; kind < UDUMP_SCHEDULE_COUNT; kind++) { /* to the bit, where torch's functions round correctly */
        bool seldom_wrong = kind >= UDUMP_SCHEDULE_KARRAS && kind <= UDUMP_SCHEDULE_POLYEXPONENTIAL;
        assert_true(equal[kind] >= (seldom_wrong ? compared[kind] - 1 : compared[kind] * 3 / 4));
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
        assert_int_equal(udump_schedule_timesteps(&levels, steps, NULL), json_array_size(expected));
        udump_schedule_timesteps(&levels, steps, timesteps);
        json_array_foreach(expected, k, timestep) assert_int_equal(timesteps[k], json_integer_value(timestep));
    }
    json_decref(root);
    udump_noise_levels_free(&levels);
}

static void sigma_and_timestep_are_inverse(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    for (float t = 0; t <= LEVELS - 1; t += 0.37f)
        assert_true(fabs(udump_sigma_to_timestep(&levels, (double)udump_timestep_to_sigma(&levels, t)) - (double)t) < 3e-4);
    for (int32_t i = 0; i < LEVELS; i++) {
        assert_true(udump_sigma_to_timestep(&levels, levels.sigmas[i]) == i);
        assert_true(fabs((double)udump_timestep_to_sigma(&levels, (float)i) / levels.sigmas[i] - 1) < 4e-7);
        assert_true(fabs((double)udump_level_sigma(&levels, i) / levels.sigmas[i] - 1) < 2e-7);
    }
    assert_true(udump_sigma_to_timestep(&levels, 1e-3) == 0); /* clamped, as k-diffusion clamps the weight */
    assert_true(udump_sigma_to_timestep(&levels, 1e3) == LEVELS - 1);
    udump_noise_levels_free(&levels);
}

/* From one step to one more than there are levels, falling; the ends are the model's. */
static void schedules_fall(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels();
    static const int32_t counts[] = { 1, 2, 3, 7, 49, 333, 999, 1000, 1001 };
    double sigmas[1100];
    for (int kind = UDUMP_SCHEDULE_UNIFORM; kind < UDUMP_SCHEDULE_COUNT; kind++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            int32_t length = udump_schedule_sigmas(&levels, (udump_schedule_kind)kind, counts[i], NULL);
            assert_true(length >= 1 && length < 1100);
            sigmas[length + 1] = -5;
            assert_int_equal(udump_schedule_sigmas(&levels, (udump_schedule_kind)kind, counts[i], sigmas), length);
            assert_true(sigmas[length + 1] == -5);
            for (int32_t k = 0; k < length; k++) assert_true(sigmas[k] >= sigmas[k + 1] && sigmas[k + 1] >= 0 && isfinite(sigmas[k]));
            bool own_ends = kind == UDUMP_SCHEDULE_ALIGN_YOUR_STEPS;
            if (own_ends) assert_true(sigmas[0] == (double)(float)(counts[i] > 1 ? 14.615 : 0.029));
            if (kind != UDUMP_SCHEDULE_DDIM && !own_ends) assert_true(fabs(sigmas[0] / levels.sigmas[LEVELS - 1] - 1) < 1e-6);
        }
    assert_int_equal(udump_schedule_sigmas(&levels, UDUMP_SCHEDULE_DDIM, 30, NULL), 31);
    assert_int_equal(udump_schedule_sigmas(&levels, UDUMP_SCHEDULE_DDIM, 1000, NULL), 999);
    udump_noise_levels_free(&levels);
}

static void levels_are_thinned_from_the_last(void **state) {
    (void)state;
    udump_noise_levels levels = make_levels(), few;
    assert_int_equal(udump_noise_levels_thin(&levels, 50, 20, &few, NULL), UDUMP_OK);
    assert_int_equal(few.count, 50);
    for (int32_t i = 0; i < 50; i++) {
        assert_true(few.alphas_cumprod[i] == levels.alphas_cumprod[19 + 20 * i]);
        assert_true(few.sigmas[i] == levels.sigmas[19 + 20 * i] && few.log_sigmas[i] == levels.log_sigmas[19 + 20 * i]);
    }
    udump_noise_levels_free(&few);
    udump_noise_levels_free(&levels);
}

/* Beta(1/2, 1/2) and Beta(1, 1) have elementary quantiles, Beta(2, 2) an elementary integral. */
static void beta_quantiles_are_exact(void **state) {
    (void)state;
    for (int i = 0; i <= 1000; i++) {
        double p = i / 1000.0, sine = sin(p * M_PI_2), x = udump_beta_quantile(p, 2);
        assert_true(fabs(udump_beta_quantile(p, 0.5) - sine * sine) < 1e-12);
        assert_true(fabs(udump_beta_quantile(p, 1) - p) < 1e-12);
        assert_true(fabs(x * x * (3 - 2 * x) - p) < 1e-12);
        assert_true(fabs(udump_beta_quantile(p, 0.6) + udump_beta_quantile(1 - p, 0.6) - 1) < 1e-12);
    }
    assert_true(udump_beta_quantile(0, 0.6) == 0 && udump_beta_quantile(1, 0.6) == 1);
    assert_true(fabs(udump_beta_quantile(1e-12, 0.5) / (1e-24 * M_PI_2 * M_PI_2) - 1) < 1e-6);
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
        { "k_lms", NULL, "LMS", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "k_lms_ka", NULL, "LMS", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "heun", "beta", "Heun", UDUMP_SCHEDULE_BETA, UDUMP_SCHEDULE_BETA },
        { "k_heun", "kl_optimal", "Heun", UDUMP_SCHEDULE_KL_OPTIMAL, UDUMP_SCHEDULE_KL_OPTIMAL },
        { "DPM2", NULL, "DPM2", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "dpm_2", "Simple", "DPM2", UDUMP_SCHEDULE_SIMPLE, UDUMP_SCHEDULE_SIMPLE },
        { "k_dpm_2_a", NULL, "DPM2 a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "k_dpm_2_a_ka", NULL, "DPM2 a", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "dpm_2_ancestral", "normal", "DPM2 a", UDUMP_SCHEDULE_NORMAL, UDUMP_SCHEDULE_NORMAL },
        { "DPM2 a Exponential", NULL, "DPM2 a", UDUMP_SCHEDULE_EXPONENTIAL, UDUMP_SCHEDULE_EXPONENTIAL },
        { "dpmpp_2s_ancestral", NULL, "DPM++ 2S a", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "k_dpmpp_2s_a_ka", NULL, "DPM++ 2S a", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ SDE", NULL, "DPM++ SDE", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ 2M SDE", NULL, "DPM++ 2M SDE", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_EXPONENTIAL },
        { "DPM++ 2M SDE Karras", NULL, "DPM++ 2M SDE", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "DPM++ 2M SDE Heun", NULL, "DPM++ 2M SDE Heun", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_EXPONENTIAL },
        { "DPM++ 2M SDE Heun Karras", NULL, "DPM++ 2M SDE Heun", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "k_dpmpp_2m_sde_heun_exp", NULL, "DPM++ 2M SDE Heun", UDUMP_SCHEDULE_EXPONENTIAL, UDUMP_SCHEDULE_EXPONENTIAL },
        { "DPM++ 3M SDE Exponential", NULL, "DPM++ 3M SDE", UDUMP_SCHEDULE_EXPONENTIAL, UDUMP_SCHEDULE_EXPONENTIAL },
        { "k_dpmpp_3m_sde_ka", NULL, "DPM++ 3M SDE", UDUMP_SCHEDULE_KARRAS, UDUMP_SCHEDULE_KARRAS },
        { "plms", NULL, "PLMS", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "unipc", NULL, "UniPC", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "restart", NULL, "Restart", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_KARRAS },
        { "k_dpm_fast", NULL, "DPM fast", UDUMP_SCHEDULE_AUTOMATIC, UDUMP_SCHEDULE_UNIFORM },
        { "Euler", "align_your_steps", "Euler", UDUMP_SCHEDULE_ALIGN_YOUR_STEPS, UDUMP_SCHEDULE_ALIGN_YOUR_STEPS },
        { "DPM++ 2M Align Your Steps", NULL, "DPM++ 2M", UDUMP_SCHEDULE_ALIGN_YOUR_STEPS, UDUMP_SCHEDULE_ALIGN_YOUR_STEPS },
        { "k_lcm", "SGMUniform", "LCM", UDUMP_SCHEDULE_SGM_UNIFORM, UDUMP_SCHEDULE_SGM_UNIFORM },
        { "LCM SGM Uniform", "sgm_uniform", "LCM", UDUMP_SCHEDULE_SGM_UNIFORM, UDUMP_SCHEDULE_SGM_UNIFORM },
        { "Euler DDIM", NULL, "Euler", UDUMP_SCHEDULE_DDIM, UDUMP_SCHEDULE_DDIM },
        { "Euler", "polyexponential", "Euler", UDUMP_SCHEDULE_POLYEXPONENTIAL, UDUMP_SCHEDULE_POLYEXPONENTIAL },
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
        "Euler ", "DPM slow", "DPM++ 2M SDE Heun ", "k_dpmpp_2m_k", "k_dpm_2_ancestral_k", "Euler SGM", "Euler SGM  Uniform", "Euler _ka",
        "Euler a\xC3\xA4" };
    udump_sampler_choice choice = { 0 };
    udump_error error;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_int_equal(udump_sampler_find(unknown[i], NULL, &choice, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, "sampler");
        assert_string_equal(error.what, "unknown sampler");
        assert_string_equal(error.expected,
            "Euler a, Euler, LMS, Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, DPM++ 3M SDE, "
            "DDIM, PLMS, UniPC, LCM, Restart or DPM fast");
        assert_string_equal(error.found, unknown[i]);
    }
    static const char *const adaptive[] = { "DPM adaptive", "k_dpm_ad", "dpm_adaptive" };
    for (size_t i = 0; i < sizeof adaptive / sizeof *adaptive; i++) {
        assert_int_equal(udump_sampler_find(adaptive[i], NULL, &choice, &error), UDUMP_ERROR_UNSUPPORTED);
        assert_string_equal(error.what, "DPM adaptive: how many evaluations it takes shows only while it runs");
    }
    assert_int_equal(udump_sampler_find("Euler", "Exponentia", &choice, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.where, "schedule");
    assert_string_equal(error.what, "unknown schedule");
    assert_string_equal(error.expected,
        "Automatic, Uniform, Karras, Exponential, Polyexponential, SGM Uniform, KL Optimal, Simple, Normal, DDIM, Beta or Align Your Steps");
    assert_string_equal(error.found, "Exponentia");
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
        cmocka_unit_test(levels_are_rescaled),
        cmocka_unit_test(levels_refuse_bad_betas),
        cmocka_unit_test(schedules_equal_k_diffusion),
        cmocka_unit_test(ddim_timesteps_equal_the_webui),
        cmocka_unit_test(sigma_and_timestep_are_inverse),
        cmocka_unit_test(schedules_fall),
        cmocka_unit_test(levels_are_thinned_from_the_last),
        cmocka_unit_test(beta_quantiles_are_exact),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(unknown_names_list_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
