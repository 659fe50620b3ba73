/* One safetensors file's header: what is accepted, and every way to be malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "weights/safetensors.h"

static char folder[] = "/tmp/udump_safetensors_XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_bytes(const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static udump_status read_header(udump_safetensors *header, udump_error *error) {
    udump_weight_file file;
    memset(error, 0, sizeof *error);
    udump_status status = udump_weight_file_open(path, &file, error);
    if (status != UDUMP_OK) return status;
    status = udump_safetensors_read(&file, header, error);
    udump_weight_file_close(&file);
    return status;
}

/* A file with this header length, header and as many bytes of data. */
static void write_file(uint64_t length, const char *header, size_t data_bytes) {
    size_t header_bytes = strlen(header), total = 8 + header_bytes + data_bytes;
    unsigned char *bytes = calloc(1, total);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, header_bytes);
    write_bytes(bytes, total);
    free(bytes);
}

static void one_of_each(void **state) {
    (void)state;
    const char *text = "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"c\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[40,42]},"
        "\"ids\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[0,16]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[16,40]},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1],\"data_offsets\":[42,44]},"
        "\"deep\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[44,46]},"
        "\"half bytes\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[46,48]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[40,40]}}   ";
    write_file(strlen(text), text, 48);
    udump_safetensors header;
    udump_error error;
    assert_int_equal(read_header(&header, &error), UDUMP_OK);
    assert_int_equal(header.count, 7);
    static const struct {
        const char *name, *dtype;
        bool loadable;
        udump_dtype value;
        int rank;
        uint64_t offset, size;
    } expected[] = { { "ids", "I64", false, UDUMP_F32, 0, 0, 16 }, { "a", "F32", true, UDUMP_F32, 2, 16, 24 },
        { "none", "F32", true, UDUMP_F32, 2, 40, 0 }, { "c", "BF16", true, UDUMP_BF16, 0, 40, 2 },
        { "b", "F16", true, UDUMP_F16, 6, 42, 2 }, { "deep", "F16", false, UDUMP_F16, 0, 44, 2 },
        { "half bytes", "F4", false, UDUMP_F32, 0, 46, 2 } };
    for (int i = 0; i < 7; i++) {
        const udump_safetensors_entry *entry = &header.entries[i];
        assert_string_equal(entry->name, expected[i].name);
        assert_string_equal(entry->dtype_name, expected[i].dtype);
        assert_int_equal(entry->loadable, expected[i].loadable);
        assert_int_equal(entry->offset_bytes, 8 + strlen(text) + expected[i].offset);
        assert_int_equal(entry->size_bytes, expected[i].size);
        if (!entry->loadable) continue;
        assert_int_equal(entry->dtype, expected[i].value);
        assert_int_equal(entry->rank, expected[i].rank);
    }
    assert_int_equal(header.entries[1].shape[0], 2);
    assert_int_equal(header.entries[1].shape[1], 3);
    udump_safetensors_free(&header);
}

static void empty_file_of_tensors(void **state) {
    (void)state;
    udump_safetensors header;
    udump_error error;
    write_file(2, "{}", 0);
    assert_int_equal(read_header(&header, &error), UDUMP_OK);
    assert_int_equal(header.count, 0);
    udump_safetensors_free(&header);
}

