/* Models, sessions, contexts, tables, stepping, hooks and sinks on the demo model, through the public header. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unetdump.h"

enum { SIDE_PX = 64, BYTES = SIDE_PX * SIDE_PX * 3 };

static udump_model *model;

static int load(void **state) {
    (void)state;
    udump_error error;
    return udump_model_load(TEST_ROOT "/models/demo", NULL, &model, &error) != UDUMP_OK;
}

static int unload(void **state) {
    (void)state;
    udump_model_release(model);
    return 0;
}

/* What a run gave. */
struct result {
    uint8_t pixels[BYTES];
    int images, canvases, averages, tensors, begins, progress;
    double tensor_sum;
    int stop_after_canvases; /* 0: never */
    char order[64];
};

static void note(struct result *r, char what) {
    size_t used = strlen(r->order);
    if (used + 1 < sizeof r->order) r->order[used] = what;
}

static udump_flow on_begin(void *user, const udump_run_info *run) {
    struct result *r = user;
    r->begins++;
    assert_string_equal(run->model, "demo");
    assert_int_equal(run->width_px, SIDE_PX);
    return UDUMP_CONTINUE;
}

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    struct result *r = user;
    note(r, canvas->average ? 'a' : 'c');
    r->averages += canvas->average;
    r->canvases += !canvas->average && canvas->place.kind == UDUMP_KIND_FEATURES;
    return r->stop_after_canvases && r->canvases >= r->stop_after_canvases ? UDUMP_STOP : UDUMP_CONTINUE;
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    struct result *r = user;
    note(r, 't');
    r->tensors++;
    assert_int_equal(tensor->rank, 3);
    assert_true(place->step >= 1);
    if (tensor->dtype == UDUMP_F32) r->tensor_sum += ((const float *)tensor->data)[0];
    return UDUMP_CONTINUE;
}

static udump_flow on_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)variant;
    struct result *r = user;
    r->images++;
    assert_int_equal(picture->width_px, SIDE_PX);
    assert_int_equal(picture->channels, 3);
    assert_non_null(strstr(infotext, "Steps: "));
    if (image == 0) memcpy(r->pixels, picture->pixels, BYTES);
    return UDUMP_CONTINUE;
}

static udump_flow on_progress(void *user, const udump_progress *progress) {
    struct result *r = user;
    assert_int_equal(progress->step, ++r->progress);
    return UDUMP_CONTINUE;
}

static udump_sink sink_of(struct result *r) {
    memset(r, 0, sizeof *r);
    return (udump_sink){ sizeof(udump_sink), r, on_begin, on_canvas, on_tensor, NULL, NULL, on_image, on_progress };
}

static udump_generate_options options_of(const char *prompt) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = prompt;
    o.width_px = o.height_px = SIDE_PX;
    o.steps = 3;
    o.sampler = "Euler";
    o.seed = 11;
    return o;
}

static udump_session *new_session(void) {
    udump_session *session = NULL;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    return session;
}

static void generate(udump_session *session, const udump_generate_options *o, struct result *r) {
    udump_sink sink = sink_of(r);
    udump_error error;
    udump_status status = udump_generate(session, o, &sink, &error);
    if (status) fail_msg("generate: %s: %s", error.where, error.what);
    assert_int_equal(r->images, o->batch_size ? o->batch_size : 1);
}

static void test_capture_does_not_change_the_image(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle on a blue background");
    struct result plain, captured;
    generate(session, &o, &plain);
    o.features = "";
    o.side = UDUMP_SIDE_BOTH;
    o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .average = UDUMP_AVERAGE_L2 };
    o.want_tensors = 1;
    generate(session, &o, &captured);
    assert_memory_equal(plain.pixels, captured.pixels, BYTES);
    assert_int_equal(captured.canvases, 25 * 3 * 2);
    assert_int_equal(captured.averages, 25 * 3 * 2);
    assert_int_equal(captured.tensors, 25 * 3 * 2);
    assert_string_equal(plain.order, "");
    assert_memory_equal(captured.order, "actact", 6); /* the average first */
    assert_int_equal(plain.canvases, 0);
    assert_int_equal(captured.begins, 1);
    assert_int_equal(captured.progress, 3);
    udump_session_destroy(session);
}

