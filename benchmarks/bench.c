/* Times load, text, decode, render, write and sampler steps, without and with each kind of looking:
 *   bench [--model PATH] [--side PX] [--batch N] [--steps N] [--repeat N] [--threads N] [--rows "load,text,step"] [--layers SPEC] [--prompts N] [--written FOLDER]
 *         [--clock wall|cpu] [--device cpu|cuda] [--cuda-libraries FOLDER] [--json FILE]
 * batch is the U-Net's: 1 is one image without guidance, 2 with it, 2 * n is n images. layers: the blocks that are looked at. prompts: how
 * many different ones "layer prompts" spreads over the blocks. clock cpu: processor seconds of all threads, where other
 * programs run beside. Medians with the smallest and largest, as a table and, where asked for, as JSON. */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common.h"

enum { SAMPLES_MOST = 256 };

typedef struct row {
    const char *name, *what;
    bool step;    /* a share of the plain step is worth printing */
    bool written; /* its canvases go to files */
    bool chosen;
    double seconds[SAMPLES_MOST];
    int count;
} row;

enum { LOAD, TEXT, STEP, PROMPTS, FEATURES, CROSS, SELF, DIFF, FEATURES_WRITTEN, CROSS_WRITTEN, DIFF_WRITTEN, DECODE, RENDER, WRITE, ROWS };
static row rows[ROWS] = {
    { .name = "load", .what = "the checkpoint, from the page cache to packed weights" },
    { .name = "text", .what = "one prompt encoded" },
    { .name = "step", .what = "one sampler step with guidance (U-Net batch 2), nothing captured", .step = true },
    { .name = "layer prompts", .what = "the same with another prompt in each block", .step = true },
    { .name = "features", .what = "the step, all blocks' canvases rendered for a sink that keeps nothing", .step = true },
    { .name = "cross-attention", .what = "the step, all blocks' QK canvases", .step = true },
    { .name = "self-attention", .what = "the step, all blocks' received, entropy and components", .step = true },
    { .name = "diff", .what = "a step of a diff run (U-Net batch 4), all blocks' difference canvases", .step = true },
    { .name = "features written", .what = "the step, all blocks' canvases rendered and written as PNG", .step = true, .written = true },
    { .name = "cross written", .what = "the step, all blocks' QK canvases rendered and written", .step = true, .written = true },
    { .name = "diff written", .what = "a step of a diff run, all blocks' difference canvases rendered and written", .step = true, .written = true },
    { .name = "decode", .what = "the latent to a picture" },
    { .name = "render", .what = "IN01's channels to a canvas, default colours" },
    { .name = "write", .what = "that canvas to a PNG file" },
};

static const char *written_path = "build/bench-written";

static clockid_t clock_used = CLOCK_MONOTONIC;

static double now(void) { return bench_clock(clock_used); }

static void record_seconds(int index, double seconds) {
    if (rows[index].chosen && rows[index].count < SAMPLES_MOST) rows[index].seconds[rows[index].count++] = seconds;
}

static void record(int index, double begin) { record_seconds(index, now() - begin); }

