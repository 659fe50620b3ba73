/* Sweeps: which cells and batches they have, how their prompts are written, what they measure, what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "folders.h"
#include "output/label.h"
#include "output/sheet.h"
#include "pipeline/sweep.h"
#include "pipeline/sweep_record.h"

static const char demo[] = TEST_ROOT "/models/demo", lora_path[] = TEST_ROOT "/tests/parity/goldens/lora-kohya.safetensors";
static const char red[] = "a red circle on a blue background", green[] = "a green circle on a blue background";
static const char *const variants[] = { green, "a yellow circle on a blue background" }, *const two_blocks[] = { "IN01-IN02", "OUT06" };
static const uint64_t seeds[] = { 1, 18446744073709551615u };

/* A small sweep on the reference device, whose rows do not depend on the batch. */
struct setting {
    udump_model_options model;
    udump_generate_options base;
    udump_sweep_options options;
};

static void set(struct setting *s) {
    udump_model_options_init(&s->model);
    udump_generate_options_init(&s->base);
    udump_sweep_options_init(&s->options);
    s->model.device = UDUMP_DEVICE_REFERENCE;
    s->base.prompt = red;
    s->base.width_px = s->base.height_px = 64;
    s->base.steps = 2;
    s->base.cfg = 3.5f;
    s->options.base = &s->base;
    s->options.variants = variants;
    s->options.variant_count = 2;
    s->options.blocks = two_blocks;
    s->options.block_count = 2;
    s->options.seeds = seeds;
    s->options.seed_count = 2;
}

static udump_sweep *create(const struct setting *s) {
    udump_sweep *sweep = NULL;
    udump_error error;
    if (udump_sweep_create(demo, &s->model, &s->options, &sweep, &error)) fail_msg("%s: %s", error.where, error.what);
    return sweep;
}

static udump_sweep_cell cell_of(const udump_sweep *sweep, int32_t index) {
    udump_sweep_cell cell;
    assert_int_equal(udump_sweep_get_cell(sweep, index, &cell, NULL), UDUMP_OK);
    return cell;
}

static int32_t count_cells(const udump_sweep *sweep) {
    udump_sweep_cell cell;
    int32_t count = 0;
    while (udump_sweep_get_cell(sweep, count, &cell, NULL) == UDUMP_OK) count++;
    return count;
}

static void cells_are_seeds_variants_blocks(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_sweep *sweep = create(&s);
    assert_int_equal(count_cells(sweep), 2 * (1 + 2 * 2));
    for (int32_t i = 0; i < 10; i++) {
        udump_sweep_cell cell = cell_of(sweep, i);
        assert_true(cell.seed == seeds[i / 5]);
        assert_int_equal(cell.is_base, i % 5 == 0);
        assert_string_equal(cell.variant, i % 5 == 0 ? "" : variants[(i % 5 - 1) / 2]);
        assert_string_equal(cell.blocks, i % 5 == 0 ? "" : two_blocks[(i % 5 - 1) % 2]);
        assert_int_equal(cell.batch, i / 5); /* all of one seed fit into a batch */
        for (int32_t other = 0; other < i; other++) assert_string_not_equal(cell.key, cell_of(sweep, other).key);
    }
    assert_string_equal(cell_of(sweep, 0).prompt, red);
    assert_string_equal(cell_of(sweep, 2).prompt, "(~: _: a red circle on a blue background; OUT06:a green circle on a blue background:~)");
    udump_sweep_free(sweep);
}

/* The keys of all cells together. */
static void keys_of(const struct setting *s, char keys[64 * UDUMP_SWEEP_KEY_TEXT]) {
    udump_sweep *sweep = create(s);
    keys[0] = 0;
    for (int32_t i = 0; i < count_cells(sweep); i++) strcat(keys, cell_of(sweep, i).key);
    udump_sweep_free(sweep);
}