static void test_runs_repeat_and_prompts_matter(void **state) {
    (void)state;
    udump_session *first = new_session(), *second = new_session();
    udump_generate_options o = options_of("a red circle on a blue background"), other = options_of("a green star on a white background");
    struct result a, b, c;
    generate(first, &o, &a);
    generate(first, &other, &c);
    generate(second, &o, &b);
    assert_memory_equal(a.pixels, b.pixels, BYTES);
    assert_memory_not_equal(a.pixels, c.pixels, BYTES);
    udump_session_destroy(first);
    udump_session_destroy(second);
}

static void test_one_session_changes_size_and_batch(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle"), large = o;
    large.width_px = 136;
    large.height_px = 120;
    large.batch_size = 2;
    struct result before, after;
    generate(session, &o, &before);
    udump_error error;
    assert_int_equal(udump_generate(session, &large, NULL, &error), UDUMP_OK);
    generate(session, &o, &after);
    assert_memory_equal(before.pixels, after.pixels, BYTES);
    udump_session_destroy(session);
}

static void test_stepping_equals_generate(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle on a blue background");
    struct result whole, stepped;
    generate(session, &o, &whole);
    udump_sink sink = sink_of(&stepped);
    udump_view latent;
    int32_t remaining = -1, steps = 0;
    assert_int_equal(udump_latent_view(session, &latent, NULL), UDUMP_ERROR_STATE);
    assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_ERROR_STATE);
    assert_int_equal(udump_begin(session, &o, NULL, &sink, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(session, &o, NULL, &sink, NULL), UDUMP_ERROR_STATE);
    assert_int_equal(udump_latent_view(session, &latent, NULL), UDUMP_OK);
    assert_int_equal(latent.rank, 4);
    assert_int_equal(latent.shape[1], SIDE_PX / 8);
    assert_int_equal(latent.shape[3], 4);
    for (; remaining != 0; steps++) assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
    assert_int_equal(steps, 3);
    assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_ERROR_STATE);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_ERROR_STATE);
    assert_memory_equal(whole.pixels, stepped.pixels, BYTES);
    udump_session_destroy(session);
}

static void test_latent_may_be_rewritten_between_steps(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle on a blue background");
    struct result whole, changed;
    generate(session, &o, &whole);
    udump_sink sink = sink_of(&changed);
    udump_view latent;
    int32_t remaining;
    assert_int_equal(udump_begin(session, &o, NULL, &sink, NULL), UDUMP_OK);
    assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
    assert_int_equal(udump_latent_view(session, &latent, NULL), UDUMP_OK);
    for (int i = 0; i < SIDE_PX / 8 * SIDE_PX / 8 * 4; i++) ((float *)latent.data)[i] = 0;
    while (remaining > 0) assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_OK);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_OK);
    assert_memory_not_equal(whole.pixels, changed.pixels, BYTES);
    udump_session_destroy(session);
}

struct hook_log {
    int calls;
    int64_t rows;
    int scale_by_zero;
};

static udump_flow on_hook(void *user, const udump_place *place, const udump_view *view) {
    struct hook_log *log = user;
    log->calls++;
    log->rows = view->shape[0];
    assert_int_equal(place->image, -1);
    assert_int_equal(view->rank, 4);
    assert_int_equal(view->stride[3], 1);
    if (view->dtype != UDUMP_F32) return UDUMP_CONTINUE;
    int64_t count = view->shape[0] * view->shape[1] * view->shape[2] * view->shape[3];
    volatile float *values = view->data;
    for (int64_t i = 0; i < count; i++) values[i] = log->scale_by_zero ? 0.0f : values[i];
    return UDUMP_CONTINUE;
}

