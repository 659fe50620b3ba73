/* src/sample: whole runs on the reference backend against k-diffusion's samplers and the webui's DDIM, with a formula for a U-Net. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "sample/sampler.h"

enum { LEVELS = 1000, VALUES = 2 * 4 * 2 * 3 };

/* A backend, its context and a run on it. */
typedef struct fixture {
    udump_noise_levels levels;
    void *device;
    udump_exec x;
    udump_sampling run;
    udump_tensor eps;
    int32_t evaluations;
    double timesteps[128];
} fixture;

/* make_sample_goldens.py: predicted_noise. */
static udump_tensor predict_eps(void *user, udump_tensor latent, const udump_evaluation *evaluation) {
    fixture *f = user;
    assert_int_equal(evaluation->index, f->evaluations);
    f->timesteps[f->evaluations++] = evaluation->timestep;
    if (f->x.dry || udump_exec_stopped(&f->x)) return f->eps;
    const float *from = udump_tensor_data(&f->x, latent);
    float *to = udump_tensor_data(&f->x, f->eps), angle = (float)(evaluation->timestep * 0.01);
    for (size_t i = 0; i < udump_tensor_count(latent); i++)
        to[i] = tanhf(1.3f * from[i] * (float)evaluation->input_scale + 0.3f * sinf(angle) + 0.1f * (float)(i % (size_t)latent.c));
    return f->eps;
}

static udump_sampling_options make_options(
    const fixture *f, const char *sampler, const char *schedule, int32_t steps, int32_t batch, uint64_t seed) {
    udump_sampling_options options = {
        .levels = &f->levels, .steps = steps, .batch = batch, .images = batch, .h = 2, .w = 3, .c = 4, .rng = UDUMP_RNG_NV, .seed = seed
    };
    assert_int_equal(udump_sampler_find(sampler, schedule, &options.choice, NULL), UDUMP_OK);
    return options;
}

static void reserve(fixture *f) {
    udump_sampling_reserve(&f->run, &f->x);
    f->eps = udump_tensor_new(&f->x, UDUMP_F32, f->run.batch, f->run.h, f->run.w, f->run.c);
    f->evaluations = 0;
}

/* As the pipeline does it: a dry pass of one step sizes the arena. */
static void open_run(fixture *f, const udump_sampling_options *options) {
    udump_denoiser denoiser = { f, predict_eps };
    assert_int_equal(udump_sampling_init(&f->run, options, NULL), UDUMP_OK);
    udump_exec_begin_dry(&f->x);
    reserve(f);
    udump_sampling_start(&f->run, NULL, NULL);
    assert_int_equal(udump_sampling_step(&f->run, 0, &denoiser, NULL), UDUMP_OK);
    assert_int_equal(udump_exec_end_dry(&f->x, NULL), UDUMP_OK);
    reserve(f);
}

static void run_steps(fixture *f) {
    udump_denoiser denoiser = { f, predict_eps };
    size_t low_bytes = f->x.low_bytes;
    for (int32_t i = 0; i < f->run.steps; i++) assert_int_equal(udump_sampling_step(&f->run, i, &denoiser, NULL), UDUMP_OK);
    assert_int_equal(f->x.low_bytes, low_bytes); /* the steps took nothing from the arena */
    assert_int_equal(f->evaluations, f->run.evaluation_count);
}

/* make_sample_goldens.py: picture; channels last. */
static void make_init(const udump_sampling_options *o, float *init) {
    float drawn[VALUES / 2];
    size_t channels = (size_t)o->c, pixels = (size_t)o->h * (size_t)o->w;
    assert_true(channels * pixels <= VALUES / 2 || !o->strength);
    if (!o->strength) return;
    udump_philox_normal(99, 0, drawn, channels * pixels);
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < channels; c++) init[i * channels + c] = drawn[c * pixels + i];
}

