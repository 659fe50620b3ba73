/* Words: which columns are theirs, their maps, their heat over the picture. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recording.h"

enum { WIDTH_PX = 80, HEIGHT_PX = 64, STEPS = 2 };

static udump_model *model;

static int load(void **state) {
    (void)state;
    return recording_load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_FP32, &model);
}

static int unload(void **state) {
    (void)state;
    udump_model_release(model);
    return 0;
}

static udump_generate_options options_of(const char *prompt, const char *words) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = prompt;
    o.negative_prompt = "blurry";
    o.width_px = WIDTH_PX;
    o.height_px = HEIGHT_PX;
    o.steps = STEPS;
    o.sampler = "Euler";
    o.seed = 3;
    o.attention = "";
    o.attention_kinds = UDUMP_ATTEND_QK;
    o.attention_words = words;
    o.want_tensors = 1;
    return o;
}

/* Whether the column's word, all its tokens together, is `word`. */
static bool belongs(const kept_context *context, int32_t column, const char *word) {
    char text[256] = "";
    for (int32_t i = 0; i < context->tokens; i++)
        if (context->columns[i].word >= 0 && context->columns[i].word == context->columns[column].word)
            strcat(text, context->columns[i].text);
    return strcmp(text, word) == 0;
}

/* WORDS of every block is QK's mean over heads, summed over the word's columns. */
static void check_words(const recording *r) {
    int seen = 0;
    for (int32_t i = 0; i < r->tensor_count; i++) {
        const kept_tensor *words = &r->tensors[i];
        const udump_place *at = &words->place.at;
        if (at->kind != UDUMP_KIND_WORDS || at->side != UDUMP_SIDE_COND) continue;
        const kept_tensor *qk = find_tensor(r, UDUMP_KIND_QK, words->place.block, at->step, at->side, at->image, at->variant);
        assert_non_null(qk);
        assert_int_equal(at->context, qk->place.at.context);
        const kept_context *context = &r->contexts[at->context];
        size_t heads = (size_t)qk->shape.shape[0], tokens = (size_t)qk->shape.shape[1],
               n = (size_t)(qk->shape.shape[2] * qk->shape.shape[3]);
        assert_int_equal(words->shape.rank, 3);
        assert_int_equal(words->shape.shape[0], r->word_count);
        assert_int_equal(words->count, (size_t)r->word_count * n);
        for (int32_t word = 0; word < r->word_count; word++) {
            int columns = 0;
            for (size_t t = 0; t < tokens; t++) columns += belongs(context, (int32_t)t, r->words[word]);
            if (!columns) fail_msg("'%s' is not in '%s'", r->words[word], context->text);
            for (size_t p = 0; p < n; p++) {
                double sum = 0, found = (double)words->values[(size_t)word * n + p];
                for (size_t t = 0; t < tokens; t++)
                    for (size_t head = 0; head < heads && belongs(context, (int32_t)t, r->words[word]); head++)
                        sum += (double)qk->values[(head * tokens + t) * n + p] / (double)heads;
                if (!(fabs(found - sum) <= 1e-6))
                    fail_msg("%s in %s at %zu: %.9g, expected %.9g", r->words[word], words->place.block, p, found, sum);
            }
        }
        seen++;
    }
    assert_int_equal(seen, 16 * STEPS);
}

static void run_words(const char *prompt, const char *list, int count, const char *const *words) {
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of(prompt, list);
    recording r = { 0 };
    record(session, &o, &r);
    assert_int_equal(r.word_count, count);
    for (int i = 0; i < count; i++) assert_string_equal(r.words[i], words[i]);
    check_words(&r);
    recording_free(&r);
    udump_session_destroy(session);
}

static void test_words_of_one_token(void **state) {
    (void)state;
    run_words("a red circle on a blue background", " background\tred ", 2, (const char *const[]){ "background", "red" });
}

static void test_words_of_several_tokens(void **state) {
    (void)state;
    udump_token tokens[8];
    int32_t count = 0;
    assert_int_equal(udump_tokens("hippopotamusish", tokens, 8, &count, NULL), UDUMP_OK);
    assert_true(count > 1);
    run_words("a red hippopotamusish circle", "hippopotamusish circle", 2, (const char *const[]){ "hippopotamusish", "circle" });
}

