/* The demo model with layer prompts against diffusers whose every block attends to a prompt of its own: features, differences,
 * their norms and the latents of both twins. The goldens, and which block's prompt is which: tests/parity/layers.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parity.h"

enum { SIDE_PX = 128, STEPS = 3, BLOCKS = 25, NORMS = 5 };

static const char positive[] = "a (~: IN00-IN06: red; OUT05-M00(+2): blue; OUT11: [green:white:2]; _: yellow :~) circle\n"
                               "on a (~: IN05, OUT11: white; _: blue :~) background",
                  negative[] = "(~: IN01-IN05: blurry; M00: dark :~)";

/* One run, and what its callbacks compare with. */
typedef struct parity {
    goldens g;
    udump_session *session;
    int features, erased, diffs, norms;
    double worst;
} parity;

static void judge(parity *p, const char *name, const float *found, const float *expected, size_t count) {
    double error = relative_error(found, expected, count);
    if (!(error <= PARITY_FP32)) fail_msg("%s: relative error %.3g", name, error);
    p->worst = fmax(p->worst, error);
}

/* The rows of one side of [2, channels, h, w]; NULL if the goldens have no such tensor. */
static float *golden_row(const parity *p, const udump_place *place, const udump_view *view, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "step%d/%s%s", (int)place->step, place->block, suffix);
    golden both = read_golden(&p->g, name);
    if (!both.values) return NULL;
    assert_shape(name, view, both.rank - 1, both.shape + 1);
    if (place->side == UDUMP_SIDE_UNCOND) memcpy(both.values, both.values + both.count / 2, both.count / 2 * sizeof *both.values);
    return both.values;
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *view) {
    parity *p = user;
    char name[96];
    size_t count = (size_t)udump_view_count(view);
    snprintf(name, sizeof name, "%s of %s, step %d, side %d, variant %d", place->kind == UDUMP_KIND_DIFF ? "difference" : "features",
        place->block, (int)place->step, (int)place->side, (int)place->variant);
    float *enabled = golden_row(p, place, view, ""), *moved = golden_row(p, place, view, "/diff"), *found = values_of(view);
    if (enabled) {
        assert_non_null(moved);
        if (place->kind == UDUMP_KIND_DIFF) {
            judge(p, name, found, moved, count);
            p->diffs++;
        } else if (place->variant == UDUMP_VARIANT_ENABLED) {
            judge(p, name, found, enabled, count);
            p->features++;
        } else {
            for (size_t i = 0; i < count; i++) enabled[i] -= moved[i];
            judge(p, name, found, enabled, count);
            p->erased++;
        }
    }
    free(enabled);
    free(moved);
    free(found);
    return UDUMP_CONTINUE;
}

static void near(const udump_place *place, const char *what, double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s of %s, step %d, side %d: %.9g, expected %.9g to within %.3g", what, place->block, (int)place->step, (int)place->side,
            found, expected, tolerance);
}

/* Tolerances follow from the promise for the features: of the largest magnitude for values, of 1 for ratios. */
static udump_flow on_diff(void *user, const udump_place *place, const udump_diff_norms *norms) {
    parity *p = user;
    char name[64];
    snprintf(name, sizeof name, "step%d/norms", (int)place->step);
    golden all = need_golden(&p->g, name);
    assert_int_equal(all.count, BLOCKS * 2 * NORMS);
    assert_in_range(place->block_index, 0, BLOCKS - 1);
    const float *row = all.values + (place->block_index * 2 + (place->side == UDUMP_SIDE_UNCOND)) * NORMS;
    double l2 = (double)row[0], relative = (double)row[1], max = (double)row[2], cosine = (double)row[3], largest = (double)row[4];
    near(place, "l2", norms->l2, l2, PARITY_FP32 * fmax(l2, largest));
    near(place, "relative l2", norms->relative_l2, relative, PARITY_FP32 * fmax(relative, 1));
    near(place, "max", norms->max, max, PARITY_FP32 * fmax(max, largest));
    near(place, "cosine", norms->cosine, cosine, PARITY_FP32);
    p->norms++;
    free(all.values);
    return UDUMP_CONTINUE;
}

static void compare_latent(parity *p, int step, size_t variants) {
    char name[32];
    udump_view view;
    snprintf(name, sizeof name, "step%d/latent", step);
    golden expected = need_golden(&p->g, name); /* [with and without, 4, h, w] */
    size_t each = expected.count / 2, pixels = each / 4;
    float *last = malloc(each * sizeof *last);
    assert_non_null(last);
    assert_int_equal(udump_latent_view(p->session, &view, NULL), UDUMP_OK);
    assert_shape(name, &view, 4, (int64_t[]){ (int64_t)variants, SIDE_PX / 8, SIDE_PX / 8, 4 });
    for (size_t i = 0; i < variants; i++) {
        to_channels_last(last, expected.values + i * each, 4, pixels);
        judge(p, i ? "latent without layer prompts" : "latent", (const float *)view.data + i * each, last, each);
    }
    free(expected.values);
    free(last);
}

typedef struct fixture {
    udump_model *model;
    parity p;
    golden noise;
    udump_view noise_view;
    udump_generate_options o;
    udump_sink sink;
} fixture;

