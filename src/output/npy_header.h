/* The header of a .npy file (numpy's format, versions 1.0 to 3.0): magic, version, length, and a Python dict literal.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef UDUMP_OUTPUT_NPY_HEADER_H
#define UDUMP_OUTPUT_NPY_HEADER_H

#include <stdbool.h>

#include "unetdump.h"

enum {
    UDUMP_NPY_PREFIX_BYTES = 12,          /* of versions 2 and 3; version 1 has 10 */
    UDUMP_NPY_MOST_HEADER_BYTES = 1 << 16 /* of the dict literal; longer ones are refused */
};

typedef struct udump_npy_header {
    int32_t rank;
    int64_t shape[6];
    bool fortran_order;
    size_t data_offset; /* bytes from the file's start */
    size_t data_bytes;
} udump_npy_header;

/* Parses the first `size` bytes of a file that is file_bytes long: size is the smaller of file_bytes and
 * UDUMP_NPY_PREFIX_BYTES + UDUMP_NPY_MOST_HEADER_BYTES. Succeeds only for '<f4', rank 0..6, and a file that ends with its data.
 * where names the file in errors, whose offset is the byte in it. Errors: FORMAT, UNSUPPORTED. */
udump_status udump_npy_header_parse(const char *where, const uint8_t *bytes, size_t size, uint64_t file_bytes, udump_npy_header *header,
    udump_error *error);

/* Writes the header of a '<f4' array in C order as numpy does: version 1.0, padded to a multiple of 64 bytes. Returns its length.
 * rank 0..6. */
enum { UDUMP_NPY_MOST_WRITTEN_BYTES = 320 };
size_t udump_npy_header_format(int32_t rank, const int64_t *shape, char header[UDUMP_NPY_MOST_WRITTEN_BYTES]);

#endif
