/* src/sample: noise, against torch's CPU generator and the webui's Philox; Brownian paths, against torchsde; and the elementary functions
 * against libm. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "sample/brownian.h"
#include "sample/elementary.h"
#include "sample/random.h"

static json_t *load(const char *path) {
    json_error_t problem;
    json_t *root = json_load_file(path, 0, &problem);
    if (!root) fail_msg("%s:%d: %s", path, problem.line, problem.text);
    return root;
}

/* libm's long double stands for the truth: its error is far below double's. */
static void elementary_functions_are_accurate(void **state) {
    (void)state;
    double log_error = 0, turn_error = 0;
    for (int i = 1; i <= 200000; i++) {
        double u = i / 200000.0, tiny = (i - 0.5) * 0x1p-32, angle = i * (6.5 / 200000), sine, cosine;
        log_error = fmax(log_error, fabs((double)((long double)udump_exact_log(u) - logl((long double)u))));
        log_error = fmax(log_error, fabs((double)((long double)udump_exact_log(tiny) - logl((long double)tiny))));
        udump_exact_sin_cos(angle, &sine, &cosine);
        turn_error = fmax(turn_error, fabs((double)((long double)sine - sinl((long double)angle))));
        turn_error = fmax(turn_error, fabs((double)((long double)cosine - cosl((long double)angle))));
    }
    assert_true(log_error < 1e-14);
    assert_true(turn_error < 1e-15);
}

static void elementary_functions_at_their_ends(void **state) {
    (void)state;
    double sine, cosine;
    assert_true(udump_exact_log(1) == 0);
    assert_true(fabs(udump_exact_log(1 - 0x1p-33) / log1p(-0x1p-33) - 1) < 1e-15); /* small, and still to all digits */
    assert_true(fabs(udump_exact_log(0x1p-53) - log(0x1p-53)) < 1e-14);
    udump_exact_sin_cos(0, &sine, &cosine);
    assert_true(sine == 0 && cosine == 1);
    for (int quarter = 1; quarter <= 4; quarter++)
        for (int side = -1; side <= 1; side++) { /* either side of each quarter turn and eighth turn */
            double angles[] = { quarter * M_PI_2 + side * 1e-9, quarter * M_PI_2 - M_PI_4 + side * 1e-9 };
            for (int i = 0; i < 2; i++) {
                udump_exact_sin_cos(angles[i], &sine, &cosine);
                assert_true(fabs(sine - sin(angles[i])) < 1e-15 && fabs(cosine - cos(angles[i])) < 1e-15);
            }
        }
}

/* What a GPU gives, as published with the webui's generator. The last digits are the GPU's fast sine. */
static void philox_begins_as_cuda(void **state) {
    (void)state;
    static const double expected[] = { -0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709,
        -1.07454231, -0.36314407, -1.67105067, 2.26550497 };
    udump_random random;
    float values[12];
    udump_random_init(&random, UDUMP_RNG_NV, 0);
    udump_random_normal(&random, values, 12);
    for (int i = 0; i < 12; i++) assert_true(fabs((double)values[i] - expected[i]) < 5e-7);
}

/* Largest difference at the places a summary lists; its sums are checked here. */
static double compare(const json_t *summary, const float *values, double sum_tolerance) {
    size_t count = (size_t)json_integer_value(json_object_get(summary, "count")), i;
    const json_t *places = json_object_get(summary, "places"), *place, *expected = json_object_get(summary, "values");
    double sum = 0, magnitudes = 0, worst = 0;
    for (i = 0; i < count; i++) {
        sum += (double)values[i];
        magnitudes += fabs((double)values[i]);
    }
    assert_true(json_array_size(places) > 0);
    assert_true(fabs(sum - json_real_value(json_object_get(summary, "sum"))) < sum_tolerance * (double)count);
    assert_true(fabs(magnitudes - json_real_value(json_object_get(summary, "sum_of_magnitudes"))) < sum_tolerance * (double)count);
    json_array_foreach(places, i, place) {
        float value = (float)json_real_value(json_array_get(expected, i));
        worst = fmax(worst, fabs((double)(values[json_integer_value(place)] - value)));
    }
    return worst;
}

