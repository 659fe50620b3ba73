/* Steps as graphs: to the bit what operations begun one by one give, whatever looks, changes or fails. On small models: SD 2's and, whose text acts in two
 * ways, SDXL's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/module.h"
#include "backend/ops.h"
#include "emulated.h"
#include "pipeline/session.h"

static udump_model *graphs, *eager, *plain; /* SD 2; plain: by the reference device */
static const udump_emulated_counts *counts;

static udump_model *load(const char *name, int32_t is_eager) {
    udump_model_options options = emulated_options();
    options.cuda_eager = is_eager;
    return emulated_load(name, &options);
}

static int setup(void **state) {
    if (make_base(state)) return -1;
    graphs = load("sd2", 0);
    eager = load("sd2", 1);
    udump_model_options options = emulated_options();
    options.device = UDUMP_DEVICE_REFERENCE;
    plain = emulated_load("sd2", &options);
    counts = emulated_counts();
    return 0;
}

static int teardown(void **state) {
    udump_model_release(graphs);
    udump_model_release(eager);
    udump_model_release(plain);
    return remove_base(state);
}

/* The same run on both; graphs: how many launches of graphs there must be. */
static void assert_same_runs(udump_session *session, udump_session *other, const udump_generate_options *o, long launches) {
    recording runs[2] = { { .pause_us = 0 }, { .pause_us = 0 } };
    record(other, o, &runs[0]);
    long before = counts->graph_launches;
    record(session, o, &runs[1]);
    assert_int_equal(counts->graph_launches - before, launches);
    assert_same_recording(&runs[0], &runs[1]);
    for (int i = 0; i < 2; i++) recording_free(&runs[i]);
}

static void compare(const udump_generate_options *o, long launches) {
    udump_session *session = recording_session(graphs), *other = recording_session(eager);
    assert_same_runs(session, other, o, launches);
    udump_session_destroy(session);
    udump_session_destroy(other);
}

/* Another prompt at every step, in some blocks alone, and noise in between. */
static void test_prompts(void **state) {
    (void)state;
    udump_generate_options o = emulated_run(3);
    o.sampler = "Euler a";
    o.prompt = "a [red|blue] [circle:square:2] (~: OUT03-OUT05: [green|white] cat :~)";
    compare(&o, 2);
}

/* Two evaluations a step, at levels of their own; prompts joined, one of them for one step. */
static void test_samplers(void **state) {
    (void)state;
    udump_generate_options o = emulated_run(2);
    o.sampler = "DPM++ 2S a";
    o.prompt = "a red circle AND a [blue:green:1] square :0.5";
    compare(&o, 2); /* the last step is Euler's */
}

/* Pooled vectors: every row's and block's own, at every step. */
static void test_sdxl(void **state) {
    (void)state;
    udump_model *models[2] = { load("sdxl", 1), load("sdxl", 0) };
    udump_session *other = recording_session(models[0]), *session = recording_session(models[1]);
    udump_generate_options o = emulated_run(2);
    o.prompt = "a [red|blue] circle (~: OUT03-OUT05: cat :~)";
    assert_same_runs(session, other, &o, 1);
    udump_session_destroy(session);
    udump_session_destroy(other);
    for (int i = 0; i < 2; i++) udump_model_release(models[i]);
}

/* Looking that asks nothing of the host is a part of the graph: one launch a step, from the third on. What it was written down for must not be drawn for
 * another run: other colours, other blocks' prompts of the same lengths; the first run again is there from its first step on. */
static void test_looks_within(void **state) {
    (void)state;
    enum { STEPS = 4 };
    udump_session *session = recording_session(graphs), *other = recording_session(eager);
    udump_style style = { .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_SUM };
    udump_generate_options o = emulated_run(STEPS);
    o.sampler = "Euler";
    o.prompt = "a [red|blue] circle (~: OUT03: cat :~)";
    o.features = "IN01,OUT11";
    o.diff = "M00";
    o.attention = "IN04,OUT03";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK;
    o.want_tensors = 1;
    o.style = &style;
    udump_generate_options first = o, elsewhere = o;
    elsewhere.prompt = "a [red|blue] circle (~: OUT04: cat :~)";
    assert_same_runs(session, other, &first, STEPS - 2);
    style.color = "red-blue";
    assert_same_runs(session, other, &o, STEPS - 2);
    style.color = NULL;
    assert_same_runs(session, other, &elsewhere, STEPS - 2);
    assert_same_runs(session, other, &first, STEPS);
    udump_generate_options changing = emulated_run(6); /* the same block acts at each step, but as something else from the fifth on */
    changing.sampler = "Euler";
    changing.prompt = "a red circle (~: OUT04: cat :~)";
    changing.features = changing.diff = "M00";
    changing.feature_steps = "1-4";
    changing.diff_steps = "5-6";
    assert_same_runs(session, other, &changing, 2);
    udump_session_destroy(session);
    udump_session_destroy(other);
}