/* Wrong headers: the text, the bytes of data behind it, and what the message must have. */
#define T(dtype, shape, offsets) "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets
static const struct {
    const char *header;
    size_t data_bytes;
    const char *tensor, *what, *expected, *found;
} malformed[] = {
    { "{\"t\":{" T("F32", "[2]", "[0,8]") "}}", 4, "t", "outside of the file", "4 bytes of data", "[0,8]" },
    { "{\"t\":{" T("F32", "[2]", "[0,8]") "}}", 12, NULL, "after its last tensor", "8 bytes", "12 bytes" },
    { "{}", 1, NULL, "after its last tensor", "0 bytes", "1 bytes" },
    { "{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("F32", "[2]", "[4,12]") "}}", 12, "u", "overlaps: t", "offset 8", "offset 4" },
    { "{\"t\":{" T("F32", "[1]", "[0,4]") "},\"u\":{" T("F32", "[1]", "[0,4]") "}}", 4, "u", "overlaps: t", "offset 4", "offset 0" },
    { "{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("F32", "[0]", "[4,4]") "}}", 8, "u", "overlaps: t", "offset 8", "offset 4" },
    { "{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("F32", "[1]", "[12,16]") "}}", 16, "u", "unused bytes", "offset 8", "offset 12" },
    { "{\"b\":{" T("U8", "[2]", "[0,2]") "},\"u\":{" T("F32", "[1]", "[2,6]") "}}", 6, "u", "misaligned", "multiple of 4", "offset 2" },
    { "{\"b\":{" T("U8", "[1]", "[0,1]") "},\"u\":{" T("F16", "[1]", "[1,3]") "}}", 3, "u", "misaligned", "multiple of 2", "offset 1" },
    { "{\"t\":{" T("F32", "[2]", "[-8,0]") "}}", 8, "t", "malformed data_offsets", "from 0 on", "[-8,0]" },
    { "{\"t\":{" T("F32", "[2]", "[8,0]") "}}", 8, "t", "end before they begin", "", "[8,0]" },
    { "{\"t\":{" T("F32", "[2]", "[0,4]") "}}", 4, "t", "do not fit the shape", "8 bytes for this shape of F32", "4 bytes" },
    { "{\"t\":{" T("F32", "[2]", "[0]") "}}", 8, "t", "malformed data_offsets", "two offsets", "[0]" },
    { "{\"t\":{" T("F32", "[2]", "[0,8,8]") "}}", 8, "t", "malformed data_offsets", "two offsets", "[0,8,8]" },
    { "{\"t\":{" T("F32", "[2]", "[0,8.0]") "}}", 8, "t", "malformed data_offsets", "two offsets", "[0,8.0]" },
    { "{\"t\":{" T("F32", "[2]", "{}") "}}", 8, "t", "malformed data_offsets", "two offsets", "{}" },
    { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "t", "malformed data_offsets", "two offsets", "nothing" },
    { "{\"t\":{" T("F32", "[2]", "[0,9223372036854775807]") "}}", 8, "t", "outside of the file", "8 bytes", "[0,9223372036854775807]" },
    { "{\"t\":{" T("F32", "[-2]", "[0,8]") "}}", 8, "t", "malformed shape", "sizes from 0 on", "[-2]" },
    { "{\"t\":{" T("F32", "[\"2\"]", "[0,8]") "}}", 8, "t", "malformed shape", "sizes from 0 on", "[\"2\"]" },
    { "{\"t\":{" T("F32", "2", "[0,8]") "}}", 8, "t", "malformed shape", "a list of sizes", "2" },
    { "{\"t\":{" T("F32", "[4294967296,4294967296]", "[0,8]") "}}", 8, "t", "shape overflows", "", "4294967296" },
    { "{\"t\":{" T("F32", "[1073741824,4294967296,2,2]", "[0,0]") "}}", 0, "t", "shape overflows", "", "1073741824" },
    { "{\"t\":{" T("F4", "[3]", "[0,1]") "}}", 1, "t", "whole bytes", "", "[3]" },
    { "{\"t\":{" T("F128", "[1]", "[0,16]") "}}", 16, "t", "unknown dtype", "F32", "\"F128\"" },
    { "{\"t\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "t", "unknown dtype", "F32", "5" },
    { "{\"t\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "t", "unknown dtype", "F32", "nothing" },
    { "{\"t\":[]}", 0, "t", "malformed tensor", "an object", "[]" },
    { "{\"bad\\u001b[2Jname\":7}", 0, "bad?[2Jname", "malformed tensor", "an object", "7" },
    { "[1]", 0, NULL, "not a JSON object", "{", "" },
    { " {}", 0, NULL, "not a JSON object", "{", "" },
    { "hello", 0, NULL, "not a JSON object", "{", "" },
};

static void each_malformation(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        udump_safetensors header;
        udump_error error;
        char place[256];
        write_file(strlen(malformed[i].header), malformed[i].header, malformed[i].data_bytes);
        udump_status status = read_header(&header, &error);
        const char *tensor = malformed[i].tensor;
        snprintf(place, sizeof place, "%s%s%s", path, tensor ? ": " : "", tensor ? tensor : "");
        bool told = strstr(error.what, malformed[i].what) && strstr(error.expected, malformed[i].expected) &&
            strstr(error.found, malformed[i].found) && !*malformed[i].found == !*error.found;
        if (status != UDUMP_ERROR_FORMAT || error.status != status || strcmp(error.where, place) != 0 || !told) {
            char text[1024];
            udump_error_format(&error, text, sizeof text);
            fail_msg("%s gave %d: %s", malformed[i].header, status, text);
        }
    }
}