static void run_all(fixture *f, const udump_sampling_options *options, const float *given, float *latent) {
    float init[VALUES / 2];
    make_init(options, init);
    open_run(f, options);
    udump_sampling_start(&f->run, given, options->strength ? init : NULL);
    run_steps(f);
    udump_download(&f->x, latent, f->run.latent);
    udump_sampling_free(&f->run);
    udump_exec_reset(&f->x);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(udump_noise_levels_make(&f->levels, LEVELS, 0.00085, 0.012, NULL), UDUMP_OK);
    const udump_backend *backend = udump_backend_reference();
    assert_int_equal(backend->device_open(&(udump_device_request){ .threads = 1, .compute = UDUMP_F32 }, &f->device, NULL), UDUMP_OK);
    assert_int_equal(udump_exec_open(&f->x, backend, f->device, 1, UDUMP_F32, NULL), UDUMP_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    udump_sampling_free(&f->run);
    udump_exec_close(&f->x);
    f->x.backend->device_close(f->device);
    udump_noise_levels_free(&f->levels);
    free(f);
    return 0;
}

/* Channels last against the goldens' [images, c, h, w]: largest error over the largest magnitude. */
static double relative_error(const udump_sampling_options *o, const float *latent, const json_t *expected) {
    double worst = 0, largest = 0;
    size_t pixels = (size_t)o->h * (size_t)o->w, channels = (size_t)o->c;
    assert_true(json_array_size(expected) == channels * pixels || json_array_size(expected) == (size_t)o->batch * channels * pixels);
    for (size_t i = 0; i < json_array_size(expected); i++) {
        size_t image = i / (channels * pixels), channel = i / pixels % channels, pixel = i % pixels;
        double value = json_number_value(json_array_get(expected, i));
        worst = fmax(worst, fabs((double)latent[(image * pixels + pixel) * channels + channel] - value));
        largest = fmax(largest, fabs(value));
    }
    return worst / largest;
}

static void runs_equal_k_diffusion(void **state) {
    fixture *f = *state;
    json_error_t problem;
    json_t *root = json_load_file(TEST_DATA "/sample/runs.json", 0, &problem);
    assert_non_null(root);
    const json_t *run;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(root, "runs")), 338);
    int built = 0;
    json_array_foreach(json_object_get(root, "runs"), i, run) {
        const char *sampler = json_string_value(json_object_get(run, "sampler")),
                   *schedule = json_string_value(json_object_get(run, "schedule"));
        int32_t steps = (int32_t)json_integer_value(json_object_get(run, "steps"));
        udump_sampling_options options = make_options(
            f, sampler, schedule, steps, 2, (uint64_t)json_integer_value(json_object_get(root, "seed")));
        double eta = json_number_value(json_object_get(run, "eta")), s_noise = json_number_value(json_object_get(run, "s_noise"));
        if (json_object_get(run, "eta")) options.eta = &eta;
        if (json_object_get(run, "s_noise")) options.s_noise = &s_noise;
        options.ensd = json_integer_value(json_object_get(run, "ensd"));
        double strength = json_number_value(json_object_get(run, "strength"));
        if (json_object_get(run, "strength")) options.strength = &strength;
        float latent[VALUES];
        run_all(f, &options, NULL, latent);
        double error = relative_error(&options, latent, json_object_get(run, "latent"));
        if (!(error < 1e-5)) fail_msg("%s, %s, %d steps: off by %g", sampler, schedule, (int)steps, error);
        if (!json_object_get(run, "as_built")) continue;
        error = relative_error(&options, latent, json_object_get(run, "as_built"));
        if (!(error < 1e-2)) fail_msg("%s, %s, %d steps: off the build of torch by %g", sampler, schedule, (int)steps, error);
        built++;
    }
    assert_in_range(built, 1, 30);
    json_decref(root);
}

static void evaluations_are_known_ahead(void **state) {
    fixture *f = *state;
    udump_sampling_options options = make_options(f, "Euler", "Uniform", 4, 1, 0);
    open_run(f, &options);
    assert_int_equal(f->run.evaluation_count, 4);
    udump_sampling_start(&f->run, NULL, NULL);
    run_steps(f);
    for (int32_t i = 0; i < 4; i++) {
        const udump_evaluation *e = &f->run.evaluations[i];
        assert_int_equal(e->step, i);
        assert_true(e->timestep == f->timesteps[i] && fabs(e->timestep - (999 - 333 * i)) < 3e-4);
        assert_true(e->sigma == f->run.sigmas[i] && fabs(e->input_scale * e->input_scale * (e->sigma * e->sigma + 1) - 1) < 1e-14);
    }
    assert_true(udump_sampling_initial_scale(&f->run) == f->run.sigmas[0]);
}