static void test_hooks_see_and_change(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle on a blue background");
    struct result plain, same, zeroed, removed;
    struct hook_log log = { 0 };
    generate(session, &o, &plain);
    assert_int_equal(udump_session_set_hook(session, 25, on_hook, &log, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_session_set_hook(session, -1, on_hook, &log, NULL), UDUMP_OK);
    generate(session, &o, &same);
    assert_int_equal(log.calls, 25 * 3);
    assert_int_equal(log.rows, 2);
    assert_memory_equal(plain.pixels, same.pixels, BYTES); /* writing back what was read changes nothing */
    assert_int_equal(udump_session_set_hook(session, -1, NULL, NULL, NULL), UDUMP_OK);
    log.scale_by_zero = 1;
    assert_int_equal(udump_session_set_hook(session, 12, on_hook, &log, NULL), UDUMP_OK);
    generate(session, &o, &zeroed);
    assert_memory_not_equal(plain.pixels, zeroed.pixels, BYTES);
    assert_int_equal(udump_session_set_hook(session, -1, NULL, NULL, NULL), UDUMP_OK);
    generate(session, &o, &removed);
    assert_memory_equal(plain.pixels, removed.pixels, BYTES);
    udump_session_destroy(session);
}

static udump_status run_table(udump_session *session, const udump_generate_options *o, const udump_table *table, struct result *r) {
    udump_sink sink = sink_of(r);
    int32_t remaining = -1;
    udump_status status = udump_begin(session, o, table, &sink, NULL);
    while (!status && remaining != 0) status = udump_step(session, &remaining, NULL);
    return status ? status : udump_end(session, 1, NULL);
}

static udump_flow keep_fingerprint(void *user, const udump_run_info *run) {
    snprintf(user, 17, "%s", run->fingerprint);
    return UDUMP_STOP;
}

static void fingerprint_of(udump_session *session, const udump_generate_options *o, const udump_table *table, char text[17]) {
    udump_sink sink = { .struct_bytes = sizeof sink, .user = text, .begin = keep_fingerprint };
    assert_int_equal(udump_begin(session, o, table, &sink, NULL), UDUMP_ERROR_CANCELLED);
}

static void test_tables_give_each_block_its_context(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle on a blue background");
    struct result plain, same, mixed;
    generate(session, &o, &plain);
    udump_context *red, *none, *green, *copy;
    udump_table *table;
    assert_int_equal(udump_context_encode(session, o.prompt, &red, NULL), UDUMP_OK);
    assert_int_equal(udump_context_encode(session, "", &none, NULL), UDUMP_OK);
    assert_int_equal(udump_context_encode(session, "a green circle on a blue background", &green, NULL), UDUMP_OK);
    udump_view view;
    udump_context_get_view(red, &view);
    assert_int_equal(udump_context_from_tensor(model, &view, &copy, NULL), UDUMP_OK);

    assert_int_equal(udump_table_create(model, 2, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_set(table, -1, 0, copy, NULL), UDUMP_OK);
    assert_int_equal(run_table(session, &o, table, &same), UDUMP_ERROR_ARGUMENT); /* row 1 is not set */
    assert_int_equal(udump_table_set(table, -1, 1, none, NULL), UDUMP_OK);
    assert_int_equal(run_table(session, &o, table, &same), UDUMP_OK);
    assert_memory_equal(plain.pixels, same.pixels, BYTES); /* one prompt for all blocks is the table with one entry */

    for (int32_t block = 13; block < 25; block++) assert_int_equal(udump_table_set(table, block, 0, green, NULL), UDUMP_OK);
    assert_ptr_equal(udump_table_get(table, 12, 0), copy);
    assert_ptr_equal(udump_table_get(table, 13, 0), green);
    assert_null(udump_table_get(table, 25, 0));
    char before[17], after[17];
    fingerprint_of(session, &o, table, after);
    assert_int_equal(run_table(session, &o, table, &mixed), UDUMP_OK);
    assert_memory_not_equal(plain.pixels, mixed.pixels, BYTES);
    assert_int_equal(udump_table_set(table, 24, 0, copy, NULL), UDUMP_OK);
    fingerprint_of(session, &o, table, before);
    assert_string_not_equal(before, after); /* resuming takes it for another run */
    assert_int_equal(udump_table_set(table, 24, 0, green, NULL), UDUMP_OK);
    fingerprint_of(session, &o, table, before);
    assert_string_equal(before, after);
    assert_int_equal(udump_table_set(table, 25, 0, red, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_table_set(table, 0, 2, red, NULL), UDUMP_ERROR_ARGUMENT);

    o.cfg = 1; /* one row: the table does not fit */
    assert_int_equal(run_table(session, &o, table, &mixed), UDUMP_ERROR_ARGUMENT);
    udump_table_free(table);
    udump_context_release(red);
    udump_context_release(none);
    udump_context_release(green);
    udump_context_release(copy);
    udump_session_destroy(session);
}

static void test_a_context_with_other_values(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_context *red, *other, *bare, *before;
    udump_view view, found;
    udump_error error;
    assert_int_equal(udump_context_encode(session, "a red circle", &red, NULL), UDUMP_OK);
    udump_context_get_view(red, &view);
    size_t bytes = (size_t)(view.shape[0] * view.shape[1]) * sizeof(float);
    float *values = malloc(bytes);
    assert_non_null(values);
    memcpy(values, view.data, bytes);
    values[5] = 7;
    view.data = values;
    assert_int_equal(udump_context_replace(red, &view, &other, NULL), UDUMP_OK);
    udump_context_get_view(other, &found);
    assert_memory_equal(found.data, values, bytes);
    assert_string_equal(udump_context_text(other), "a red circle");
    assert_memory_equal(udump_context_columns(other), udump_context_columns(red), 77 * sizeof(udump_column));
    assert_int_equal(udump_context_from_tensor(model, &view, &bare, NULL), UDUMP_OK);
    udump_context_release(red);
    assert_int_equal(udump_context_replace(bare, &view, &red, NULL), UDUMP_OK);
    assert_null(udump_context_text(red));
    assert_null(udump_context_columns(red));

    before = red;
    values[5] = NAN;
    assert_int_equal(udump_context_replace(other, &view, &red, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "value 5 is not finite");
    assert_int_equal(udump_context_from_tensor(model, &view, &red, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "value 5 is not finite");
    view.shape[0] = 76;
    assert_int_equal(udump_context_replace(other, &view, &red, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.expected, "[77, "));
    assert_non_null(strstr(error.found, "[76, "));
    assert_ptr_equal(red, before);
    udump_context_release(red);
    udump_context_release(other);
    udump_context_release(bare);
    free(values);
    udump_session_destroy(session);
}

static void test_contexts_of_other_lengths(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("");
    udump_context *encoded, *shorter, *longer;
    udump_table *table;
    struct result whole, cut, padded;
    assert_int_equal(udump_context_encode(session, "a red circle on a blue background", &encoded, NULL), UDUMP_OK);
    udump_view view;
    udump_context_get_view(encoded, &view);
    int64_t dim = view.shape[1];
    float *values = calloc((size_t)(154 * dim), sizeof *values);
    assert_non_null(values);
    memcpy(values, view.data, (size_t)(77 * dim) * sizeof *values);
    memcpy(values + 77 * dim, view.data, (size_t)(77 * dim) * sizeof *values);
    view.data = values;
    view.shape[0] = 154;
    assert_int_equal(udump_context_from_tensor(model, &view, &longer, NULL), UDUMP_OK);
    view.shape[0] = 9;
    assert_int_equal(udump_context_from_tensor(model, &view, &shorter, NULL), UDUMP_OK);
    view.shape[1] = dim - 1;
    udump_error error;
    udump_context *before = shorter;
    assert_int_equal(udump_context_from_tensor(model, &view, &shorter, &error), UDUMP_ERROR_ARGUMENT);
    view.shape[1] = dim;
    view.shape[0] = (1 << 20) + 1;
    assert_int_equal(udump_context_from_tensor(model, &view, &shorter, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.expected, "1 to 1048576 tokens"));
    assert_ptr_equal(shorter, before);

    assert_int_equal(udump_table_create(model, 2, &table, NULL), UDUMP_OK);
    assert_int_equal(udump_table_set(table, -1, -1, encoded, NULL), UDUMP_OK);
    assert_int_equal(run_table(session, &o, table, &whole), UDUMP_OK);
    assert_int_equal(udump_table_set(table, -1, 1, shorter, NULL), UDUMP_OK); /* unequal lengths side by side */
    assert_int_equal(run_table(session, &o, table, &cut), UDUMP_OK);
    assert_memory_not_equal(whole.pixels, cut.pixels, BYTES);
    assert_int_equal(udump_table_set(table, -1, -1, longer, NULL), UDUMP_OK);
    assert_int_equal(run_table(session, &o, table, &padded), UDUMP_OK);
    int most = 0; /* every key twice: softmax gives the same mean, but for rounding */
    for (int i = 0; i < BYTES; i++) most = abs(whole.pixels[i] - padded.pixels[i]) > most ? abs(whole.pixels[i] - padded.pixels[i]) : most;
    assert_true(most <= 1);
    udump_table_free(table);
    udump_context_release(encoded);
    udump_context_release(shorter);
    udump_context_release(longer);
    free(values);
    udump_session_destroy(session);
}

static void test_sink_and_cancel_stop_the_run(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_generate_options o = options_of("a red circle");
    struct result r;
    udump_sink sink = sink_of(&r);
    udump_error error;
    o.features = "";
    r.stop_after_canvases = 7;
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_ERROR_CANCELLED);
    assert_int_equal(r.canvases, 7);
    assert_int_equal(r.images, 0);
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    o.cancel = &cancel;
    udump_cancel_raise(&cancel);
    assert_int_equal(udump_generate(session, &o, &sink, &error), UDUMP_ERROR_CANCELLED);
    o.cancel = NULL;
    o.features = NULL;
    generate(session, &o, &r); /* the session goes on */
    udump_session_destroy(session);
}

static void expect_error(const udump_generate_options *o, udump_status status, const char *part) {
    udump_session *session = new_session();
    udump_error error;
    char line[1024] = "";
    udump_status got = udump_generate(session, o, NULL, &error);
    if (got) udump_error_format(&error, line, sizeof line);
    if (got != status || !strstr(line, part)) fail_msg("expected status %d and '%s', found %d: %s", (int)status, part, (int)got, line);
    udump_session_destroy(session);
}

static void test_bad_options(void **state) {
    (void)state;
    const udump_generate_options good = options_of("a red circle");
    udump_generate_options o = good;
    o.width_px = 100;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "width: not a size for a picture: expected a multiple of 8 from 8 to 16384, found 100");
    o = good, o.steps = 1001;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "1001");
    o = good, o.sampler = "Eulers";
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "Eulers");
    o = good, o.features = "IN00,IN12";
    expect_error(&o, UDUMP_ERROR_SYNTAX, "IN00..IN11");
    o = good, o.features = "", o.feature_steps = "9-12";
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "no step is left");
    o = good, o.feature_steps = "zz"; /* would do nothing */
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "feature steps: ");
    o = good, o.diff_steps = "1";
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "diff steps: ");
    o = good, o.attention = "", o.attention_kinds = UDUMP_ATTEND_SELF, o.self_query_count = 1;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "self queries: 1 positions, but their list is NULL");
    o = good, o.features = "", o.style = &(udump_style){ .struct_bytes = sizeof(udump_style), .color = "rgb:v;v;foo(v)" };
    expect_error(&o, UDUMP_ERROR_SYNTAX, "foo");
    o = good, o.prompt = "a red AND circle (~: IN03: AND cute AND red :~)";
    expect_error(&o, UDUMP_ERROR_UNSUPPORTED, "unequal numbers of prompts");
    o = good, o.prompt = "a (~: IN99: red :~) circle";
    expect_error(&o, UDUMP_ERROR_SYNTAX, "column 7");
    o = good, o.diff = "";
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "no layer prompts");
    o = good, o.cfg = 1, o.features = "", o.side = UDUMP_SIDE_BOTH;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "uncond");
    o = good, o.struct_bytes = 0;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "not initialised");
    int64_t shape[4] = { 1, 4, 8, 9 };
    udump_view noise = { .rank = 4, .data = shape };
    memcpy(noise.shape, shape, sizeof shape);
    o = good, o.noise = &noise;
    expect_error(&o, UDUMP_ERROR_ARGUMENT, "expected [1, 4, 8, 8], found [1, 4, 8, 9]");
}

