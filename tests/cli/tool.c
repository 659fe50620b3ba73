/* What the command's tests need and sh has not: writes and reads .npy, reads PNG, edits a safetensors file in place.
 *   tool npy OUT DESCR C|F SHAPE VALUE...   SHAPE as 3,2,2; the values in memory order; `wave` stands for a smooth made-up signal
 *   tool npy-info FILE                      DESCR ORDER SHAPE
 *   tool npy-finite FILE                    fails unless all values are finite and not all are equal
 *   tool npy-gap A B                        the largest difference of two arrays' data over the largest magnitude, as float32
 *   tool png FILE                           WIDTHxHEIGHT CHANNELS
 *   tool png-text FILE                      the text of the key `parameters`
 *   tool png-with FILE TEXT                 writes a picture of one pixel with such a text
 *   tool png-pixels FILE                    every byte, as numbers on one line
 *   tool png-gap A B                        the largest difference of two pictures' bytes
 *   tool header FILE OLD NEW                replaces text in a safetensors header by text of the same length, once
 *   tool entry FILE TENSOR KEY [NEW]        a tensor's value of that key in the header; or NEW written over it, filled up with spaces
 *   tool size FILE BYTES                    overwrites the header's length
 *   tool halves FILE TENSOR HEX             overwrites an F16 tensor's first value
 *   tool recipe FILE FOLDER                 makes the checkpoint of a recipe (tests/parity/models) in a new folder */
#include <inttypes.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/recipe.h"

static int fail(const char *what, const char *where)
{
    fprintf(stderr, "tool: %s: %s\n", where, what);
    return 1;
}

/* The whole file with a zero after it; NULL if it cannot be read. */
static char *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    rewind(file);
    char *text = end < 0 ? NULL : malloc((size_t)end + 1);
    if (text && fread(text, 1, (size_t)end, file) != (size_t)end) {
        free(text);
        text = NULL;
    }
    fclose(file);
    if (text) {
        text[end] = 0;
        *bytes = (size_t)end;
    }
    return text;
}

static int overwrite(const char *path, long offset, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "r+b");
    if (!file)
        return fail("cannot open", path);
    int bad = fseek(file, offset, SEEK_SET) != 0 || fwrite(data, 1, bytes, file) != bytes;
    if (fclose(file) != 0 || bad)
        return fail("cannot write", path);
    return 0;
}

/* ---------------------------------------------------------------- npy */

static int npy_write(int count, char **arguments)
{
    const char *path = arguments[0], *descr = arguments[1], *shape = arguments[3];
    size_t elements = 1;
    for (const char *at = shape; *at; at += *at == ',') {
        char *end;
        elements *= strtoul(at, &end, 10);
        at = end;
    }
    int wave = count > 4 && strcmp(arguments[4], "wave") == 0;
    if (!wave && (size_t)count - 4 != elements)
        return fail("as many values as the shape has, please", path);
    char header[256];
    int rank_one = strchr(shape, ',') == NULL;
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (%s%s), }", descr,
                          arguments[2][0] == 'F' ? "True" : "False", shape, rank_one ? "," : "");
    while ((10 + length + 1) % 64 != 0)
        header[length++] = ' ';
    header[length++] = '\n';
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail("cannot create", path);
    fprintf(file, "\x93NUMPY%c%c%c%c", 1, 0, length & 255, length >> 8);
    fwrite(header, 1, (size_t)length, file);
    for (size_t i = 0; i < elements; i++) {
        double value = wave ? sin(0.7 * (double)i) + cos(0.013 * (double)i * (double)i) : strtod(arguments[4 + i], NULL);
        float narrow = (float)value;
        if (strcmp(descr, "<f8") == 0)
            fwrite(&value, sizeof value, 1, file);
        else
            fwrite(&narrow, sizeof narrow, 1, file);
    }
    return fclose(file) == 0 ? 0 : fail("cannot write", path);
}

/* The values of a .npy file after its header, NULL if it has none. */
static const float *npy_data(const char *text, size_t bytes, size_t *elements)
{
    if (bytes < 10 || memcmp(text, "\x93NUMPY", 6) != 0)
        return NULL;
    size_t start = 10 + (unsigned char)text[8] + 256 * (size_t)(unsigned char)text[9];
    if (start > bytes)
        return NULL;
    *elements = (bytes - start) / sizeof(float);
    return (const float *)(const void *)(text + start);
}