static void set_up(fixture *f, udump_device device) {
    goldens square = open_goldens("128x128");
    *f = (fixture){ .model = load_demo(device, UDUMP_PRECISION_FP32), .p = { .g = open_goldens("layers") } };
    f->noise = need_golden(&square, "noise");
    f->noise_view = udump_view_make(f->noise.values, UDUMP_F32, 4, (int64_t[]){ 1, 4, SIDE_PX / 8, SIDE_PX / 8 });
    f->o = parity_options(SIDE_PX, SIDE_PX, STEPS);
    f->o.prompt = positive;
    f->o.negative_prompt = negative;
    f->o.noise = &f->noise_view;
    f->o.features = "IN01,IN05,M00,OUT05,OUT11";
    f->o.side = UDUMP_SIDE_BOTH;
    f->sink = (udump_sink){ .struct_bytes = sizeof f->sink, .user = &f->p, .tensor = on_tensor, .diff = on_diff };
    assert_int_equal(udump_session_create(f->model, &f->p.session, NULL), UDUMP_OK);
    close_goldens(&square);
}

static void tear_down(fixture *f) {
    print_message("%d features, %d without, %d differences, %d norms: largest relative error %.2g\n", f->p.features, f->p.erased,
        f->p.diffs, f->p.norms, f->p.worst);
    udump_session_destroy(f->p.session);
    udump_model_release(f->model);
    free(f->noise.values);
    close_goldens(&f->p.g);
}

static void begin(fixture *f, const udump_table *table) {
    udump_error error;
    if (udump_begin(f->p.session, &f->o, table, &f->sink, &error)) fail_msg("begin: %s: %s", error.where, error.what);
}

static void run(fixture *f, size_t variants) {
    begin(f, NULL);
    for (int step = 1; step <= STEPS; step++) {
        assert_int_equal(udump_step(f->p.session, NULL, NULL), UDUMP_OK);
        compare_latent(&f->p, step, variants);
    }
    assert_int_equal(udump_end(f->p.session, 0, NULL), UDUMP_OK);
}

/* Two blocks at step 1 and five at step 3, of two sides each. */
enum { TENSORS = (2 + 5) * 2 };

static void run_with_diff(udump_device device) {
    fixture f;
    set_up(&f, device);
    f.o.diff = "";
    run(&f, 2);
    assert_int_equal(f.p.features, TENSORS);
    assert_int_equal(f.p.erased, TENSORS);
    assert_int_equal(f.p.diffs, TENSORS);
    assert_int_equal(f.p.norms, BLOCKS * STEPS * 2);
    tear_down(&f);
}

static void test_diff(void **state) { (void)state; run_with_diff(UDUMP_DEVICE_AUTO); }
static void test_diff_on_the_reference_device(void **state) { (void)state; run_with_diff(UDUMP_DEVICE_REFERENCE); }

static void test_without_diff(void **state) {
    (void)state;
    fixture f;
    set_up(&f, UDUMP_DEVICE_AUTO);
    run(&f, 1);
    assert_int_equal(f.p.features, TENSORS);
    assert_int_equal(f.p.erased + f.p.diffs + f.p.norms, 0);
    tear_down(&f);
}

/* The same run from a table of contexts set by hand. It knows no schedule: its first two steps are compared. */
static void test_table_of_contexts(void **state) {
    (void)state;
    static const struct {
        const char *blocks, *prompt;
    } rows[] = {
        { "", "a yellow circle on a blue background" },
        { "IN00-IN06", "a red circle on a blue background" },
        { "M00-OUT05(+2)", "a blue circle on a blue background" },
        { "IN05", "a red circle on a white background" },
        { "OUT11", "a green circle on a white background" },
    }, negatives[] = { { "", "" }, { "IN01-IN05", "blurry" }, { "M00", "dark" } };
    fixture f;
    set_up(&f, UDUMP_DEVICE_AUTO);
    udump_table *table;
    assert_int_equal(udump_table_create(f.model, 2, &table, NULL), UDUMP_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows + sizeof negatives / sizeof *negatives; i++) {
        size_t first = sizeof rows / sizeof *rows;
        const char *blocks = i < first ? rows[i].blocks : negatives[i - first].blocks;
        uint8_t selected[BLOCKS];
        udump_context *context;
        assert_int_equal(
            udump_context_encode(f.p.session, i < first ? rows[i].prompt : negatives[i - first].prompt, &context, NULL), UDUMP_OK);
        assert_int_equal(udump_layers_parse(f.model, blocks, selected, BLOCKS, NULL), UDUMP_OK);
        for (int32_t block = 0; block < BLOCKS; block++)
            if (selected[block]) assert_int_equal(udump_table_set(table, block, i < first ? 0 : 1, context, NULL), UDUMP_OK);
        udump_context_release(context);
    }
    begin(&f, table);
    udump_table_free(table); /* begin does not keep it */
    for (int step = 1; step <= 2; step++) {
        assert_int_equal(udump_step(f.p.session, NULL, NULL), UDUMP_OK);
        compare_latent(&f.p, step, 1);
    }
    assert_int_equal(udump_end(f.p.session, 0, NULL), UDUMP_OK);
    assert_int_equal(f.p.features, 2 * 2); /* of step 1 */
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diff), cmocka_unit_test(test_diff_on_the_reference_device), cmocka_unit_test(test_without_diff),
        cmocka_unit_test(test_table_of_contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
