/* The demo model's attention against diffusers: K, softmax(QK), VQK, and what is shown of self-attention, at a square size, a tall
 * one, and one whose maps are odd. The goldens: tests/parity/make_goldens.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parity.h"

/* One run, and what its callbacks compare with. */
typedef struct parity {
    goldens g;
    golden tokens;   /* the columns kept of large maps */
    bool *compared;  /* [g.header.count] */
    float *whole;    /* the map that arrives in parts; NULL between maps */
    int64_t arrived; /* rows */
    double worst[UDUMP_KIND_OVERLAY + 1];
} parity;

static const char *const kind_names[UDUMP_KIND_OVERLAY + 1] = {
    [UDUMP_KIND_K] = "k", [UDUMP_KIND_QK] = "qk", [UDUMP_KIND_VQK] = "vqk", [UDUMP_KIND_SELF_QUERIES] = "self-queries",
    [UDUMP_KIND_SELF_RECEIVED] = "self-received", [UDUMP_KIND_SELF_ENTROPY] = "self-entropy", [UDUMP_KIND_SELF_PCA] = "self-pca",
    [UDUMP_KIND_SELF_MAP] = "self-map",
};

static void golden_name(char *name, size_t size, const udump_place *place) {
    assert_non_null(kind_names[place->kind]);
    const char *side = place->side == UDUMP_SIDE_COND ? "cond" : "uncond";
    if (place->kind == UDUMP_KIND_K) snprintf(name, size, "%s/%s/k", side, place->block); /* the same at every step */
    else snprintf(name, size, "step%d/%s/%s/%s", (int)place->step, side, place->block, kind_names[place->kind]);
}

static void mark(parity *p, const char *name) {
    for (int64_t i = 0; i < p->g.header.count; i++)
        if (strcmp(p->g.header.entries[i].name, name) == 0) p->compared[i] = true;
}

/* Each of `groups` equal parts against its own magnitude. */
static void compare(parity *p, const udump_place *place, const char *name, const float *found, const golden *expected, size_t groups) {
    size_t each = expected->count / groups;
    for (size_t i = 0; i < groups; i++) {
        double error = relative_error(found + i * each, expected->values + i * each, each);
        if (!(error <= PARITY_FP32)) fail_msg("%s, part %zu of %zu: relative error %.3g", name, i, groups, error);
        p->worst[place->kind] = fmax(p->worst[place->kind], error);
    }
    mark(p, name);
}

/* Of [heads, 77, h, w] the tokens that the goldens have: [heads, some, h, w], in place. */
static void keep_tokens(const parity *p, const char *name, udump_view *shape, float *values) {
    int64_t heads = shape->shape[0], tokens = shape->shape[1], kept = (int64_t)p->tokens.count;
    size_t pixels = (size_t)(shape->shape[2] * shape->shape[3]);
    if (tokens != 77) fail_msg("%s: %d tokens, expected 77", name, (int)tokens);
    for (int64_t head = 0; head < heads; head++)
        for (int64_t i = 0; i < kept; i++)
            memmove(values + (size_t)(head * kept + i) * pixels, values + (size_t)(head * tokens + (int64_t)p->tokens.values[i]) * pixels,
                pixels * sizeof *values);
    shape->shape[1] = kept;
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *view) {
    parity *p = user;
    char name[64];
    golden_name(name, sizeof name, place);
    golden expected = read_golden(&p->g, name);
    if (!expected.values) return UDUMP_CONTINUE;
    float *found = values_of(view);
    udump_view shape = *view;
    if (place->kind == UDUMP_KIND_QK && expected.shape[1] != 77) keep_tokens(p, name, &shape, found);
    assert_shape(name, &shape, expected.rank, expected.shape);
    compare(p, place, name, found, &expected, place->kind == UDUMP_KIND_SELF_PCA ? 3 : 1);
    free(found);
    free(expected.values);
    return UDUMP_CONTINUE;
}

static udump_flow on_part(
    void *user, const udump_place *place, const udump_view *whole, int32_t axis, int64_t first, const udump_view *part) {
    parity *p = user;
    char name[64];
    golden_name(name, sizeof name, place);
    golden expected = read_golden(&p->g, name);
    if (!expected.values) return UDUMP_CONTINUE;
    assert_int_equal(place->kind, UDUMP_KIND_SELF_MAP);
    assert_shape(name, whole, expected.rank, expected.shape);
    assert_in_range(axis, 0, whole->rank - 1);
    if (!p->whole) p->whole = calloc(expected.count, sizeof *p->whole), p->arrived = 0;
    assert_non_null(p->whole);
    assert_int_equal(first, p->arrived);
    float *values = values_of(part);
    size_t outer = 1, inner = 1, rows = (size_t)part->shape[axis], all = (size_t)whole->shape[axis];
    for (int32_t i = 0; i < axis; i++) outer *= (size_t)whole->shape[i];
    for (int32_t i = axis + 1; i < whole->rank; i++) inner *= (size_t)whole->shape[i];
    assert_int_equal(udump_view_count(part), outer * rows * inner);
    for (size_t i = 0; i < outer; i++)
        memcpy(p->whole + (i * all + (size_t)first) * inner, values + i * rows * inner, rows * inner * sizeof *values);
    free(values);
    p->arrived += (int64_t)rows;
    if (p->arrived == (int64_t)all) {
        compare(p, place, name, p->whole, &expected, 1);
        free(p->whole);
        p->whole = NULL;
    }
    free(expected.values);
    return UDUMP_CONTINUE;
}