/* One generator's draws in order; between them nothing else is drawn. */
static double compare_draws(udump_rng kind, const char *seed, const json_t *draws, double sum_tolerance) {
    udump_random random;
    double worst = 0;
    size_t i;
    const json_t *draw;
    udump_random_init(&random, kind, strtoull(seed, NULL, 10));
    assert_true(json_array_size(draws) > 0);
    json_array_foreach(draws, i, draw) {
        size_t count = (size_t)json_integer_value(json_object_get(draw, "count"));
        float *values = malloc(count * sizeof *values);
        assert_non_null(values);
        udump_random_normal(&random, values, count);
        worst = fmax(worst, compare(draw, values, sum_tolerance));
        free(values);
    }
    return worst;
}

static void noise_equals_torch(void **state) {
    (void)state;
    json_t *root = load(TEST_DATA "/sample/random.json");
    const json_t *cases = json_object_get(root, "cases"), *one;
    size_t i;
    assert_int_equal(json_array_size(cases), 30);
    json_array_foreach(cases, i, one) {
        const char *seed = json_string_value(json_object_get(one, "seed"));
        assert_true(compare_draws(UDUMP_RNG_CPU, seed, json_object_get(one, "cpu"), 1e-7) < 1e-6);
        assert_true(compare_draws(UDUMP_RNG_NV, seed, json_object_get(one, "nv"), 1e-12) == 0);
    }
    json_decref(root);
}

/* FNV-1a over the bits of many values: every machine and compiler gives these numbers. */
static uint64_t fingerprint(udump_rng kind, uint64_t seed, size_t count) {
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    udump_random random;
    udump_random_init(&random, kind, seed);
    udump_random_normal(&random, values, count);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        for (int byte = 0; byte < 4; byte++) hash = (hash ^ (bits >> 8 * byte & 0xFF)) * 0x100000001b3u;
    }
    free(values);
    return hash;
}

static void noise_is_the_same_everywhere(void **state) {
    (void)state;
    assert_int_equal(fingerprint(UDUMP_RNG_NV, 42, 100000), 0x9c9662339a87e996u);
    assert_int_equal(fingerprint(UDUMP_RNG_CPU, 42, 100001), 0xbccd86fd904baabbu);
}

static void draws_differ_and_init_starts_over(void **state) {
    (void)state;
    for (int kind = UDUMP_RNG_NV; kind <= UDUMP_RNG_CPU; kind++) {
        udump_random random;
        float first[20], second[20], again[20];
        udump_random_init(&random, (udump_rng)kind, 5);
        udump_random_normal(&random, first, 20);
        udump_random_normal(&random, second, 20);
        udump_random_init(&random, (udump_rng)kind, 5);
        udump_random_normal(&random, again, 20);
        assert_memory_not_equal(first, second, sizeof first);
        assert_memory_equal(first, again, sizeof first);
        udump_random_normal(&random, again, 0); /* writes nothing */
        assert_memory_equal(first, again, sizeof first);
    }
}

/* A seed's high half is part of Philox' key, and no part of torch's mt19937. */
static void seeds_of_64_bits(void **state) {
    (void)state;
    udump_random low, high;
    float a[16], b[16];
    udump_random_init(&low, UDUMP_RNG_NV, 3);
    udump_random_init(&high, UDUMP_RNG_NV, 3 + ((uint64_t)1 << 40));
    udump_random_normal(&low, a, 16);
    udump_random_normal(&high, b, 16);
    assert_memory_not_equal(a, b, sizeof a);
    udump_random_init(&low, UDUMP_RNG_CPU, 3);
    udump_random_init(&high, UDUMP_RNG_CPU, 3 + ((uint64_t)1 << 40));
    udump_random_normal(&low, a, 16);
    udump_random_normal(&high, b, 16);
    assert_memory_equal(a, b, sizeof a);
}

