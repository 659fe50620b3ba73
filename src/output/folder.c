/* The folder of the public header: a sink that copies what it gets, queues it for the writers and notes it in the manifest. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/infotext.h"
#include "output/manifest.h"
#include "output/npy.h"
#include "output/png.h"
#include "output/writers.h"

enum {
    QUEUE_BYTES = 64 << 20,
    QUEUE_JOBS = 1024,
    MOST_NAME = 128
};

static const char manifest_name[] = "manifest.json";

struct udump_folder {
    char *path;
    udump_sink sink;
    udump_writers *writers;
    udump_manifest *manifest;
    bool begun;
    udump_error error; /* the first failure of a callback; status UDUMP_OK until then */
};

/* A picture on its way to the writers: one block of memory, pixels and text behind the struct. */
struct picture_job {
    udump_picture picture;
    const char *parameters; /* or NULL */
};

static udump_status encode_picture(const void *data, udump_bytes *content, udump_error *error) {
    const struct picture_job *job = data;
    return udump_png_encode(&job->picture, job->parameters, content, error);
}

static udump_status copy_picture(const udump_picture *picture, const char *parameters, udump_write_job *job, udump_error *error) {
    size_t row = (size_t)picture->width_px * (size_t)picture->channels, text = parameters ? strlen(parameters) + 1 : 0;
    size_t height = (size_t)picture->height_px, all = sizeof(struct picture_job) + row * height + text; /* at most 3e12 pixels' bytes */
    struct picture_job *copy = malloc(all);
    if (!copy) return udump_fail_memory(error, "", all);
    uint8_t *pixels = (uint8_t *)(copy + 1), *end = pixels + row * height;
    for (size_t y = 0; y < height; y++) memcpy(pixels + y * row, picture->pixels + y * picture->row_bytes, row);
    if (parameters) memcpy(end, parameters, text);
    copy->picture = (udump_picture){ pixels, picture->width_px, picture->height_px, picture->channels, row };
    copy->parameters = parameters ? (const char *)end : NULL;
    job->data = copy;
    job->data_size = all;
    job->encode = encode_picture;
    return UDUMP_OK;
}

/* Takes job->data over. */
static udump_status submit(udump_folder *folder, const char *name, udump_write_job *job, udump_error *error) {
    job->path = udump_file_join(folder->path, name);
    if (job->path) return udump_writers_submit(folder->writers, job, error);
    free(job->data);
    return udump_fail_memory(error, folder->path, strlen(folder->path));
}

static udump_status queue_picture(udump_folder *folder, const char *name, const udump_picture *picture, const char *parameters,
    udump_error *error) {
    udump_write_job job = { .path = NULL };
    udump_status status = udump_png_check(picture, name, error);
    if (!status) status = copy_picture(picture, parameters, &job, error);
    return status ? status : submit(folder, name, &job, error);
}

/* "000-unet-OUT11-020-uncond-average.png". A block's name must be one that can stand in a file's name. */
static udump_status name_place(const udump_place *place, const char *ending, char name[MOST_NAME], udump_error *error) {
    const char *block = place->block ? place->block : "";
    size_t length = strlen(block);
    if (!length || length > 32 || strspn(block, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != length)
        return udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, "place", "a block's name does not suit a file's", "letters and digits", block);
    snprintf(name, MOST_NAME, "%03" PRId32 "-unet-%s-%03" PRId32 "%s%s", place->image, block, place->step,
        place->side == UDUMP_SIDE_UNCOND ? "-uncond" : "", ending);
    return UDUMP_OK;
}

/* What a callback answers: the first failure is kept for udump_folder_close and ends the run. */
static udump_flow answer(udump_folder *folder, udump_status status, const udump_error *error) {
    if (status && !folder->error.status) folder->error = *error;
    return status ? UDUMP_STOP : UDUMP_CONTINUE;
}

/* A manifest of a former run would make a failed one look whole. */
static udump_status remove_manifest(const char *folder, udump_error *error) {
    char *path = udump_file_join(folder, manifest_name);
    if (!path) return udump_fail_memory(error, folder, strlen(folder));
    udump_status status = udump_file_remove(path, error);
    free(path);
    return status;
}

static udump_flow on_begin(void *user, const udump_run_info *run) {
    udump_folder *folder = user;
    udump_error error;
    udump_status status = folder->begun
        ? udump_fail(&error, UDUMP_ERROR_STATE, folder->path, "a folder takes one run: a second one would overwrite the first one's files")
        : udump_manifest_set_run(folder->manifest, run, &error);
    if (!status) status = remove_manifest(folder->path, &error);
    folder->begun = true;
    return answer(folder, status, &error);
}

