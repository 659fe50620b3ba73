#include "output/png_read.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/characters.h"
#include "output/file.h"

enum {
    SIDE_MOST_PX = 16384,
    SIGNATURE_BYTES = 8,
    FILE_MOST_BYTES = 1 << 30,
    CHUNK_MOST_BYTES = 16 << 20, /* of one text, unpacked */
    CHUNKS_MOST = 1000
};

/* Everything that is read, and what reading holds: libpng leaves by a jump. */
struct decoder {
    const uint8_t *data;
    size_t size, next;
    bool want_pixels, want_text;
    int32_t width, height;
    uint8_t *pixels;  /* [height, width, 4] */
    png_bytepp rows;  /* [height] */
    char *parameters;
    bool no_memory, too_large;
    char message[160];
};

static void on_error(png_structp png, png_const_charp message) {
    struct decoder *decoder = png_get_error_ptr(png);
    snprintf(decoder->message, sizeof decoder->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep data, size_t size) {
    struct decoder *decoder = png_get_io_ptr(png);
    if (size > decoder->size - decoder->next) png_error(png, "the file ends too early");
    memcpy(data, decoder->data + decoder->next, size);
    decoder->next += size;
}

/* Latin-1 to UTF-8; NULL without memory. */
static char *widen(const char *latin1) {
    char *text = malloc(2 * strlen(latin1) + 1), *to = text;
    for (; text && *latin1; latin1++) {
        unsigned char c = (unsigned char)*latin1;
        if (c >= 0x80) *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(c < 0x80 ? c : 0x80 | (c & 0x3F));
    }
    if (text) *to = '\0';
    return text;
}

/* The first text of that name counts. */
static void take_text(png_structp png, png_infop info, struct decoder *decoder) {
    png_textp texts;
    int count = decoder->want_text && !decoder->parameters ? png_get_text(png, info, &texts, NULL) : 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(texts[i].key, "parameters") != 0) continue;
        bool utf8 = texts[i].compression == PNG_ITXT_COMPRESSION_NONE || texts[i].compression == PNG_ITXT_COMPRESSION_zTXt;
        const char *text = texts[i].text ? texts[i].text : "";
        decoder->parameters = utf8 ? udump_characters_repair(text) : widen(text);
        decoder->no_memory = !decoder->parameters;
        if (decoder->no_memory) png_error(png, "out of memory");
        return;
    }
}

/* Whatever the file holds becomes 8 bits of red, green, blue and alpha. */
static void set_transforms(png_structp png) {
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
}

static void read_pixels(png_structp png, png_infop info, struct decoder *decoder) {
    set_transforms(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t row_bytes = (size_t)decoder->width * 4, height = (size_t)decoder->height;
    if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "a row of an unexpected size");
    decoder->pixels = udump_aligned_alloc(row_bytes * height);
    decoder->rows = malloc(height * sizeof *decoder->rows);
    decoder->no_memory = !decoder->pixels || !decoder->rows;
    if (decoder->no_memory) png_error(png, "out of memory");
    for (size_t y = 0; y < height; y++) decoder->rows[y] = decoder->pixels + y * row_bytes;
    png_read_image(png, decoder->rows);
}

static void skip_pixels(png_structp png, struct decoder *decoder) {
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int32_t y = 0; y < decoder->height; y++) png_read_row(png, NULL, NULL);
}

/* Everything that may jump, in a frame of its own with nothing to release. */
static bool read_all(png_structp png, png_infop info, struct decoder *decoder) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_read_fn(png, decoder, on_read);
    png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
    png_set_chunk_malloc_max(png, CHUNK_MOST_BYTES);
    png_set_chunk_cache_max(png, CHUNKS_MOST);
    png_read_info(png, info);
    png_uint_32 width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    decoder->too_large = width > SIDE_MOST_PX || height > SIDE_MOST_PX;
    decoder->width = (int32_t)width;
    decoder->height = (int32_t)height;
    if (decoder->too_large) return false;
    take_text(png, info, decoder);
    if (decoder->want_pixels) read_pixels(png, info, decoder);
    else if (!decoder->parameters) skip_pixels(png, decoder);
    if (!decoder->want_text || decoder->parameters) return true;
    png_read_end(png, info);
    take_text(png, info, decoder);
    return true;
}

static udump_status fail(const char *where, const struct decoder *decoder, udump_error *error) {
    char found[64];
    snprintf(found, sizeof found, "%d x %d", (int)decoder->width, (int)decoder->height);
    if (decoder->too_large)
        return udump_fail_values(error, UDUMP_ERROR_UNSUPPORTED, where, "a picture too large", "at most 16384 pixels each way", found);
    if (decoder->no_memory) return udump_fail_memory(error, where, (size_t)decoder->width * (size_t)decoder->height * 4);
    udump_status status = udump_fail(error, UDUMP_ERROR_FORMAT, where, "a damaged PNG: %s", decoder->message);
    if (error) error->offset = (int64_t)decoder->next;
    return status;
}

