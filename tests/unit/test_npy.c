/* npy files: what is written equals numpy's bytes; what is read is numpy's, in either order; everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/npy.h"
#include "output/npy_header.h"
#include "tensor/view.h"

static char path[64];

static int make_file(void **state) {
    (void)state;
    strcpy(path, "/tmp/udump-npy-XXXXXX");
    int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* The headers that numpy 2.4 writes. */
static void headers_equal_numpys(void **state) {
    (void)state;
    static const struct {
        int rank;
        int64_t shape[6];
        size_t size;
        const char *start; /* up to the padding */
    } cases[] = {
        { 0, { 0 }, 128, "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (), }" },
        { 1, { 3 }, 128, "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }" },
        { 2, { 0, 5 }, 128, "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5), }" },
        { 3, { 320, 64, 64 }, 128, "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (320, 64, 64), }" },
        { 6, { 7, 123456, 0, 1, 2, 3 }, 128,
            "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (7, 123456, 0, 1, 2, 3), }" },
        /* full to the last byte without padding: numpy then adds a whole 64 */
        { 6, { 96, 77046745, 39651, 6193, 972176, 61933832 }, 192,
            "\x93NUMPY\x01\0\xB6\0{'descr': '<f4', 'fortran_order': False, 'shape': (96, 77046745, 39651, 6193, 972176, 61933832), }" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[UDUMP_NPY_MOST_WRITTEN_BYTES], expected[UDUMP_NPY_MOST_WRITTEN_BYTES];
        size_t start = 10 + strlen(cases[i].start + 10);
        memset(expected, ' ', sizeof expected);
        memcpy(expected, cases[i].start, start);
        expected[cases[i].size - 1] = '\n';
        assert_int_equal(udump_npy_header_format(cases[i].rank, cases[i].shape, header), cases[i].size);
        assert_memory_equal(header, expected, cases[i].size);
    }
}

static void longest_header_fits(void **state) {
    (void)state;
    const int64_t shape[6] = { INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX };
    char header[UDUMP_NPY_MOST_WRITTEN_BYTES];
    size_t size = udump_npy_header_format(6, shape, header);
    assert_true(size <= sizeof header);
    assert_int_equal(size % 64, 0);
    assert_int_equal(header[size - 1], '\n');
}

static void written_arrays_read_back(void **state) {
    (void)state;
    float values[24];
    for (int i = 0; i < 24; i++) values[i] = (float)i * 0.3f - 2.0f;
    udump_view view = { values, UDUMP_F32, 3, { 2, 3, 4 }, { 1, 8, 2 } }; /* [channels, h, w] of channels-last memory */
    udump_bytes file;
    assert_int_equal(udump_npy_encode(&view, &file, NULL), UDUMP_OK);
    assert_int_equal(file.size, 128 + sizeof values);
    write_file(file.data, file.size);
    udump_array array;
    assert_int_equal(udump_npy_read(path, &array, NULL), UDUMP_OK);
    assert_int_equal(array.view.rank, 3);
    assert_int_equal(array.view.dtype, UDUMP_F32);
    const float *read = array.view.data;
    for (int c = 0; c < 2; c++)
        for (int y = 0; y < 3; y++)
            for (int x = 0; x < 4; x++) {
                int64_t at = c * array.view.stride[0] + y * array.view.stride[1] + x * array.view.stride[2];
                assert_int_equal(at, c * 12 + y * 4 + x);
                assert_memory_equal(&read[at], &values[c + y * 8 + x * 2], sizeof(float));
            }
    udump_array_free(&array);
    free(file.data);
}

static void scalars_and_empty_arrays_read_back(void **state) {
    (void)state;
    float value = 1.5f;
    udump_view scalar = { &value, UDUMP_F32, 0, { 0 }, { 0 } }, empty = { NULL, UDUMP_F32, 2, { 3, 0 }, { 0, 1 } };
    udump_bytes file;
    udump_array array;
    assert_int_equal(udump_npy_encode(&scalar, &file, NULL), UDUMP_OK);
    write_file(file.data, file.size);
    free(file.data);
    assert_int_equal(udump_npy_read(path, &array, NULL), UDUMP_OK);
    assert_int_equal(array.view.rank, 0);
    assert_true(*(float *)array.view.data == 1.5f);
    udump_array_free(&array);
    udump_array_free(&array); /* an empty one may be freed again */
    assert_int_equal(udump_npy_encode(&empty, &file, NULL), UDUMP_OK);
    assert_int_equal(file.size, 128);
    write_file(file.data, file.size);
    free(file.data);
    assert_int_equal(udump_npy_read(path, &array, NULL), UDUMP_OK);
    assert_int_equal(array.view.shape[0], 3);
    assert_int_equal(array.view.shape[1], 0);
    assert_true(udump_view_valid(&array.view));
    udump_array_free(&array);
}

static void half_precision_is_widened(void **state) {
    (void)state;
    static const uint16_t halves[2] = { 0x3F80, 0xC040 }; /* bf16: 1, -3 */
    udump_view view = { (void *)(uintptr_t)halves, UDUMP_BF16, 1, { 2 }, { 1 } };
    udump_bytes file;
    float values[2];
    assert_int_equal(udump_npy_encode(&view, &file, NULL), UDUMP_OK);
    memcpy(values, file.data + 128, sizeof values);
    assert_true(values[0] == 1.0f && values[1] == -3.0f);
    free(file.data);
    udump_error error;
    view.rank = 7;
    assert_int_equal(udump_npy_encode(&view, &file, &error), UDUMP_ERROR_ARGUMENT);
}

/* A file from a version, a dict literal and a number of data bytes, which count 0.0f, 1.0f, ... */
static size_t compose(uint8_t *file, int version, const char *dict, size_t data_bytes) {
    size_t length = strlen(dict), prefix = version == 1 ? 10 : 12;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)version;
    file[7] = 0;
    for (size_t i = 8; i < prefix; i++) file[i] = (uint8_t)(length >> (8 * (i - 8)));
    memcpy(file + prefix, dict, length);
    for (size_t i = 0; i < data_bytes; i++) {
        float value = (float)(i / 4);
        file[prefix + length + i] = ((uint8_t *)&value)[i % 4];
    }
    return prefix + length + data_bytes;
}