/* Weights multiply rows of the encoding. The demo model's rows have no mean that could be restored. */
static void test_emphasis_weighs_rows(void **state) {
    (void)state;
    udump_session *session = new_session();
    udump_context *plain, *weighed, *two;
    udump_view a, b;
    assert_int_equal(udump_context_encode(session, "a red circle", &plain, NULL), UDUMP_OK);
    assert_int_equal(udump_context_encode(session, "a (red:1.5) circle", &weighed, NULL), UDUMP_OK);
    assert_int_equal(udump_context_encode(session, "a red circle BREAK a red circle", &two, NULL), UDUMP_OK);
    assert_string_equal(udump_context_text(weighed), "a (red:1.5) circle");
    assert_true(udump_context_columns(weighed)[2].weight == 1.5f);
    udump_context_get_view(plain, &a);
    udump_context_get_view(weighed, &b);
    const float *from = a.data, *to = b.data;
    for (int64_t i = 0; i < a.shape[0] * a.shape[1]; i++) assert_true(to[i] == from[i] * (i / a.shape[1] == 2 ? 1.5f : 1));
    udump_context_get_view(two, &b);
    assert_int_equal(b.shape[0], 154); /* two chunks, one after the other */
    for (int64_t i = 0; i < 2 * a.shape[0] * a.shape[1]; i++) {
        float gap = ((const float *)b.data)[i] - from[i % (a.shape[0] * a.shape[1])];
        assert_true(gap < 1e-4f && gap > -1e-4f); /* a batch of two: sums in another order */
    }
    udump_context_release(plain);
    udump_context_release(weighed);
    udump_context_release(two);
    udump_session_destroy(session);
}