/* Over white, as Pillow pastes with a mask; in place, [height, width, 4] to [height, width, 3]. */
static void flatten(uint8_t *pixels, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned alpha = pixels[4 * i + 3];
        for (size_t c = 0; c < 3; c++) {
            unsigned sum = alpha * pixels[4 * i + c] + (255 - alpha) * 255 + 128;
            pixels[3 * i + c] = (uint8_t)(((sum >> 8) + sum) >> 8);
        }
    }
}

static void give_image(struct decoder *decoder, udump_image *image) {
    flatten(decoder->pixels, (size_t)decoder->width * (size_t)decoder->height);
    *image = (udump_image){ .picture = { decoder->pixels, decoder->width, decoder->height, 3, (size_t)decoder->width * 3 },
        .columns = 1,
        .rows = 1,
        .tile_width_px = decoder->width,
        .tile_height_px = decoder->height,
        .owner = decoder->pixels };
    decoder->pixels = NULL;
}

static size_t big_endian(const uint8_t *bytes) { return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3]; }

/* libpng makes room for what a chunk says it has before it reads it; only pixels come in pieces. */
static udump_status check_chunks(const char *where, const uint8_t *data, size_t size, udump_error *error) {
    enum { HEAD_BYTES = 8, CRC_BYTES = 4 };
    for (size_t at = SIGNATURE_BYTES; size - at >= HEAD_BYTES;) {
        size_t length = big_endian(data + at), left = size - at - HEAD_BYTES;
        if (left < CRC_BYTES || length > left - CRC_BYTES) {
            if (memcmp(data + at + 4, "IDAT", 4) == 0) return UDUMP_OK;
            udump_status status = udump_fail(error, UDUMP_ERROR_FORMAT, where, "a damaged PNG: the file ends too early");
            if (error) error->offset = (int64_t)at;
            return status;
        }
        if (memcmp(data + at + 4, "IEND", 4) == 0) return UDUMP_OK; /* what follows is not read */
        at += HEAD_BYTES + length + CRC_BYTES;
    }
    return UDUMP_OK;
}

udump_status udump_png_decode(
    const char *where, const uint8_t *data, size_t size, udump_image *image, char **parameters, udump_error *error) {
    if (size < SIGNATURE_BYTES || png_sig_cmp(data, 0, SIGNATURE_BYTES) != 0)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, where, "not a PNG file");
    udump_status checked = check_chunks(where, data, size, error);
    if (checked) return checked;
    struct decoder decoder = { .data = data, .size = size, .want_pixels = image != NULL, .want_text = parameters != NULL };
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return udump_fail_memory(error, where, 0);
    }
    bool done = read_all(png, info, &decoder);
    png_destroy_read_struct(&png, &info, NULL);
    udump_status status = done ? UDUMP_OK : fail(where, &decoder, error);
    if (done && image) give_image(&decoder, image);
    if (done && parameters) *parameters = decoder.parameters;
    else free(decoder.parameters);
    udump_aligned_free(decoder.pixels);
    free(decoder.rows);
    return status;
}

/* The whole file, on the heap. */
static udump_status load_bytes(FILE *file, const char *path, udump_bytes *bytes, udump_error *error) {
    struct stat about;
    if (fstat(fileno(file), &about)) return udump_file_fail(error, path, "read", errno);
    if (!S_ISREG(about.st_mode)) return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, path, "not a regular file");
    if (about.st_size > FILE_MOST_BYTES) return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, path, "a file of more than 1 GiB");
    bytes->size = (size_t)about.st_size;
    bytes->data = malloc(bytes->size + 1);
    if (!bytes->data) return udump_fail_memory(error, path, bytes->size);
    size_t got = fread(bytes->data, 1, bytes->size, file);
    if (ferror(file)) return udump_file_fail(error, path, "read", errno);
    bytes->size = got;
    return UDUMP_OK;
}

udump_status udump_png_load(const char *path, udump_image *image, char **parameters, udump_error *error) {
    FILE *file = fopen(path, "rb");
    if (!file) return udump_file_fail(error, path, "opened", errno);
    udump_bytes bytes = { 0 };
    udump_status status = load_bytes(file, path, &bytes, error);
    fclose(file);
    if (!status) status = udump_png_decode(path, bytes.data, bytes.size, image, parameters, error);
    free(bytes.data);
    return status;
}

udump_status udump_png_read(const char *path, udump_image *image, udump_error *error) {
    if (!path || !image) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "", "a path and a picture are needed");
    return udump_png_load(path, image, NULL, error);
}
