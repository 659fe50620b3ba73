/* Work whose instructions are counted, by benchmarks/instructions.py under valgrind: instructions WORKLOAD REPEATS. Without arguments it says
 * how it was built and lists the workloads. Each does the same on every machine: fixed inputs, one thread. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { CHANNELS = 40, SIDE = 32, UNIT_BYTES = 1 << 18 };

static float values[CHANNELS * SIDE * SIDE];
static volatile uint64_t kept; /* what nothing else uses */

/* What the others are measured in: a byte loop that no compiler vectorises, since each step needs the one before (FNV-1a). */
static void unit(void) {
    const uint8_t *bytes = (const uint8_t *)values;
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < UNIT_BYTES; i++) hash = (hash ^ bytes[i % (int)sizeof values]) * 0x100000001b3u;
    kept += hash;
}

static udump_image render(const char *color, const char *transform, udump_average average) {
    udump_view view = { values, UDUMP_F32, 3, { CHANNELS, SIDE, SIDE }, { SIDE * SIDE, SIDE, 1 } };
    udump_style style;
    udump_style_init(&style);
    style.color = color;
    style.transform = transform;
    style.average = average;
    udump_image canvas = { 0 }, mean = { 0 };
    udump_error error;
    check(udump_render(&view, &style, &canvas, average ? &mean : NULL, &error), &error);
    kept += canvas.picture.pixels[0];
    udump_image_free(&mean);
    return canvas;
}

static void render_hsl(void) {
    udump_image image = render(NULL, NULL, UDUMP_AVERAGE_NONE);
    udump_image_free(&image);
}

static void render_red_blue(void) {
    udump_image image = render("red-blue", "auto11", UDUMP_AVERAGE_L2);
    udump_image_free(&image);
}

static void render_expression(void) {
    udump_image image = render("rgb:v;v**2;where(v>0.9,1,0)", "sigmoid:2,0", UDUMP_AVERAGE_NONE);
    udump_image_free(&image);
}

static void write_picture(const udump_image *image) {
    udump_error error;
    check(udump_png_write("/dev/null", &image->picture, "Steps: 20", &error), &error);
}

/* Pictures are made once: what is counted is what repeats. */
static void png_rgb(void) {
    static udump_image image;
    if (!image.picture.pixels) image = render(NULL, NULL, UDUMP_AVERAGE_NONE);
    write_picture(&image);
}

static void png_grey(void) {
    static udump_image image;
    if (!image.picture.pixels) image = render("white-black", NULL, UDUMP_AVERAGE_NONE);
    write_picture(&image);
}

static void layer_specs(void) {
    static const char *const specs[] = { "", "IN00,M00", "IN00-OUT11(+2)", "IN01-IN02,OUT06-OUT08,M00", "OUT11" };
    uint8_t selected[25];
    udump_error error;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
            check(udump_layers_parse(NULL, specs[i], selected, 25, &error), &error);
            kept += selected[24];
        }
}

static void prompt_notation(void) {
    udump_prompt *prompt;
    udump_error error;
    check(udump_prompt_parse(NULL,
              "a (~: _: red; IN01-IN02,OUT06-OUT08: ((green:1.2)) :~) [circle:square:0.5] on a [blue|yellow] background AND a (dog:0.8) BREAK "
              "in the garden :0.7",
              20, 0, &prompt, &error),
        &error);
    kept += (uint64_t)(udump_prompt_block(prompt, 3) != NULL);
    udump_prompt_free(prompt);
}

static void tokens(void) {
    static const char text[] = "a photograph of an astronaut riding a (horse:1.3) on mars, Fotografie, naïve café, 1girl, masterpiece, "
                               "best quality, intricate details, 8k, trending on artstation, antidisestablishmentarianism";
    udump_token found[128];
    int32_t count;
    udump_error error;
    check(udump_tokens(text, found, 128, &count, &error), &error);
    kept += (uint64_t)count;
}

static void infotext(void) {
    udump_parameters *parameters;
    udump_error error;
    check(udump_parameters_parse("a red circle, <lora:x:0.8>\nNegative prompt: blurry, low quality\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, "
                                 "Seed: 12345, Size: 512x768, Model hash: abcdef0123, Model: demo, Denoising strength: 0.5, Version: v1.9.0",
              &parameters, &error),
        &error);
    kept += (uint64_t)(udump_parameters_get(parameters, "Seed") != NULL);
    udump_parameters_free(parameters);
}

static const struct {
    const char *name;
    void (*work)(void);
} workloads[] = {
    { "unit", unit },
    { "render hsl", render_hsl },
    { "render red-blue with average", render_red_blue },
    { "render an expression", render_expression },
    { "png rgb", png_rgb },
    { "png grey", png_grey },
    { "layer specs", layer_specs },
    { "prompt notation", prompt_notation },
    { "tokens", tokens },
    { "infotext", infotext },
};

int main(int argc, char **argv) {
    const size_t count = sizeof workloads / sizeof *workloads;
    if (argc < 3) {
        puts(BUILT_BY);
        for (size_t i = 0; i < count; i++) puts(workloads[i].name);
        return 0;
    }
    uint32_t state = 1; /* smooth with noise on it, as features are */
    for (int i = 0; i < CHANNELS * SIDE * SIDE; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = sinf((float)(i % SIDE) * 0.2f) + cosf((float)(i / SIDE % SIDE) * 0.1f) + (float)(state >> 8) * 0x1p-25f;
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(workloads[i].name, argv[1]) == 0) {
            for (int repeat = 0; repeat < atoi(argv[2]); repeat++) workloads[i].work();
            return 0;
        }
    return fprintf(stderr, "instructions: no workload '%s'\n", argv[1]), 2;
}
