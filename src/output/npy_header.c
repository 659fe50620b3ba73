#include "output/npy_header.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

static const char magic[6] = "\x93NUMPY";

enum {
    MOST_RANK = 6,
    ALIGNMENT = 64,
    GROWTH_DIGITS = 21 /* numpy leaves room for the first size to grow to this many digits in place */
};

/* The dict literal, being read. at, end: offsets into bytes, which is the file. */
struct reader {
    const char *where;
    const uint8_t *bytes;
    size_t at, end;
    udump_error *error;
};

static udump_status fail_at(const struct reader *reader, size_t offset, udump_status status, const char *what, const char *expected,
    const char *found) {
    udump_fail_values(reader->error, status, reader->where, what, expected, found);
    if (reader->error) reader->error->offset = (int64_t)offset;
    return status;
}

static udump_status fail_expected(const struct reader *reader, const char *expected) {
    if (reader->at >= reader->end)
        return fail_at(reader, reader->at, UDUMP_ERROR_FORMAT, "malformed npy header", expected, "the header's end");
    uint8_t byte = reader->bytes[reader->at];
    char found[16];
    snprintf(found, sizeof found, byte > 0x20 && byte < 0x7F ? "'%c'" : "byte 0x%02x", byte);
    return fail_at(reader, reader->at, UDUMP_ERROR_FORMAT, "malformed npy header", expected, found);
}

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end && memchr(" \t\r\n", reader->bytes[reader->at], 4)) reader->at++;
}

/* Skips white space, then c if it stands there. */
static bool accept(struct reader *reader, char c) {
    skip_space(reader);
    if (reader->at >= reader->end || reader->bytes[reader->at] != (uint8_t)c) return false;
    reader->at++;
    return true;
}

static bool accept_word(struct reader *reader, const char *word) {
    size_t length = strlen(word);
    skip_space(reader);
    if (reader->end - reader->at < length || memcmp(reader->bytes + reader->at, word, length)) return false;
    reader->at += length;
    return true;
}

/* A string literal without escapes: numpy writes none in the keys and types of plain arrays. */
static udump_status read_string(struct reader *reader, const char *expected, const char **text, size_t *length) {
    skip_space(reader);
    uint8_t quote = reader->at < reader->end ? reader->bytes[reader->at] : 0;
    if (quote != '\'' && quote != '"') return fail_expected(reader, expected);
    size_t begin = ++reader->at;
    while (reader->at < reader->end && reader->bytes[reader->at] != quote) {
        uint8_t byte = reader->bytes[reader->at];
        if (byte == '\\' || byte < 0x20 || byte > 0x7E) return fail_expected(reader, "a plain string");
        reader->at++;
    }
    if (reader->at >= reader->end) return fail_expected(reader, "a closing quote");
    *text = (const char *)reader->bytes + begin;
    *length = reader->at++ - begin;
    return UDUMP_OK;
}

static udump_status read_type(struct reader *reader) {
    skip_space(reader);
    size_t begin = reader->at, length;
    const char *text;
    if (begin < reader->end && reader->bytes[begin] == '[')
        return fail_at(reader, begin, UDUMP_ERROR_UNSUPPORTED, "unsupported npy dtype", "'<f4'", "a structured dtype");
    udump_status status = read_string(reader, "a dtype, a string", &text, &length);
    if (status) return status;
    if (length == 3 && !memcmp(text, "<f4", 3)) return UDUMP_OK;
    char found[64];
    snprintf(found, sizeof found, "'%.*s'", length < 48 ? (int)length : 48, text);
    return fail_at(reader, begin, UDUMP_ERROR_UNSUPPORTED, "unsupported npy dtype", "'<f4'", found);
}

static udump_status read_order(struct reader *reader, bool *fortran_order) {
    *fortran_order = accept_word(reader, "True");
    if (*fortran_order || accept_word(reader, "False")) return UDUMP_OK;
    return fail_expected(reader, "True or False");
}