static void keys_say_what_decides(void **state) {
    (void)state;
    struct setting s;
    static char first[64 * UDUMP_SWEEP_KEY_TEXT], other[64 * UDUMP_SWEEP_KEY_TEXT];
    set(&s);
    keys_of(&s, first);
    s.options.batch_size = 2; /* how it is computed, not what */
    s.model.threads = 1;
    keys_of(&s, other);
    assert_string_equal(first, other);
    s.base.sampler = "Euler a"; /* the default */
    keys_of(&s, other);
    assert_string_equal(first, other);
    const double eta = 0.5;
    struct {
        void *option;
        const void *value;
        size_t size;
    } changes[] = { { &s.base.steps, &(int32_t){ 3 }, sizeof(int32_t) }, { &s.base.cfg, &(float){ 4 }, sizeof(float) },
        { &s.base.sampler, &(const char *){ "DDIM" }, sizeof(char *) }, { &s.base.schedule, &(const char *){ "Karras" }, sizeof(char *) },
        { &s.base.negative_prompt, &(const char *){ "square" }, sizeof(char *) }, { &s.base.width_px, &(int32_t){ 72 }, sizeof(int32_t) },
        { &s.base.rng, &(udump_rng){ UDUMP_RNG_CPU }, sizeof(udump_rng) }, { &s.base.eta, &(const double *){ &eta }, sizeof(double *) },
        { &s.base.ensd, &(int64_t){ 31337 }, sizeof(int64_t) }, { &s.base.diff, &(const char *){ "" }, sizeof(char *) },
        { &s.base.clip_skip, &(int32_t){ 2 }, sizeof(int32_t) }, { &s.model.device, &(udump_device){ UDUMP_DEVICE_CPU }, sizeof(udump_device) } };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        uint8_t before[16];
        memcpy(before, changes[i].option, changes[i].size);
        memcpy(changes[i].option, changes[i].value, changes[i].size);
        keys_of(&s, other);
        if (strcmp(first, other) == 0) fail_msg("change %zu is not in the keys", i);
        memcpy(changes[i].option, before, changes[i].size);
    }
}

/* Every cell is in one batch; with outputs compared, the base is in each. */
static void batches_hold_all_cells(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    for (int diff = 0; diff < 2; diff++)
        for (int32_t size = 1 + diff; size < 8; size++) {
            s.base.diff = diff ? "OUT11" : NULL;
            s.options.batch_size = size;
            udump_sweep *sweep = create(&s);
            int32_t next = 0;
            for (int32_t b = 0; b < udump_sweep_batch_count(sweep); b++) {
                const udump_sweep_batch *batch = &sweep->batches[b];
                assert_int_equal(batch->first, next);
                assert_in_range(batch->count + batch->base_beside, 1, size);
                assert_int_equal(batch->base_beside, diff && !cell_of(sweep, next).is_base);
                for (int32_t i = 0; i < batch->count; i++, next++) {
                    assert_int_equal(cell_of(sweep, next).batch, b);
                    assert_true(cell_of(sweep, next).seed == cell_of(sweep, batch->first).seed);
                }
            }
            assert_int_equal(next, count_cells(sweep));
            udump_sweep_free(sweep);
        }
}

/* What a composed prompt means in a block is what was asked for there. */
static void prompts_mean_what_they_say(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        { "plain", "other" },
        { "a; b", "c; d;" },
        { "a (~: _: x; M00: y; OUT00-OUT11: z :~) b", "a (~: IN01: w :~) c" },
        { "one AND two :0.5", "three AND four :0.5" },
        { "[a:b:0.5] (c:1.2)", "[a|b] \\(c\\)" },
        { "", "x" },
        { "line\nbreak", "\xc3\xa4 \xe2\x82\xac" },
        { "ends in:", ":starts" },
        { "(~: _: (~: M00: x:~)", "(~: _: (~: M00: x:~)" },
    };
    struct setting s;
    set(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        s.base.prompt = cases[i][0];
        s.options.variants = &cases[i][1];
        s.options.variant_count = 1;
        udump_sweep *sweep = create(&s);
        udump_prompt *plain, *variant, *composed;
        udump_error error;
        assert_int_equal(udump_prompt_parse(sweep->model, cases[i][0], 1, 0, &plain, NULL), UDUMP_OK);
        assert_int_equal(udump_prompt_parse(sweep->model, cases[i][1], 1, 0, &variant, NULL), UDUMP_OK);
        for (int32_t c = 1; c < 3; c++) {
            uint8_t selected[UDUMP_BLOCKS_MOST];
            const char *prompt = cell_of(sweep, c).prompt;
            if (udump_prompt_parse(sweep->model, prompt, 1, 0, &composed, &error)) fail_msg("%s: %s", prompt, error.what);
            assert_int_equal(udump_layers_parse(sweep->model, two_blocks[c - 1], selected, UDUMP_BLOCKS_MOST, NULL), UDUMP_OK);
            for (int32_t b = 0; b < 25; b++)
                assert_string_equal(udump_prompt_block(composed, b), udump_prompt_block(selected[b] ? variant : plain, b));
            udump_prompt_free(composed);
        }
        udump_prompt_free(plain);
        udump_prompt_free(variant);
        udump_sweep_free(sweep);
    }
}

