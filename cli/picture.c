/* Pictures as input: their own parameters, and pictures to begin from. */
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

bool is_picture(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcasecmp(path + length - 4, ".png") == 0;
}

static const char embeddings_key[] = "TI hashes"; /* whether they are there is known once the options are: check_picture_files */
static const char blocks_key[] = "Lora block weights"; /* the prompt's LoRAs get them: take_prompt_loras */

/* One more of "unetdump: warning: PICTURE.png: WHAT: A, B", which the caller ends; *count of them were there before. */
static void list_item(int32_t *count, const char *path, const char *what, const char *item, size_t bytes) {
    if ((*count)++) fputs(", ", stderr);
    else {
        fputs("unetdump: warning: ", stderr);
        print_plain(stderr, path, strlen(path), true);
        fprintf(stderr, ": %s: ", what);
    }
    print_plain(stderr, item, bytes, true);
}

/* Nothing where no key is of that use. */
static void warn_about(const char *path, const udump_parameters *parameters, udump_parameter_use use, const char *what) {
    int32_t count, found = 0;
    const udump_parameter *list = udump_parameters_list(parameters, &count);
    for (int32_t i = 0; i < count; i++) {
        if (list[i].use != use || strcmp(list[i].key, embeddings_key) == 0 || strcmp(list[i].key, blocks_key) == 0) continue;
        list_item(&found, path, what, list[i].key, strlen(list[i].key));
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
        warn("%s: it has no parameters but a prompt: all else is as the options say", path);
    warn_about(path, parameters, UDUMP_PARAMETER_LACKING, "the picture will be another one, since these are not there");
    warn_about(path, parameters, UDUMP_PARAMETER_UNKNOWN, "unknown, and left out");
    return parameters;
}

/* Whether a path's last part, without an ending, is that name, without an ending. */
static bool is_called(const char *path, const char *name) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end, bytes = strlen(name);
    while (begin > 0 && path[begin - 1] != '/') begin--;
    static const char *const endings[] = { ".safetensors", ".ckpt", ".pt" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(endings[i]);
        if (end - begin > length && memcmp(path + end - length, endings[i], length) == 0) end -= length;
        if (bytes > length && memcmp(name + bytes - length, endings[i], length) == 0) bytes -= length;
    }
    return end - begin == bytes && memcmp(path + begin, name, bytes) == 0;
}

/* Whether the folder, or one within it, has that embedding. */
static bool has_embedding(const char *folder, const char *name, size_t bytes) {
    static const char ending[] = ".safetensors";
    char *const folders[] = { (char *)folder, NULL };
    bool found = false;
    FTS *walk = fts_open(folders, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *at; walk && !found && (at = fts_read(walk));)
        found = at->fts_info == FTS_F && at->fts_namelen == bytes + strlen(ending) && strncasecmp(at->fts_name, name, bytes) == 0;
    if (walk) fts_close(walk);
    return found;
}

/* list: "foo: 0123456789, bar: ..." */
static void check_embeddings(const char *path, const char *list, const char *folder) {
    int32_t missing = 0;
    for (const char *at = list; *at; at += strcspn(at, ",")) {
        at += strspn(at, ", ");
        size_t bytes = strcspn(at, ":,");
        if (!bytes || (folder && has_embedding(folder, at, bytes))) continue;
        list_item(&missing, path, "the picture will be another one, since these embeddings are not there", at, bytes);
    }
    if (missing) fputs(folder ? "\n" : " (see --embeddings)\n", stderr);
}

/* "unetdump: warning: PICTURE: it was made by WHAT NAME..." */
static void warn_about_file(const char *path, const char *what, const char *name, const char *given) {
    warn(
        "%s: it was made by the %s %s%s%s", path, what, name, given ? ", which may not be " : ": give that with --vae", given ? given : "");
}

void check_picture_files(const char *path, const udump_parameters *parameters, const model_arguments *given) {
    const char *model = udump_parameters_get(parameters, "Model"), *vae = udump_parameters_get(parameters, "VAE"),
               *embeddings = udump_parameters_get(parameters, embeddings_key);
    if (model && given->path && !is_called(given->path, model)) warn_about_file(path, "model", model, given->path);
    if (vae && !(given->vae && is_called(given->vae, vae))) warn_about_file(path, "autoencoder", vae, given->vae);
    if (embeddings) check_embeddings(path, embeddings, given->embeddings);
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
            print_plain(stdout, list[i].key, strlen(list[i].key), true);
            fputs(": ", stdout);
            print_plain(stdout, list[i].value, strlen(list[i].value), false);
            puts(strcmp(list[i].key, blocks_key) != 0 ? notes[list[i].use] : "");
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