static udump_status read_size(struct reader *reader, int64_t *size) {
    size_t begin = reader->at;
    int64_t value = 0;
    for (; reader->at < reader->end && reader->bytes[reader->at] >= '0' && reader->bytes[reader->at] <= '9'; reader->at++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, reader->bytes[reader->at] - '0', &value))
            return fail_at(reader, begin, UDUMP_ERROR_FORMAT, "a size in the npy header is too large", NULL, NULL);
    if (reader->at == begin) return fail_expected(reader, "a size");
    if (reader->at - begin > 1 && reader->bytes[begin] == '0')
        return fail_at(reader, begin, UDUMP_ERROR_FORMAT, "malformed npy header", "a size", "a leading zero");
    *size = value;
    return UDUMP_OK;
}

/* A tuple: (), (3,), (3, 4), (3, 4,); (3) is a number in parentheses. */
static udump_status read_shape(struct reader *reader, udump_npy_header *header) {
    if (!accept(reader, '(')) return fail_expected(reader, "a tuple of sizes");
    bool comma = true; /* what a further size must follow */
    header->rank = 0;
    while (!accept(reader, ')')) {
        if (!comma) return fail_expected(reader, "',' or ')'");
        if (header->rank == MOST_RANK) return fail_at(reader, reader->at, UDUMP_ERROR_UNSUPPORTED, "more than 6 dimensions", NULL, NULL);
        udump_status status = read_size(reader, &header->shape[header->rank]);
        if (status) return status;
        header->rank++;
        comma = accept(reader, ',');
    }
    if (header->rank == 1 && !comma)
        return fail_at(reader, reader->at - 1, UDUMP_ERROR_FORMAT, "malformed npy header", "',' after a tuple's only size", "')'");
    return UDUMP_OK;
}

static udump_status read_entry(struct reader *reader, udump_npy_header *header, unsigned *seen) {
    static const char *const names[] = { "descr", "fortran_order", "shape" };
    const char *key;
    size_t length, begin, name = 0;
    skip_space(reader);
    begin = reader->at;
    udump_status status = read_string(reader, "a key", &key, &length);
    if (status) return status;
    while (name < 3 && (strlen(names[name]) != length || memcmp(names[name], key, length))) name++;
    if (name == 3)
        return fail_at(reader, begin, UDUMP_ERROR_FORMAT, "unknown key in the npy header", "'descr', 'fortran_order' or 'shape'", NULL);
    if (*seen & 1u << name) return fail_at(reader, begin, UDUMP_ERROR_FORMAT, "a key twice in the npy header", NULL, names[name]);
    *seen |= 1u << name;
    if (!accept(reader, ':')) return fail_expected(reader, "':'");
    return name == 0 ? read_type(reader) : name == 1 ? read_order(reader, &header->fortran_order) : read_shape(reader, header);
}

static udump_status read_dict(struct reader *reader, udump_npy_header *header) {
    unsigned seen = 0;
    if (!accept(reader, '{')) return fail_expected(reader, "'{'");
    bool comma = true;
    while (!accept(reader, '}')) {
        if (!comma) return fail_expected(reader, "',' or '}'");
        udump_status status = read_entry(reader, header, &seen);
        if (status) return status;
        comma = accept(reader, ',');
    }
    if (seen != 7)
        return fail_at(
            reader, reader->at - 1, UDUMP_ERROR_FORMAT, "the npy header lacks a key", "'descr', 'fortran_order' and 'shape'", NULL);
    skip_space(reader);
    return reader->at == reader->end ? UDUMP_OK : fail_expected(reader, "nothing but spaces after '}'");
}

