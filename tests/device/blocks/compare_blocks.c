/* A model's first evaluation on CUDA beside the CPU, block by block: cosine, and the difference relative to the CPU's.
 * compare_blocks --model PATH [--side PX] [--module FILE] [--libraries FOLDER] [--precision fp16|bf16|fp32] [--json FILE]. Exit status 1 where a block is off. */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "unetdump.h"

enum { BLOCKS_MOST = 64 };

/* fp16 keeps 11 bits and bf16 8; of random weights, whose errors are noise in each of some dozen layers after the other, a cosine of this is left. */
static double least_cosine(const char *precision) { return strcmp(precision, "fp32") == 0 ? 0.999999 : strcmp(precision, "bf16") == 0 ? 0.998 : 0.9999; }

struct blocks {
    int32_t count;
    char names[BLOCKS_MOST][8];
    float *values[BLOCKS_MOST];
    int64_t counts[BLOCKS_MOST];
};

static float value_at(const udump_view *view, int64_t at) {
    if (view->dtype == UDUMP_F32) return ((const float *)view->data)[at];
    uint16_t half = ((const uint16_t *)view->data)[at];
    return view->dtype == UDUMP_F16 ? udump_f16_to_f32(half) : udump_bf16_to_f32(half);
}

static udump_flow keep(void *user, const udump_place *place, const udump_view *view) {
    struct blocks *b = user;
    int64_t count = view->shape[0] * view->shape[1] * view->shape[2], i = 0;
    float *values = malloc((size_t)count * sizeof *values);
    if (!values || b->count == BLOCKS_MOST) abort();
    for (int64_t c = 0; c < view->shape[0]; c++)
        for (int64_t y = 0; y < view->shape[1]; y++)
            for (int64_t x = 0; x < view->shape[2]; x++) values[i++] = value_at(view, c * view->stride[0] + y * view->stride[1] + x * view->stride[2]);
    snprintf(b->names[b->count], sizeof b->names[0], "%s", place->block);
    b->values[b->count] = values;
    b->counts[b->count++] = count;
    return UDUMP_CONTINUE;
}

static void check(udump_status status, const udump_error *error) {
    char line[1024];
    if (!status) return;
    udump_error_format(error, line, sizeof line);
    printf("compare_blocks: %s\n", line);
    exit(2);
}

static void evaluate(const char *path, const udump_model_options *options, int32_t side, struct blocks *blocks) {
    udump_error error;
    udump_model *model;
    udump_session *session;
    udump_model_info info;
    udump_generate_options o;
    const udump_sink sink = { .struct_bytes = sizeof sink, .user = blocks, .tensor = keep };
    check(udump_model_load(path, options, &model, &error), &error);
    check(udump_session_create(model, &session, &error), &error);
    udump_model_get_info(model, &info);
    printf("%s, %s\n", info.device_note, info.precision);
    fflush(stdout);
    udump_generate_options_init(&o);
    o.prompt = "a red circle on a blue background";
    o.sampler = "Euler";
    o.steps = 1;
    o.seed = 3;
    o.width_px = o.height_px = side;
    o.features = "";
    o.no_canvas = o.want_tensors = 1;
    check(udump_begin(session, &o, NULL, &sink, &error), &error);
    check(udump_step(session, NULL, &error), &error);
    check(udump_end(session, 0, &error), &error);
    udump_session_destroy(session);
    udump_model_release(model);
}

/* Prints a line; whether it is near enough. */
static bool compare(const struct blocks *expected, const struct blocks *found, int32_t i, double least, json_t *results) {
    double dot = 0, a = 0, b = 0, off = 0;
    for (int64_t k = 0; k < expected->counts[i]; k++) {
        double left = (double)expected->values[i][k], right = (double)found->values[i][k];
        dot += left * right;
        a += left * left;
        b += right * right;
        off += (left - right) * (left - right);
    }
    double cosine = dot / sqrt(a * b), relative = sqrt(off / a);
    bool fine = cosine >= least;
    printf("%-6s cosine %.7f  off by %.1e of it%s\n", expected->names[i], cosine, relative, fine ? "" : "  DIFFERS");
    fflush(stdout);
    json_array_append_new(results, json_pack("{s:s, s:f, s:f}", "block", expected->names[i], "cosine", isfinite(cosine) ? cosine : -2.0, "relative", isfinite(relative) ? relative : -1.0));
    return fine;
}

int main(int argc, char **argv) {
    static struct blocks expected, found;
    const char *path = "models/demo", *json_path = NULL, *precision = "fp16";
    int32_t side = 512, failures = 0;
    udump_model_options cpu, cuda;
    udump_model_options_init(&cpu);
    udump_model_options_init(&cuda);
    cpu.device = UDUMP_DEVICE_CPU;
    cpu.precision = UDUMP_PRECISION_FP32;
    cuda.device = UDUMP_DEVICE_CUDA;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--model") == 0) path = argv[i + 1];
        else if (strcmp(argv[i], "--side") == 0) side = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--module") == 0) cuda.cuda_module = argv[i + 1];
        else if (strcmp(argv[i], "--libraries") == 0) cuda.cuda_libraries = argv[i + 1];
        else if (strcmp(argv[i], "--precision") == 0) precision = argv[i + 1];
        else if (strcmp(argv[i], "--json") == 0) json_path = argv[i + 1];
        else return fprintf(stderr, "compare_blocks: unknown option '%s'\n", argv[i]), 2;
    }
    cuda.precision = strcmp(precision, "fp32") == 0 ? UDUMP_PRECISION_FP32 : strcmp(precision, "bf16") == 0 ? UDUMP_PRECISION_BF16 : UDUMP_PRECISION_FP16;
    evaluate(path, &cpu, side, &expected);
    evaluate(path, &cuda, side, &found);
    if (!expected.count || expected.count != found.count) return printf("%d and %d blocks\n", (int)expected.count, (int)found.count), 1;
    json_t *results = json_array();
    for (int32_t i = 0; i < expected.count; i++) failures += !compare(&expected, &found, i, least_cosine(precision), results);
    printf("%d blocks, %d failed\n", (int)expected.count, (int)failures);
    if (json_path && json_dump_file(results, json_path, JSON_INDENT(1))) return printf("%s cannot be written\n", json_path), 1;
    return failures > 0;
}