static udump_status run_all(udump_sweep *sweep, const char *folder, const udump_sweep_observer *observer) {
    return udump_sweep_run(sweep, folder, 0, udump_sweep_batch_count(sweep), observer, NULL);
}

static udump_flow keep_norms(void *user, const udump_place *place, const udump_diff_norms *norms) {
    if (place->side == UDUMP_SIDE_COND) *(udump_diff_norms *)user = *norms;
    return UDUMP_CONTINUE;
}

/* The outputs' differences are those of a diff run; every distinct text is encoded once, whatever the batches. */
static void outputs_are_those_of_a_diff(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    s.base.diff = "OUT11";
    s.base.diff_steps = "2";
    s.options.seed_count = 1;
    s.options.batch_size = 3;
    const char *const longer[] = { variants[0], "a red circle on a blue background and a star" };
    s.options.variants = longer;
    udump_sweep *sweep = create(&s);
    assert_int_equal(run_all(sweep, below("outputs"), NULL), UDUMP_OK);
    assert_int_equal(sweep->session->contexts.count, 4); /* red, green, star, the empty negative prompt */

    udump_sweep_record record;
    bool whole = false;
    assert_int_equal(udump_sweep_record_read(below("outputs"), cell_of(sweep, 4).key, &whole, &record, NULL), UDUMP_OK);
    assert_true(whole);
    assert_int_equal(json_array_size(record.blocks), 1);
    udump_generate_options alone = s.base;
    udump_diff_norms norms = { 0 };
    alone.prompt = "a red circle on a blue background(~: OUT06: and a star :~)"; /* its twin is the base */
    alone.seed = seeds[0];
    alone.no_canvas = 1;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = &norms, .diff = keep_norms };
    assert_int_equal(udump_generate(sweep->session, &alone, &sink, NULL), UDUMP_OK);
    const json_t *own = json_array_get(record.blocks, 0);
    assert_string_equal(json_string_value(json_object_get(own, "block")), "OUT11");
    assert_int_equal(json_integer_value(json_object_get(own, "step")), 2);
    assert_true(json_real_value(json_object_get(own, "l2")) == norms.l2 && norms.l2 > 0);
    assert_true(json_real_value(json_object_get(own, "cosine")) == norms.cosine);
    json_decref(record.blocks);
    udump_sweep_free(sweep);
}

/* By hand, from the files. */
static void measures_are_of_the_files(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_sweep *sweep = create(&s);
    udump_sweep_result *result = NULL;
    assert_int_equal(run_all(sweep, below("measured"), NULL), UDUMP_OK);
    assert_int_equal(udump_sweep_collect(below("measured"), &result, NULL), UDUMP_OK);
    udump_sweep_cell cell;
    udump_sweep_measure measure;
    int32_t there, count;
    assert_int_equal(udump_sweep_result_get(result, 7, &cell, &there, &measure, NULL), UDUMP_OK);
    assert_true(there);
    assert_string_equal(cell.key, cell_of(sweep, 7).key);
    udump_image a = { 0 }, b = { 0 };
    char name[64];
    snprintf(name, sizeof name, "measured/cells/%s.png", cell_of(sweep, 5).key);
    assert_int_equal(udump_png_read(below(name), &a, NULL), UDUMP_OK);
    snprintf(name, sizeof name, "measured/cells/%s.png", cell.key);
    assert_int_equal(udump_png_read(below(name), &b, NULL), UDUMP_OK);
    double squares = 0, whole = 0, most = 0;
    for (int i = 0; i < 64 * 64 * 3; i++) {
        double difference = (b.picture.pixels[i] - a.picture.pixels[i]) / 255.0;
        squares += difference * difference;
        whole += pow(a.picture.pixels[i] / 255.0, 2);
        most = fmax(most, fabs(difference));
    }
    assert_true(fabs(measure.picture.relative_l2 - sqrt(squares / whole)) < 1e-12); /* rounding of sums in double */
    assert_true(fabs(measure.picture.max - most) < 1e-12); /* likewise */
    assert_true(measure.picture.relative_l2 > 0 && measure.latent.relative_l2 > 0);

    assert_int_equal(udump_sweep_result_get(result, 5, &cell, &there, &measure, NULL), UDUMP_OK);
    assert_true(cell.is_base && there && measure.picture.l2 == 0 && measure.latent.relative_l2 == 0);
    assert_true(measure.picture.cosine == 1 && measure.latent.cosine == 1);

    /* The ranking: means over seeds, the largest first; of all, and of each variant. */
    const udump_sweep_rank *ranks = udump_sweep_result_ranking(result, 1, &count);
    assert_int_equal(count, 2);
    double sum = 0;
    for (int32_t i = 0; i < 10; i++) {
        assert_int_equal(udump_sweep_result_get(result, i, &cell, &there, &measure, NULL), UDUMP_OK);
        if (strcmp(cell.variant, variants[1]) == 0 && strcmp(cell.blocks, ranks[0].blocks) == 0) sum += measure.picture.relative_l2;
    }
    assert_int_equal(ranks[0].cells, 2);
    assert_true(fabs(ranks[0].mean.picture.relative_l2 - sum / 2) < 1e-12);
    assert_true(ranks[0].mean.picture.relative_l2 >= ranks[1].mean.picture.relative_l2);
    assert_int_equal(udump_sweep_result_ranking(result, -1, &count)[0].cells, 4);
    assert_null(udump_sweep_result_ranking(result, 2, &count));
    assert_int_equal(udump_sweep_result_get(result, 10, &cell, &there, NULL, NULL), UDUMP_ERROR_ARGUMENT);
    udump_image_free(&a);
    udump_image_free(&b);
    udump_sweep_result_free(result);
    udump_sweep_free(sweep);
}

