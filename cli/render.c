/* unetdump render FILE.npy -o OUT.png [--color --transform --average] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static bool is_same_file(const char *in, const char *out) {
    struct stat a, b;
    return stat(in, &a) == 0 && stat(out, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* "maps/x.png" -> "maps/x-average.png" */
static char *average_path(const char *path) {
    size_t length = strlen(path);
    bool png = length > 4 && strcmp(path + length - 4, ".png") == 0;
    char *result = malloc(length + sizeof "-average.png");
    if (result) sprintf(result, "%.*s-average.png", (int)(png ? length - 4 : length), path);
    return result;
}

/* Nothing is written before everything is rendered. */
static udump_status write_pictures(
    const char *path, const udump_image *canvas, const udump_image *average, bool with_average, udump_error *error) {
    if (with_average) {
        char *second = average_path(path);
        udump_status status = second ? udump_png_write(second, &average->picture, NULL, error) : UDUMP_ERROR_MEMORY;
        if (!second) *error = (udump_error){ .status = UDUMP_ERROR_MEMORY, .what = "out of memory", .offset = -1 };
        free(second);
        if (status) return status;
    }
    return udump_png_write(path, &canvas->picture, NULL, error);
}

static int render(const char *in, const char *out, const udump_style *style) {
    udump_array array = { 0 };
    udump_image canvas = { 0 }, average = { 0 };
    udump_error error;
    if (udump_npy_read(in, &array, &error)) return fail_input(&error);
    if (array.view.rank != 3) {
        fail_usage("%s: expected a [C, H, W] array, found one of %d dimensions", in, (int)array.view.rank);
        udump_array_free(&array);
        return EXIT_BAD_INPUT;
    }
    udump_status status = udump_render(&array.view, style, &canvas, &average, &error);
    if (!status) status = write_pictures(out, &canvas, &average, style->average != UDUMP_AVERAGE_NONE, &error);
    udump_image_free(&canvas);
    udump_image_free(&average);
    udump_array_free(&array);
    return status ? fail_text(&error, strcmp(error.where, "color") == 0 ? style->color : style->transform) : EXIT_DONE;
}

int command_render(int argc, char **argv) {
    bool help = false;
    const char *out = NULL, *average = "none", *in;
    udump_style style;
    udump_style_init(&style);
    const cli_option options[] = {
        { "--output", "-o", OPTION_TEXT, &out, "the PNG to write" },
        { "--color", NULL, OPTION_TEXT, &style.color,
            "white-black, red-blue, rgb:R;G;B or hsl:H;S;L, expressions of v (hsl:(2+v)/3;1.0;0.5)" },
        { "--transform", NULL, OPTION_TEXT, &style.transform, "auto01, auto11 (with :canvas for all tiles together), linear:MIN,MAX or sigmoid:GAIN,OFFSET (auto01)" },
        { "--average", NULL, OPTION_TEXT, &average, "none, sum, 1-norm or 2-norm: also writes OUT-average.png (none)" },
        { "--help", "-h", OPTION_FLAG, &help, "this text" },
    };
    int count = parse_options(argc, argv, options, sizeof options / sizeof *options, &in, 1);
    if (count < 0) return EXIT_BAD_INPUT;
    if (help) {
        puts("usage: unetdump render FILE.npy -o OUT.png [options]\n\nA [C, H, W] float32 array, in either memory order.");
        print_options(options, sizeof options / sizeof *options);
        return finish_output(EXIT_DONE);
    }
    if (count < 1 || !out || !*out) return fail_usage("render needs %s", count < 1 ? "a .npy file" : "-o OUT.png");
    if (!parse_average(average, &style.average)) return EXIT_BAD_INPUT;
    if (is_same_file(in, out)) return fail_usage("-o %s: the picture would replace the array that it is made of", out);
    return render(in, out, &style);
}