/* What JSON itself refuses, with the offset in the file (the header begins at byte 8). */
static void json_errors_have_positions(void **state) {
    (void)state;
    static const struct {
        const char *header, *what;
        int64_t offset;
    } cases[] = {
        { "{\"t\": x}", "not valid JSON", 8 + 6 },
        { "{\"t\":1,}", "not valid JSON", 8 + 7 },
        { "{} {}", "not valid JSON", 8 + 3 },
        { "{\"t\":99999999999999999999}", "not valid JSON", 8 + 24 },
        { "{\"t\":{\"a\":[{\"b\":[1]}]}}", "nested too deeply", 8 + 16 },
        { "{\"t\":{},\"t\":{}}", "duplicate", 8 + 10 },
        { "{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "duplicate", 8 + 26 },
        { "{\"\xff\":1}", "not valid JSON", 8 + 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        udump_safetensors header;
        udump_error error;
        write_file(strlen(cases[i].header), cases[i].header, 0);
        udump_status status = read_header(&header, &error);
        if (status != UDUMP_ERROR_FORMAT || !strstr(error.what, cases[i].what) || error.offset != cases[i].offset || error.line != 0)
            fail_msg("%s gave %d at %lld: %s", cases[i].header, status, (long long)error.offset, error.what);
        assert_string_equal(error.where, path);
    }
}

static void text_of_brackets_is_not_depth(void **state) {
    (void)state;
    udump_safetensors header;
    udump_error error;
    const char *text = "{\"[[[[[[{{{{\\\"[[[\":{" T("F16", "[1]", "[0,2]") "}}";
    write_file(strlen(text), text, 2);
    assert_int_equal(read_header(&header, &error), UDUMP_OK);
    assert_string_equal(header.entries[0].name, "[[[[[[{{{{\"[[[");
    udump_safetensors_free(&header);
}

static void too_many_values(void **state) {
    (void)state;
    size_t bytes = 2 * UDUMP_SAFETENSORS_VALUE_LIMIT + 16;
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    size_t used = (size_t)sprintf(text, "{\"t\":[");
    for (int i = 0; i < UDUMP_SAFETENSORS_VALUE_LIMIT; i++) used += (size_t)sprintf(text + used, "0,");
    sprintf(text + used, "0]}");
    udump_safetensors header;
    udump_error error = { 0 };
    assert_int_equal(udump_safetensors_parse(text, strlen(text), 0, "many", &header, &error), UDUMP_ERROR_FORMAT);
    assert_string_equal(error.what, "too many values in JSON");
    assert_string_equal(error.expected, "at most 524288 values");
    assert_true(error.offset > 1 << 20);
    free(text);
}

static void header_lengths(void **state) {
    (void)state;
    static const uint64_t lengths[] = { 3, 4, 1000, 100000001, (uint64_t)1 << 32, INT64_MAX, UINT64_MAX, UINT64_MAX - 7 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        udump_safetensors header;
        udump_error error;
        char found[32];
        write_file(lengths[i], "{}", 0);
        assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FORMAT);
        assert_non_null(strstr(error.what, "impossible header length"));
        assert_string_equal(error.expected, "at most 100000000, in a file of 10 bytes");
        snprintf(found, sizeof found, "%llu bytes", (unsigned long long)lengths[i]);
        assert_string_equal(error.found, found);
    }
}

static void header_over_the_limit_in_a_file_that_long(void **state) {
    (void)state;
    write_file(UDUMP_SAFETENSORS_HEADER_LIMIT + 1, "{}", 0);
    assert_int_equal(truncate(path, UDUMP_SAFETENSORS_HEADER_LIMIT + 100), 0); /* sparse */
    udump_safetensors header;
    udump_error error;
    assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FORMAT);
    assert_non_null(strstr(error.what, "impossible header length"));
}

