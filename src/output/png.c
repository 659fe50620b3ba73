#include "output/png.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/characters.h"

enum {
    MOST_PX = 1000000,          /* PNG_USER_WIDTH_MAX of libpng as distributions build it */
    FIRST_CAPACITY = 1 << 16,
    DEFLATE_BUFFER_BYTES = 1 << 16 /* of one IDAT chunk */
};

struct encoder {
    udump_bytes bytes;
    size_t capacity;
    size_t refused; /* bytes that could not be had; 0: memory sufficed */
    char message[160];
};

static void on_error(png_structp png, png_const_charp message) {
    struct encoder *encoder = png_get_error_ptr(png);
    snprintf(encoder->message, sizeof encoder->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, size_t size) {
    struct encoder *encoder = png_get_io_ptr(png);
    udump_bytes *bytes = &encoder->bytes;
    if (size > encoder->capacity - bytes->size) {
        size_t needed, capacity = encoder->capacity ? encoder->capacity : FIRST_CAPACITY;
        if (!udump_size_add(bytes->size, size, &needed)) needed = capacity = SIZE_MAX;
        while (capacity < needed) capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
        uint8_t *grown = realloc(bytes->data, capacity);
        if (!grown) {
            encoder->refused = capacity;
            png_error(png, "out of memory");
        }
        bytes->data = grown;
        encoder->capacity = capacity;
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void on_flush(png_structp png) { (void)png; }

/* Everything that may jump, in a frame of its own with nothing to release. */
static bool encode_all(png_structp png, png_infop info, struct encoder *encoder, const udump_picture *picture, png_const_textp text) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, encoder, on_write, on_flush);
    png_set_compression_level(png, 1);
    png_set_compression_buffer_size(png, DEFLATE_BUFFER_BYTES);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_IHDR(png, info, (png_uint_32)picture->width_px, (png_uint_32)picture->height_px, 8,
        picture->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
            PNG_FILTER_TYPE_DEFAULT);
    if (text) png_set_text(png, info, text, 1);
    png_write_info(png, info);
    for (int32_t y = 0; y < picture->height_px; y++) png_write_row(png, picture->pixels + (size_t)y * picture->row_bytes);
    png_write_end(png, NULL);
    return true;
}

static udump_status encode(const udump_picture *picture, png_const_textp text, udump_bytes *bytes, udump_error *error) {
    struct encoder encoder = { .message = "" };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &encoder, on_error, on_warning);
    if (!png)
        return udump_fail(error, UDUMP_ERROR_MEMORY, "", "libpng cannot start: out of memory, or another version than it was built for");
    png_infop info = png_create_info_struct(png);
    bool done = info && encode_all(png, info, &encoder, picture, text);
    bool started = info != NULL;
    png_destroy_write_struct(&png, &info);
    if (done) {
        *bytes = encoder.bytes;
        return UDUMP_OK;
    }
    free(encoder.bytes.data);
    if (!started || encoder.refused) return udump_fail_memory(error, "", encoder.refused);
    return udump_fail(error, UDUMP_ERROR_INTERNAL, "", "libpng: %s", encoder.message);
}

udump_status udump_png_check(const udump_picture *picture, const char *where, udump_error *error) {
    char found[64];
    snprintf(found, sizeof found, "%d x %d, %d channels", picture->width_px, picture->height_px, picture->channels);
    if (picture->width_px < 1 || picture->height_px < 1 || picture->width_px > MOST_PX || picture->height_px > MOST_PX)
        return udump_fail_values(
            error, UDUMP_ERROR_ARGUMENT, where, "a picture's size is out of range", "1 to 1000000 pixels each way", found);
    if (picture->channels != 1 && picture->channels != 3)
        return udump_fail_values(error, UDUMP_ERROR_ARGUMENT, where, "a picture has 1 or 3 channels", NULL, found);
    if (!picture->pixels) return udump_fail(error, UDUMP_ERROR_ARGUMENT, where, "a picture without pixels");
    size_t width_bytes = (size_t)picture->width_px * (size_t)picture->channels, all;
    if (picture->row_bytes >= width_bytes && udump_size_mul(picture->row_bytes, (size_t)picture->height_px, &all)) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, where,
        "a picture's rows overlap or pass the end of memory: %zu bytes apart, %zu bytes long", picture->row_bytes, width_bytes);
}

udump_status udump_png_encode(const udump_picture *picture, const char *parameters, udump_bytes *bytes, udump_error *error) {
    udump_status status = udump_png_check(picture, "", error);
    if (status || !parameters) return status ? status : encode(picture, NULL, bytes, error);
    char *latin1 = NULL, *copy = NULL, key[] = "parameters";
    size_t bad = 0;
    int fits = udump_characters_to_latin1(parameters, &latin1, &bad);
    if (fits == -1) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "parameters", "not UTF-8 from byte %zu on", bad);
    if (fits == 0) copy = strdup(parameters);
    png_text text = {
        .compression = fits ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE, .key = key, .text = fits ? latin1 : copy
    };
    if (text.text) {
        *(fits ? &text.text_length : &text.itxt_length) = strlen(text.text);
        status = encode(picture, &text, bytes, error);
    } else status = udump_fail_memory(error, "parameters", strlen(parameters));
    free(latin1);
    free(copy);
    return status;
}

udump_status udump_png_write(const char *path, const udump_picture *picture, const char *parameters, udump_error *error) {
    if (!path || !picture) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "a path and a picture are needed");
    udump_bytes bytes;
    udump_status status = udump_png_encode(picture, parameters, &bytes, error);
    if (status) return status;
    status = udump_file_save(path, bytes.data, bytes.size, error);
    free(bytes.data);
    return status;
}
