/* Plans every self-attention of SD 1.5, SD 2.1 and SDXL on a described device. Usage: check_attention_plans DEVICE.json [FOLDER of cuDNN]. cuDNN compiles these
 * kernels while it plans, and looks at a shape only where it finds a driver: the toolkit's stub of one (libcuda.so.1) will do. Exit status 77 without
 * the library, 1 where a shape has no plan. */
#include <stdio.h>

#include "backend/cuda/fused_attention.h"

static bool plans(udump_fused *fused, int32_t d, int32_t heads, int32_t side, udump_dtype dtype) {
    size_t workspace_bytes;
    udump_fused_call call = { .n = 2, .tokens = side * side, .heads = heads, .d = d, .row = 3 * d * heads, .out_row = d * heads, .dtype = dtype };
    return udump_fused_plan(fused, &call, &workspace_bytes);
}

int main(int argc, char **argv) {
    static char json[65536];
    static const int32_t shapes[][3] = { /* channels of a head, heads, side of the latent at that level */
        { 40, 8, 64 }, { 80, 8, 32 }, { 160, 8, 16 }, { 160, 8, 8 }, /* SD 1.5 at 512 */
        { 64, 5, 96 }, { 64, 10, 48 }, { 64, 20, 24 }, { 64, 20, 12 }, /* SD 2.1 at 768 */
        { 64, 10, 64 }, { 64, 20, 32 },                                /* SDXL at 1024 */
        { 40, 8, 128 }, { 40, 8, 61 } };                               /* a large picture, an odd one */
    int count = (int)(sizeof shapes / sizeof *shapes), failures = 0;
    udump_fused_library *library;
    udump_fused *fused;
    udump_error error;
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (!file || !fread(json, 1, sizeof json - 1, file)) return fprintf(stderr, "usage: check_attention_plans DEVICE.json [FOLDER]\n"), 2;
    fclose(file);
    if (udump_fused_library_open(argc > 2 ? argv[2] : NULL, &library, &error)) return printf("no cuDNN: %s\n", error.what), 77;
    if (udump_fused_open_described(library, json, &fused, &error)) return printf("%s\n", error.what), 1;
    for (int i = 0; i < count; i++) { /* a second each: in turn fp16 and bf16 */
        const int32_t *s = shapes[i];
        if (plans(fused, s[0], s[1], s[2], i % 2 ? UDUMP_BF16 : UDUMP_F16)) continue;
        printf("no plan: %d heads of %d, %d x %d, %s\n", (int)s[1], (int)s[0], (int)s[2], (int)s[2], i % 2 ? "bf16" : "fp16");
        failures++;
    }
    if (plans(fused, 12, 8, 64, UDUMP_F16)) printf("a plan for heads of 12 channels: the shape was not looked at\n"), failures++;
    printf("%d self-attentions, fp16 and bf16: %d failures\n", count, failures);
    udump_fused_close(fused);
    udump_fused_library_close(library);
    return failures > 0;
}
