/* Plans every convolution of SD 1.5, SD 2.1 and SDXL on a described device. Usage: check_plans DEVICE.json [FOLDER of cuDNN]. Exit status 77 without
 * the library, 1 where a shape has no plan. */
#include <stdio.h>

#include "backend/cuda/convolution.h"

struct shape {
    int32_t in, out, kernel, stride, side;
};

/* A level's convolutions on the way down and up: channels of its own, of the level above and of the one below; at most three inputs of concatenated skips. */
static int list_level(struct shape *s, int32_t c, int32_t above, int32_t below, int32_t side) {
    const struct shape all[] = { { c, c, 3, 1, side }, { above, c, 3, 1, side }, { c, c, 3, 2, side }, { below, c, 3, 1, side }, { c + c, c, 3, 1, side },
        { below + c, c, 3, 1, side }, { c + above, c, 3, 1, side }, { c, c, 3, 1, 2 * side } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) s[i] = all[i];
    return (int)(sizeof all / sizeof *all);
}

static int plan_all(udump_convolution *convolution, const struct shape *shapes, int count, udump_dtype dtype, int *candidates) {
    int failures = 0;
    for (int i = 0; i < 2 * count; i++) {
        const struct shape *s = &shapes[i / 2];
        int32_t pad = s->kernel / 2, out = (s->side + 2 * pad - s->kernel) / s->stride + 1;
        udump_conv_shape shape = { s->in, s->out, s->kernel, s->stride, pad, pad, 2, s->side, s->side };
        udump_convolution_call call = { .shape = &shape, .n = 2, .in_h = s->side, .in_w = s->side, .out_h = out, .out_w = out, .dtype = dtype,
            .residual = i % 2 ? &shape : NULL };
        size_t workspace_bytes;
        udump_error error;
        if (!udump_convolution_plan(convolution, &call, &workspace_bytes, NULL, &error)) {
            *candidates += udump_convolution_candidates(convolution, &call);
            continue;
        }
        if (failures++ < 5) printf("no plan: %s\n", error.what);
    }
    return failures;
}

int main(int argc, char **argv) {
    static char json[65536];
    static struct shape shapes[256];
    static const int32_t sides[] = { 64, 96, 128 }; /* SD 1.5 at 512, SD 2.1 at 768, SDXL at 1024 */
    int count = 0, failures = 0, candidates = 0;
    udump_convolution_library *library;
    udump_convolution *convolution;
    udump_error error;
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (!file || !fread(json, 1, sizeof json - 1, file)) return fprintf(stderr, "usage: check_plans DEVICE.json [FOLDER]\n"), 2;
    fclose(file);
    if (udump_convolution_library_open(argc > 2 ? argv[2] : NULL, &library, &error)) return printf("no cuDNN: %s\n", error.what), 77;
    if (udump_convolution_open_described(library, json, &convolution, &error)) return printf("%s\n", error.what), 1;
    for (size_t family = 0; family < sizeof sides / sizeof *sides; family++)
        for (int32_t level = 0; level < (family == 2 ? 3 : 4); level++) {
            int32_t c = 320 << (level < 2 ? level : 2), above = 320 << (level < 1 ? 0 : level < 3 ? level - 1 : 2), below = 320 << (level < 1 ? 1 : 2);
            count += list_level(shapes + count, c, above, below, sides[family] >> level);
        }
    for (int32_t c = 128; c <= 512; c *= 2) shapes[count++] = (struct shape){ c, c, 3, 1, 512 * 128 / c }; /* the decoder */
    failures += plan_all(convolution, shapes, count, UDUMP_F16, &candidates) + plan_all(convolution, shapes, count, UDUMP_BF16, &candidates)
        + plan_all(convolution, shapes, count, UDUMP_F32, &candidates);
    printf("%d convolutions, with and without a residual, in fp16, bf16 and fp32: %d have no plan; to choose from they have %.1f repeatable engines each\n", count, failures,
        candidates / (6.0 * count));
    udump_convolution_close(convolution);
    udump_convolution_library_close(library);
    return failures > 0;
}