static void test_model_tells_of_itself(void **state) {
    (void)state;
    udump_model_info info;
    udump_block_info block;
    udump_tensor_info tensor;
    udump_model_get_info(model, &info);
    assert_string_equal(info.family, "SD 1");
    assert_int_equal(info.block_count, 25);
    assert_int_equal(info.context_tokens, 77);
    assert_int_equal(udump_model_get_block(model, 12, &block, NULL), UDUMP_OK);
    assert_string_equal(block.name, "M00");
    assert_int_equal(block.attention_depth, 1);
    assert_int_equal(udump_model_get_block(model, 15, &block, NULL), UDUMP_OK);
    assert_string_equal(block.name, "OUT02");
    assert_string_equal(block.path, "up_blocks.0.resnets.2 + upsamplers.0");
    assert_int_equal(block.downscale, 4);
    assert_int_equal(udump_model_get_block(model, 25, &block, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_model_get_tensor(model, 0, &tensor, NULL), UDUMP_OK);
    assert_int_equal(udump_model_get_tensor(model, 1 << 20, &tensor, NULL), UDUMP_ERROR_ARGUMENT);
    assert_null(udump_model_warning(model, 0));
    int attentions = 0;
    for (int32_t i = 0; i < 25; i++) {
        udump_model_get_block(model, i, &block, NULL);
        assert_string_equal(block.name, udump_block_name(NULL, i)); /* SD 1's names */
        attentions += block.attention_depth;
    }
    assert_int_equal(attentions, 16);
}

static udump_flow stop_at_progress(void *user, const udump_progress *progress) {
    (void)progress;
    ++*(int32_t *)user;
    return UDUMP_STOP;
}

static udump_flow count_image(void *user, int32_t image, udump_variant variant, const udump_picture *picture, const char *infotext) {
    (void)image, (void)variant, (void)picture, (void)infotext;
    *(int32_t *)user += 100;
    return UDUMP_CONTINUE;
}

/* What progress answers ends a run that is made step by step, too. */
static void test_progress_stops_the_steps(void **state) {
    (void)state;
    int32_t told = 0, remaining = 0;
    udump_session *session;
    udump_sink sink = { .struct_bytes = sizeof sink, .user = &told, .image = count_image, .progress = stop_at_progress };
    udump_generate_options options = options_of("a red circle");
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    assert_int_equal(udump_begin(session, &options, NULL, &sink, NULL), UDUMP_OK);
    assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_step(session, &remaining, NULL), UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_end(session, 1, NULL), UDUMP_ERROR_CANCELLED);
    assert_int_equal(told, 1); /* no second step, no image */
    udump_session_destroy(session);
}