static int told;
static udump_sweep_progress tellings[16];

static udump_flow note_progress(void *user, const udump_sweep_progress *progress) {
    (void)user;
    assert_true(told < 16);
    tellings[told++] = *progress;
    return UDUMP_CONTINUE;
}

/* What a bar shows: where it begins, each step, and that all is there. */
static void progress_is_told_from_the_first_to_the_last(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_sweep *sweep = create(&s);
    const udump_sweep_observer observer = { .struct_bytes = sizeof observer, .progress = note_progress };
    const struct { int32_t done, step; } expected[] = { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 5, 2 }, { 5, 1 }, { 5, 2 }, { 10, 2 } };
    told = 0;
    assert_int_equal(run_all(sweep, below("told"), &observer), UDUMP_OK);
    assert_int_equal(told, 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(tellings[i].cells, 10);
        assert_int_equal(tellings[i].cells_there, 0);
        assert_int_equal(tellings[i].cells_done, expected[i].done);
        assert_int_equal(tellings[i].run.step, expected[i].step);
        assert_int_equal(tellings[i].run.steps, i ? 2 : 0);
    }
    told = 0;
    assert_int_equal(run_all(sweep, below("told"), &observer), UDUMP_OK);
    assert_int_equal(told, 1);
    assert_true(tellings[0].cells_done == 10 && tellings[0].cells_there == 10);
    udump_sweep_free(sweep);
}

static udump_flow stop_after_the_first_batch(void *user, const udump_sweep_progress *progress) {
    (void)user;
    return progress->cells_done ? UDUMP_STOP : UDUMP_CONTINUE;
}