static void shorter_than_a_length(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes < 8; bytes++) {
        udump_safetensors header;
        udump_error error;
        write_bytes("\2\0\0\0\0\0\0", bytes);
        assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FORMAT);
        assert_string_equal(error.what, "truncated file");
        assert_string_equal(error.where, path);
    }
}

/* A file cut anywhere is refused, wherever the cut is. */
static void every_truncation(void **state) {
    (void)state;
    const char *text = "{\"t\":{" T("F32", "[2]", "[0,8]") "},\"u\":{" T("BF16", "[3]", "[8,14]") "}}";
    size_t total = 8 + strlen(text) + 14;
    for (size_t kept = 0; kept < total; kept++) {
        write_file(strlen(text), text, 14);
        assert_int_equal(truncate(path, (off_t)kept), 0);
        udump_safetensors header;
        udump_error error;
        assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FORMAT);
    }
    write_file(strlen(text), text, 14);
    udump_safetensors header;
    udump_error error;
    assert_int_equal(read_header(&header, &error), UDUMP_OK);
    udump_safetensors_free(&header);
}

static void pickles_by_another_name(void **state) {
    (void)state;
    udump_safetensors header;
    udump_error error;
    write_bytes("PK\3\4\0\0\0\0\0\1\2\3", 12); /* torch.save's zip */
    assert_int_equal(read_header(&header, &error), UDUMP_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.what, "convert it to safetensors"));
    write_bytes("\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20", 10);
    assert_int_equal(read_header(&header, &error), UDUMP_ERROR_UNSUPPORTED);
}

static void not_regular_files(void **state) {
    (void)state;
    udump_safetensors header;
    udump_error error;
    unlink(path);
    assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.where, path);
    assert_string_equal(error.what, "cannot be opened: No such file or directory");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_header(&header, &error), UDUMP_ERROR_FILE);
    assert_string_equal(error.what, "not a regular file");
}

static void errors_without_a_place_to_put_them(void **state) {
    (void)state;
    udump_safetensors header;
    assert_int_equal(udump_safetensors_parse("{\"t\":1}", 7, 0, "x", &header, NULL), UDUMP_ERROR_FORMAT);
    assert_int_equal(udump_safetensors_parse("{\"t\":x}", 7, 0, "x", &header, NULL), UDUMP_ERROR_FORMAT);
    assert_int_equal(udump_safetensors_parse("{[[[[[[", 7, 0, "x", &header, NULL), UDUMP_ERROR_FORMAT);
    assert_int_equal(udump_safetensors_parse("", 0, 0, "x", &header, NULL), UDUMP_ERROR_FORMAT);
}

static void long_places(void **state) {
    (void)state;
    char place[UDUMP_WEIGHT_PLACE_BYTES], text[601], name[601];
    for (int i = 0; i < 300; i++) memcpy(text + 2 * i, "\xc3\xa9", 2), memcpy(name + 2 * i, "\xc3\xb6", 2); /* é, ö */
    text[600] = name[600] = 0;
    udump_weight_place(place, text, NULL);
    assert_true(strlen(place) <= 255 && strlen(place) >= 254);
    assert_memory_equal(place, "...\xc3\xa9", 5);
    udump_weight_place(place, text, name);
    assert_true(strlen(place) <= 255 && strlen(place) >= 254);
    assert_memory_equal(place, "...\xc3\xa9", 5);
    const char *end = strstr(place, ": \xc3\xb6");
    assert_non_null(end);
    assert_int_equal(strlen(end + 2), 150);
    udump_weight_place(place, "a\nb", "c\x7f");
    assert_string_equal(place, "a?b: c?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_each), cmocka_unit_test(empty_file_of_tensors), cmocka_unit_test(each_malformation),
        cmocka_unit_test(json_errors_have_positions), cmocka_unit_test(text_of_brackets_is_not_depth), cmocka_unit_test(too_many_values),
        cmocka_unit_test(header_lengths), cmocka_unit_test(header_over_the_limit_in_a_file_that_long),
        cmocka_unit_test(shorter_than_a_length), cmocka_unit_test(every_truncation), cmocka_unit_test(pickles_by_another_name),
        cmocka_unit_test(not_regular_files), cmocka_unit_test(errors_without_a_place_to_put_them), cmocka_unit_test(long_places),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_folder, remove_folder);
}