/* Emphasis changes a token's weight, not its word. Columns tell the text, the word and the weight. */
static void test_columns(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a (red:1.5) hippopotamusish circle, [blue]", "red");
    o.attention = "M00";
    recording r = { 0 };
    record(session, &o, &r);
    const kept_context *context = &r.contexts[need_tensor(&r, UDUMP_KIND_WORDS, "M00", 1)->place.at.context];
    const udump_column *c = context->columns;
    assert_non_null(c);
    assert_int_equal(context->tokens, 77);
    assert_int_equal(c[0].id, 49406);
    assert_string_equal(c[0].text, "<start>");
    assert_int_equal(c[0].word, -1);
    assert_string_equal(c[1].text, "a");
    assert_int_equal(c[1].word, 0);
    assert_string_equal(c[2].text, "red");
    assert_int_equal(c[2].word, 1);
    assert_true(c[1].weight == 1 && fabs((double)c[2].weight - 1.5) < 1e-6);
    int32_t last = 3;
    while (c[last].word == 2) last++;
    assert_true(last > 4); /* several tokens, one word */
    assert_string_equal(c[last].text, "circle");
    assert_string_equal(c[last + 1].text, ",");
    assert_string_equal(c[last + 2].text, "blue");
    assert_true(fabs((double)c[last + 2].weight - 1 / 1.1) < 1e-6);
    assert_int_equal(c[last + 2].word, c[last + 1].word + 1);
    assert_string_equal(c[last + 3].text, "<end>");
    for (int32_t i = last + 3; i < 77; i++) assert_true(c[i].id == 49407 && c[i].word == -1 && c[i].weight == 1);
    recording_free(&r);
    udump_session_destroy(session);
}

