/* Pictures as input: their own parameters, and pictures to begin from. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

bool is_picture(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".png") == 0;
}

/* "unetdump: warning: PICTURE.png: WHAT: A, B"; nothing where no key is of that use. */
static void warn_about(const char *path, const udump_parameters *parameters, udump_parameter_use use, const char *what) {
    int32_t count, found = 0;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    for (int32_t i = 0; i < count; i++) {
        if (list[i].use != use) continue;
        if (found++ == 0) fprintf(stderr, "unetdump: warning: %s: %s: ", path, what);
        else fputs(", ", stderr);
        fputs(list[i].key, stderr);
    }
    if (found) fputc('\n', stderr);
}

udump_parameters *load_parameters(const char *path, int *status) {
    udump_error error;
    udump_parameters *parameters = NULL;
    if (udump_parameters_read(path, &parameters, &error)) {
        *status = fail_input(&error);
        return NULL;
    }
    int32_t count;
    udump_parameters_list(parameters, &count);
    if (count == 2) /* the two prompts, which are always there */
        fprintf(stderr, "unetdump: warning: %s: it has no parameters but a prompt: all else is as the options say\n", path);
    warn_about(path, parameters, UDUMP_PARAMETER_LACKING, "the picture will be another one, since these are not there");
    warn_about(path, parameters, UDUMP_PARAMETER_UNKNOWN, "unknown, and left out");
    return parameters;
}

static int print_parameters(const udump_parameters *parameters, bool json) {
    static const char *const uses[] = { "used", "silent", "lacking", "unknown" };
    static const char *const notes[] = { "", "", "  (not there: the picture will be another one)", "  (unknown)" };
    int32_t count;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    json_t *array = json ? json_array() : NULL;
    for (int32_t i = 0; i < count; i++) {
        if (json)
            json_array_append_new(
                array, json_pack("{s:s, s:s, s:s}", "key", list[i].key, "value", list[i].value, "use", uses[list[i].use]));
        else if (list[i].value[0]) {
            print_plain(list[i].key);
            fputs(": ", stdout);
            print_plain(list[i].value);
            puts(notes[list[i].use]);
        }
    }
    return json ? print_json(array) : finish_output(EXIT_DONE);
}

int inspect_picture(const char *path, bool json) {
    udump_error error;
    udump_parameters *parameters = NULL;
    if (udump_parameters_read(path, &parameters, &error)) return fail_input(&error);
    int status = print_parameters(parameters, json);
    udump_parameters_free(parameters);
    return status;
}

/* Replaces the image by one of another size. */
static bool resize(udump_image *image, int32_t width_px, int32_t height_px, int *status) {
    udump_error error;
    udump_image resized;
    if (image->picture.width_px == width_px && image->picture.height_px == height_px) return true;
    if (udump_picture_resize(&image->picture, width_px, height_px, &resized, &error)) {
        *status = fail_error(&error);
        return false;
    }
    udump_image_free(image);
    *image = resized;
    return true;
}

bool load_init(const char *path, int32_t *width_px, int32_t *height_px, udump_image *image, int *status) {
    udump_error error;
    if (udump_png_read(path, image, &error)) {
        *status = fail_input(&error);
        return false;
    }
    if (!*width_px) *width_px = image->picture.width_px / 8 * 8;
    if (!*height_px) *height_px = image->picture.height_px / 8 * 8;
    if (*width_px < 8 || *height_px < 8) {
        *status = fail_usage("--init: %s is too small, %d x %d: a picture has 8 pixels at least", path, (int)image->picture.width_px,
            (int)image->picture.height_px);
        return false;
    }
    return resize(image, *width_px, *height_px, status);
}