static void assert_all_compared(const parity *p) {
    int count = 0;
    for (int64_t i = 0; i < p->g.header.count; i++) {
        const char *name = p->g.header.entries[i].name;
        if (strcmp(name, "tokens") == 0 || strcmp(name, "queries_px") == 0 || strstr(name, "variances")) continue;
        if (!p->compared[i]) fail_msg("%s did not arrive", name);
        count++;
    }
    print_message("%d tensors; largest relative errors:", count);
    for (int kind = 0; kind <= UDUMP_KIND_OVERLAY; kind++)
        if (kind_names[kind]) print_message(" %s %.2g", kind_names[kind], p->worst[kind]);
    print_message("\n");
}

/* The promise is for each evaluation: guidance and a long step multiply an error in the latent, so the next evaluation gets diffusers'. */
static void take_golden_latent(udump_session *session, const goldens *run, int step) {
    char name[32];
    udump_view view;
    snprintf(name, sizeof name, "step%d/latent", step);
    golden latent = need_golden(run, name);
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    assert_int_equal(udump_view_count(&view), latent.count);
    to_channels_last(view.data, latent.values, 4, latent.count / 4);
    free(latent.values);
}

static void run_parity(udump_device device, int height, int width, int steps) {
    char file[64];
    snprintf(file, sizeof file, "%dx%d", height, width);
    goldens run = open_goldens(file);
    snprintf(file, sizeof file, "attention-%dx%d", height, width);
    parity p = { .g = open_goldens(file) };
    p.tokens = need_golden(&p.g, "tokens");
    p.compared = calloc((size_t)p.g.header.count, sizeof *p.compared);
    assert_non_null(p.compared);
    golden noise = need_golden(&run, "noise"), queries = need_golden(&p.g, "queries_px");
    int32_t queries_px[16];
    assert_in_range(queries.count, 2, 16);
    for (size_t i = 0; i < queries.count; i++) queries_px[i] = (int32_t)queries.values[i];
    udump_view noise_view = udump_view_make(noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, height / 8, width / 8 });
    udump_generate_options o = parity_options(width, height, steps);
    o.prompt = PARITY_PROMPT;
    o.negative_prompt = PARITY_NEGATIVE;
    o.noise = &noise_view;
    o.attention = "IN01,IN05,IN08,M00,OUT05,OUT08,OUT11";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF | UDUMP_ATTEND_SELF_MAP;
    o.self_queries_px = queries_px;
    o.self_query_count = (int32_t)(queries.count / 2);
    o.side = UDUMP_SIDE_BOTH;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &p, .tensor = on_tensor, .part = on_part };
    udump_model *model = load_demo(device, UDUMP_PRECISION_FP32);
    udump_session *session;
    udump_error error;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    if (udump_begin(session, &o, NULL, &sink, &error)) fail_msg("begin: %s: %s", error.where, error.what);
    for (int step = 1; step <= steps; step++) {
        assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
        take_golden_latent(session, &run, step);
    }
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
    assert_null(p.whole);
    assert_all_compared(&p);
    udump_session_destroy(session);
    udump_model_release(model);
    free(p.compared);
    free(p.tokens.values);
    free(queries.values);
    free(noise.values);
    close_goldens(&p.g);
    close_goldens(&run);
}

static void test_square(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, 128, 128, 3); }
static void test_square_on_the_reference_device(void **state) { (void)state; run_parity(UDUMP_DEVICE_REFERENCE, 128, 128, 3); }
static void test_tall(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, 192, 128, 2); }
static void test_odd(void **state) { (void)state; run_parity(UDUMP_DEVICE_AUTO, 120, 136, 2); } /* 15 x 17, 8 x 9, 4 x 5, 2 x 3 */
static void test_odd_on_the_reference_device(void **state) { (void)state; run_parity(UDUMP_DEVICE_REFERENCE, 120, 136, 2); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_square), cmocka_unit_test(test_square_on_the_reference_device), cmocka_unit_test(test_tall),
        cmocka_unit_test(test_odd), cmocka_unit_test(test_odd_on_the_reference_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
