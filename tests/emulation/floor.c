/* What a step and a decode are to a card, from the operations that the CUDA backend really issues: emulated_floor MODEL [SIDE [features|cross]]. Nothing is computed, so that
 * models of full size take seconds. For an H100 SXM by its data sheet: 3.35 TB/s, 990 TFLOP/s in 16 bits, and 1.5 us for a launch within a graph. The floor
 * is what the bytes that must be moved, or the multiplications, take; predicted is what our own kernels' further passes and the launches add, engines and
 * caches left out. Predicted, not seen. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tally.h"
#include "unetdump.h"

static const double BYTES_PER_US = 3.35e6, FLOPS_PER_US = 990e6, LAUNCH_US = 1.5;

static void check(udump_status status, const udump_error *error) {
    if (!status) return;
    fprintf(stderr, "emulated_floor: %s: %s\n", error->where, error->what);
    exit(1);
}

static double larger(double a, double b) { return a > b ? a : b; }

static void print(const udump_tally *t, double sums[2]) {
    double floor_us = larger(t->least_bytes / BYTES_PER_US, t->flops / FLOPS_PER_US),
           predicted_us = floor_us + (t->moved_bytes - t->least_bytes) / BYTES_PER_US + LAUNCH_US * (double)t->launches;
    printf("| %-22s | %5ld | %8ld | %5.0f | %11.0f | %8.0f | %9.0f | %13.0f |\n", t->name, t->calls, t->launches, t->flops * 1e-9, t->least_bytes * 1e-6,
        t->moved_bytes * 1e-6, floor_us, predicted_us);
    sums[0] += floor_us;
    sums[1] += predicted_us;
}

/* All that was counted since the last table. */
static void print_table(const char *what, udump_tally *tallies) {
    double sums[2] = { 0, 0 };
    long calls = 0, launches = 0;
    printf("| %-22s | calls | launches | GFLOP | MB at least | MB moved | floor, us | predicted, us |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n", what);
    for (const udump_tally *t = tallies; t->name; t++) {
        calls += t->calls;
        launches += t->launches;
        print(t, sums);
    }
    printf("| %-22s | %5ld | %8ld |       |             |          | %9.0f | %13.0f |\n\n", "all", calls, launches, sums[0], sums[1]);
    memset(tallies, 0, UDUMP_TALLIES * sizeof *tallies);
}

static udump_flow discard(void *user, const udump_canvas *canvas) {
    (void)user, (void)canvas;
    return UDUMP_CONTINUE;
}

int main(int argc, char **argv) {
    udump_error error;
    udump_model *model;
    udump_session *session;
    udump_model_options model_options;
    udump_generate_options options;
    udump_tally *(*tallies)(void) = NULL;
    const udump_sink sink = { .struct_bytes = sizeof sink, .canvas = discard };
    if (argc < 2) return fputs("usage: emulated_floor MODEL [SIDE [features|cross]]\n", stderr), 2;
    setenv("UDUMP_TALLIED_MODULE", EMULATED_MODULE, 1);
    setenv("UDUMP_EMULATED_IDLE", "1", 1);
    setenv("UDUMP_EMULATED_MEMORY_BYTES", "80000000000", 1);
    udump_model_options_init(&model_options);
    udump_generate_options_init(&options);
    model_options.device = UDUMP_DEVICE_CUDA;
    model_options.cuda_module = TALLY_MODULE;
    model_options.precision = UDUMP_PRECISION_BF16; /* as fp16, which decodes anew in fp32 what is not finite, as is memory that nothing was done to */
    model_options.cuda_eager = 1; /* launches one by one: to be counted */
    model_options.plan_cache = "";
    options.prompt = "a red circle";
    options.sampler = "Euler";
    options.steps = 3;
    options.width_px = options.height_px = argc > 2 ? atoi(argv[2]) : 128;
    if (argc > 3 && strcmp(argv[3], "features") == 0) options.features = "";
    if (argc > 3 && strcmp(argv[3], "cross") == 0) options.attention = "";
    check(udump_model_load(argv[1], &model_options, &model, &error), &error);
    check(udump_session_create(model, &session, &error), &error);
    void *module = dlopen(TALLY_MODULE, RTLD_NOW | RTLD_NOLOAD);
    if (module) *(void **)&tallies = dlsym(module, "udump_tally_all");
    if (!tallies) return 1;
    check(udump_begin(session, &options, NULL, &sink, &error), &error);
    check(udump_step(session, NULL, &error), &error);
    memset(tallies(), 0, UDUMP_TALLIES * sizeof *tallies());
    check(udump_step(session, NULL, &error), &error);
    print_table("a step", tallies());
    check(udump_step(session, NULL, &error), &error);
    memset(tallies(), 0, UDUMP_TALLIES * sizeof *tallies());
    check(udump_end(session, 1, &error), &error);
    print_table("a decode", tallies());
    udump_session_destroy(session);
    udump_model_release(model);
    return 0;
}