static udump_status read_composed(int version, const char *dict, size_t data_bytes, udump_array *array, udump_error *error) {
    uint8_t file[1024];
    write_file(file, compose(file, version, dict, data_bytes));
    return udump_npy_read(path, array, error);
}

/* A number of one's own; the same on every machine. */
static uint32_t next_random(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

/* Element by element, as slow as it is plain. */
static void check_elements(const udump_view *view) {
    int64_t count = udump_view_count(view);
    float *read = malloc((size_t)count * sizeof *read);
    udump_view_read_f32(view, read);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0, rest = i;
        for (int d = view->rank - 1; d >= 0; d--) {
            at += rest % view->shape[d] * view->stride[d];
            rest /= view->shape[d];
        }
        float expected;
        size_t bytes = udump_dtype_bytes(view->dtype);
        udump_convert_to_f32(&expected, (const char *)view->data + at * (int64_t)bytes, view->dtype, 1);
        assert_memory_equal(&read[i], &expected, sizeof expected);
    }
    free(read);
}

/* Dense in any order of the dimensions, with gaps, backwards, and the same element again and again. */
static void views_of_any_strides_are_read(void **state) {
    (void)state;
    enum { SPAN = 1 << 17 };
    uint32_t *memory = malloc(2 * SPAN * sizeof *memory), random = 1;
    for (int i = 0; i < 2 * SPAN; i++) memory[i] = (next_random(&random) & 0x3FFF3FFFu) | 0x20002000u; /* numbers in every dtype */
    for (int i = 0; i < 3000; i++) {
        udump_view view = {
            .data = memory + SPAN, .dtype = (udump_dtype)(next_random(&random) >> 8) % 3, .rank = (int)(next_random(&random) >> 8) % 7
        };
        int64_t stride = 1, most = view.rank > 3 ? 5 : 45;
        int order[6], turn = (int)(next_random(&random) >> 8) % 6, kind = i % 3;
        for (int d = 0; d < view.rank; d++) order[d] = (d + turn) % view.rank;
        for (int d = 0; d < view.rank; d++) {
            view.shape[order[d]] = 1 + (next_random(&random) >> 8) % most;
            view.stride[order[d]] = kind == 2 ? (int64_t)((next_random(&random) >> 8) % 400) - 200 : stride;
            stride *= view.shape[order[d]] + (kind == 1);
        }
        if (stride <= SPAN) check_elements(&view);
    }
    const udump_view channels_last = { memory, UDUMP_BF16, 3, { 70, 33, 41 }, { 1, 41 * 70, 70 } };
    const udump_view every_other = { memory, UDUMP_F16, 2, { 100, 65 }, { 2, 200 } };
    check_elements(&channels_last);
    check_elements(&every_other);
    free(memory);
}

