/* Self-attention: the whole map, in parts, and what is reduced from it while computing; principal components. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "demo_runs.h"

static const int32_t queries_px[] = { 0, 0, 41, 9, 63, 63 };

static udump_generate_options options_of(const char *blocks, uint32_t kinds) {
    udump_generate_options o = demo_run("a red circle on a blue background", "blurry", NULL);
    o.seed = 11;
    o.attention = blocks;
    o.attention_kinds = kinds;
    o.no_canvas = 1;
    o.self_queries_px = queries_px;
    o.self_query_count = kinds & UDUMP_ATTEND_SELF ? sizeof queries_px / sizeof *queries_px / 2 : 0;
    return o;
}

static void between(const char *what, const kept_tensor *t, double value, double low, double high) {
    if (!(value >= low && value <= high))
        fail_msg("%s of %s, step %d: %.9g is not in %.9g..%.9g", what, t->place.block, (int)t->place.at.step, value, low, high);
}

/* What is reduced while computing is what the whole map gives. */
static void check_reductions(const recording *r, const char *block, int32_t step) {
    const kept_tensor *map = need_tensor(r, UDUMP_KIND_SELF_MAP, block, step),
                      *received = need_tensor(r, UDUMP_KIND_SELF_RECEIVED, block, step);
    const kept_tensor *entropy = need_tensor(r, UDUMP_KIND_SELF_ENTROPY, block, step),
                      *rows = need_tensor(r, UDUMP_KIND_SELF_QUERIES, block, step);
    size_t heads = (size_t)map->shape.shape[0], n = (size_t)map->shape.shape[1], h = (size_t)received->shape.shape[1],
           w = (size_t)received->shape.shape[2];
    assert_true(map->parts > 0 && h * w == n && map->shape.shape[2] == (int64_t)n);
    for (size_t head = 0; head < heads; head++) {
        const float *p = map->values + head * n * n;
        for (size_t i = 0; i < n; i++) {
            double sum = 0, nats = 0;
            for (size_t k = 0; k < n; k++) {
                double to = (double)p[i * n + k];
                sum += (double)p[k * n + i];
                nats -= to > 0 ? to * log(to) : 0;
            }
            between("received less the map's mean", received, (double)received->values[head * n + i] - sum / (double)n, -1e-6, 1e-6);
            between("entropy less the map's", entropy, (double)entropy->values[head * n + i] - nats, -1e-5, 1e-5);
        }
        for (size_t q = 0; q < (size_t)rows->shape.shape[1]; q++) {
            size_t x = (size_t)queries_px[2 * q] * w / SIDE_PX, y = (size_t)queries_px[2 * q + 1] * h / SIDE_PX;
            const float *row = rows->values + (head * (size_t)rows->shape.shape[1] + q) * n;
            for (size_t k = 0; k < n; k++)
                between("a query's row less the map's", rows, (double)row[k] - (double)p[(y * w + x) * n + k], -1e-6, 1e-6);
        }
    }
}

static void test_maps_in_parts_agree_with_their_reductions(void **state) {
    (void)state;
    udump_model *const models[] = { fast, reference };
    for (int i = 0; i < 2; i++) {
        udump_session *session = recording_session(models[i]);
        udump_generate_options o = options_of("", UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP);
        recording r = { 0 };
        record(session, &o, &r);
        assert_int_equal(count_tensors(&r, UDUMP_KIND_SELF_MAP), ATTENTIONS * STEPS);
        for (int32_t block = 0; block < 25; block++)
            if (find_tensor(&r, UDUMP_KIND_SELF_MAP, udump_block_name(NULL, block), 2, UDUMP_SIDE_COND, 0, UDUMP_VARIANT_ENABLED))
                check_reductions(&r, udump_block_name(NULL, block), 2);
        recording_free(&r);
        udump_session_destroy(session);
    }
}

/* 1536 positions of 2 heads: 18.9 MB, more than is held at a time. */
static void test_large_maps_come_in_several_parts(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = options_of("IN01", UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP);
    o.width_px = 384;
    o.height_px = 256;
    o.steps = 1;
    o.self_query_count = 0;
    recording r = { 0 };
    record(session, &o, &r);
    const kept_tensor *map = need_tensor(&r, UDUMP_KIND_SELF_MAP, "IN01", 1),
                      *received = need_tensor(&r, UDUMP_KIND_SELF_RECEIVED, "IN01", 1);
    size_t n = (size_t)map->shape.shape[1];
    assert_int_equal(n, 48 * 32);
    assert_true(map->parts > 1);
    double *sums = calloc(2 * n, sizeof *sums);
    assert_non_null(sums);
    for (size_t row = 0; row < 2 * n; row++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += (double)map->values[row * n + k], sums[row / n * n + k] += (double)map->values[row * n + k];
        between("a row of the map", map, sum, 1 - 1e-5, 1 + 1e-5);
    }
    for (size_t i = 0; i < 2 * n; i++)
        between("received less the map's mean, in its averages", received, (double)received->values[i] * (double)n - sums[i], -1e-4, 1e-4);
    free(sums);
    recording_free(&r);
    udump_session_destroy(session);
}

