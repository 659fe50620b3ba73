#include "output/png.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "output/characters.h"

enum {
    MOST_PX = 1000000, /* PNG_USER_WIDTH_MAX of libpng as distributions build it: what it will read */
    FIRST_CAPACITY = 1 << 16,
    ROWS_BYTES = 1 << 18, /* compressed together */
    PART_BYTES = 1 << 18, /* of an IDAT chunk */
    FIRST_BYTES = 16 /* compressed apart: see put_rows */
};

/* The file so far. */
struct encoder {
    udump_bytes bytes;
    size_t capacity, refused; /* refused: bytes that could not be had; 0: memory sufficed */
};

static void put(struct encoder *e, const void *data, size_t size) {
    if (e->refused) return;
    if (size > e->capacity - e->bytes.size) {
        size_t needed, capacity = e->capacity ? e->capacity : FIRST_CAPACITY;
        if (!udump_size_add(e->bytes.size, size, &needed)) needed = capacity = SIZE_MAX;
        while (capacity < needed) capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
        uint8_t *grown = realloc(e->bytes.data, capacity);
        if (!grown) {
            e->refused = capacity;
            return;
        }
        e->bytes.data = grown;
        e->capacity = capacity;
    }
    memcpy(e->bytes.data + e->bytes.size, data, size);
    e->bytes.size += size;
}

static void put_number(struct encoder *e, uint32_t value) {
    put(e, (uint8_t[]){ (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value }, 4);
}

/* The deflate stream; too large for a thread's stack. */
struct deflating {
    struct isal_zstream stream;
    uint8_t level[ISAL_DEF_LVL1_DEFAULT];
    uint8_t part[PART_BYTES];
};

/* Length, type, the parts one after the other, and the checksum of all but the length. */
static void put_chunk(struct encoder *e, const char *type, const void *first, size_t first_bytes, const void *second, size_t second_bytes) {
    put_number(e, (uint32_t)(first_bytes + second_bytes));
    size_t begin = e->bytes.size;
    put(e, type, 4);
    put(e, first, first_bytes);
    put(e, second, second_bytes);
    if (!e->refused) put_number(e, crc32_gzip_refl(0, e->bytes.data + begin, e->bytes.size - begin));
}

static void put_header(struct encoder *e, const udump_picture *picture) {
    uint32_t w = (uint32_t)picture->width_px, h = (uint32_t)picture->height_px;
    uint8_t header[13] = { (uint8_t)(w >> 24), (uint8_t)(w >> 16), (uint8_t)(w >> 8), (uint8_t)w, (uint8_t)(h >> 24), (uint8_t)(h >> 16),
        (uint8_t)(h >> 8), (uint8_t)h, 8, picture->channels == 1 ? 0 : 2, 0, 0, 0 }; /* 8 bits, grey or RGB, not interlaced */
    put(e, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(e, "IHDR", header, sizeof header, "", 0);
}

static void put_compressed(struct encoder *e, struct deflating *d, uint8_t *rows, size_t size, uint16_t flush, bool last) {
    d->stream.next_in = rows;
    d->stream.avail_in = (uint32_t)size;
    d->stream.flush = flush;
    d->stream.end_of_stream = last;
    do {
        d->stream.next_out = d->part;
        d->stream.avail_out = PART_BYTES;
        isal_deflate(&d->stream);
        size_t made = PART_BYTES - d->stream.avail_out;
        if (made) put_chunk(e, "IDAT", d->part, made, "", 0);
    } while (d->stream.avail_out == 0 && !e->refused);
}

/* The first bytes go apart, flushed: ISA-L's loop for long input would file the third byte of a new stream under the stream's address instead
 * of under the data (.write_first_byte in igzip_icf_body_h1_gr_bt.asm, all versions to 2.32), and the same picture would have other bytes in
 * another process; its loop for short input does not. It costs 9 bytes a file. */
static void put_rows(struct encoder *e, struct deflating *d, uint8_t *rows, size_t size, bool last) {
    size_t apart = d->stream.total_in == 0 && size > FIRST_BYTES ? FIRST_BYTES : 0;
    if (apart) put_compressed(e, d, rows, apart, SYNC_FLUSH, false);
    put_compressed(e, d, rows + apart, size - apart, NO_FLUSH, last);
}

/* rows: room for ROWS_BYTES, or for a longer row. row_bytes: with the byte that names its filter. */
static void deflate_rows(struct encoder *e, struct deflating *d, const udump_picture *picture, uint8_t *rows, size_t row_bytes) {
    size_t used = 0;
    isal_deflate_init(&d->stream);
    d->stream.level = 1;
    d->stream.level_buf = d->level;
    d->stream.level_buf_size = sizeof d->level;
    d->stream.gzip_flag = IGZIP_ZLIB;
    for (int32_t y = 0; y < picture->height_px && !e->refused; y++) {
        rows[used] = 0; /* no filter */
        memcpy(rows + used + 1, picture->pixels + (size_t)y * picture->row_bytes, row_bytes - 1);
        used += row_bytes;
        bool last = y + 1 == picture->height_px;
        if (!last && used + row_bytes <= ROWS_BYTES) continue;
        put_rows(e, d, rows, used, last);
        used = 0;
    }
}

static void put_pixels(struct encoder *e, const udump_picture *picture) {
    size_t row_bytes = (size_t)picture->width_px * (size_t)picture->channels + 1, room = row_bytes < ROWS_BYTES ? ROWS_BYTES : row_bytes;
    struct deflating *d = malloc(sizeof *d);
    uint8_t *rows = malloc(room);
    if (d && rows) deflate_rows(e, d, picture, rows, row_bytes);
    else e->refused = sizeof *d + room;
    free(rows);
    free(d);
}

/* parameters: as tEXt in Latin-1, or as iTXt (uncompressed, no language, no translated key) in UTF-8; NULL: none. */
static void put_text(struct encoder *e, const char *parameters, bool latin1) {
    static const char text[] = "parameters", international[] = "parameters\0\0\0\0"; /* each with the zero at its end */
    if (!parameters) return;
    if (latin1) put_chunk(e, "tEXt", text, sizeof text, parameters, strlen(parameters));
    else put_chunk(e, "iTXt", international, sizeof international, parameters, strlen(parameters));
}

static udump_status encode(const udump_picture *picture, const char *text, bool latin1, udump_bytes *bytes, udump_error *error) {
    struct encoder e = { 0 };
    put_header(&e, picture);
    put_text(&e, text, latin1);
    if (!e.refused) put_pixels(&e, picture);
    put_chunk(&e, "IEND", "", 0, "", 0);
    if (e.refused) {
        free(e.bytes.data);
        return udump_fail_memory(error, "", e.refused);
    }
    *bytes = e.bytes;
    return UDUMP_OK;
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
    if (status || !parameters) return status ? status : encode(picture, NULL, true, bytes, error);
    char *latin1 = NULL;
    size_t bad = 0;
    int fits = udump_characters_to_latin1(parameters, &latin1, &bad);
    if (fits == -1) return udump_fail(error, UDUMP_ERROR_ARGUMENT, "parameters", "not UTF-8 from byte %zu on", bad);
    if (fits && !latin1) return udump_fail_memory(error, "parameters", strlen(parameters));
    status = encode(picture, fits ? latin1 : parameters, fits, bytes, error);
    free(latin1);
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