static udump_flow stop_at_begin(void *user, const udump_run_info *run) {
    *(int32_t *)user = run->evaluations;
    return UDUMP_STOP;
}

/* Before a run, as many evaluations as the run itself will say. */
static void test_evaluations_are_counted_ahead(void **state) {
    (void)state;
    static const char *const samplers[] = { "Euler a", "DPM++ 2S a", "Heun", "DDIM", "PLMS", "UniPC", "LCM", "DPM fast", "Restart" };
    static const uint8_t pixels[BYTES];
    static const double strengths[] = { 0, 0.5, 0.75, 1 };
    udump_picture init = { .width_px = SIDE_PX, .height_px = SIDE_PX, .channels = 3, .row_bytes = SIDE_PX * 3, .pixels = pixels };
    udump_error error;
    udump_session *session;
    assert_int_equal(udump_session_create(model, &session, NULL), UDUMP_OK);
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++)
        for (int k = -1; k < 4; k++) { /* -1: from noise */
            udump_generate_options options = options_of("");
            int32_t told = 0, counted = 0;
            options.sampler = samplers[i];
            options.steps = 10 + 5 * (int32_t)i;
            if (k >= 0) options.init = &init;
            if (k >= 0 && k != 2) options.strength = &strengths[k]; /* 0.75 is the default */
            udump_sink sink = { sizeof sink, &told, stop_at_begin, NULL, NULL, NULL, NULL, NULL, NULL };
            assert_int_equal(udump_generate(session, &options, &sink, &error), UDUMP_ERROR_CANCELLED);
            assert_int_equal(udump_evaluations_count(model, &options, &counted, &error), UDUMP_OK);
            assert_true(told > 0);
            assert_int_equal(counted, told);
        }
    udump_session_destroy(session);
    udump_generate_options options = options_of("");
    int32_t counted;
    options.sampler = "none such";
    assert_int_equal(udump_evaluations_count(model, &options, &counted, &error), UDUMP_ERROR_ARGUMENT);
    options.sampler = NULL;
    options.steps = 1001;
    assert_int_equal(udump_evaluations_count(model, &options, &counted, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_evaluations_count(NULL, &options, &counted, &error), UDUMP_ERROR_ARGUMENT);
    options.struct_bytes = 0;
    assert_int_equal(udump_evaluations_count(model, &options, &counted, &error), UDUMP_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emphasis_weighs_rows),
        cmocka_unit_test(test_model_tells_of_itself),
        cmocka_unit_test(test_capture_does_not_change_the_image),
        cmocka_unit_test(test_runs_repeat_and_prompts_matter),
        cmocka_unit_test(test_one_session_changes_size_and_batch),
        cmocka_unit_test(test_stepping_equals_generate),
        cmocka_unit_test(test_latent_may_be_rewritten_between_steps),
        cmocka_unit_test(test_hooks_see_and_change),
        cmocka_unit_test(test_tables_give_each_block_its_context),
        cmocka_unit_test(test_a_context_with_other_values),
        cmocka_unit_test(test_contexts_of_other_lengths),
        cmocka_unit_test(test_sink_and_cancel_stop_the_run),
        cmocka_unit_test(test_progress_stops_the_steps),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_evaluations_are_counted_ahead),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