/* Looking that tells the device something on the way cuts. At steps 1 and 3 the same taps act (first as they stand, then as graphs), at 2 none. */
static void test_taps(void **state) {
    (void)state;
    udump_generate_options o = emulated_run(3);
    o.prompt = "a [red|blue] circle (~: OUT03-OUT05: square :~)";
    o.features = "IN00,IN05,OUT11";
    o.diff = "M00";
    o.attention = "IN04,OUT05";
    o.feature_steps = o.diff_steps = o.attention_steps = "1,3";
    o.attention_kinds = UDUMP_ATTEND_K | UDUMP_ATTEND_QK | UDUMP_ATTEND_VQK | UDUMP_ATTEND_SELF_MAP;
    o.attention_words = "circle";
    o.side = UDUMP_SIDE_BOTH;
    o.want_tensors = 1;
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_SUM };
    udump_model_info info;
    udump_model_get_info(graphs, &info);
    long layers = 0, blocks = 4;
    for (int32_t i = 0; i < info.block_count; i++) {
        udump_block_info block;
        assert_int_equal(udump_model_get_block(graphs, i, &block, NULL), UDUMP_OK);
        if (strcmp(block.name, "IN04") == 0 || strcmp(block.name, "OUT05") == 0) layers += 2 * block.attention_depth;
    }
    assert_true(layers >= 4);
    compare(&o, blocks + layers + 1);
}

static udump_flow halve(void *user, const udump_place *place, const udump_view *view) {
    float *values = view->data;
    (void)place;
    ++*(int *)user;
    for (int64_t i = 0; i < udump_view_count(view); i++) values[i] /= 2;
    return UDUMP_CONTINUE;
}

enum { HOOKED_STEPS = 5, EARLY = 4, LARGE = 24 }; /* two blocks: LARGE's output is larger */

/* What hooks there are from a step on; features: what is looked at from the beginning. */
struct hooked {
    const char *features;
    int32_t block[HOOKED_STEPS]; /* 0: none; from one step to the next it moves */
};

/* The latent at the end, yours to free. */
static float *run_hooked(udump_model *model, const struct hooked *h, int *calls, size_t *bytes) {
    udump_session *session = recording_session(model);
    udump_generate_options o = emulated_run(HOOKED_STEPS);
    udump_view view;
    o.features = h->features;
    if (h->block[0]) assert_int_equal(udump_session_set_hook(session, h->block[0], halve, calls, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(session, &o, NULL, NULL, NULL), UDUMP_OK);
    for (int step = 0; step < HOOKED_STEPS; step++) {
        assert_int_equal(udump_session_set_hook(session, -1, NULL, NULL, NULL), UDUMP_OK);
        if (h->block[step]) assert_int_equal(udump_session_set_hook(session, h->block[step], halve, calls, NULL), UDUMP_OK);
        assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
    }
    assert_int_equal(udump_latent_view(session, &view, NULL), UDUMP_OK);
    *bytes = (size_t)udump_view_count(&view) * sizeof(float);
    float *latent = malloc(*bytes);
    assert_non_null(latent);
    memcpy(latent, view.data, *bytes);
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
    udump_session_destroy(session);
    return latent;
}

/* A hook that comes, moves and goes while the steps go on: also where nothing was hooked, or looked at, when the run began. */
static void test_hooks(void **state) {
    (void)state;
    static const struct hooked all[] = { { NULL, { EARLY, EARLY, 0, 0, EARLY } }, { NULL, { 0, 0, LARGE, 0, 0 } }, { "IN00", { 0, EARLY, LARGE, 0, EARLY } } };
    static const int expected[] = { 3, 1, 3 };
    udump_model *models[3] = { eager, graphs, plain };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        float *latents[3];
        size_t bytes = 0;
        for (int i = 0; i < 3; i++) {
            int calls = 0;
            latents[i] = run_hooked(models[i], &all[k], &calls, &bytes);
            assert_int_equal(calls, expected[k]);
        }
        assert_memory_equal(latents[0], latents[1], bytes);
        double most = 0, off = 0;
        for (size_t i = 0; i < bytes / sizeof(float); i++) {
            most = fmax(most, fabs((double)latents[2][i]));
            off = fmax(off, fabs((double)latents[2][i] - (double)latents[0][i]));
        }
        assert_true(off <= 2e-4 * most); /* fp32 by other sums, five steps long: up to 6e-5 seen; a hook left out is 0.1 and more */
        for (int i = 0; i < 3; i++) free(latents[i]);
    }
}

