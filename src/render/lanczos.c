/* Pillow's resizing of bytes: a filter for each direction, antialiased, with coefficients in fixed point and bytes in between. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "unetdump.h"

enum { LOBES = 3, FRACTION_BITS = 32 - 8 - 2, CHANNELS = 3, SIDE_MOST_PX = 16384 };

/* What of the input an output position is made of. */
typedef struct taps {
    int32_t first, count;
    int32_t *weights; /* [count], fixed point; in sum about 1 */
} taps;

static double sinc(double x) { return x == 0 ? 1 : sin(x * M_PI) / (x * M_PI); }

static double lanczos(double x) { return fabs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0; }

/* Around the output position's centre, as far as the filter, widened when shrinking, reaches. */
static void fill_taps(taps *t, double *raw, int32_t in, int32_t out, int32_t at) {
    double scale = (double)in / out, widened = scale < 1 ? 1 : scale, centre = (at + 0.5) * scale, sum = 0;
    int32_t first = (int32_t)(centre - LOBES * widened + 0.5), end = (int32_t)(centre + LOBES * widened + 0.5);
    t->first = first < 0 ? 0 : first;
    t->count = (end > in ? in : end) - t->first;
    for (int32_t k = 0; k < t->count; k++) sum += raw[k] = lanczos((k + t->first - centre + 0.5) * (1 / widened));
    for (int32_t k = 0; k < t->count; k++) {
        double weight = (sum != 0 ? raw[k] * (1 / sum) : raw[k]) * (1 << FRACTION_BITS);
        t->weights[k] = (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
}

/* [out] taps with their weights behind them, on the heap; NULL without memory. */
static taps *make_taps(int32_t in, int32_t out) {
    double scale = (double)in / out;
    size_t most = (size_t)ceil(LOBES * (scale < 1 ? 1 : scale)) * 2 + 1;
    taps *list = malloc((size_t)out * (sizeof *list + most * sizeof(int32_t)));
    double *raw = malloc(most * sizeof *raw);
    for (int32_t i = 0; list && raw && i < out; i++) {
        list[i].weights = (int32_t *)(list + out) + (size_t)i * most;
        fill_taps(&list[i], raw, in, out, i);
    }
    free(raw);
    if (raw) return list;
    free(list);
    return NULL;
}

/* One value: bytes at from, stride bytes apart. */
static uint8_t apply(const taps *t, const uint8_t *from, size_t stride) {
    int32_t sum = 1 << (FRACTION_BITS - 1);
    for (int32_t k = 0; k < t->count; k++) sum += from[(size_t)(t->first + k) * stride] * t->weights[k];
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Rows of any distance to rows without gaps, [height, width, 3]. */
static void resize_across(const udump_picture *in, const taps *list, int32_t width, uint8_t *out) {
    for (int32_t y = 0; y < in->height_px; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < CHANNELS; c++) *out++ = apply(&list[x], in->pixels + (size_t)y * in->row_bytes + c, CHANNELS);
}

static void resize_down(const uint8_t *in, const taps *list, int32_t width, int32_t height, uint8_t *out) {
    size_t row = (size_t)width * CHANNELS;
    for (int32_t y = 0; y < height; y++)
        for (size_t i = 0; i < row; i++) *out++ = apply(&list[y], in + i, row);
}

udump_status udump_picture_resize(
    const udump_picture *picture, int32_t width_px, int32_t height_px, udump_image *image, udump_error *error) {
    if (!picture || !image || !picture->pixels || picture->channels != CHANNELS || picture->width_px < 1 || picture->height_px < 1)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "picture", "not an RGB picture");
    if (width_px < 1 || height_px < 1 || width_px > SIDE_MOST_PX || height_px > SIDE_MOST_PX || picture->width_px > SIDE_MOST_PX
        || picture->height_px > SIDE_MOST_PX)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "picture", "%d x %d: 1 to %d pixels are possible", (int)width_px, (int)height_px, SIDE_MOST_PX);
    size_t row = (size_t)width_px * CHANNELS, bytes = row * (size_t)height_px;
    taps *columns = make_taps(picture->width_px, width_px), *rows = make_taps(picture->height_px, height_px);
    uint8_t *between = malloc(row * (size_t)picture->height_px), *pixels = udump_aligned_alloc(bytes);
    bool good = columns && rows && between && pixels;
    if (good) {
        resize_across(picture, columns, width_px, between);
        resize_down(between, rows, width_px, height_px, pixels);
        *image = (udump_image){ { pixels, width_px, height_px, CHANNELS, row }, 1, 1, width_px, height_px, pixels };
    } else udump_aligned_free(pixels);
    free(columns);
    free(rows);
    free(between);
    return good ? UDUMP_OK : udump_fail_memory(error, "picture", bytes);
}