static int compare(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(const row *r) { return r->seconds[r->count / 2]; } /* of sorted seconds */

/* Keeps the first tensor it is given, [c, h, w] as float32. */
typedef struct kept {
    float *values;
    int64_t shape[3];
} kept;

static udump_flow keep(void *user, const udump_place *place, const udump_view *view) {
    kept *k = user;
    (void)place;
    if (k->values || view->dtype != UDUMP_F32) return UDUMP_CONTINUE;
    memcpy(k->shape, view->shape, sizeof k->shape);
    k->values = malloc((size_t)(view->shape[0] * view->shape[1] * view->shape[2]) * sizeof *k->values);
    for (int64_t c = 0, i = 0; k->values && c < view->shape[0]; c++)
        for (int64_t y = 0; y < view->shape[1]; y++)
            for (int64_t x = 0; x < view->shape[2]; x++)
                k->values[i++] = ((const float *)view->data)[c * view->stride[0] + y * view->stride[1] + x * view->stride[2]];
    return UDUMP_CONTINUE;
}

static udump_flow discard(void *user, const udump_canvas *canvas) {
    *(int64_t *)user += canvas->picture.width_px;
    return UDUMP_CONTINUE;
}

static udump_model *time_load(const char *path, const udump_model_options *options, int repeat) {
    udump_model *model = NULL;
    udump_error error;
    for (int i = 0; i < repeat; i++) {
        udump_model_release(model);
        double begin = now();
        check(udump_model_load(path, options, &model, &error), &error);
        record(LOAD, begin);
    }
    return model;
}

static void time_text(udump_session *session, int repeat) {
    udump_error error;
    for (int i = 0; i < repeat; i++) {
        udump_context *context = NULL;
        double begin = now();
        check(udump_context_encode(session, "a red circle on a blue background", &context, &error), &error);
        record(TEXT, begin);
        udump_context_release(context);
    }
}

/* One run, its steps timed into `index`; the first is left out: it warms the plans. */
static void time_steps(udump_session *session, const udump_generate_options *options, const udump_sink *sink, int index, int decodes) {
    udump_error error;
    int32_t remaining = -1;
    check(udump_begin(session, options, NULL, sink, &error), &error);
    for (int step = 0; remaining != 0; step++) {
        double begin = now();
        check(udump_step(session, &remaining, &error), &error);
        if (step) record(index, begin);
    }
    double begin = now();
    check(udump_end(session, decodes, &error), &error);
    if (decodes) record(DECODE, begin);
}

/* IN01's channels, from a run of one step. */
static void time_pictures(udump_session *session, const udump_generate_options *options, int repeat) {
    udump_error error;
    kept k = { 0 };
    const udump_sink tensors = { .struct_bytes = sizeof tensors, .user = &k, .tensor = keep };
    udump_generate_options one = *options;
    one.steps = 1;
    one.features = "IN01";
    one.no_canvas = one.want_tensors = 1;
    check(udump_generate(session, &one, &tensors, &error), &error);
    udump_view view = { k.values, UDUMP_F32, 3, { k.shape[0], k.shape[1], k.shape[2] }, { k.shape[1] * k.shape[2], k.shape[2], 1 } };
    char path[] = "/tmp/unetdump-bench-XXXXXX";
    if (!k.values || !mkdtemp(path)) return free(k.values);
    char file[sizeof path + 16];
    snprintf(file, sizeof file, "%s/canvas.png", path);
    for (int i = 0; i < repeat; i++) {
        udump_image canvas = { 0 };
        double begin = now();
        check(udump_render(&view, NULL, &canvas, NULL, &error), &error);
        record(RENDER, begin);
        begin = now();
        check(udump_png_write(file, &canvas.picture, NULL, &error), &error);
        record(WRITE, begin);
        udump_image_free(&canvas);
    }
    remove(file);
    remove(path);
    free(k.values);
}

/* One run whose canvases are written; one sample, the mean of its steps but the first: writers work on while the next step runs, so that only
 * the whole, the wait for them included, says what it costs. */
static void time_written(udump_session *session, const udump_generate_options *options, int index) {
    udump_error error;
    udump_folder *folder;
    udump_folder_options folder_options;
    udump_folder_options_init(&folder_options);
    check(udump_folder_open(written_path, &folder_options, &folder, &error), &error);
    check(udump_begin(session, options, NULL, udump_folder_sink(folder), &error), &error);
    int32_t remaining = -1;
    check(udump_step(session, &remaining, &error), &error);
    int32_t steps = remaining;
    double begin = now();
    while (remaining) check(udump_step(session, &remaining, &error), &error);
    check(udump_end(session, 0, &error), &error);
    check(udump_folder_close(folder, 1, &error), &error);
    if (steps) record_seconds(index, (now() - begin) / steps);
}

/* One run of each chosen kind, one after the other: the machine's mood falls on all of them. */
static void time_looking(udump_session *session, const udump_generate_options *plain, const char *prompts, const char *layers) {
    int64_t pixels = 0;
    const udump_sink none = { .struct_bytes = sizeof none },
                     canvases = { .struct_bytes = sizeof canvases, .user = &pixels, .canvas = discard };
    for (int i = STEP; i <= DIFF_WRITTEN; i++) {
        int decodes = i == STEP && rows[DECODE].chosen;
        if (!rows[i].chosen && !decodes) continue;
        udump_generate_options o = *plain;
        if (i == PROMPTS || i == DIFF || i == DIFF_WRITTEN) o.prompt = prompts;
        if (i == FEATURES || i == FEATURES_WRITTEN) o.features = layers;
        if (i == CROSS || i == SELF || i == CROSS_WRITTEN) o.attention = layers;
        if (i == SELF) o.attention_kinds = UDUMP_ATTEND_SELF;
        if (i == DIFF || i == DIFF_WRITTEN) o.diff = layers;
        if (rows[i].written) time_written(session, &o, i);
        else time_steps(session, &o, i == STEP || i == PROMPTS ? &none : &canvases, i, decodes);
    }
}

/* "" is all; else names with commas between them. */
static bool choose_rows(const char *list) {
    for (int i = 0; i < ROWS; i++) rows[i].chosen = !*list;
    while (*list) {
        size_t length = strcspn(list, ",");
        int i = 0;
        while (i < ROWS && (strlen(rows[i].name) != length || strncmp(rows[i].name, list, length))) i++;
        if (i == ROWS) return fprintf(stderr, "bench: no row '%.*s'\n", (int)length, list), false;
        rows[i].chosen = true;
        list += length + (list[length] == ',');
    }
    return true;
}

static json_t *seconds_json(const row *r) {
    json_t *list = json_array();
    for (int i = 0; i < r->count; i++) json_array_append_new(list, json_real(r->seconds[i]));
    return list;
}

static json_t *results_json(const udump_model_info *info, const udump_generate_options *o, long peak_kib) {
    json_t *list = json_array();
    for (int i = 0; i < ROWS; i++)
        if (rows[i].count)
            json_array_append_new(list,
                json_pack("{s:s, s:f, s:f, s:f, s:i, s:o}", "name", rows[i].name, "median_s", median(&rows[i]), "least_s", rows[i].seconds[0],
                    "most_s", rows[i].seconds[rows[i].count - 1], "samples", rows[i].count, "seconds", seconds_json(&rows[i])));
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:o}", "unetdump", udump_version(), "device", info->device, "precision",
        info->precision, "threads", (int)info->threads, "side_px", (int)o->width_px, "batch", (int)(o->cfg == 1 ? 1 : 2 * o->batch_size), "weight_bytes", (json_int_t)info->weight_bytes,
        "peak_rss_bytes", (json_int_t)peak_kib * 1024, "rows", list);
}