/* Diffs between two models, each with graphs of its own. */
static void test_pairs(void **state) {
    (void)state;
    udump_session *session = recording_session(graphs), *other = recording_session(eager);
    udump_generate_options o = emulated_run(2);
    o.diff = "M00";
    o.want_tensors = 1;
    assert_int_equal(udump_session_set_other(session, graphs, NULL), UDUMP_OK);
    assert_int_equal(udump_session_set_other(other, eager, NULL), UDUMP_OK);
    assert_same_runs(session, other, &o, 2 * 2); /* of two pieces each */
    udump_session_destroy(session);
    udump_session_destroy(other);
}

/* Runs of other sizes and lengths on one session: no graph outlives what it points to, and a run like an earlier one finds its graphs again. */
static void test_sizes(void **state) {
    (void)state;
    udump_session *session = recording_session(graphs), *other = recording_session(eager);
    udump_generate_options small = emulated_run(2), large = emulated_run(2), longer = emulated_run(3), o = emulated_run(2);
    large.width_px = large.height_px = 64;
    assert_same_runs(session, other, &small, 1);
    assert_same_runs(session, other, &small, 2);
    int64_t generation = session->x.generation;
    assert_same_runs(session, other, &large, 1);
    assert_true(session->x.generation > generation); /* the arena has moved */
    assert_same_runs(session, other, &small, 1);
    assert_same_runs(session, other, &longer, 2); /* more times before the contexts: these lie elsewhere */
    for (int i = 0; i < UDUMP_GRAPHS_MOST; i++) { /* until the first is forgotten */
        o.width_px = 8 + 8 * (i % 4);
        o.height_px = 8 + 16 * (i / 4);
        assert_int_equal(udump_generate(session, &o, NULL, NULL), UDUMP_OK);
    }
    assert_same_runs(session, other, &small, 1);
    udump_session_destroy(session);
    udump_session_destroy(other);
}

struct stopper {
    udump_cancel cancel;
    int calls, when;
};

static udump_flow cancel_then(void *user, const udump_place *place, const udump_view *view) {
    (void)place, (void)view;
    struct stopper *stopper = user;
    if (++stopper->calls == stopper->when) udump_cancel_raise(&stopper->cancel);
    return UDUMP_CONTINUE;
}

/* Cancelled in a step that runs as it stands, one that is written down, one that is launched; the session can go on. */
static void test_cancel(void **state) {
    (void)state;
    udump_session *session = recording_session(graphs), *other = recording_session(eager);
    udump_generate_options o = emulated_run(3);
    for (int when = 1; when <= 3; when++) {
        struct stopper stopper = { .cancel = UDUMP_CANCEL_INIT, .when = when };
        o.cancel = &stopper.cancel;
        assert_int_equal(udump_session_set_hook(session, 7, cancel_then, &stopper, NULL), UDUMP_OK);
        assert_int_equal(udump_generate(session, &o, NULL, NULL), UDUMP_ERROR_CANCELLED);
        assert_int_equal(stopper.calls, when);
    }
    assert_int_equal(udump_session_set_hook(session, 7, NULL, NULL, NULL), UDUMP_OK);
    o.cancel = NULL;
    assert_same_runs(session, other, &o, 2);
    udump_session_destroy(session);
    udump_session_destroy(other);
}

/* Where writing down fails, in whatever call, steps run as they stand. */
static void test_failures(void **state) {
    (void)state;
    static const char *const calls[] = { "begin", "end", "instantiate" };
    udump_generate_options o = emulated_run(3);
    o.features = "M00";
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        assert_int_equal(setenv("UDUMP_EMULATED_GRAPHS", calls[i], 1), 0);
        compare(&o, 0);
    }
    unsetenv("UDUMP_EMULATED_GRAPHS");
    compare(&o, 1); /* pictures lie in two places in turn: the third step is the first that comes again */
}

