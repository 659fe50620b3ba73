/* Times steps of a kind when it is told to, so that another program can have its turn in between: see benchmarks/device.
 * steps --model PATH [--side PX] [--steps N] [--device cuda|cpu] [--module FILE] [--cuda-libraries FOLDER]
 * Reads kinds, one a line: plain, layers, features, cross, self, write. Answers each with one line of JSON, after a first one that tells how long loading
 * and the first picture took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { WARM = 2 /* steps of a run before the clock starts */ };

static double now(void) { return bench_clock(CLOCK_MONOTONIC); }

struct seen {
    int64_t canvases, bytes;
};

static udump_flow discard(void *user, const udump_canvas *canvas) {
    struct seen *seen = user;
    seen->canvases++;
    seen->bytes += (int64_t)canvas->picture.row_bytes * canvas->picture.height_px;
    return UDUMP_CONTINUE;
}

/* Reading the latent waits for all that came before. */
static void wait_for(udump_session *session) {
    udump_view latent;
    udump_error error;
    check(udump_latent_view(session, &latent, &error), &error);
}

/* Seconds a step, the first WARM left out. */
static double time_steps(udump_session *session, const udump_generate_options *options, const udump_sink *sink) {
    udump_error error;
    int32_t remaining = -1;
    double begin = 0;
    int step = 0;
    check(udump_begin(session, options, NULL, sink, &error), &error);
    while (remaining != 0) {
        check(udump_step(session, &remaining, &error), &error);
        if (++step != WARM) continue;
        wait_for(session);
        begin = now();
    }
    wait_for(session);
    double seconds = (now() - begin) / (step - WARM);
    check(udump_end(session, 0, &error), &error);
    return seconds;
}

/* All pictures as files in TMPDIR (where that is memory, no disk has a part in it), by writers on all cores but one: from begin until the last is written, a
 * step. */
static double time_writing(udump_session *session, const udump_generate_options *options) {
    const char *folder_of_all = getenv("TMPDIR");
    char path[256], command[300];
    udump_folder_options folder_options;
    udump_folder *folder;
    udump_error error;
    snprintf(path, sizeof path, "%s/unetdump-steps-XXXXXX", folder_of_all ? folder_of_all : "/tmp");
    if (!mkdtemp(path)) exit(1);
    udump_folder_options_init(&folder_options);
    folder_options.writer_threads = (int32_t)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    double begin = now();
    check(udump_folder_open(path, &folder_options, &folder, &error), &error);
    check(udump_generate(session, options, udump_folder_sink(folder), &error), &error);
    check(udump_folder_close(folder, 1, &error), &error);
    double seconds = (now() - begin) / options->steps;
    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command) ? -1 : seconds;
}

static double time_kind(udump_session *session, const udump_model *model, const udump_generate_options *plain, const char *kind, struct seen *seen) {
    char prompts[4096];
    udump_generate_options o = *plain;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = seen, .canvas = discard };
    if (strcmp(kind, "layers") == 0) {
        write_prompts(model, 0, prompts, sizeof prompts);
        o.prompt = prompts;
    } else if (strcmp(kind, "features") == 0 || strcmp(kind, "write") == 0) o.features = "";
    else if (strcmp(kind, "cross") == 0 || strcmp(kind, "self") == 0) o.attention = "";
    else if (strcmp(kind, "plain") != 0) return -1;
    if (strcmp(kind, "self") == 0) o.attention_kinds = UDUMP_ATTEND_SELF;
    if (strcmp(kind, "write") == 0) return time_writing(session, &o);
    return time_steps(session, &o, &sink);
}

int main(int argc, char **argv) {
    const char *path = "models/demo";
    udump_generate_options options;
    udump_model_options model_options;
    udump_generate_options_init(&options);
    udump_model_options_init(&model_options);
    options.prompt = "a red circle on a blue background";
    options.sampler = "Euler";
    options.steps = 22;
    options.width_px = 512;
    if (argc % 2 == 0) return fprintf(stderr, "steps: %s: an option without a value\n", argv[argc - 1]), 2;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--model") == 0) path = argv[i + 1];
        else if (strcmp(argv[i], "--side") == 0) options.width_px = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--steps") == 0) options.steps = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--device") == 0) model_options.device = strcmp(argv[i + 1], "cuda") == 0 ? UDUMP_DEVICE_CUDA : UDUMP_DEVICE_CPU;
        else if (strcmp(argv[i], "--module") == 0) model_options.cuda_module = argv[i + 1];
        else if (strcmp(argv[i], "--cuda-libraries") == 0) model_options.cuda_libraries = argv[i + 1];
        else return fprintf(stderr, "steps: unknown option '%s'\n", argv[i]), 2;
    }
    if (options.steps <= WARM) return fprintf(stderr, "steps: more than %d steps\n", WARM), 2;
    options.height_px = options.width_px;

    udump_error error;
    udump_model *model;
    udump_session *session;
    udump_model_info info;
    double begin = now();
    check(udump_model_load(path, &model_options, &model, &error), &error);
    double loaded = now();
    check(udump_session_create(model, &session, &error), &error);
    const udump_sink none = { .struct_bytes = sizeof none };
    check(udump_generate(session, &options, &none, &error), &error);
    udump_model_get_info(model, &info);
    printf("{\"kind\": \"ready\", \"device\": \"%s\", \"precision\": \"%s\", \"load_s\": %.4f, \"first_image_s\": %.4f, \"steps\": %d}\n", info.device, info.precision,
        loaded - begin, now() - begin, (int)options.steps);
    fflush(stdout);
    for (char kind[32]; fgets(kind, sizeof kind, stdin);) {
        struct seen seen = { 0, 0 };
        kind[strcspn(kind, "\n")] = 0;
        double seconds = time_kind(session, model, &options, kind, &seen);
        printf("{\"kind\": \"%s\", \"step_s\": %.6f, \"canvases\": %lld, \"canvas_bytes\": %lld}\n", kind, seconds, (long long)seen.canvases, (long long)seen.bytes);
        fflush(stdout);
    }
    udump_session_destroy(session);
    udump_model_release(model);
    return 0;
}
