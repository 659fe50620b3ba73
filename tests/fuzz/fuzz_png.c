/* Any bytes as a PNG file: refused, or a picture whose every byte can be read; its text too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "output/png_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Large pictures from few bytes are allowed for, and slow. */
static int is_large(const uint8_t *data, size_t size) {
    return size >= 24 && (uint64_t)big_endian(data + 16) * big_endian(data + 20) > 1 << 20;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    udump_image image;
    udump_error error;
    char *parameters = NULL;
    if (is_large(data, size)) return 0;
    if (udump_png_decode("fuzz", data, size, &image, &parameters, &error) == UDUMP_OK) {
        unsigned sum = 0;
        size_t bytes = (size_t)image.picture.width_px * (size_t)image.picture.height_px * 3;
        for (size_t i = 0; i < bytes; i++) sum += image.picture.pixels[i];
        if (sum > 255 * bytes) abort();
        udump_image_free(&image);
    } else if (error.offset > (int64_t)size) abort();
    free(parameters);
    parameters = NULL;
    if (udump_png_decode("fuzz", data, size, NULL, &parameters, &error) == UDUMP_OK && parameters) (void)strlen(parameters);
    free(parameters);
    return 0;
}