/* Without a run: of any columns. */
static void test_find(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_context *context;
    int32_t found[77], count = -1;
    udump_error error;
    assert_int_equal(udump_context_encode(session, "red, a (red:1.5) hippopotamusish reds", &context, NULL), UDUMP_OK);
    const udump_column *columns = udump_context_columns(context);
    assert_int_equal(udump_columns_find(columns, 77, "Red", found, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 2); /* "reds" is another word */
    assert_true(found[0] == 1 && found[1] == 4);
    assert_int_equal(udump_columns_find(columns, 77, "hippopotamusish", found, &count, NULL), UDUMP_OK);
    assert_true(count > 1 && found[0] == 5 && found[count - 1] == 4 + count);
    assert_int_equal(udump_columns_find(columns, 77, "(red)", found, &count, NULL), UDUMP_OK); /* a word, not a prompt */
    assert_int_equal(count, 0);
    assert_int_equal(udump_columns_find(NULL, 77, "red", found, &count, NULL), UDUMP_OK);
    assert_int_equal(count, 0);
    assert_int_equal(udump_columns_find(columns, 77, " ", found, &count, &error), UDUMP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.what, "no tokens"));
    assert_int_equal(udump_columns_find(columns, 77, "\xff", found, &count, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_columns_find(columns, 77, NULL, found, &count, &error), UDUMP_ERROR_ARGUMENT);
    udump_context_release(context);
    udump_session_destroy(session);
}

/* Keys 1983, with a = -0.75, as torch's bicubic interpolation: centres of pixels on one another, borders repeated. */
static double cubic(double x) {
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t clamped(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

static double bicubic(const float *map, int64_t w, int64_t h, int64_t x, int64_t y, int64_t width, int64_t height) {
    double u = ((double)x + 0.5) * (double)w / (double)width - 0.5, v = ((double)y + 0.5) * (double)h / (double)height - 0.5, sum = 0;
    int64_t left = (int64_t)floor(u), top = (int64_t)floor(v);
    for (int64_t j = top - 1; j <= top + 2; j++)
        for (int64_t i = left - 1; i <= left + 2; i++)
            sum += cubic(u - (double)i) * cubic(v - (double)j) * (double)map[clamped(j, h) * w + clamped(i, w)];
    return sum;
}

/* DAAM's maps are nowhere below 0, whatever bicubic overshoots. */
static double resized(const float *map, int64_t w, int64_t h, int64_t x, int64_t y, int64_t width, int64_t height) {
    return fmax(bicubic(map, w, h, x, y, width, height), 0);
}

static bool has_word(const kept_context *context, const char *word) {
    for (int32_t i = 0; i < context->tokens; i++)
        if (belongs(context, i, word)) return true;
    return false;
}

/* The mean over all maps whose prompt has the word, blocks and steps alike. */
static void check_heat(const recording *r, const kept_tensor *heat, int32_t image) {
    int64_t height = HEIGHT_PX / 8, width = WIDTH_PX / 8;
    assert_int_equal(heat->shape.rank, 3);
    assert_int_equal(heat->shape.shape[0], r->word_count);
    assert_int_equal(heat->shape.shape[1], height);
    assert_int_equal(heat->shape.shape[2], width);
    for (int32_t word = 0; word < r->word_count; word++)
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++) {
                double sum = 0, found = (double)heat->values[(word * height + y) * width + x];
                int count = 0;
                for (int32_t i = 0; i < r->tensor_count; i++) {
                    const kept_tensor *t = &r->tensors[i];
                    if (t->place.at.kind != UDUMP_KIND_WORDS || t->place.at.side != UDUMP_SIDE_COND || t->place.at.image != image) continue;
                    if (!has_word(&r->contexts[t->place.at.context], r->words[word])) continue;
                    int64_t h = t->shape.shape[1], w = t->shape.shape[2];
                    sum += resized(t->values + word * h * w, w, h, x, y, width, height), count++;
                }
                assert_true(count > 0);
                if (!(fabs(found - sum / count) <= 1e-6))
                    fail_msg("heat of %s at %d, %d: %.9g, expected %.9g", r->words[word], (int)x, (int)y, found, sum / count);
            }
}

static const kept_tensor *heat_of(const recording *r, int32_t image) {
    const kept_tensor *heat = find_tensor(r, UDUMP_KIND_HEAT, "", 0, UDUMP_SIDE_COND, image, UDUMP_VARIANT_ENABLED);
    assert_non_null(heat);
    assert_int_equal(heat->place.at.block_index, -1);
    return heat;
}

static void test_heat(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a red circle on a blue background", "red background");
    recording r = { 0 }, both = { 0 };
    o.batch_size = 2;
    record(session, &o, &r);
    assert_int_equal(count_tensors(&r, UDUMP_KIND_HEAT), 2);
    check_heat(&r, heat_of(&r, 0), 0);
    check_heat(&r, heat_of(&r, 1), 1);
    assert_memory_not_equal(heat_of(&r, 0)->values, heat_of(&r, 1)->values, (size_t)heat_of(&r, 0)->count * sizeof(float));
    o.side = UDUMP_SIDE_BOTH; /* the negative prompt has no such word */
    record(session, &o, &both);
    assert_same_tensor(heat_of(&r, 0), heat_of(&both, 0));
    recording_free(&r);
    recording_free(&both);
    udump_session_destroy(session);
}

/* Where one word is in some blocks' prompts only, its heat is of these. */
static void test_heat_of_a_word_in_some_blocks(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a (~: IN00-IN11: red; _: green :~) circle", "red"), first = options_of("a red circle", "red");
    first.attention = "IN01";
    first.attention_steps = "1";
    o.attention = "IN01,OUT11"; /* OUT11's prompt has none */
    o.attention_steps = "1";
    recording some = { 0 }, one = { 0 };
    record(session, &o, &some);
    record(session, &first, &one);
    assert_same_tensor(need_tensor(&some, UDUMP_KIND_WORDS, "IN01", 1), need_tensor(&one, UDUMP_KIND_WORDS, "IN01", 1));
    assert_same_tensor(heat_of(&some, 0), heat_of(&one, 0));
    recording_free(&some);
    recording_free(&one);
    udump_session_destroy(session);
}

/* A word that nothing would be shown of is a mistake, not a run without maps. */
static void test_words_that_are_not_looked_at(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options negative = options_of("a circle", "blurry"), elsewhere = options_of("a (~: M00: red :~) circle", "red");
    udump_error error;
    elsewhere.attention = "IN01,IN03"; /* IN03 has no attention */
    assert_int_equal(udump_generate(session, &negative, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "'blurry' is not in the prompt of any block and side that is looked at");
    assert_int_equal(udump_generate(session, &elsewhere, NULL, &error), UDUMP_ERROR_ARGUMENT);
    assert_string_equal(error.what, "'red' is not in the prompt of any block and side that is looked at");
    negative.side = UDUMP_SIDE_BOTH;
    elsewhere.attention = "IN01,M00";
    assert_int_equal(udump_generate(session, &negative, NULL, NULL), UDUMP_OK);
    assert_int_equal(udump_generate(session, &elsewhere, NULL, NULL), UDUMP_OK);
    udump_session_destroy(session);
}

/* Of a word that comes and goes with the steps, the heat is of the steps that have it. */
static void test_heat_of_scheduled_words(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a [red:green:1] circle", "red green circle");
    o.attention = "IN01,IN05,OUT11";
    recording r = { 0 };
    record(session, &o, &r);
    check_heat(&r, heat_of(&r, 0), 0);
    recording_free(&r);
    udump_session_destroy(session);
}

/* Prompts that change go by evaluations, of which a step may have several: what is shown is of the prompt that was used. */
static void check_prompts_in_turn(const char *sampler, int32_t steps, int32_t evaluations) {
    static const char *const plain[] = { "a red circle", "a green circle" };
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a [red|green] circle", "circle");
    recording changing = { 0 };
    o.attention = "IN01";
    o.attention_kinds = UDUMP_ATTEND_K;
    o.sampler = sampler;
    o.steps = steps;
    record(session, &o, &changing);
    assert_int_equal(changing.run.evaluations, evaluations);
    assert_int_equal(changing.prompts[changing.prompt_count - 1].until, evaluations);
    for (int prompt = 0; prompt < 2; prompt++) {
        recording alone = { 0 };
        o.prompt = plain[prompt];
        record(session, &o, &alone);
        for (int step = 1 + prompt; step <= evaluations; step += 2) {
            const kept_tensor *k = need_tensor(&changing, UDUMP_KIND_K, "IN01", step);
            assert_string_equal(changing.contexts[k->place.at.context].text, plain[prompt]);
            assert_same_tensor(k, need_tensor(&alone, UDUMP_KIND_K, "IN01", step));
        }
        recording_free(&alone);
    }
    recording_free(&changing);
    udump_session_destroy(session);
}

static void test_prompts_that_change_within_a_step(void **state) {
    (void)state;
    check_prompts_in_turn("DPM fast", 6, 6);
    check_prompts_in_turn("Heun", 4, 7);
    check_prompts_in_turn("DPM++ SDE", 3, 5);
}

/* The colour map jet by its corners: dark blue, blue, cyan, yellow, red, dark red, straight lines between them. */
static double jet(double t, int channel) {
    static const double at[] = { 0, 0.125, 0.375, 0.625, 0.875, 1 };
    static const double colours[][3] = { { 0, 0, 0.5 }, { 0, 0, 1 }, { 0, 1, 1 }, { 1, 1, 0 }, { 1, 0, 0 }, { 0.5, 0, 0 } };
    int i = 0;
    while (i < 4 && t > at[i + 1]) i++;
    double part = (t - at[i]) / (at[i + 1] - at[i]);
    return (1 - part) * colours[i][channel] + part * colours[i + 1][channel];
}

/* DAAM's: the heat, resized and scaled to 0..1, is how much of its colour covers the picture. A byte is the nearest to that; where two are nearly as
 * near either, as the library computes in float32: its error of t, times 255 and jet's slope 4, is 0.001 here. */
static void check_overlay(const recording *r, const kept_canvas *overlay, int word) {
    const kept_tensor *heat = heat_of(r, overlay->place.at.image);
    const uint8_t *under = need_image(r, overlay->place.at.image, UDUMP_VARIANT_ENABLED)->pixels;
    int64_t h = heat->shape.shape[1], w = heat->shape.shape[2];
    double large[HEIGHT_PX * WIDTH_PX], low = INFINITY, high = -INFINITY;
    for (int i = 0; i < HEIGHT_PX * WIDTH_PX; i++) {
        large[i] = bicubic(heat->values + word * h * w, w, h, i % WIDTH_PX, i / WIDTH_PX, WIDTH_PX, HEIGHT_PX);
        low = fmin(low, large[i]);
        high = fmax(high, large[i]);
    }
    for (int i = 0; i < HEIGHT_PX * WIDTH_PX * 3; i++) {
        double t = (large[i / 3] - low) / (high - low), expected = t * 255 * jet(t, i % 3) + (1 - t) * under[i];
        if (!(fabs(overlay->pixels[i] - expected) <= 0.5 + 0.01))
            fail_msg("overlay of %s, byte %d: %d, expected %.4f", overlay->place.word, i, overlay->pixels[i], expected);
    }
}

/* After the last step every word has its overlay: a picture as large as the image, every byte of it DAAM's. */
static void test_overlays(void **state) {
    (void)state;
    static const char *const words[] = { "circle", "blue" };
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a red circle on a blue background", "circle blue");
    recording r = { 0 };
    o.batch_size = 2;
    record(session, &o, &r);
    assert_int_equal(count_canvases(&r, UDUMP_KIND_HEAT, 0), 2);
    assert_int_equal(count_canvases(&r, UDUMP_KIND_OVERLAY, 0), 4);
    const kept_canvas *seen[2][2] = { { NULL } };
    for (int32_t i = 0; i < r.canvas_count; i++) {
        const kept_canvas *c = &r.canvases[i];
        if (c->place.at.kind != UDUMP_KIND_OVERLAY) continue;
        assert_string_equal(c->place.block, "");
        assert_int_equal(c->place.at.step, 0);
        assert_int_equal(c->width, WIDTH_PX);
        assert_int_equal(c->height, HEIGHT_PX);
        assert_int_equal(c->channels, 3);
        int word = strcmp(c->place.word, words[1]) == 0;
        assert_string_equal(c->place.word, words[word]);
        assert_in_range(c->place.at.image, 0, 1);
        assert_null(seen[c->place.at.image][word]);
        seen[c->place.at.image][word] = c;
        check_overlay(&r, c, word);
    }
    for (int image = 0; image < 2; image++) {
        assert_true(seen[image][0] && seen[image][1]);
        assert_memory_not_equal(seen[image][0]->pixels, seen[image][1]->pixels, WIDTH_PX * HEIGHT_PX * 3);
    }
    recording_free(&r);
    udump_session_destroy(session);
}

/* Words are asked for by themselves: of whatever kind the other maps are. */
static void test_words_beside_other_kinds(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a red circle", "red"), k = o;
    k.attention_kinds = UDUMP_ATTEND_K;
    recording with_qk = { 0 }, with_k = { 0 };
    record(session, &o, &with_qk);
    record(session, &k, &with_k);
    assert_int_equal(count_tensors(&with_k, UDUMP_KIND_WORDS), 16 * STEPS);
    assert_int_equal(count_tensors(&with_k, UDUMP_KIND_QK), 0);
    assert_same_tensor(need_tensor(&with_qk, UDUMP_KIND_WORDS, "OUT05", 2), need_tensor(&with_k, UDUMP_KIND_WORDS, "OUT05", 2));
    assert_same_tensor(heat_of(&with_qk, 0), heat_of(&with_k, 0));
    recording_free(&with_qk);
    recording_free(&with_k);
    udump_session_destroy(session);
}

static void test_unknown_words(void **state) {
    (void)state;
    udump_session *session = recording_session(model);
    udump_generate_options o = options_of("a red circle", "red reds");
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "reds");
    o.attention_words = "cir"; /* a part of a word is none */
    expect_failure(session, &o, UDUMP_ERROR_ARGUMENT, "cir");
    udump_session_destroy(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_one_token),
        cmocka_unit_test(test_words_of_several_tokens),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_heat),
        cmocka_unit_test(test_heat_of_a_word_in_some_blocks),
        cmocka_unit_test(test_words_that_are_not_looked_at),
        cmocka_unit_test(test_heat_of_scheduled_words),
        cmocka_unit_test(test_prompts_that_change_within_a_step),
        cmocka_unit_test(test_overlays),
        cmocka_unit_test(test_words_beside_other_kinds),
        cmocka_unit_test(test_unknown_words),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
