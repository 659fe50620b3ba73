/* PNG files as input: the pixels as RGB, and the text "parameters". */
#ifndef UDUMP_OUTPUT_PNG_READ_H
#define UDUMP_OUTPUT_PNG_READ_H

#include <stddef.h>

#include "unetdump.h"

/* data: a whole file. image (NULL: not wanted): as udump_png_read. parameters (NULL: not wanted): the text of that name as UTF-8 on the
 * heap, from a tEXt, zTXt or iTXt chunk before or behind the pixels, or NULL where there is none. Both are set only on success. where goes
 * into the error. Thread-safe. Errors: FORMAT, UNSUPPORTED, MEMORY. */
udump_status udump_png_decode(
    const char *where, const uint8_t *data, size_t size, udump_image *image, char **parameters, udump_error *error);

/* The same from a file. Errors: FILE too. */
udump_status udump_png_load(const char *path, udump_image *image, char **parameters, udump_error *error);

#endif