/* Finds the dict literal: reader->at and end. */
static udump_status read_prefix(struct reader *reader, size_t size, uint64_t file_bytes) {
    const uint8_t *bytes = reader->bytes;
    if (size < 10 || memcmp(bytes, magic, sizeof magic)) return fail_at(reader, 0, UDUMP_ERROR_FORMAT, "not an npy file", NULL, NULL);
    char found[48];
    snprintf(found, sizeof found, "%d.%d", bytes[6], bytes[7]);
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return fail_at(reader, 6, UDUMP_ERROR_UNSUPPORTED, "unsupported npy version", "1.0, 2.0 or 3.0", found);
    reader->at = bytes[6] == 1 ? 10 : 12;
    if (size < reader->at) return fail_at(reader, 8, UDUMP_ERROR_FORMAT, "truncated npy header", NULL, NULL);
    uint64_t length = bytes[8] | (uint64_t)bytes[9] << 8;
    if (bytes[6] > 1) length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
    snprintf(found, sizeof found, "%" PRIu64, length);
    if (length > UDUMP_NPY_MOST_HEADER_BYTES)
        return fail_at(reader, 8, UDUMP_ERROR_FORMAT, "the npy header is too long", "at most 65536 bytes", found);
    if (length > file_bytes - reader->at || length > size - reader->at)
        return fail_at(reader, 8, UDUMP_ERROR_FORMAT, "truncated npy header", NULL, NULL);
    reader->end = reader->at + (size_t)length;
    return UDUMP_OK;
}

/* data_offset and data_bytes. Sizes of 0 count as 1 towards the overflow check, so that strides cannot overflow either. */
static udump_status check_sizes(const struct reader *reader, uint64_t file_bytes, udump_npy_header *header) {
    int64_t most = sizeof(float), bytes = sizeof(float);
    for (int i = 0; i < header->rank; i++) {
        if (__builtin_mul_overflow(most, header->shape[i] ? header->shape[i] : 1, &most))
            return fail_at(reader, reader->end, UDUMP_ERROR_FORMAT, "the npy array's size overflows", NULL, NULL);
        bytes = header->shape[i] ? bytes * header->shape[i] : 0;
    }
    char expected[64], found[64];
    snprintf(expected, sizeof expected, "%" PRId64 " bytes of data", bytes);
    snprintf(found, sizeof found, "%" PRIu64, file_bytes - reader->end);
    if ((uint64_t)bytes != file_bytes - reader->end)
        return fail_at(reader, reader->end, UDUMP_ERROR_FORMAT, "the npy file's length does not fit its shape", expected, found);
    header->data_offset = reader->end;
    header->data_bytes = (size_t)bytes;
    return UDUMP_OK;
}

udump_status udump_npy_header_parse(const char *where, const uint8_t *bytes, size_t size, uint64_t file_bytes, udump_npy_header *header,
    udump_error *error) {
    struct reader reader = { where, bytes, 0, 0, error };
    memset(header, 0, sizeof *header);
    udump_status status = read_prefix(&reader, size, file_bytes);
    if (!status) status = read_dict(&reader, header);
    return status ? status : check_sizes(&reader, file_bytes, header);
}

size_t udump_npy_header_format(int32_t rank, const int64_t *shape, char header[UDUMP_NPY_MOST_WRITTEN_BYTES]) {
    enum { PREFIX = 10 };
    char sizes[MOST_RANK * 21 + 1] = "", first[24] = "";
    for (int i = 0, used = 0; i < rank; i++)
        used += snprintf(sizes + used, sizeof sizes - (size_t)used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (rank > 0) snprintf(first, sizeof first, "%" PRId64, shape[0]);
    int spare = rank > 0 ? GROWTH_DIGITS - (int)strlen(first) : 0;
    int length = snprintf(header + PREFIX, UDUMP_NPY_MOST_WRITTEN_BYTES - PREFIX,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (%s%s), }%*s",
        sizes, rank == 1 ? "," : "", spare, "");
    size_t used = PREFIX + (size_t)length, all = (used + 1 + ALIGNMENT) / ALIGNMENT * ALIGNMENT; /* numpy pads by 1 to 64 */
    memset(header + used, ' ', all - used - 1);
    header[all - 1] = '\n';
    memcpy(header, magic, sizeof magic);
    header[6] = 1;
    header[7] = 0;
    header[8] = (char)((all - PREFIX) & 0xFF);
    header[9] = (char)((all - PREFIX) >> 8);
    return all;
}