static void stopping_keeps_what_is_whole(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_cancel cancel = UDUMP_CANCEL_INIT;
    s.base.cancel = &cancel;
    udump_sweep *sweep = create(&s);
    udump_sweep_result *result = NULL;
    int32_t cells, missing;
    const udump_sweep_observer observer = { .struct_bytes = sizeof observer, .progress = stop_after_the_first_batch };
    assert_int_equal(run_all(sweep, below("stopped"), &observer), UDUMP_ERROR_CANCELLED);
    assert_int_equal(udump_sweep_collect(below("stopped"), &result, NULL), UDUMP_OK);
    udump_sweep_result_count(result, &cells, &missing);
    assert_int_equal(cells, 10);
    assert_int_equal(missing, 5);
    udump_sweep_result_free(result);
    udump_cancel_raise(&cancel);
    assert_int_equal(run_all(sweep, below("stopped"), NULL), UDUMP_ERROR_CANCELLED);
    cancel.raised = 0;
    assert_int_equal(udump_sweep_run(sweep, below("stopped"), 1, 1, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_sweep_collect(below("stopped"), &result, NULL), UDUMP_OK);
    udump_sweep_result_count(result, &cells, &missing);
    assert_int_equal(missing, 0);
    assert_int_equal(udump_sweep_run(sweep, below("stopped"), 1, 2, NULL, NULL), UDUMP_ERROR_ARGUMENT);
    udump_sweep_result_free(result);
    udump_sweep_free(sweep);
}

/* The record of a cell, as it is on the disk. */
static void read_record(const char *folder, const char *key, char *text, size_t size) {
    char name[128];
    snprintf(name, sizeof name, "%s/cells/%s.json", folder, key);
    FILE *file = fopen(below(name), "rb");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* Where the variant is the base's own prompt in the chosen blocks, cells are equal, however their blocks are written. */
static void equal_cells_are_made_once(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    const char *const variant = "a red circle(~: M00: and a star :~) on a blue background",
                      *const blocks[] = { "M00", "IN04", "OUT03", "M00-M00", "IN00,M00" };
    s.options.variants = &variant;
    s.options.variant_count = 1;
    s.options.blocks = blocks;
    s.options.block_count = 5;
    s.options.batch_size = 2;
    for (int diff = 0; diff < 2; diff++) {
        s.base.diff = diff ? "OUT11" : NULL;
        udump_sweep *sweep = create(&s);
        assert_int_equal(sweep->made_count, 2 * (2 + diff)); /* base and M00; where outputs are compared, IN04 with the base, too */
        for (int32_t i = 1; i < 6; i++) {
            udump_sweep_cell cell = cell_of(sweep, i), first = cell_of(sweep, i % 3 == 1 || i == 5 ? 1 : 2);
            assert_string_equal(cell.key, first.key);
            assert_int_equal(cell.batch, first.batch);
        }
        assert_int_equal(strcmp(cell_of(sweep, 0).key, cell_of(sweep, 2).key) == 0, !diff);
        udump_sweep_free(sweep);
    }
}

static udump_flow stop_when_some_are_done(void *user, const udump_sweep_progress *progress) {
    return progress->cells_done > *(int32_t *)user ? UDUMP_STOP : UDUMP_CONTINUE;
}

/* Wherever it was interrupted: each record says the same, equal cells' too. */
static void interrupted_is_the_same_folder(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    const char *const variant = "a red circle(~: M00: and a star :~) on a blue background", *const blocks[] = { "M00", "IN04", "OUT03" };
    s.options.variants = &variant;
    s.options.variant_count = 1;
    s.options.blocks = blocks;
    s.options.block_count = 3;
    s.options.batch_size = 2;
    s.base.diff = "OUT11";
    udump_sweep *sweep = create(&s);
    int32_t done = 0;
    assert_int_equal(run_all(sweep, below("once"), NULL), UDUMP_OK);
    const udump_sweep_observer stop = { .struct_bytes = sizeof stop, .user = &done, .progress = stop_when_some_are_done };
    for (; done < 8; done++) {
        udump_status status = run_all(sweep, below("interrupted"), &stop);
        assert_true(!status || status == UDUMP_ERROR_CANCELLED);
    }
    assert_int_equal(run_all(sweep, below("interrupted"), NULL), UDUMP_OK);
    for (int32_t batch = udump_sweep_batch_count(sweep) - 1; batch >= 0; batch--)
        assert_int_equal(udump_sweep_run(sweep, below("parted"), batch, 1, NULL, NULL), UDUMP_OK);
    for (int32_t i = 0; i < 8; i++) {
        char once[4096], interrupted[4096], parted[4096];
        const char *key = cell_of(sweep, i).key;
        read_record("once", key, once, sizeof once);
        read_record("interrupted", key, interrupted, sizeof interrupted);
        read_record("parted", key, parted, sizeof parted);
        assert_string_equal(once, interrupted);
        assert_string_equal(once, parted);
        assert_int_equal(strstr(once, "\"blocks\": []") != NULL, i % 4 == 0); /* a base alone is compared with nothing */
    }
    udump_sweep_free(sweep);
}

/* 20,000 pictures of 16384 x 16384, and nothing is begun. */
static void what_does_not_fit_the_disk_is_refused(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    uint64_t *many = calloc(4000, sizeof *many);
    assert_non_null(many);
    for (uint64_t i = 0; i < 4000; i++) many[i] = i;
    s.options.seeds = many;
    s.options.seed_count = 4000;
    s.base.width_px = s.base.height_px = 16384;
    udump_sweep *sweep = create(&s);
    udump_error error;
    assert_int_equal(udump_sweep_run(sweep, below("small"), 0, udump_sweep_batch_count(sweep), NULL, &error), UDUMP_ERROR_FILE);
    assert_non_null(strstr(error.what, "free"));
    assert_false(exists(below("small/sweep.json")));
    assert_int_equal(count_entries(below("small/cells")), 0);
    udump_sweep_free(sweep);
    free(many);
}

/* Two weights of a LoRA, and the LoRA itself block by block. */
static void loras_vary(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    const udump_lora lora = { .path = lora_path };
    const double weights[] = { 0.5, 1 };
    s.model.loras = &lora;
    s.model.lora_count = 1;
    s.options.lora_weights = weights;
    s.options.lora_weight_count = 2;
    s.options.seed_count = 1;
    udump_sweep *sweep = create(&s);
    assert_int_equal(count_cells(sweep), 2 * (1 + 2 * 2));
    assert_true(cell_of(sweep, 0).lora_weight == 0.5 && cell_of(sweep, 9).lora_weight == 1);
    udump_sweep_free(sweep);
    s.options.variant_count = 0;
    sweep = create(&s);
    assert_int_equal(count_cells(sweep), 1 + 2 * 2);
    assert_int_equal(udump_sweep_batch_count(sweep), 5); /* each is a model of its own */
    assert_true(cell_of(sweep, 0).is_base && cell_of(sweep, 0).lora_weight == 0);
    assert_string_equal(cell_of(sweep, 4).prompt, red);
    assert_string_not_equal(cell_of(sweep, 3).key, cell_of(sweep, 4).key);
    udump_sweep_free(sweep);
}

static void a_given_model_is_taken(void **state) {
    (void)state;
    struct setting s;
    static char loaded[64 * UDUMP_SWEEP_KEY_TEXT], given[64 * UDUMP_SWEEP_KEY_TEXT];
    set(&s);
    keys_of(&s, loaded);
    udump_model *model = NULL;
    assert_int_equal(udump_model_load(demo, &s.model, &model, NULL), UDUMP_OK);
    s.options.model = model;
    keys_of(&s, given);
    assert_string_equal(loaded, given);
    udump_sweep *sweep = create(&s);
    assert_ptr_equal(sweep->model, model);
    udump_model_release(model);
    assert_int_equal(run_all(sweep, below("given"), NULL), UDUMP_OK); /* it holds the model */
    udump_sweep_free(sweep);
}

static void a_cell_is_there_when_its_files_are(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_sweep *sweep = create(&s);
    int32_t there = 1;
    const char *key = cell_of(sweep, 0).key, *folder = below("there");
    assert_int_equal(udump_sweep_cell_there(folder, key, &there, NULL), UDUMP_OK);
    assert_false(there);
    assert_int_equal(udump_sweep_run(sweep, folder, 0, 1, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_sweep_cell_there(folder, key, &there, NULL), UDUMP_OK);
    assert_true(there);
    assert_int_equal(udump_sweep_cell_there(folder, cell_of(sweep, 5).key, &there, NULL), UDUMP_OK);
    assert_false(there); /* of the second batch */
    char name[64];
    snprintf(name, sizeof name, "there/cells/%s.npy", key);
    FILE *file = fopen(below(name), "ab");
    assert_non_null(file);
    fputc('x', file);
    fclose(file);
    assert_int_equal(udump_sweep_cell_there(folder, key, &there, NULL), UDUMP_OK);
    assert_false(there);
    assert_int_equal(udump_sweep_cell_there(folder, "../../../../../../../../etc/passwd", &there, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_sweep_cell_there(folder, "0123", &there, NULL), UDUMP_ERROR_ARGUMENT);
    udump_sweep_free(sweep);
}

static void refuse_with(const struct setting *s, udump_status expected, const char *what) {
    udump_sweep *sweep = NULL;
    udump_error error;
    if (udump_sweep_create(demo, &s->model, &s->options, &sweep, &error) != expected) fail_msg("not refused: %s", what);
    if (!strstr(error.what, what) && !strstr(error.where, what)) fail_msg("'%s: %s', not '%s'", error.where, error.what, what);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    struct setting s;
    const char *const bad_block = "IN77", *const closing = "a :~) b", *const parts = "a AND b", *const unclosed = "a (~: IN01: b";
    const double infinite = INFINITY;
#define REFUSED(expected, what, ...) (set(&s), (__VA_ARGS__), refuse_with(&s, expected, what))
    REFUSED(UDUMP_ERROR_ARGUMENT, "nothing varies", s.options.variant_count = 0);
    REFUSED(UDUMP_ERROR_ARGUMENT, "a list", s.options.variant_count = -1);
    REFUSED(UDUMP_ERROR_ARGUMENT, "a list", s.options.seeds = NULL);
    REFUSED(UDUMP_ERROR_ARGUMENT, "batch size", s.options.batch_size = 257);
    REFUSED(UDUMP_ERROR_ARGUMENT, "batch size", s.options.batch_size = 1, s.base.diff = "");
    REFUSED(UDUMP_ERROR_ARGUMENT, "features", s.base.features = "");
    REFUSED(UDUMP_ERROR_ARGUMENT, "batches", s.base.batch_size = 2);
    REFUSED(UDUMP_ERROR_ARGUMENT, "no LoRA", s.options.lora_weights = &infinite, s.options.lora_weight_count = 1);
    const uint64_t repeated[] = { 4, 3, 4 };
    const char *const blocks[] = { "M00", "OUT01", "M00" };
    const double weights[] = { 1, 1 }, huge = 1e300;
    const udump_lora lora = { .path = "nowhere.safetensors" };
    REFUSED(UDUMP_ERROR_ARGUMENT, "seeds", s.options.seeds = repeated, s.options.seed_count = 3);
    REFUSED(UDUMP_ERROR_ARGUMENT, "there twice", s.options.blocks = blocks, s.options.block_count = 3);
    REFUSED(UDUMP_ERROR_ARGUMENT, "there twice", s.model.loras = &lora, s.model.lora_count = 1, s.options.lora_weights = weights, s.options.lora_weight_count = 2);
    REFUSED(UDUMP_ERROR_ARGUMENT, "-1000 to 1000", s.model.loras = &lora, s.model.lora_count = 1, s.options.lora_weights = &huge, s.options.lora_weight_count = 1);
    REFUSED(UDUMP_ERROR_ARGUMENT, "not initialised", s.options.struct_bytes = 0);
    REFUSED(UDUMP_ERROR_ARGUMENT, "width", s.base.width_px = 63);
    REFUSED(UDUMP_ERROR_ARGUMENT, "sampler", s.base.sampler = "Nobody");
    REFUSED(UDUMP_ERROR_SYNTAX, "blocks 1", s.options.blocks = &bad_block, s.options.block_count = 1);
    REFUSED(UDUMP_ERROR_SYNTAX, "variant 1", s.options.variants = &unclosed, s.options.variant_count = 1);
    REFUSED(UDUMP_ERROR_UNSUPPORTED, "would end", s.options.variants = &closing, s.options.variant_count = 1);
    REFUSED(UDUMP_ERROR_UNSUPPORTED, "prompt", s.options.variants = &parts, s.options.variant_count = 1);
    char words[65 * 75 * 2 + 1];
    for (size_t i = 0; i < sizeof words; i++) words[i] = i % 2 ? ' ' : 'a';
    words[sizeof words - 1] = 0;
    const char *const words_of_one = words;
    REFUSED(UDUMP_ERROR_SYNTAX, "negative prompt", s.base.negative_prompt = "(~: x");
    REFUSED(UDUMP_ERROR_UNSUPPORTED, "negative prompt", s.base.negative_prompt = words);
    REFUSED(UDUMP_ERROR_UNSUPPORTED, "variant 1", s.options.variants = &words_of_one, s.options.variant_count = 1);
    const char *const joined[] = { "a AND b AND c AND d AND e AND f AND g AND h" };
    char *specs[300];
    for (int i = 0; i < 300; i++) assert_true(asprintf(&specs[i], "M00-M00(+%d)", i + 1) > 0);
    REFUSED(UDUMP_ERROR_ARGUMENT, "batch size", s.base.prompt = "b AND b AND c AND d AND e AND f AND g AND h", s.options.variants = joined,
        s.options.variant_count = 1, s.options.blocks = (const char *const *)specs, s.options.block_count = 300,
        s.options.batch_size = 256);
    for (int i = 0; i < 300; i++) free(specs[i]);
    uint64_t *many = calloc(30000, sizeof *many);
    assert_non_null(many);
    for (uint64_t i = 0; i < 30000; i++) many[i] = i;
    REFUSED(UDUMP_ERROR_ARGUMENT, "150000 cells", s.options.seeds = many, s.options.seed_count = 30000);
    free(many);
    udump_sweep_free(NULL);
    udump_sweep_result_free(NULL);
}

static void plans_are_read_as_written(void **state) {
    (void)state;
    struct setting s;
    set(&s);
    udump_sweep *sweep = create(&s);
    udump_text text = { 0 }, again = { 0 };
    udump_sweep_plan plan;
    assert_true(udump_sweep_plan_write(&sweep->plan, &text));
    assert_int_equal(udump_sweep_plan_parse("sweep.json", text.data, text.size, &plan, NULL), UDUMP_OK);
    assert_true(udump_sweep_plan_write(&plan, &again));
    assert_string_equal(text.data, again.data);
    assert_true(plan.seeds[1] == seeds[1]);
    udump_sweep_plan_free(&plan);
    /* Cut anywhere, or with a base that comes later, it is none. */
    for (size_t size = 0; size + 2 < text.size; size += 97)
        assert_int_equal(udump_sweep_plan_parse("sweep.json", text.data, size, &plan, NULL), UDUMP_ERROR_FORMAT);
    char *later = strstr(text.data, "\"base\": 5");
    assert_non_null(later);
    later[8] = '9';
    assert_int_equal(udump_sweep_plan_parse("sweep.json", text.data, text.size, &plan, NULL), UDUMP_ERROR_FORMAT);
    free(text.data);
    free(again.data);
    udump_sweep_free(sweep);
}

static int ink(const uint8_t *pixels, int count) {
    int set = 0;
    for (int i = 0; i < count; i++) set += pixels[3 * i] == 200;
    return set;
}

static void labels_stay_in_their_place(void **state) {
    (void)state;
    uint8_t pixels[9 * 40 * 3] = { 0 };
    udump_label_draw(pixels, 40, 9, 1, 1, 40, 1, 200, "I");
    assert_int_equal(ink(pixels, 9 * 40), 3 + 5 + 3); /* two bars and a stem */
    memset(pixels, 0, sizeof pixels);
    udump_label_draw(pixels, 40, 9, 1, 1, 14, 1, 200, "INININ"); /* two characters fit: two dots of four pixels */
    assert_int_equal(ink(pixels, 9 * 40), 8);
    memset(pixels, 0, sizeof pixels);
    udump_label_draw(pixels, 40, 9, -3, -3, 80, 2, 200, "in\xc3\xa4?"); /* passes the picture's edges: only what is inside */
    assert_true(ink(pixels, 9 * 40) > 0);
    static uint8_t drawn['~' + 1][9 * 8 * 3];
    for (char c = ' '; c <= '~'; c++) { /* no two characters look alike, but small letters like capitals */
        udump_label_draw(drawn[(int)c], 8, 9, 1, 1, 8, 1, 200, (char[]){ c, 0 });
        for (char other = ' '; other < c; other++)
            assert_int_equal(
                memcmp(drawn[(int)c], drawn[(int)other], sizeof drawn[0]) == 0, c >= 'a' && c <= 'z' && other == c - 'a' + 'A');
    }
    udump_sheet sheet;
    assert_int_equal(udump_sheet_create(100000, 26, 512, 768, 4, &sheet, NULL), UDUMP_OK);
    assert_true(sheet.bands < 100000 && (int64_t)sheet.width_px * sheet.height_px < (65 << 20));
    assert_int_equal(sheet.columns, 13);
    assert_int_equal(sheet.tile_height_px, 32);
    udump_sheet_free(&sheet);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_seeds_variants_blocks),
        cmocka_unit_test(keys_say_what_decides),
        cmocka_unit_test(batches_hold_all_cells),
        cmocka_unit_test(prompts_mean_what_they_say),
        cmocka_unit_test(outputs_are_those_of_a_diff),
        cmocka_unit_test(measures_are_of_the_files),
        cmocka_unit_test(stopping_keeps_what_is_whole),
        cmocka_unit_test(what_does_not_fit_the_disk_is_refused),
        cmocka_unit_test(loras_vary),
        cmocka_unit_test(a_given_model_is_taken),
        cmocka_unit_test(a_cell_is_there_when_its_files_are),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(plans_are_read_as_written),
        cmocka_unit_test(labels_stay_in_their_place),
        cmocka_unit_test(equal_cells_are_made_once),
        cmocka_unit_test(progress_is_told_from_the_first_to_the_last),
        cmocka_unit_test(interrupted_is_the_same_folder),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
