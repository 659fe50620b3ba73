/* Pictures as PNG: 8-bit grey or RGB, deflated by ISA-L at its level 1 without filters, the same bytes every time: on noisy
 * maps filters cost time and save nothing. */
#ifndef UDUMP_OUTPUT_PNG_H
#define UDUMP_OUTPUT_PNG_H

#include "output/file.h"

/* Sizes in 1..1,000,000 (libpng's limit), 1 or 3 channels, rows that do not overlap. where goes into the error: ARGUMENT. */
udump_status udump_png_check(const udump_picture *picture, const char *where, udump_error *error);

/* The picture as a PNG file in memory. parameters (UTF-8, may be NULL) becomes a text chunk of that name: tEXt where Latin-1 suffices,
 * else iTXt. bytes is set only on success. Thread-safe. Errors: ARGUMENT (picture; parameters not UTF-8), MEMORY. */
udump_status udump_png_encode(const udump_picture *picture, const char *parameters, udump_bytes *bytes, udump_error *error);

#endif