static void fortran_order_and_versions(void **state) {
    (void)state;
    for (int version = 1; version <= 3; version++) {
        udump_array array;
        assert_int_equal(read_composed(version, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3, 4), }   \n", 96, &array, NULL),
            UDUMP_OK);
        assert_int_equal(array.view.stride[0], 1);
        assert_int_equal(array.view.stride[1], 2);
        assert_int_equal(array.view.stride[2], 6);
        float values[24];
        udump_view_read_f32(&array.view, values); /* C order */
        assert_true(values[0] == 0 && values[1] == 6 && values[4] == 2 && values[12] == 1 && values[23] == 23);
        udump_array_free(&array);
    }
}

static void literals_that_python_would_take(void **state) {
    (void)state;
    static const struct { const char *dict; size_t bytes; int rank; } good[] = {
        { "{'shape':(2,),'fortran_order':False,'descr':'<f4'}", 8, 1 },
        { "  { \"descr\" : \"<f4\" ,\n'fortran_order':\tTrue , 'shape' : ( 2 , 3 , ) , } ", 24, 2 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, 0 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': ( )}", 4, 0 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 2), }\n", 8, 6 },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }", 0, -1 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        udump_array array;
        udump_status status = read_composed(1, good[i].dict, good[i].bytes, &array, NULL);
        assert_int_equal(status, good[i].rank < 0 ? UDUMP_ERROR_FORMAT : UDUMP_OK);
        if (status) continue;
        assert_int_equal(array.view.rank, good[i].rank);
        udump_array_free(&array);
    }
}

static void hostile_headers_are_refused(void **state) {
    (void)state;
#define START "{'descr': '<f4', 'fortran_order': False, 'shape': "
    static const struct { const char *dict; size_t bytes; udump_status status; int64_t offset; const char *expected, *found;
    } bad[] = {
        { "", 0, UDUMP_ERROR_FORMAT, 10, "'{'", "the header's end" },
        { "[]", 0, UDUMP_ERROR_FORMAT, 10, "'{'", "'['" },
        { "{}", 4, UDUMP_ERROR_FORMAT, 11, "'descr', 'fortran_order' and 'shape'", "" },
        { "{'descr': '<f4', 'fortran_order': False}", 4, UDUMP_ERROR_FORMAT, 49, "'descr', 'fortran_order' and 'shape'", "" },
        { "{,}", 0, UDUMP_ERROR_FORMAT, 11, "a key", "','" },
        { "{'descr' '<f4'}", 0, UDUMP_ERROR_FORMAT, 19, "':'", "'''" },
        { "{'descr': '<f4'  'shape': ()}", 0, UDUMP_ERROR_FORMAT, 27, "',' or '}'", "'''" },
        { "{'descr': '<f4', 'descr': '<f4'}", 0, UDUMP_ERROR_FORMAT, 27, "", "descr" },
        { "{'other': 3}", 0, UDUMP_ERROR_FORMAT, 11, "'descr', 'fortran_order' or 'shape'", "" },
        { "{'desc\\x72': 3}", 0, UDUMP_ERROR_FORMAT, 16, "a plain string", "'\\'" },
        { "{'descr", 0, UDUMP_ERROR_FORMAT, 17, "a closing quote", "the header's end" },
        { "{'descr': 4}", 0, UDUMP_ERROR_FORMAT, 20, "a dtype, a string", "'4'" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", 8, UDUMP_ERROR_UNSUPPORTED, 20, "'<f4'", "'<f8'" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, UDUMP_ERROR_UNSUPPORTED, 20, "'<f4'", "'>f4'" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 4, UDUMP_ERROR_UNSUPPORTED, 20, "'<f4'", "'|O'" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, UDUMP_ERROR_UNSUPPORTED, 20, "'<f4'",
            "a structured dtype" },
        { "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", 4, UDUMP_ERROR_FORMAT, 44, "True or False", "'1'" },
        { START "3}", 4, UDUMP_ERROR_FORMAT, 60, "a tuple of sizes", "'3'" },
        { START "[3]}", 4, UDUMP_ERROR_FORMAT, 60, "a tuple of sizes", "'['" },
        { START "(3)}", 12, UDUMP_ERROR_FORMAT, 62, "',' after a tuple's only size", "')'" },
        { START "(,)}", 4, UDUMP_ERROR_FORMAT, 61, "a size", "','" },
        { START "(-1,)}", 4, UDUMP_ERROR_FORMAT, 61, "a size", "'-'" },
        { START "(1.5,)}", 4, UDUMP_ERROR_FORMAT, 62, "',' or ')'", "'.'" },
        { START "(03,)}", 12, UDUMP_ERROR_FORMAT, 61, "a size", "a leading zero" },
        { START "(3 4)}", 12, UDUMP_ERROR_FORMAT, 63, "',' or ')'", "'4'" },
        { START "(3,", 12, UDUMP_ERROR_FORMAT, 63, "a size", "the header's end" },
        { START "(1, 1, 1, 1, 1, 1, 1)}", 4, UDUMP_ERROR_UNSUPPORTED, 79, "", "" },
        { START "(9223372036854775808,)}", 4, UDUMP_ERROR_FORMAT, 61, "", "" },
        { START "(99999999999999999999999999,)}", 4, UDUMP_ERROR_FORMAT, 61, "", "" },
        { START "(4294967296, 4294967296)}", 0, UDUMP_ERROR_FORMAT, 85, "", "" },
        { START "(0, 4294967296, 4294967296)}", 0, UDUMP_ERROR_FORMAT, 88, "", "" },
        { START "(3,)}", 11, UDUMP_ERROR_FORMAT, 65, "12 bytes of data", "11" },
        { START "(3,)}", 13, UDUMP_ERROR_FORMAT, 65, "12 bytes of data", "13" },
        { START "(1000000000000,)}", 4, UDUMP_ERROR_FORMAT, 77, "4000000000000 bytes of data", "4" },
        { START "(1,)} x", 4, UDUMP_ERROR_FORMAT, 66, "nothing but spaces after '}'", "'x'" },
        { START "(1,)}\x01", 4, UDUMP_ERROR_FORMAT, 65, "nothing but spaces after '}'", "byte 0x01" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        udump_error error = { .status = UDUMP_OK };
        udump_array array;
        assert_int_equal(read_composed(1, bad[i].dict, bad[i].bytes, &array, &error), bad[i].status);
        assert_int_equal(error.status, bad[i].status);
        assert_int_equal(error.offset, bad[i].offset);
        assert_string_equal(error.expected, bad[i].expected);
        assert_string_equal(error.found, bad[i].found);
        assert_string_equal(error.where, path);
        assert_null(array.owner);
    }
}

static void expect_refusal(const uint8_t *file, size_t size, udump_status status, const char *what) {
    udump_error error;
    udump_array array;
    write_file(file, size);
    assert_int_equal(udump_npy_read(path, &array, &error), status);
    assert_string_equal(error.what, what);
}

static void bad_prefixes_are_refused(void **state) {
    (void)state;
    uint8_t file[1024];
    size_t size = compose(file, 2, START "(1,)}", 4);
    expect_refusal(file, 0, UDUMP_ERROR_FORMAT, "not an npy file");
    expect_refusal(file, 9, UDUMP_ERROR_FORMAT, "not an npy file");
    expect_refusal(file, 11, UDUMP_ERROR_FORMAT, "truncated npy header");
    expect_refusal(file, 30, UDUMP_ERROR_FORMAT, "truncated npy header");
    file[11] = 0x7F;
    expect_refusal(file, size, UDUMP_ERROR_FORMAT, "the npy header is too long");
    file[6] = 4;
    expect_refusal(file, size, UDUMP_ERROR_UNSUPPORTED, "unsupported npy version");
    file[6] = 0;
    expect_refusal(file, size, UDUMP_ERROR_UNSUPPORTED, "unsupported npy version");
    file[6] = 1;
    file[7] = 1;
    expect_refusal(file, size, UDUMP_ERROR_UNSUPPORTED, "unsupported npy version");
    file[0] = 'P';
    expect_refusal(file, size, UDUMP_ERROR_FORMAT, "not an npy file");
}

/* A header of exactly the most bytes is read; one more is not. */
static void the_longest_header_is_read(void **state) {
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t length = UDUMP_NPY_MOST_HEADER_BYTES + extra;
        char *dict = malloc(length + 1);
        uint8_t *file = malloc(length + 64);
        memset(dict, ' ', length);
        memcpy(dict, START "(2,)}", strlen(START "(2,)}"));
        dict[length] = '\0';
        write_file(file, compose(file, 2, dict, 8));
        udump_array array;
        assert_int_equal(udump_npy_read(path, &array, NULL), extra ? UDUMP_ERROR_FORMAT : UDUMP_OK);
        if (!extra) assert_true(((float *)array.view.data)[1] == 1.0f);
        udump_array_free(&array);
        free(dict);
        free(file);
    }
}

static void what_is_not_a_file_is_refused(void **state) {
    (void)state;
    udump_error error;
    udump_array array;
    char pipe[80];
    assert_int_equal(udump_npy_read("/nonexistent/a.npy", &array, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "cannot be opened: No such file or directory");
    assert_int_equal(udump_npy_read("/tmp", &array, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "cannot be read: Is a directory");
    assert_int_equal(udump_npy_read("/dev/zero", &array, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "not a regular file");
    snprintf(pipe, sizeof pipe, "%s-pipe", path);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(udump_npy_read(pipe, &array, &error), UDUMP_ERROR_FILE); /* and does not wait for a writer */
    assert_string_equal(error.what, "not a regular file");
    unlink(pipe);
    assert_int_equal(udump_npy_read(NULL, &array, &error), UDUMP_ERROR_ARGUMENT);
    assert_int_equal(udump_npy_read(path, NULL, &error), UDUMP_ERROR_ARGUMENT);
    udump_array_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_equal_numpys),
        cmocka_unit_test(longest_header_fits),
        cmocka_unit_test(written_arrays_read_back),
        cmocka_unit_test(scalars_and_empty_arrays_read_back),
        cmocka_unit_test(half_precision_is_widened),
        cmocka_unit_test(views_of_any_strides_are_read),
        cmocka_unit_test(fortran_order_and_versions),
        cmocka_unit_test(literals_that_python_would_take),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(bad_prefixes_are_refused),
        cmocka_unit_test(the_longest_header_is_read),
        cmocka_unit_test(what_is_not_a_file_is_refused),
    };
    return cmocka_run_group_tests_name("npy", tests, make_file, remove_file);
}
