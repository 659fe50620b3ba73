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
    double timesteps[64];
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
        .levels = &f->levels, .steps = steps, .batch = batch, .h = 2, .w = 3, .c = 4, .rng = UDUMP_RNG_NV, .seed = seed
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
    udump_sampling_start(&f->run, NULL);
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

static void run_all(fixture *f, const udump_sampling_options *options, const float *given, float *latent) {
    open_run(f, options);
    udump_sampling_start(&f->run, given);
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
    assert_int_equal(backend->device_open(1, UDUMP_F32, &f->device, NULL), UDUMP_OK);
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

/* Channels last against the goldens' [batch, c, h, w]: largest error over the largest magnitude. */
static double relative_error(const udump_sampling_options *o, const float *latent, const json_t *expected) {
    double worst = 0, largest = 0;
    size_t pixels = (size_t)o->h * (size_t)o->w, channels = (size_t)o->c;
    assert_int_equal(json_array_size(expected), (size_t)o->batch * channels * pixels);
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
    assert_int_equal(json_array_size(json_object_get(root, "runs")), 23);
    json_array_foreach(json_object_get(root, "runs"), i, run) {
        const char *sampler = json_string_value(json_object_get(run, "sampler")),
                   *schedule = json_string_value(json_object_get(run, "schedule"));
        int32_t steps = (int32_t)json_integer_value(json_object_get(run, "steps"));
        udump_sampling_options options = make_options(
            f, sampler, schedule, steps, 2, (uint64_t)json_integer_value(json_object_get(root, "seed")));
        float latent[VALUES];
        run_all(f, &options, NULL, latent);
        double error = relative_error(&options, latent, json_object_get(run, "latent"));
        if (!(error < 1e-5)) fail_msg("%s, %s, %d steps: off by %g", sampler, schedule, (int)steps, error);
    }
    json_decref(root);
}

static void evaluations_are_known_ahead(void **state) {
    fixture *f = *state;
    udump_sampling_options options = make_options(f, "Euler", "Uniform", 4, 1, 0);
    open_run(f, &options);
    assert_int_equal(f->run.evaluation_count, 4);
    udump_sampling_start(&f->run, NULL);
    run_steps(f);
    for (int32_t i = 0; i < 4; i++) {
        const udump_evaluation *e = &f->run.evaluations[i];
        assert_int_equal(e->step, i);
        assert_true(e->timestep == f->timesteps[i] && fabs(e->timestep - (999 - 333 * i)) < 1e-9);
        assert_true(e->sigma == f->run.sigmas[i] && fabs(e->input_scale * e->input_scale * (e->sigma * e->sigma + 1) - 1) < 1e-14);
    }
    assert_true(udump_sampling_initial_scale(&f->run) == f->run.sigmas[0]);
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

/* One draw to start from, one for every step of Euler a but the last; the dry pass draws nothing. */
static void noise_is_drawn_where_it_is_used(void **state) {
    fixture *f = *state;
    static const char *const samplers[] = { "Euler a", "Euler", "DPM++ 2M", "DDIM" };
    for (int i = 0; i < 4; i++) {
        udump_sampling_options options = make_options(f, samplers[i], "Karras", 6, 2, 0);
        open_run(f, &options);
        udump_sampling_start(&f->run, NULL);
        run_steps(f);
        for (int image = 0; image < 2; image++) assert_int_equal(f->run.randoms[image].draws, i == 0 ? 6 : 1);
        udump_sampling_free(&f->run);
        udump_exec_reset(&f->x);
    }
}

static void a_batch_equals_single_runs(void **state) {
    fixture *f = *state;
    for (int kind = UDUMP_RNG_NV; kind <= UDUMP_RNG_CPU; kind++) {
        float batch[72], single[24];
        udump_sampling_options options = make_options(f, "Euler a", NULL, 5, 3, 100);
        options.rng = (udump_rng)kind;
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
    udump_sampling_start(&f->run, noise);
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
    udump_sampling_start(&f->run, NULL);
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
    udump_sampling_start(&f->run, NULL);
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
        cmocka_unit_test_setup_teardown(ddim_leaves_the_last_timestep_out, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_is_drawn_where_it_is_used, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_equals_single_runs, setup, teardown),
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
