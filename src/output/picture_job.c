#include "output/picture_job.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/png.h"

/* One block of memory, pixels and text behind the struct. */
struct picture_job {
    udump_picture picture;
    const char *parameters; /* or NULL */
};

static udump_status encode(const void *data, udump_bytes *content, udump_error *error) {
    const struct picture_job *job = data;
    return udump_png_encode(&job->picture, job->parameters, content, error);
}

static udump_status copy(const udump_picture *picture, const char *parameters, udump_write_job *job, udump_error *error) {
    size_t row = (size_t)picture->width_px * (size_t)picture->channels, text = parameters ? strlen(parameters) + 1 : 0;
    size_t height = (size_t)picture->height_px, all = sizeof(struct picture_job) + row * height + text; /* at most 3e12 pixels' bytes */
    struct picture_job *copied = malloc(all);
    if (!copied) return udump_fail_memory(error, "", all);
    uint8_t *pixels = (uint8_t *)(copied + 1), *end = pixels + row * height;
    for (size_t y = 0; y < height; y++) memcpy(pixels + y * row, picture->pixels + y * picture->row_bytes, row);
    if (parameters) memcpy(end, parameters, text);
    copied->picture = (udump_picture){ pixels, picture->width_px, picture->height_px, picture->channels, row };
    copied->parameters = parameters ? (const char *)end : NULL;
    *job = (udump_write_job){ .data = copied, .data_size = all, .files = 1, .encode = encode };
    return UDUMP_OK;
}

udump_status udump_picture_submit(const char *folder, const char *name, udump_writers *writers, const udump_picture *picture,
    const char *parameters, udump_error *error) {
    udump_write_job job;
    udump_status status = udump_png_check(picture, name, error);
    if (!status) status = copy(picture, parameters, &job, error);
    return status ? status : udump_writers_submit_to(writers, folder, name, &job, error);
}