/* Two evaluations a step, but one in a step to sigma 0. */
static void second_order_is_known_ahead(void **state) {
    fixture *f = *state;
    static const char *const samplers[] = { "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ SDE" };
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++)
        for (int ends_at_zero = 0; ends_at_zero < 2; ends_at_zero++) {
            udump_sampling_options options = make_options(f, samplers[i], ends_at_zero ? "Karras" : "KL Optimal", 5, 1, 0);
            open_run(f, &options);
            assert_int_equal(f->run.steps, 5);
            assert_int_equal(f->run.evaluation_count, ends_at_zero ? 9 : 10);
            assert_true((f->run.sigmas[5] == 0) == ends_at_zero);
            udump_sampling_start(&f->run, NULL, NULL);
            run_steps(f);
            for (int32_t k = 0; k < f->run.evaluation_count; k++) {
                const udump_evaluation *e = &f->run.evaluations[k];
                assert_int_equal(e->index, k);
                assert_int_equal(e->step, k / 2);
                assert_int_equal(f->run.firsts[e->step], k - k % 2);
                double before = f->run.sigmas[k / 2], after = f->run.sigmas[k / 2 + 1];
                assert_true(k % 2 ? e->sigma < before : e->sigma == before);
                if (k % 2 && i == 0) assert_true(e->sigma == after);
                if (k % 2 && i == 4) assert_true(fabs(e->sigma / sqrt(before * after) - 1) < 1e-6);
                assert_true(fabs(e->input_scale * e->input_scale * (e->sigma * e->sigma + 1) - 1) < 1e-14);
            }
            udump_sampling_free(&f->run);
            udump_exec_reset(&f->x);
        }
    udump_sampling_options options = make_options(f, "PLMS", NULL, 10, 1, 0);
    open_run(f, &options);
    assert_int_equal(f->run.evaluation_count, 10);
    assert_true(f->run.evaluations[1].step == 0 && f->run.evaluations[1].timestep == 801);
    assert_true(f->run.evaluations[2].step == 1 && f->run.evaluations[2].timestep == 801);
}