static int npy_info(const char *path)
{
    size_t bytes = 0, elements;
    char *text = read_whole(path, &bytes);
    if (!text || !npy_data(text, bytes, &elements)) {
        free(text);
        return fail("not a .npy file", path);
    }
    char descr[16], order[16], shape[128];
    const char *at_descr = strstr(text + 10, "'descr': '"), *at_order = strstr(text + 10, "'fortran_order': ");
    const char *at_shape = strstr(text + 10, "'shape': (");
    int good = at_descr && at_order && at_shape && sscanf(at_descr, "'descr': '%15[^']", descr) == 1 &&
               sscanf(at_order, "'fortran_order': %15[A-Za-z]", order) == 1 && sscanf(at_shape, "'shape': (%127[^)]", shape) == 1;
    if (good)
        printf("%s %s %s\n", descr, strcmp(order, "True") == 0 ? "F" : "C", shape);
    free(text);
    return good ? 0 : fail("an unexpected .npy header", path);
}

static int npy_finite(const char *path)
{
    size_t bytes = 0, elements = 0;
    char *text = read_whole(path, &bytes);
    const float *values = text ? npy_data(text, bytes, &elements) : NULL;
    int good = values && elements > 1, varied = 0;
    for (size_t i = 0; good && i < elements; i++) {
        good = isfinite(values[i]);
        varied |= values[i] != values[0];
    }
    free(text);
    return good && varied ? 0 : fail("not finite, or all the same", path);
}