static udump_flow on_canvas(void *user, const udump_canvas *canvas) {
    udump_folder *folder = user;
    udump_error error;
    char name[MOST_NAME];
    udump_status status = name_place(&canvas->place, canvas->kind == UDUMP_CANVAS_AVERAGE ? "-average.png" : ".png", name, &error);
    if (status) return answer(folder, status, &error);
    char *text = udump_infotext_for_canvas(canvas->infotext, canvas->place.block, canvas->place.step);
    status = text ? queue_picture(folder, name, &canvas->picture, text, &error) : udump_fail_memory(&error, name, 0);
    free(text);
    if (!status) status = udump_manifest_add_canvas(folder->manifest, name, canvas, &error);
    return answer(folder, status, &error);
}

static udump_flow on_tensor(void *user, const udump_place *place, const udump_view *tensor) {
    udump_folder *folder = user;
    udump_error error;
    char name[MOST_NAME];
    udump_bytes content;
    udump_status status = name_place(place, ".npy", name, &error);
    if (!status) status = udump_npy_encode(tensor, &content, &error);
    if (status) return answer(folder, status, &error);
    udump_write_job job = { .data = content.data, .data_size = content.size };
    status = submit(folder, name, &job, &error);
    if (!status) status = udump_manifest_add_tensor(folder->manifest, name, place, tensor, &error);
    return answer(folder, status, &error);
}

static udump_flow on_image(void *user, int32_t image, const udump_picture *picture, const char *infotext) {
    udump_folder *folder = user;
    udump_error error;
    char name[MOST_NAME];
    snprintf(name, sizeof name, "%03" PRId32 ".png", image);
    udump_status status = queue_picture(folder, name, picture, infotext, &error);
    if (!status) status = udump_manifest_add_image(folder->manifest, name, image, picture, &error);
    return answer(folder, status, &error);
}

void udump_folder_options_init(udump_folder_options *options) { *options = (udump_folder_options){ .struct_bytes = sizeof *options }; }

/* A caller built against an older header has a shorter struct: what it lacks keeps its default. */
static udump_status read_options(const udump_folder_options *given, udump_folder_options *options, udump_error *error) {
    udump_folder_options_init(options);
    if (given && !given->struct_bytes)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "folder options", "not initialised: struct_bytes is 0");
    if (given) memcpy(options, given, given->struct_bytes < sizeof *options ? given->struct_bytes : sizeof *options);
    if (!options->writer_threads) options->writer_threads = 1;
    if (options->writer_threads < 0 || options->writer_threads > UDUMP_WRITERS_MOST_THREADS)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "writer_threads", "must be in 0..%d, not %" PRId32, UDUMP_WRITERS_MOST_THREADS,
            options->writer_threads);
    if (options->dump != UDUMP_DUMP_NONE && options->dump != UDUMP_DUMP_NPY)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "dump", "unknown format %d", (int)options->dump);
    return UDUMP_OK;
}

static void folder_free(udump_folder *folder) {
    udump_manifest_free(folder->manifest);
    free(folder->path);
    free(folder);
}

udump_status udump_folder_open(const char *path, const udump_folder_options *given, udump_folder **out, udump_error *error) {
    if (!path || !*path || !out) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "a folder's path is needed");
    udump_folder_options options;
    udump_status status = read_options(given, &options, error);
    if (!status) status = udump_file_make_folder(path, error);
    if (status) return status;
    udump_folder *folder = calloc(1, sizeof *folder);
    if (!folder) return udump_fail_memory(error, path, sizeof *folder);
    folder->path = strdup(path);
    folder->manifest = udump_manifest_create();
    folder->sink = (udump_sink){ sizeof folder->sink, folder, on_begin, on_canvas, options.dump == UDUMP_DUMP_NPY ? on_tensor : NULL,
        on_image, NULL };
    status = folder->path && folder->manifest
        ? udump_writers_create(options.writer_threads, QUEUE_BYTES, QUEUE_JOBS, &folder->writers, error)
        : udump_fail_memory(error, path, strlen(path));
    if (status) folder_free(folder);
    else *out = folder;
    return status;
}

const udump_sink *udump_folder_sink(udump_folder *folder) { return &folder->sink; }

void udump_folder_count(udump_folder *folder, int64_t *written, int64_t *waiting) {
    udump_writers_count(folder->writers, written, waiting);
}

static udump_status write_manifest(const udump_folder *folder, udump_error *error) {
    udump_bytes content;
    udump_status status = udump_manifest_format(folder->manifest, &content, error);
    if (status) return status;
    char *path = udump_file_join(folder->path, manifest_name);
    status = path ? udump_file_save(path, content.data, content.size, error) : udump_fail_memory(error, folder->path, strlen(folder->path));
    free(path);
    free(content.data);
    return status;
}

udump_status udump_folder_close(udump_folder *folder, int32_t keep, udump_error *error) {
    if (!folder) return UDUMP_OK;
    udump_error writers_error;
    udump_status status = udump_writers_finish(folder->writers, &writers_error);
    if (!status && folder->error.status) {
        status = folder->error.status;
        writers_error = folder->error;
    }
    if (status && error) *error = writers_error;
    if (!status && keep) status = write_manifest(folder, error);
    folder_free(folder);
    return status;
}