static void report(const udump_model *model, const udump_generate_options *o, const char *json_path) {
    udump_model_info info;
    struct rusage usage;
    udump_model_get_info(model, &info);
    getrusage(RUSAGE_SELF, &usage);
    printf("%.1f M parameters, %s, %s, %d threads, %d x %d pixels\n\n", (double)info.parameter_count / 1e6, info.device, info.precision,
        (int)info.threads, (int)o->width_px, (int)o->height_px);
    printf("%-15s %11s %11s %11s %8s %9s\n", "", "median ms", "least ms", "most ms", "samples", "of a step");
    for (int i = 0; i < ROWS; i++) {
        row *r = &rows[i];
        if (!r->count) continue;
        qsort(r->seconds, (size_t)r->count, sizeof *r->seconds, compare);
        char share[32] = "";
        if (r->step && i != STEP) snprintf(share, sizeof share, "%+.1f %%", 100 * (median(r) / median(&rows[STEP]) - 1));
        printf("%-15s %11.2f %11.2f %11.2f %8d %9s  %s\n", r->name, 1e3 * median(r), 1e3 * r->seconds[0],
            1e3 * r->seconds[r->count - 1], r->count, share, r->what);
    }
    printf("\nweights %.0f MB, peak memory %.0f MB\n", (double)info.weight_bytes / 1e6, (double)usage.ru_maxrss * 1024 / 1e6);
    json_t *json = json_path ? results_json(&info, o, usage.ru_maxrss) : NULL;
    if (json && json_dump_file(json, json_path, JSON_INDENT(1))) fprintf(stderr, "bench: %s cannot be written\n", json_path);
    json_decref(json);
}

int main(int argc, char **argv) {
    const char *path = "models/demo", *json_path = NULL;
    int repeat = 5;
    udump_generate_options options;
    udump_model_options model_options;
    udump_generate_options_init(&options);
    udump_model_options_init(&model_options);
    options.prompt = "a red circle on a blue background";
    options.sampler = "Euler";
    options.steps = 11;
    int batch = 2, distinct_prompts = 0;
    const char *layers = "", *chosen = "";
    options.width_px = 128;
    if (argc % 2 == 0) return fprintf(stderr, "bench: %s: an option without a value\n", argv[argc - 1]), 2;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--model") == 0) path = argv[i + 1];
        else if (strcmp(argv[i], "--side") == 0) options.width_px = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--batch") == 0) batch = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--rows") == 0) chosen = argv[i + 1];
        else if (strcmp(argv[i], "--layers") == 0) layers = argv[i + 1];
        else if (strcmp(argv[i], "--prompts") == 0) distinct_prompts = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--clock") == 0) clock_used = strcmp(argv[i + 1], "cpu") == 0 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
        else if (strcmp(argv[i], "--written") == 0) written_path = argv[i + 1];
        else if (strcmp(argv[i], "--steps") == 0) options.steps = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--repeat") == 0) repeat = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--threads") == 0) model_options.threads = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--device") == 0) model_options.device = strcmp(argv[i + 1], "cuda") == 0 ? UDUMP_DEVICE_CUDA : UDUMP_DEVICE_CPU;
        else if (strcmp(argv[i], "--cuda-libraries") == 0) model_options.cuda_libraries = argv[i + 1];
        else if (strcmp(argv[i], "--json") == 0) json_path = argv[i + 1];
        else return fprintf(stderr, "bench: unknown option '%s'\n", argv[i]), 2;
    }
    if (batch != 1 && batch % 2) return fputs("bench: a batch is 1 or even\n", stderr), 2;
    if (!choose_rows(chosen)) return 2;
    options.height_px = options.width_px;
    options.batch_size = batch > 1 ? batch / 2 : 1;
    if (batch == 1) options.cfg = 1;

    udump_error error;
    udump_session *session = NULL;
    udump_model *model = time_load(path, &model_options, rows[LOAD].chosen ? repeat : 1);
    check(udump_session_create(model, &session, &error), &error);
    if (rows[TEXT].chosen) time_text(session, 5 * repeat);
    char prompts[2048];
    write_prompts(model, distinct_prompts, prompts, sizeof prompts);
    for (int i = 0; i < repeat; i++) time_looking(session, &options, prompts, layers);
    if (rows[RENDER].chosen || rows[WRITE].chosen) time_pictures(session, &options, 5 * repeat);
    report(model, &options, json_path);
    udump_session_destroy(session);
    udump_model_release(model);
    return 0;
}
