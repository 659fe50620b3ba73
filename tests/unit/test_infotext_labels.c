/* What a run's infotext says of its sampler and schedule, for all of them: the webui's labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "parity.h"
#include "pipeline/session.h"

/* The labels of the webui's menus, which its infotext has in the same letters; "DPM adaptive" is refused. */
static const char *const samplers[] = { "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM fast", "Restart", "DDIM", "PLMS", "UniPC", "LCM" };
static const char *const schedules[] = { "Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal",
    "Align Your Steps", "Simple", "Normal", "DDIM", "Beta" };
enum { SAMPLERS = sizeof samplers / sizeof *samplers, SCHEDULES = sizeof schedules / sizeof *schedules };

/* What a run writes of its options, as begun: before the first step. */
static void expect_words(udump_session *session, const char *sampler, const char *schedule, const char *words) {
    udump_generate_options o;
    udump_error error;
    char expected[256];
    udump_generate_options_init(&o);
    o.width_px = o.height_px = 8;
    o.steps = 2;
    o.sampler = sampler;
    o.schedule = schedule;
    if (udump_begin(session, &o, NULL, NULL, &error)) fail_msg("%s: %s", words, error.what);
    snprintf(expected, sizeof expected, "Steps: 2, %s, CFG scale: 7.0, Seed: 0, Size: 8x8, Model: demo, Version: unetdump %s", words, udump_version());
    assert_string_equal(session->run.infotexts[0], expected);
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
}

static void expect_names(udump_session *session, const char *sampler, const char *schedule) {
    char words[128], joined[64];
    snprintf(words, sizeof words, "Sampler: %s, Schedule type: %s", sampler, schedule);
    snprintf(joined, sizeof joined, "%s %s", sampler, schedule);
    expect_words(session, sampler, schedule, words);
    expect_words(session, joined, NULL, words); /* the older names */
}

/* Other ways to ask; what is written is the same words. */
static const struct { const char *sampler, *schedule, *words; } spellings[] = {
    { NULL, NULL, "Sampler: Euler a, Schedule type: Automatic" },
    { "Euler a", NULL, "Sampler: Euler a, Schedule type: Automatic" },
    { NULL, "Karras", "Sampler: Euler a, Schedule type: Karras" },
    { "DPM++ 2M", NULL, "Sampler: DPM++ 2M, Schedule type: Automatic" }, /* runs Karras, but was not asked to */
    { "DPM++ 2M Karras", "Automatic", "Sampler: DPM++ 2M, Schedule type: Karras" },
    { "DPM++ 2M Karras", "Karras", "Sampler: DPM++ 2M, Schedule type: Karras" },
    { "dpm++ 2m sde heun karras", NULL, "Sampler: DPM++ 2M SDE Heun, Schedule type: Karras" },
    { "ddim", "ddim", "Sampler: DDIM, Schedule type: DDIM" },
    { "euler", "sgm_uniform", "Sampler: Euler, Schedule type: SGM Uniform" },
    { "unipc", "SGMUniform", "Sampler: UniPC, Schedule type: SGM Uniform" },
    { "k_lms", "kl_optimal", "Sampler: LMS, Schedule type: KL Optimal" },
    { "k_heun", "align_your_steps", "Sampler: Heun, Schedule type: Align Your Steps" },
    { "k_dpm_2_a_ka", NULL, "Sampler: DPM2 a, Schedule type: Karras" },
    { "k_dpmpp_3m_sde_exp", NULL, "Sampler: DPM++ 3M SDE, Schedule type: Exponential" },
    { "euler_ancestral", "polyexponential", "Sampler: Euler a, Schedule type: Polyexponential" },
};

static void test_labels(void **state) {
    (void)state;
    udump_model *model = load_demo(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32);
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (int sampler = 0; sampler < SAMPLERS; sampler++)
        for (int schedule = 0; schedule < SCHEDULES; schedule++) expect_names(session, samplers[sampler], schedules[schedule]);
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        expect_words(session, spellings[i].sampler, spellings[i].schedule, spellings[i].words);
    udump_session_destroy(session);
    udump_model_release(model);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_labels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