/* DPM2, DPM2 a and DPM++ 3M SDE: the levels of one step more, without the one before the last. */
static void a_level_is_discarded(void **state) {
    fixture *f = *state;
    static const char *const samplers[] = { "DPM2", "DPM2 a", "DPM++ 3M SDE" };
    for (int i = 0; i < 3; i++) {
        double sigmas[8];
        udump_sampling_options options = make_options(f, samplers[i], "Karras", 6, 1, 0);
        udump_schedule_sigmas(&f->levels, UDUMP_SCHEDULE_KARRAS, 7, sigmas);
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        assert_int_equal(f->run.steps, 6);
        assert_memory_equal(f->run.sigmas, sigmas, 6 * sizeof *sigmas);
        assert_true(f->run.sigmas[6] == 0);
        udump_sampling_free(&f->run);
        options.steps = LEVELS - 1;
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        udump_sampling_free(&f->run);
        options.steps = LEVELS;
        udump_error error;
        assert_int_equal(udump_sampling_init(&f->run, &options, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.what, "1000 steps, 1 to 999 can be taken");
    }
    udump_noise_levels all = f->levels;
    assert_int_equal(udump_noise_levels_make(&f->levels, 2, 0.00085, 0.012, NULL), UDUMP_OK);
    udump_sampling_options options = make_options(f, "DPM2", "DDIM", 1, 1, 0); /* a single level: it is kept */
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    assert_true(f->run.steps == 1 && fabs(f->run.sigmas[0] / f->levels.sigmas[1] - 1) < 1e-6 && f->run.sigmas[1] == 0);
    udump_noise_levels_free(&f->levels);
    f->levels = all;
}

/* From 20 steps on a part of them is walked again, once or twice; the number of steps stays. */
static void restart_goes_up_again(void **state) {
    fixture *f = *state;
    static const struct {
        int32_t steps, rises;
    } cases[] = { { 1, 0 }, { 19, 0 }, { 20, 1 }, { 35, 1 }, { 36, 2 }, { 100, 2 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_sampling_options options = make_options(f, "Restart", NULL, cases[i].steps, 1, 0);
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        assert_int_equal(f->run.steps, cases[i].steps);
        int32_t rises = 0;
        for (int32_t k = 0; k < f->run.steps; k++) {
            assert_true(f->run.raised[k] >= f->run.sigmas[k] && f->run.raised[k] > f->run.sigmas[k + 1]);
            assert_true(f->run.evaluations[f->run.firsts[k]].sigma == f->run.raised[k]);
            rises += f->run.raised[k] > f->run.sigmas[k];
        }
        assert_int_equal(rises, cases[i].rises);
        assert_true(f->run.sigmas[f->run.steps] == 0);
        assert_int_equal(f->run.evaluation_count, 2 * cases[i].steps - 1);
        udump_sampling_free(&f->run);
    }
}

/* As many evaluations as steps are asked for. */
static void dpm_fast_counts_evaluations(void **state) {
    fixture *f = *state;
    for (int32_t steps = 1; steps <= 30; steps++) {
        udump_sampling_options options = make_options(f, "DPM fast", "Karras", steps, 1, 0);
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        assert_int_equal(f->run.evaluation_count, steps);
        assert_int_equal(f->run.steps, steps / 3 + 1);
        for (int32_t k = 0; k < steps; k++) {
            const udump_evaluation *e = &f->run.evaluations[k];
            assert_int_equal(e->index, k);
            assert_true(k == 0 || e->sigma < e[-1].sigma || e->step > e[-1].step);
        }
        assert_true(fabs(f->run.sigmas[f->run.steps] / f->levels.sigmas[0] - 1) < 1e-6);
        udump_sampling_free(&f->run);
    }
}

/* The last t + 1 steps, t = floor(min(strength, 0.999) * steps). */
static void a_strength_leaves_steps_out(void **state) {
    fixture *f = *state;
    static const struct {
        const char *sampler;
        int32_t steps;
        double strength;
        int32_t taken;
    } cases[] = { { "Euler", 20, 0.75, 16 }, { "Euler", 20, 1, 20 }, { "Euler", 20, 0, 1 }, { "Euler", 1, 0.5, 1 }, { "Euler", 1, 1, 1 },
        { "DPM2", 20, 0.5, 11 }, { "LCM", 8, 0.5, 5 }, { "DDIM", 20, 0.75, 14 }, { "DDIM", 20, 0, 1 }, { "DDIM", 1, 1, 1 },
        { "PLMS", 20, 0.1, 1 }, { "UniPC", 20, 0.75, 15 }, { "UniPC", 20, 0, 1 }, { "UniPC", 1, 0.5, 1 }, { "DPM fast", 20, 0.5, 4 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_sampling_options options = make_options(f, cases[i].sampler, NULL, cases[i].steps, 1, 0);
        options.strength = &cases[i].strength;
        float latent[VALUES];
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        if (f->run.steps != cases[i].taken) fail_msg("%s, %g: %d steps", cases[i].sampler, cases[i].strength, (int)f->run.steps);
        for (int32_t k = 0; k < f->run.evaluation_count; k++) assert_true(f->run.evaluations[k].sigma <= f->run.start_sigma);
        udump_sampling_free(&f->run);
        run_all(f, &options, NULL, latent);
        for (int k = 0; k < VALUES / 2; k++) assert_true(isfinite(latent[k]));
    }
}

/* Images that are variations share a seed; the noise that they turn to counts up. */
static void variations_of_a_batch(void **state) {
    fixture *f = *state;
    float batch[VALUES], single[VALUES], plain[VALUES];
    udump_sampling_options options = make_options(f, "Euler a", NULL, 4, 2, 5);
    options.variation_seed = 30;
    options.variation_strength = 0.4;
    run_all(f, &options, NULL, batch);
    options.batch = options.images = 1;
    for (uint64_t i = 0; i < 2; i++) {
        options.variation_seed = 30 + i;
        run_all(f, &options, NULL, single);
        assert_memory_equal(batch + i * (VALUES / 2), single, VALUES / 2 * sizeof *single);
    }
    options.variation_strength = 0;
    run_all(f, &options, NULL, plain);
    assert_memory_not_equal(plain, single, VALUES / 2 * sizeof *single);
    options = make_options(f, "Euler", NULL, 4, 1, 5); /* all the way, it is the other seed's picture: nothing else draws */
    options.variation_seed = 9;
    options.variation_strength = 1;
    run_all(f, &options, NULL, single);
    options = make_options(f, "Euler", NULL, 4, 1, 9);
    run_all(f, &options, NULL, plain);
    for (int k = 0; k < VALUES / 2; k++) assert_true(fabsf(single[k] - plain[k]) < 1e-4f);
}

static void lcm_has_its_own_levels(void **state) {
    fixture *f = *state;
    udump_sampling_options options = make_options(f, "LCM", NULL, 4, 1, 0);
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    static const double timesteps[] = { 999, 679, 339, 19 };
    for (int i = 0; i < 4; i++) assert_true(f->run.evaluations[i].timestep == timesteps[i]);
    assert_true(fabs(f->run.sigmas[3] / f->levels.sigmas[19] - 1) < 1e-6 && f->run.sigmas[4] == 0);
    udump_sampling_free(&f->run);
    options = make_options(f, "LCM", "Simple", 100, 1, 0); /* more steps than levels */
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    for (int i = 0; i < 100; i++) assert_true(f->run.evaluations[i].timestep == 999 - i / 2 * 20);
    udump_sampling_free(&f->run);

    udump_noise_levels all = f->levels;
    assert_int_equal(udump_noise_levels_make(&f->levels, 30, 0.00085, 0.012, NULL), UDUMP_OK); /* fewer levels than LCM's 50 */
    options = make_options(f, "LCM", "Simple", 30, 1, 0);
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    for (int i = 0; i < 30; i++) assert_true(f->run.evaluations[i].timestep == 29 - i);
    udump_noise_levels_free(&f->levels);
    f->levels = all;
}

/* Evenly spaced and not rounded; the level of timestep 0 is only stepped to. */
static void unipc_has_its_own_timesteps(void **state) {
    fixture *f = *state;
    udump_sampling_options options = make_options(f, "UniPC", "Karras", 7, 1, 0);
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    assert_int_equal(f->run.steps, 8); /* 1000 // 7 = 142 fits 8 times */
    assert_true(udump_sampling_initial_scale(&f->run) == 1 && f->run.evaluation_count == 8);
    for (int i = 0; i < 8; i++) {
        const udump_evaluation *e = &f->run.evaluations[i];
        assert_true(fabs(e->timestep - 999 * (1 - i / 8.0)) < 1e-9 && e->input_scale == 1 && e->sigma == f->run.sigmas[i]);
        assert_true(fabs(udump_sigma_to_timestep(&f->levels, e->sigma) - e->timestep) < 0.01); /* log alpha against log sigma */
    }
    assert_true(fabs(f->run.sigmas[0] / f->levels.sigmas[999] - 1) < 1e-12 && fabs(f->run.sigmas[8] / f->levels.sigmas[0] - 1) < 1e-12);
}

static void ddim_leaves_the_last_timestep_out(void **state) {
    fixture *f = *state;
    static const int32_t asked[] = { 1, 2, 3, 20, 30, 1000 }, taken[] = { 1, 1, 3, 19, 30, 999 };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        udump_sampling_options options = make_options(f, "DDIM", NULL, asked[i], 1, 0);
        assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
        assert_int_equal(f->run.steps, taken[i]);
        assert_int_equal(f->run.evaluation_count, taken[i]);
        assert_true(udump_sampling_initial_scale(&f->run) == 1);
        for (int32_t k = 0; k < taken[i]; k++) {
            const udump_evaluation *e = &f->run.evaluations[k];
            assert_true(e->input_scale == 1 && e->timestep == floor(e->timestep) && e->sigma == f->levels.sigmas[(int32_t)e->timestep]);
        }
        assert_true(f->run.sigmas[taken[i]] == f->levels.sigmas[asked[i] == 1 ? 0 : 1]);
        udump_sampling_free(&f->run);
    }
}

/* One draw to start from, then one for every step but the last of samplers that draw; the dry pass draws nothing. */
static void noise_is_drawn_where_it_is_used(void **state) {
    fixture *f = *state;
    static const struct {
        const char *sampler;
        double eta;
        uint32_t draws;
        bool tensor;
    } cases[] = { { "Euler a", 1, 6, true }, { "Euler a", 0, 1, false }, { "Euler", 1, 1, false }, { "LMS", 1, 1, false },
        { "Heun", 1, 1, false }, { "DPM2", 1, 1, false }, { "DPM2 a", 1, 6, true }, { "DPM2 a", 0, 1, false },
        { "DPM++ 2S a", 0.5, 6, true }, { "DPM++ 2M", 1, 1, false }, { "DPM++ SDE", 1, 1, true }, { "DPM++ 2M SDE", 1, 1, true },
        { "DPM++ 3M SDE", 0, 1, false }, { "DDIM", 0, 1, false }, { "DDIM", 0.5, 7, true }, { "PLMS", 1, 1, false },
        { "UniPC", 1, 1, false }, { "LCM", 0, 6, true },
        { "Restart", 1, 1, true }, { "DPM fast", 1, 3, true }, { "DPM fast", 0, 1, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_sampling_options options = make_options(f, cases[i].sampler, "Karras", 6, 2, 0);
        options.eta = &cases[i].eta;
        open_run(f, &options);
        udump_sampling_start(&f->run, NULL, NULL);
        run_steps(f);
        for (int image = 0; image < 2; image++) assert_int_equal(f->run.randoms[image].draws, cases[i].draws);
        assert_int_equal(f->run.noise.n != 0, cases[i].tensor);
        udump_sampling_free(&f->run);
        udump_exec_reset(&f->x);
    }
}

static void a_batch_equals_single_runs(void **state) {
    fixture *f = *state;
    for (int which = 0; which < 6; which++) {
        float batch[72], single[24];
        udump_sampling_options options
            = make_options(f, (const char *[]){ "Euler a", "DPM++ SDE", "DPM++ 3M SDE" }[which % 3], NULL, 5, 3, 100);
        options.rng = which < 3 ? UDUMP_RNG_NV : UDUMP_RNG_CPU;
        run_all(f, &options, NULL, batch);
        options.batch = 1;
        for (int i = 0; i < 3; i++) {
            options.seed = 100 + (uint64_t)i;
            run_all(f, &options, NULL, single);
            assert_memory_equal(batch + 24 * i, single, sizeof single);
        }
        assert_memory_not_equal(batch, batch + 24, sizeof single);
    }
}

/* A batch of two images and their twins: as many different noises as images, given ones too. */
static void twins_share_their_noise(void **state) {
    fixture *f = *state;
    for (int which = 0; which < 2; which++) {
        float all[96], given[96], noise[48], one[48];
        udump_sampling_options options = make_options(f, which ? "DPM++ 2M SDE" : "Euler a", NULL, 4, 4, 11);
        options.images = 2;
        for (int i = 0; i < 48; i++) noise[i] = (float)(i % 7) - 3;
        run_all(f, &options, NULL, all);
        run_all(f, &options, noise, given);
        options.batch = 2;
        run_all(f, &options, NULL, one);
        assert_memory_equal(all, one, sizeof one);
        assert_memory_equal(all + 48, one, sizeof one);
        assert_memory_not_equal(all, all + 24, 24 * sizeof *all);
        assert_memory_equal(given, given + 48, sizeof one);
        assert_memory_not_equal(given, all, sizeof one);
    }
}

/* ENSD moves what is drawn after the initial latent, and no Brownian path; it wraps as seeds do. */
static void ensd_moves_the_steps_noise(void **state) {
    fixture *f = *state;
    static const char *const samplers[] = { "Euler a", "LCM", "DPM++ 2M SDE", "DPM++ 2M", "DDIM" };
    for (int i = 0; i < 5; i++) {
        float plain[48], moved[48], wrapped[48];
        double eta = 1;
        udump_sampling_options options = make_options(f, samplers[i], NULL, 4, 2, 5);
        options.eta = &eta;
        run_all(f, &options, NULL, plain);
        options.ensd = -6; /* image 0 draws from the last seed there is, image 1 from 0 */
        run_all(f, &options, NULL, moved);
        if (i == 2 || i == 3) assert_memory_equal(plain, moved, sizeof plain);
        else assert_memory_not_equal(plain, moved, sizeof plain);
        options.seed = 6;
        options.ensd = -7;
        options.batch = options.images = 1;
        float noise[24];
        udump_random random;
        udump_random_init(&random, options.rng, 5);
        udump_random_normal(&random, noise, 24);
        run_all(f, &options, noise, wrapped);
        if (i != 2) assert_memory_equal(wrapped, moved, sizeof noise);
        options.ensd = 0;
        options.seed = 5;
        open_run(f, &options);
        udump_sampling_start(&f->run, NULL, NULL);
        udump_download(&f->x, wrapped, f->run.latent);
        options.ensd = 31337;
        udump_sampling_free(&f->run);
        udump_exec_reset(&f->x);
        open_run(f, &options);
        udump_sampling_start(&f->run, NULL, NULL);
        udump_download(&f->x, moved, f->run.latent);
        assert_memory_equal(moved, wrapped, sizeof noise); /* the initial latent */
        udump_sampling_free(&f->run);
        udump_exec_reset(&f->x);
    }
}

/* Without eta, and without a last step's noise, one step is Euler's. */
static void one_step_is_one_step(void **state) {
    fixture *f = *state;
    float expected[24], latent[24];
    udump_sampling_options options = make_options(f, "Euler", "Karras", 1, 1, 3);
    run_all(f, &options, NULL, expected);
    static const char *const samplers[] = { "Euler a", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE",
        "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE" };
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        options = make_options(f, samplers[i], "Karras", 1, 1, 3);
        run_all(f, &options, NULL, latent);
        for (int k = 0; k < 24; k++) assert_true(fabsf(latent[k] - expected[k]) < 1e-5f);
    }
    for (int32_t steps = 1; steps < 3; steps++) { /* UniPC in fewer steps than its order: the webui refuses them */
        options = make_options(f, "UniPC", NULL, steps, 1, 3);
        run_all(f, &options, NULL, latent);
        for (int k = 0; k < 24; k++) assert_true(isfinite(latent[k]));
    }
}

/* eta's and s_noise's default values, and that samplers without them do not see them. */
static void eta_and_s_noise_have_defaults(void **state) {
    fixture *f = *state;
    static const struct {
        const char *sampler;
        double eta;
        bool takes_eta, takes_s_noise;
    } cases[] = { { "Euler a", 1, true, true }, { "DPM++ SDE", 1, true, true }, { "DPM++ 3M SDE", 1, true, true },
        { "DDIM", 0, true, false }, { "Heun", 1, false, false }, { "LCM", 1, false, false }, { "UniPC", 1, false, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float plain[24], same[24], other[24];
        double one = 1, half = 0.5;
        udump_sampling_options options = make_options(f, cases[i].sampler, NULL, 4, 1, 8);
        run_all(f, &options, NULL, plain);
        options.eta = &cases[i].eta;
        options.s_noise = &one;
        run_all(f, &options, NULL, same);
        assert_memory_equal(plain, same, sizeof plain);
        options.eta = &half;
        run_all(f, &options, NULL, other);
        assert_int_equal(memcmp(plain, other, sizeof plain) != 0, cases[i].takes_eta);
        options.eta = &cases[i].eta;
        options.s_noise = &half;
        run_all(f, &options, NULL, other);
        assert_int_equal(memcmp(plain, other, sizeof plain) != 0, cases[i].takes_s_noise);
    }
}

/* The last seed wraps around, as unsigned numbers do. */
static void seeds_wrap(void **state) {
    fixture *f = *state;
    float batch[48], single[24];
    udump_sampling_options options = make_options(f, "Euler", NULL, 3, 2, UINT64_MAX);
    run_all(f, &options, NULL, batch);
    options.batch = 1;
    options.seed = 0;
    run_all(f, &options, NULL, single);
    assert_memory_equal(batch + 24, single, sizeof single);
}

static void given_noise_takes_the_generators_place(void **state) {
    fixture *f = *state;
    for (int kind = UDUMP_RNG_NV; kind <= UDUMP_RNG_CPU; kind++) {
        float noise[48], drawn[48], given[48], other[48];
        udump_sampling_options options = make_options(f, "Euler a", NULL, 4, 2, 9);
        options.rng = (udump_rng)kind;
        for (int i = 0; i < 2; i++) {
            udump_random random;
            udump_random_init(&random, options.rng, 9 + (uint64_t)i);
            udump_random_normal(&random, noise + 24 * i, 24);
        }
        run_all(f, &options, NULL, drawn);
        run_all(f, &options, noise, given);
        assert_memory_equal(drawn, given, sizeof drawn);
        noise[5] += 1;
        run_all(f, &options, noise, other);
        assert_memory_not_equal(drawn, other, sizeof drawn);
    }
}

static void the_initial_latent_is_scaled_and_channels_last(void **state) {
    fixture *f = *state;
    udump_sampling_options options = make_options(f, "Euler", "Karras", 3, 1, 0);
    float noise[24], latent[24];
    for (int i = 0; i < 24; i++) noise[i] = (float)i;
    open_run(f, &options);
    udump_sampling_start(&f->run, noise, NULL);
    udump_download(&f->x, latent, f->run.latent);
    float scale = (float)f->levels.sigmas[LEVELS - 1];
    for (int channel = 0; channel < 4; channel++)
        for (int pixel = 0; pixel < 6; pixel++)
            assert_true(fabsf(latent[pixel * 4 + channel] - noise[channel * 6 + pixel] * scale) < 1e-4f);
}

static void bad_options_are_refused(void **state) {
    fixture *f = *state;
    udump_error error;
    for (int which = 0; which < 7; which++) {
        udump_sampling_options options = make_options(f, which % 2 ? "DDIM" : "Euler", NULL, 5, 1, 0);
        if (which == 0) options.steps = 0;
        if (which == 1) options.steps = LEVELS + 1;
        if (which == 2) options.steps = -3;
        if (which == 3) options.batch = 0;
        if (which == 4) options.h = 0;
        if (which == 5) options.w = -1;
        if (which == 6) options.c = 0;
        assert_int_equal(udump_sampling_init(&f->run, &options, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, which < 3 ? "steps" : "latent");
        assert_null(f->run.sigmas);
    }
    static const double bad[] = { -0.1, 1.1, NAN, INFINITY };
    for (int i = 0; i < 4; i++) {
        udump_sampling_options options = make_options(f, "Euler a", NULL, 5, 1, 0);
        options.eta = &bad[i];
        assert_int_equal(udump_sampling_init(&f->run, &options, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, "eta");
        if (i == 1) continue; /* as s_noise it is good */
        options.eta = NULL;
        options.s_noise = &bad[i];
        assert_int_equal(udump_sampling_init(&f->run, &options, &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.where, "s_noise");
        assert_null(f->run.sigmas);
    }
    udump_sampling_options options = make_options(f, "Euler", NULL, 5, INT32_MAX, 0);
    options.h = options.w = options.c = INT32_MAX;
    assert_int_equal(udump_sampling_init(&f->run, &options, &error), UDUMP_ERROR_MEMORY);
    assert_null(f->run.sigmas);
}

static void steps_run_in_order(void **state) {
    fixture *f = *state;
    udump_denoiser denoiser = { f, predict_eps };
    udump_error error;
    udump_sampling_options options = make_options(f, "DPM++ 2M", NULL, 2, 1, 0);
    open_run(f, &options);
    udump_sampling_start(&f->run, NULL, NULL);
    assert_int_equal(udump_sampling_step(&f->run, 1, &denoiser, &error), UDUMP_ERROR_STATE);
    assert_string_equal(error.what, "step 2 of 2 asked for, step 1 is next");
    assert_int_equal(udump_sampling_step(&f->run, 0, &denoiser, &error), UDUMP_OK);
    assert_int_equal(udump_sampling_step(&f->run, 0, &denoiser, &error), UDUMP_ERROR_STATE);
    assert_int_equal(udump_sampling_step(&f->run, 1, &denoiser, &error), UDUMP_OK);
    assert_int_equal(udump_sampling_step(&f->run, 2, &denoiser, &error), UDUMP_ERROR_STATE);
    assert_int_equal(f->evaluations, 2);
}

static void a_step_before_reserve_is_refused(void **state) {
    fixture *f = *state;
    udump_denoiser denoiser = { f, predict_eps };
    udump_sampling_options options = make_options(f, "Euler", NULL, 2, 1, 0);
    assert_int_equal(udump_sampling_init(&f->run, &options, NULL), UDUMP_OK);
    assert_int_equal(udump_sampling_step(&f->run, 0, &denoiser, NULL), UDUMP_ERROR_STATE);
}

static void failures_stick(void **state) {
    fixture *f = *state;
    udump_denoiser denoiser = { f, predict_eps };
    udump_error error;
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    udump_sampling_options options = make_options(f, "Euler a", NULL, 3, 1, 0);
    open_run(f, &options);
    udump_sampling_start(&f->run, NULL, NULL);
    f->x.cancel = &cancel;
    assert_int_equal(udump_sampling_step(&f->run, 0, &denoiser, &error), UDUMP_OK);
    udump_cancel_raise(&cancel);
    assert_int_equal(udump_sampling_step(&f->run, 1, &denoiser, &error), UDUMP_ERROR_CANCELLED);
    assert_int_equal(error.status, UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_sampling_step(&f->run, 2, &denoiser, &error), UDUMP_ERROR_CANCELLED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_equal_k_diffusion, setup, teardown),
        cmocka_unit_test_setup_teardown(evaluations_are_known_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(second_order_is_known_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(a_level_is_discarded, setup, teardown),
        cmocka_unit_test_setup_teardown(lcm_has_its_own_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(restart_goes_up_again, setup, teardown),
        cmocka_unit_test_setup_teardown(dpm_fast_counts_evaluations, setup, teardown),
        cmocka_unit_test_setup_teardown(a_strength_leaves_steps_out, setup, teardown),
        cmocka_unit_test_setup_teardown(variations_of_a_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(unipc_has_its_own_timesteps, setup, teardown),
        cmocka_unit_test_setup_teardown(ddim_leaves_the_last_timestep_out, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_is_drawn_where_it_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_equals_single_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(twins_share_their_noise, setup, teardown),
        cmocka_unit_test_setup_teardown(ensd_moves_the_steps_noise, setup, teardown),
        cmocka_unit_test_setup_teardown(one_step_is_one_step, setup, teardown),
        cmocka_unit_test_setup_teardown(eta_and_s_noise_have_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(seeds_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(given_noise_takes_the_generators_place, setup, teardown),
        cmocka_unit_test_setup_teardown(the_initial_latent_is_scaled_and_channels_last, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_options_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_before_reserve_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_stick, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