/* y = C x for the covariance C = A A^T of the map's centred rows, less the components found: scores t with t t^T = variance times u u^T. */
static void covariance(double *y, const double *x, const double *a, size_t n, const float *scores, size_t found, double *scratch) {
    for (size_t k = 0; k < n; k++) {
        scratch[k] = 0;
        for (size_t i = 0; i < n; i++) scratch[k] += a[i * n + k] * x[i];
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = 0;
        for (size_t k = 0; k < n; k++) y[i] += a[i * n + k] * scratch[k];
    }
    for (size_t c = 0; c < found; c++) {
        double dot = 0;
        for (size_t i = 0; i < n; i++) dot += (double)scores[c * n + i] * x[i];
        for (size_t i = 0; i < n; i++) y[i] -= (double)scores[c * n + i] * dot;
    }
}

static double norm_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* Each component's scores are an eigenvector of the covariance whose value is their square; what is left has no larger one than the last. */
static void check_components(const recording *r, const char *block) {
    const kept_tensor *map = need_tensor(r, UDUMP_KIND_SELF_MAP, block, 1), *pca = need_tensor(r, UDUMP_KIND_SELF_PCA, block, 1);
    size_t heads = (size_t)map->shape.shape[0], n = (size_t)map->shape.shape[1];
    double *a = calloc(n * n, sizeof *a), *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y), *scratch = calloc(n, sizeof *scratch);
    assert_true(a && x && y && scratch);
    for (size_t k = 0; k < n; k++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++) {
            for (size_t head = 0; head < heads; head++) a[i * n + k] += (double)map->values[(head * n + i) * n + k] / (double)heads;
            mean += a[i * n + k] / (double)n;
        }
        for (size_t i = 0; i < n; i++) a[i * n + k] -= mean;
    }
    double first = 0, last = 0;
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < n; i++) x[i] = (double)pca->values[c * n + i];
        double variance = norm_of(x, n) * norm_of(x, n);
        if (c == 0) first = variance;
        else between("variance", pca, variance, 0, last * (1 + 1e-3));
        covariance(y, x, a, n, NULL, 0, scratch);
        for (size_t i = 0; i < n; i++) y[i] -= variance * x[i];
        between("distance from an eigenvector, of the variance", pca, norm_of(y, n) / (sqrt(variance) * first), 0, 1e-3);
        last = variance;
    }
    assert_true(first > 0);
    for (size_t i = 0; i < n; i++) x[i] = cos((double)(i * i + 1)); /* no symmetry */
    for (int round = 0; round < 200; round++) {
        covariance(y, x, a, n, pca->values, 3, scratch);
        double length = norm_of(y, n);
        if (length == 0) break;
        for (size_t i = 0; i < n; i++) x[i] = y[i] / length;
    }
    covariance(y, x, a, n, pca->values, 3, scratch);
    between("variance left", pca, norm_of(y, n), 0, last + 1e-3 * first);
    free(a);
    free(x);
    free(y);
    free(scratch);
}

static void test_principal_components(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = options_of("", UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP);
    recording r = { 0 };
    record(session, &o, &r);
    check_components(&r, "IN01");
    check_components(&r, "IN05");
    check_components(&r, "OUT08");
    const kept_tensor *single = need_tensor(&r, UDUMP_KIND_SELF_PCA, "M00", 1); /* one position: nothing varies */
    assert_int_equal(single->count, 3);
    for (int i = 0; i < 3; i++) between("score", single, (double)single->values[i], 0, 0);
    assert_all_finite(&r);
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_a_part_may_stop_the_run(void **state) {
    (void)state;
    udump_session *session = recording_session(fast);
    udump_generate_options o = options_of("IN01,IN02", UDUMP_ATTEND_SELF_MAP), again = options_of("IN01", UDUMP_ATTEND_SELF_MAP);
    recording stopped = { .stop_at_part = 2 }, after = { 0 };
    udump_sink sink = recording_sink(&stopped);
    assert_int_equal(udump_generate(session, &o, &sink, NULL), UDUMP_ERROR_CANCELLED);
    assert_int_equal(stopped.part_count, 2);
    assert_int_equal(stopped.image_count, 0);
    record(session, &again, &after); /* the session goes on */
    recording_free(&stopped);
    recording_free(&after);
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_in_parts_agree_with_their_reductions),
        cmocka_unit_test(test_large_maps_come_in_several_parts),
        cmocka_unit_test(test_principal_components),
        cmocka_unit_test(test_a_part_may_stop_the_run),
    };
    return cmocka_run_group_tests(tests, demo_load, demo_unload);
}