/* What a step begins besides its graph, and that nobody waits within it but for the step before the last. */
static void test_launches(void **state) {
    (void)state;
    udump_session *session = recording_session(graphs);
    udump_generate_options o = emulated_run(5);
    o.sampler = "Euler";
    assert_int_equal(udump_begin(session, &o, NULL, NULL, NULL), UDUMP_OK);
    for (int step = 0; step < 5; step++) {
        udump_emulated_counts before = *counts;
        assert_int_equal(udump_step(session, NULL, NULL), UDUMP_OK);
        if (step < 2) continue;
        assert_int_equal(counts->graph_launches - before.graph_launches, 1);
        assert_in_range(counts->launches - before.launches, 1, 6); /* scale, times, guidance; the sampler's own */
        assert_int_equal(counts->allocations - before.allocations, 0);
        assert_in_range(counts->waits - before.waits, 0, 1);
    }
    assert_int_equal(udump_end(session, 0, NULL), UDUMP_OK);
    udump_session_destroy(session);
}

/* What a later operation has no room for in the scratch leaves a graph's own alone. */
static void test_scratch(void **state) {
    (void)state;
    enum { SIDE = 64, CHANNELS = 32, COUNT = SIDE * SIDE * CHANNELS /* a group too large for one launch */, TIMES = 300000 };
    const udump_module *module;
    const udump_device_request request = { .threads = 1, .compute = UDUMP_F32 };
    static float values[COUNT], expected[COUNT], found[COUNT], norms[2 * CHANNELS], times[TIMES];
    udump_norm norm = { .c = CHANNELS, .groups = 1, .eps = 1e-5f };
    udump_tensor in, out;
    void *device = NULL;
    udump_error error;
    udump_exec x;
    for (int i = 0; i < COUNT; i++) values[i] = (float)(i * 7919 % 1000) / 500 - 1;
    for (int i = 0; i < 2 * CHANNELS; i++) norms[i] = i < CHANNELS ? 2 : 1;
    assert_int_equal(udump_module_load("cuda", EMULATED_MODULE, &module, NULL), UDUMP_OK);
    assert_int_equal(module->backend->device_open(&request, &device, NULL), UDUMP_OK);
    assert_non_null(norm.packed = module->backend->pack_vectors(device, 2, CHANNELS, norms, &error));
    assert_int_equal(udump_exec_open(&x, module->backend, device, 1, UDUMP_F32, NULL), UDUMP_OK);
    udump_exec_begin_dry(&x);
    udump_group_norm(&x, udump_tensor_new(&x, UDUMP_F32, 1, SIDE, SIDE, CHANNELS), &norm, false, NULL);
    udump_timestep_embedding(&x, TIMES, 2, times);
    assert_int_equal(udump_exec_end_dry(&x, NULL), UDUMP_OK);
    in = udump_tensor_new(&x, UDUMP_F32, 1, SIDE, SIDE, CHANNELS);
    udump_upload(&x, in, values);
    size_t mark = udump_arena_mark(&x);
    udump_download(&x, expected, udump_group_norm(&x, in, &norm, false, NULL));
    udump_arena_release(&x, mark);
    assert_true(x.backend->graph_begin(&x));
    out = udump_group_norm(&x, in, &norm, false, NULL);
    void *graph = x.backend->graph_end(&x);
    assert_non_null(graph);
    udump_timestep_embedding(&x, TIMES, 2, times);
    x.backend->graph_launch(&x, graph);
    udump_download(&x, found, out);
    assert_int_equal(udump_exec_status(&x, NULL), UDUMP_OK);
    assert_memory_equal(found, expected, sizeof found);
    x.backend->graph_free(&x, graph);
    udump_exec_close(&x);
    module->backend->packed_free(norm.packed);
    module->backend->device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_prompts), cmocka_unit_test(test_samplers), cmocka_unit_test(test_sdxl),
        cmocka_unit_test(test_looks_within), cmocka_unit_test(test_taps), cmocka_unit_test(test_hooks), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_cancel), cmocka_unit_test(test_failures), cmocka_unit_test(test_launches),
        cmocka_unit_test(test_scratch) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