static int npy_gap(const char *path_a, const char *path_b)
{
    size_t bytes_a = 0, bytes_b = 0, count_a = 0, count_b = 1;
    char *text_a = read_whole(path_a, &bytes_a), *text_b = read_whole(path_b, &bytes_b);
    const float *a = text_a ? npy_data(text_a, bytes_a, &count_a) : NULL, *b = text_b ? npy_data(text_b, bytes_b, &count_b) : NULL;
    int good = a && b && count_a == count_b;
    double gap = 0, largest = 0;
    for (size_t i = 0; good && i < count_a; i++) {
        gap = fmax(gap, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    if (good)
        printf("%.9f\n", largest > 0 ? gap / largest : gap);
    free(text_a);
    free(text_b);
    return good ? 0 : fail("not two arrays of one size", path_a);
}

/* ---------------------------------------------------------------- PNG */

typedef struct picture {
    uint32_t width, height, channels;
    uint8_t *bytes;       /* [height, width, channels] */
    char *parameters;     /* NULL without the key */
} picture;

static void picture_free(picture *image)
{
    free(image->bytes);
    free(image->parameters);
}

/* Indexed pictures come as RGB. */
static int picture_read(const char *path, picture *image)
{
    memset(image, 0, sizeof *image);
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail("cannot open", path);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        fclose(file);
        return fail("not a whole PNG", path);
    }
    png_init_io(png, file);
    png_read_info(png, info);
    if (png_get_bit_depth(png, info) > 8)
        png_error(png, "more than 8 bits");
    png_set_palette_to_rgb(png);
    png_read_update_info(png, info);
    image->width = png_get_image_width(png, info);
    image->height = png_get_image_height(png, info);
    image->channels = png_get_channels(png, info);
    size_t row = png_get_rowbytes(png, info);
    image->bytes = malloc(row * image->height);
    for (uint32_t y = 0; image->bytes && y < image->height; y++)
        png_read_row(png, image->bytes + y * row, NULL);
    png_read_end(png, info);
    png_textp texts = NULL;
    int count = png_get_text(png, info, &texts, NULL);
    for (int i = 0; i < count; i++)
        if (strcmp(texts[i].key, "parameters") == 0 && !image->parameters)
            image->parameters = strdup(texts[i].text);
    png_destroy_read_struct(&png, &info, NULL);
    fclose(file);
    return image->bytes ? 0 : fail("out of memory", path);
}

static int png_show(const char *what, const char *path)
{
    picture image;
    if (picture_read(path, &image))
        return 1;
    int status = 0;
    if (strcmp(what, "png") == 0)
        printf("%" PRIu32 "x%" PRIu32 " %" PRIu32 "\n", image.width, image.height, image.channels);
    else if (strcmp(what, "png-text") == 0 && image.parameters)
        printf("%s\n", image.parameters);
    else if (strcmp(what, "png-text") == 0)
        status = fail("no key `parameters`", path);
    else
        for (size_t i = 0, all = (size_t)image.width * image.height * image.channels; i < all; i++)
            printf("%u%c", image.bytes[i], i + 1 < all ? ' ' : '\n');
    picture_free(&image);
    return status;
}

static int png_with(const char *path, char *parameters)
{
    FILE *file = fopen(path, "wb");
    if (!file) return fail("cannot be written", path);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    char key[] = "parameters";
    png_text text = { .compression = PNG_TEXT_COMPRESSION_NONE, .key = key, .text = parameters };
    png_init_io(png, file);
    png_set_IHDR(png, info, 1, 1, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_text(png, info, &text, 1);
    png_write_info(png, info);
    png_write_row(png, (const png_byte[]){ 0 });
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return fclose(file) ? fail("cannot be written", path) : 0;
}

static int png_gap(const char *path_a, const char *path_b)
{
    picture a, b;
    memset(&b, 0, sizeof b);
    int status = picture_read(path_a, &a);
    if (!status)
        status = picture_read(path_b, &b);
    int gap = 0;
    if (!status && (a.width != b.width || a.height != b.height || a.channels != b.channels))
        status = fail("another size", path_b);
    for (size_t i = 0, all = (size_t)a.width * a.height * a.channels; !status && i < all; i++)
        if (abs(a.bytes[i] - b.bytes[i]) > gap)
            gap = abs(a.bytes[i] - b.bytes[i]);
    if (!status)
        printf("%d\n", gap);
    picture_free(&a);
    picture_free(&b);
    return status;
}

/* ---------------------------------------------------------------- safetensors */

static int header_replace(const char *path, const char *old, const char *new)
{
    size_t bytes = 0;
    char *text = read_whole(path, &bytes);
    const char *at = text && bytes > 8 && strlen(old) == strlen(new) ? strstr(text + 8, old) : NULL;
    int status = at ? overwrite(path, (long)(at - text), new, strlen(new)) : fail("nothing to replace, or another length", path);
    free(text);
    return status;
}

static int header_size(const char *path, const char *number)
{
    uint64_t value = strtoull(number, NULL, 10);
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return overwrite(path, 0, bytes, sizeof bytes);
}

/* Where the value of `key` stands for `tensor` in a safetensors header, and how long it is; NULL if it is not there. */
static char *entry_find(char *text, const char *tensor, const char *key, size_t *length)
{
    char wanted[256];
    snprintf(wanted, sizeof wanted, "\"%s\":{", tensor);
    char *at = strstr(text + 8, wanted), *end = at ? strchr(at, '}') : NULL;
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    char *value = at ? strstr(at, wanted) : NULL;
    if (!value || value > end)
        return NULL;
    value += strlen(wanted);
    *length = *value == '[' ? strcspn(value, "]") + 1 : strcspn(value, ",}");
    return value;
}

static int entry(const char *path, const char *tensor, const char *key, const char *new)
{
    size_t bytes = 0, length = 0;
    char *text = read_whole(path, &bytes);
    char *value = text && bytes > 8 ? entry_find(text, tensor, key, &length) : NULL;
    int status = value && (!new || strlen(new) <= length) ? 0 : fail("no such key of that tensor, or too long a value", tensor);
    if (!status && !new)
        printf("%.*s\n", (int)length, value);
    if (!status && new) {
        memset(value, ' ', length);
        memcpy(value, new, strlen(new));
        status = overwrite(path, (long)(value - text), value, length);
    }
    free(text);
    return status;
}

static int halves(const char *path, const char *tensor, const char *hex)
{
    size_t bytes = 0, length = 0;
    char *text = read_whole(path, &bytes);
    char *offsets = text && bytes > 8 ? entry_find(text, tensor, "data_offsets", &length) : NULL;
    int status = offsets ? 0 : fail("no such tensor", tensor);
    if (!status) {
        unsigned long value = strtoul(hex, NULL, 16);
        uint8_t half[2] = { (uint8_t)value, (uint8_t)(value >> 8) };
        long header = (long)((uint8_t)text[0] + 256ul * (uint8_t)text[1] + 65536ul * (uint8_t)text[2]);
        status = overwrite(path, 8 + header + strtol(offsets + 1, NULL, 10), half, sizeof half);
    }
    free(text);
    return status;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "npy") == 0 && argc >= 6)
        return npy_write(argc - 2, argv + 2);
    if (strcmp(what, "npy-info") == 0)
        return npy_info(argv[2]);
    if (strcmp(what, "npy-finite") == 0)
        return npy_finite(argv[2]);
    if (strcmp(what, "npy-gap") == 0 && argc == 4)
        return npy_gap(argv[2], argv[3]);
    if (strcmp(what, "png-with") == 0 && argc == 4)
        return png_with(argv[2], argv[3]);
    if (strcmp(what, "png") == 0 || strcmp(what, "png-text") == 0 || strcmp(what, "png-pixels") == 0)
        return png_show(what, argv[2]);
    if (strcmp(what, "png-gap") == 0 && argc == 4)
        return png_gap(argv[2], argv[3]);
    if (strcmp(what, "header") == 0 && argc == 5)
        return header_replace(argv[2], argv[3], argv[4]);
    if (strcmp(what, "entry") == 0 && (argc == 5 || argc == 6))
        return entry(argv[2], argv[3], argv[4], argc == 6 ? argv[5] : NULL);
    if (strcmp(what, "size") == 0 && argc == 4)
        return header_size(argv[2], argv[3]);
    if (strcmp(what, "halves") == 0 && argc == 5)
        return halves(argv[2], argv[3], argv[4]);
    if (strcmp(what, "recipe") == 0 && argc == 4)
        return mkdir(argv[3], 0777) == 0 && recipe_make(argv[2], argv[3]) ? 0 : fail("cannot be made", argv[3]);
    return fail("see the top of tool.c", "usage");
}