static void seed_sequences_equal_numpy(void **state) {
    (void)state;
    json_t *root = load(TEST_DATA "/sample/brownian.json");
    const json_t *seeds = json_object_get(root, "seeds"), *one;
    size_t i;
    assert_int_equal(json_array_size(seeds), 35);
    json_array_foreach(seeds, i, one) {
        const json_t *parts = json_object_get(one, "key");
        uint64_t key[2] = { 0 }, seed = strtoull(json_string_value(json_object_get(one, "seed")), NULL, 10);
        int32_t count = (int32_t)json_array_size(parts);
        for (int32_t k = 0; k < count; k++) key[k] = (uint64_t)json_integer_value(json_array_get(parts, (size_t)k));
        assert_int_equal(udump_seed_sequence(seed, key, count), json_integer_value(json_object_get(one, "word")));
    }
    json_decref(root);
}

/* Every stretch of one path; largest error over the stretches. */
static double compare_path(udump_rng rng, const json_t *root, const char *seed, const json_t *expected) {
    udump_brownian brownian;
    float values[18];
    double worst = 0;
    const json_t *ends = json_object_get(root, "ends"), *stretches = json_object_get(root, "stretches"), *stretch;
    size_t i;
    assert_int_equal(udump_brownian_init(&brownian, rng, 18, (float)json_real_value(json_array_get(ends, 0)),
                         (float)json_real_value(json_array_get(ends, 1)), NULL),
        UDUMP_OK);
    assert_int_equal(json_array_size(expected), 10);
    json_array_foreach(stretches, i, stretch) {
        udump_brownian_noise(&brownian, strtoull(seed, NULL, 10), (float)json_number_value(json_array_get(stretch, 0)),
            (float)json_number_value(json_array_get(stretch, 1)), values);
        for (size_t k = 0; k < 18; k++) {
            float value = (float)json_number_value(json_array_get(json_array_get(expected, i), k));
            worst = fmax(worst, fabs((double)(values[k] - value)));
        }
    }
    udump_brownian_free(&brownian);
    assert_null(brownian.scratch);
    return worst;
}

static void paths_equal_torchsde(void **state) {
    (void)state;
    json_t *root = load(TEST_DATA "/sample/brownian.json");
    const json_t *cases = json_object_get(root, "cases"), *one;
    size_t i;
    assert_int_equal(json_array_size(cases), 5);
    json_array_foreach(cases, i, one) {
        const char *seed = json_string_value(json_object_get(one, "seed"));
        assert_true(compare_path(UDUMP_RNG_NV, root, seed, json_object_get(one, "nv")) == 0);
        assert_true(compare_path(UDUMP_RNG_CPU, root, seed, json_object_get(one, "cpu")) < 2e-6);
    }
    json_decref(root);
}

/* Neighbouring stretches add up to the whole, in whatever order they are asked for. */
static void paths_are_consistent(void **state) {
    (void)state;
    udump_brownian brownian;
    float whole[20], left[20], right[20], again[20];
    assert_int_equal(udump_brownian_init(&brownian, UDUMP_RNG_NV, 20, 0.03f, 14.6f, NULL), UDUMP_OK);
    udump_brownian_noise(&brownian, 3, 0.7f, 3.1f, left);
    udump_brownian_noise(&brownian, 3, 0.7f, 8.3f, whole);
    udump_brownian_noise(&brownian, 3, 3.1f, 8.3f, right);
    udump_brownian_noise(&brownian, 3, 0.7f, 3.1f, again);
    assert_memory_equal(left, again, sizeof left);
    for (int i = 0; i < 20; i++) assert_true(fabsf(sqrtf(2.4f) * left[i] + sqrtf(5.2f) * right[i] - sqrtf(7.6f) * whole[i]) < 1e-5f);
    udump_brownian_noise(&brownian, 3, 3.1f, 0.7f, again);
    for (int i = 0; i < 20; i++) assert_true(again[i] == -left[i]);
    udump_brownian_noise(&brownian, 4, 0.7f, 3.1f, again);
    assert_memory_not_equal(left, again, sizeof left);
    udump_brownian_free(&brownian);
}

