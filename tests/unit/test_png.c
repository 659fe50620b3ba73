/* PNG files: pixels and text read back through libpng, bad pictures, and files that appear whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <png.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/png.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/udump-png-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails if a test left anything behind */
}

static const char *in_folder(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int count_entries(void) {
    DIR *dir = opendir(folder);
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(dir);
    return count;
}

/* A decoded file: rows without gaps, and the text chunk, if any. */
struct decoded {
    int width, height, channels, bits, color;
    uint8_t *pixels;
    char key[32], text[512];
    int compression, texts;
};

static struct decoded decode(const char *path) {
    struct decoded result = { .texts = 0 };
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    result.width = (int)png_get_image_width(png, info);
    result.height = (int)png_get_image_height(png, info);
    result.channels = png_get_channels(png, info);
    result.bits = png_get_bit_depth(png, info);
    result.color = png_get_color_type(png, info);
    size_t row = (size_t)result.width * (size_t)result.channels;
    result.pixels = malloc(row * (size_t)result.height);
    png_bytepp rows = png_get_rows(png, info);
    for (int y = 0; y < result.height; y++) memcpy(result.pixels + (size_t)y * row, rows[y], row);
    png_textp text;
    result.texts = png_get_text(png, info, &text, NULL);
    if (result.texts) {
        result.compression = text->compression;
        snprintf(result.key, sizeof result.key, "%s", text->key);
        snprintf(result.text, sizeof result.text, "%s", text->text);
    }
    png_destroy_read_struct(&png, &info, NULL);
    fclose(file);
    return result;
}

static uint8_t *noise(size_t size) {
    uint8_t *bytes = malloc(size);
    uint32_t x = 12345;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return bytes;
}

static void check_round_trip(int width, int height, int channels, size_t row_bytes, const char *parameters) {
    uint8_t *pixels = noise(row_bytes * (size_t)height);
    udump_picture picture = { pixels, width, height, channels, row_bytes };
    udump_error error;
    assert_int_equal(udump_png_write(in_folder("a.png"), &picture, parameters, &error), UDUMP_OK);
    struct decoded back = decode(in_folder("a.png"));
    assert_int_equal(back.width, width);
    assert_int_equal(back.height, height);
    assert_int_equal(back.channels, channels);
    assert_int_equal(back.bits, 8);
    assert_int_equal(back.color, channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB);
    size_t row = (size_t)width * (size_t)channels;
    for (int y = 0; y < height; y++) assert_memory_equal(back.pixels + (size_t)y * row, pixels + (size_t)y * row_bytes, row);
    assert_int_equal(back.texts, parameters != NULL);
    free(back.pixels);
    free(pixels);
    assert_int_equal(count_entries(), 1);
    unlink(in_folder("a.png"));
}

static void pictures_read_back(void **state) {
    (void)state;
    check_round_trip(1, 1, 1, 1, NULL);
    check_round_trip(1, 1, 3, 3, NULL);
    check_round_trip(7, 5, 3, 21, NULL);
    check_round_trip(7, 5, 3, 64, "Steps: 1"); /* rows with a gap */
    check_round_trip(13, 300, 1, 13, "");
    check_round_trip(900, 700, 3, 2700, "several IDAT chunks");
}

/* Small pictures, whose few hashes collide, encoded while the heap grows under them: the encoder's state is elsewhere each time. */
static void the_address_is_not_in_the_file(void **state) {
    (void)state;
    enum { PICTURES = 64, PLACES = 64, STEP_BYTES = 100000 };
    udump_bytes first[PICTURES], again;
    void *held[PLACES];
    for (int place = 0; place < PLACES; place++) {
        for (int i = 0; i < PICTURES; i++) {
            uint8_t *pixels = noise(160);
            for (int k = 0; k < 160; k++) pixels[k] = (uint8_t)(pixels[k] >> (3 + i % 5));
            udump_picture picture = { pixels, 3 + i % 8, 3 + i / 8, 1, 10 };
            assert_int_equal(udump_png_encode(&picture, NULL, place ? &again : &first[i], NULL), UDUMP_OK);
            if (place) {
                assert_int_equal(again.size, first[i].size);
                assert_memory_equal(again.data, first[i].data, again.size);
                free(again.data);
            }
            free(pixels);
        }
        held[place] = malloc(STEP_BYTES);
    }
    for (int place = 0; place < PLACES; place++) free(held[place]);
    for (int i = 0; i < PICTURES; i++) free(first[i].data);
}

/* Walks the chunks; returns the data of the first one of a type. */
static const uint8_t *find_chunk(const udump_bytes *file, const char *type, uint32_t *size) {
    for (size_t at = 8; at + 12 <= file->size;) {
        const uint8_t *chunk = file->data + at;
        uint32_t length = (uint32_t)chunk[0] << 24 | (uint32_t)chunk[1] << 16 | (uint32_t)chunk[2] << 8 | chunk[3];
        *size = length;
        if (!memcmp(chunk + 4, type, 4)) return chunk + 8;
        at += 12 + (size_t)length;
    }
    return NULL;
}

static udump_bytes encode_with(const char *parameters) {
    static const uint8_t pixel[1] = { 7 };
    udump_picture picture = { pixel, 1, 1, 1, 1 };
    udump_bytes file;
    assert_int_equal(udump_png_encode(&picture, parameters, &file, NULL), UDUMP_OK);
    return file;
}

static void text_is_latin1_where_that_suffices(void **state) {
    (void)state;
    uint32_t size;
    udump_bytes file = encode_with("caf\xC3\xA9 \xC2\xB5\xC3\xBF\nSteps: 2");
    const uint8_t *text = find_chunk(&file, "tEXt", &size);
    static const char expected[] = "parameters\0caf\xE9 \xB5\xFF\nSteps: 2";
    assert_non_null(text);
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(text, expected, size);
    assert_true(text < find_chunk(&file, "IDAT", &size));
    assert_null(find_chunk(&file, "iTXt", &size));
    free(file.data);
}

static void text_is_utf8_where_it_must(void **state) {
    (void)state;
    uint32_t size;
    udump_bytes file = encode_with("\xC4\x80 \xE7\x8C\xAB \xF0\x9F\x90\xB1 \xC3\xA9");
    const uint8_t *text = find_chunk(&file, "iTXt", &size);
    static const char expected[] = "parameters\0\0\0\0\0\xC4\x80 \xE7\x8C\xAB \xF0\x9F\x90\xB1 \xC3\xA9"; /* not compressed, no language */
    assert_non_null(text);
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(text, expected, size);
    assert_null(find_chunk(&file, "tEXt", &size));
    free(file.data);
}

static void text_reads_back_through_libpng(void **state) {
    (void)state;
    static const uint8_t pixel[3] = { 1, 2, 3 };
    udump_picture picture = { pixel, 1, 1, 3, 3 };
    assert_int_equal(udump_png_write(in_folder("a.png"), &picture, "\xE7\x8C\xAB", NULL), UDUMP_OK);
    struct decoded back = decode(in_folder("a.png"));
    assert_string_equal(back.key, "parameters");
    assert_string_equal(back.text, "\xE7\x8C\xAB");
    assert_int_equal(back.compression, PNG_ITXT_COMPRESSION_NONE);
    free(back.pixels);
    unlink(in_folder("a.png"));
}

static void text_that_is_not_utf8_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = { "ab\xFF", "ab\xC3", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\x80",
        "ab\xE0\x80\x80" };
    static const uint8_t pixel[1] = { 7 };
    udump_picture picture = { pixel, 1, 1, 1, 1 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        udump_error error;
        assert_int_equal(udump_png_write(in_folder("a.png"), &picture, bad[i], &error), UDUMP_ERROR_ARGUMENT);
        assert_string_equal(error.what, "not UTF-8 from byte 2 on");
        assert_int_equal(count_entries(), 0);
    }
}

static void bad_pictures_are_refused(void **state) {
    (void)state;
    static const uint8_t pixels[64];
    const udump_picture bad[] = {
        { pixels, 0, 1, 1, 1 },
        { pixels, 1, 0, 1, 1 },
        { pixels, -1, 1, 1, 1 },
        { pixels, 1000001, 1, 1, 1000001 },
        { pixels, 1, 1000001, 1, 1 },
        { pixels, 1, 1, 2, 2 },
        { pixels, 1, 1, 4, 4 },
        { pixels, 1, 1, 0, 1 },
        { NULL, 1, 1, 1, 1 },
        { pixels, 4, 2, 3, 11 },
        { pixels, 1, 3, 1, SIZE_MAX / 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        udump_error error = { .status = UDUMP_OK };
        assert_int_equal(udump_png_write(in_folder("a.png"), &bad[i], NULL, &error), UDUMP_ERROR_ARGUMENT);
        assert_int_equal(error.status, UDUMP_ERROR_ARGUMENT);
        assert_true(error.what[0] != '\0');
        assert_int_equal(udump_png_write(in_folder("a.png"), &bad[i], NULL, NULL), UDUMP_ERROR_ARGUMENT);
    }
    assert_int_equal(udump_png_write(NULL, &bad[0], NULL, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_png_write(in_folder("a.png"), NULL, NULL, NULL), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(count_entries(), 0);
}

static void expect_file_error(const char *path, const char *what) {
    uint8_t *pixels = noise(300 * 300);
    udump_picture picture = { pixels, 300, 300, 1, 300 };
    udump_error error = { .status = UDUMP_OK };
    assert_int_equal(udump_png_write(path, &picture, NULL, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.where, path);
    assert_string_equal(error.what, what);
    free(pixels);
}

static void refusals_of_the_system_are_reported(void **state) {
    (void)state;
    expect_file_error("/dev/full", "cannot be written: No space left on device");
    expect_file_error(in_folder("missing/a.png"), "cannot be created: No such file or directory");
    expect_file_error(folder, "cannot be written: Is a directory");
    FILE *file = fopen(in_folder("file"), "w");
    assert_non_null(file);
    fclose(file);
    expect_file_error(in_folder("file/a.png"), "cannot be created: Not a directory");
    assert_int_equal(count_entries(), 1);
    unlink(in_folder("file"));
}

/* A limit on a file's size stands in for a full disk: the write fails midway. */
static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    static const uint8_t pixel[1] = { 7 };
    udump_picture small = { pixel, 1, 1, 1, 1 };
    assert_int_equal(udump_png_write(in_folder("a.png"), &small, NULL, NULL), UDUMP_OK);
    struct rlimit before, limited;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limited = before;
    limited.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &limited);
    expect_file_error(in_folder("a.png"), "cannot be written: File too large");
    expect_file_error(in_folder("b.png"), "cannot be written: File too large");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(count_entries(), 1);
    struct decoded back = decode(in_folder("a.png"));
    assert_int_equal(back.pixels[0], 7);
    free(back.pixels);
    unlink(in_folder("a.png"));
}

static void names_and_links(void **state) {
    (void)state;
    char name[256], target[512], link[512];
    static const uint8_t pixel[1] = { 9 };
    udump_picture picture = { pixel, 1, 1, 1, 1 };
    memset(name, 'n', 255); /* NAME_MAX: the temporary name must not be longer */
    name[255] = '\0';
    assert_int_equal(udump_png_write(in_folder(name), &picture, NULL, NULL), UDUMP_OK);
    unlink(in_folder(name));
    snprintf(target, sizeof target, "%s/target.png", folder);
    snprintf(link, sizeof link, "%s/link.png", folder);
    assert_int_equal(udump_png_write(target, &picture, "old", NULL), UDUMP_OK);
    assert_int_equal(symlink("target.png", link), 0);
    assert_int_equal(udump_png_write(link, &picture, "new", NULL), UDUMP_OK);
    struct stat status;
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    struct decoded back = decode(target);
    assert_string_equal(back.text, "new");
    free(back.pixels);
    unlink(target);
    expect_file_error(link, "cannot be followed: No such file or directory");
    unlink(link);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_read_back),
        cmocka_unit_test(the_address_is_not_in_the_file),
        cmocka_unit_test(text_is_latin1_where_that_suffices),
        cmocka_unit_test(text_is_utf8_where_it_must),
        cmocka_unit_test(text_reads_back_through_libpng),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(bad_pictures_are_refused),
        cmocka_unit_test(refusals_of_the_system_are_reported),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(names_and_links),
    };
    return cmocka_run_group_tests_name("png", tests, make_folder, remove_folder);
}