/* Times outside are moved to the ends; stretches without a time inside are empty. */
static void paths_have_ends(void **state) {
    (void)state;
    static const float ends[][2] = { { 0.03f, 14.6f }, { 2, 2 }, { 1, 1.000001f }, { 1e-9f, 1e-8f }, { 1e-6f, 1e9f } };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        udump_brownian brownian;
        float all[16], beyond[16], none[16];
        float low = ends[i][0], high = ends[i][1];
        assert_int_equal(udump_brownian_init(&brownian, UDUMP_RNG_CPU, 16, low, high, NULL), UDUMP_OK);
        udump_brownian_noise(&brownian, 1, low, high, all);
        udump_brownian_noise(&brownian, 1, low - 1, high + 1, beyond);
        udump_brownian_noise(&brownian, 1, low, nextafterf(low, high), none);
        for (int k = 0; k < 16; k++) {
            float ratio = sqrtf((high + 1) - (low - 1)) / sqrtf(high - low);
            if (brownian.start == brownian.end) assert_true(all[k] == 0 && beyond[k] == 0);
            else assert_true(all[k] != 0 && fabsf(beyond[k] * ratio / all[k] - 1) < 1e-5f);
            if (i != 2) assert_true(none[k] == 0); /* there the next float is the next sixth decimal */
        }
        udump_brownian_noise(&brownian, 1, low + (high - low) * 0.3f, low + (high - low) * 0.7f, all);
        for (int k = 0; k < 16; k++) assert_true(isfinite(all[k]));
        udump_brownian_free(&brownian);
    }
    udump_brownian huge;
    udump_error error;
    assert_int_equal(udump_brownian_init(&huge, UDUMP_RNG_NV, SIZE_MAX / 8, 0.03f, 14.6f, &error), UDUMP_ERROR_MEMORY);
    assert_null(huge.scratch);
}

/* Of unit variance, and uncorrelated over neighbouring stretches. */
static void paths_are_normal(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    float *left = malloc(2 * COUNT * sizeof *left), *right = left + COUNT;
    assert_non_null(left);
    udump_brownian brownian;
    assert_int_equal(udump_brownian_init(&brownian, UDUMP_RNG_NV, COUNT, 0.03f, 14.6f, NULL), UDUMP_OK);
    udump_brownian_noise(&brownian, 9, 1.3f, 2.2f, left);
    udump_brownian_noise(&brownian, 9, 2.2f, 5.9f, right);
    double means[2] = { 0 }, squares[2] = { 0 }, product = 0;
    for (int i = 0; i < COUNT; i++) {
        means[0] += (double)left[i] / COUNT;
        means[1] += (double)right[i] / COUNT;
        squares[0] += (double)(left[i] * left[i]) / COUNT;
        squares[1] += (double)(right[i] * right[i]) / COUNT;
        product += (double)(left[i] * right[i]) / COUNT;
    }
    for (int i = 0; i < 2; i++) assert_true(fabs(means[i]) < 0.03 && fabs(squares[i] - 1) < 0.04); /* four standard errors */
    assert_true(fabs(product) < 0.03);
    udump_brownian_free(&brownian);
    free(left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elementary_functions_are_accurate),
        cmocka_unit_test(elementary_functions_at_their_ends),
        cmocka_unit_test(philox_begins_as_cuda),
        cmocka_unit_test(noise_equals_torch),
        cmocka_unit_test(noise_is_the_same_everywhere),
        cmocka_unit_test(draws_differ_and_init_starts_over),
        cmocka_unit_test(seeds_of_64_bits),
        cmocka_unit_test(seed_sequences_equal_numpy),
        cmocka_unit_test(paths_equal_torchsde),
        cmocka_unit_test(paths_are_consistent),
        cmocka_unit_test(paths_have_ends),
        cmocka_unit_test(paths_are_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
