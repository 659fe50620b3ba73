/* What CLIP's tokenizer does to a text before it splits it: normalisation form C, then lower case, each code point by itself (so
 * that a final sigma stays a sigma and U+0130 becomes two code points). White space is left to the splitting. */
#ifndef UDUMP_TEXT_NORMALIZE_H
#define UDUMP_TEXT_NORMALIZE_H

#include "unetdump.h"

#include <stddef.h>
#include <stdint.h>

/* text must be UTF-8 (udump_utf8_check). *codes becomes an array of *count code points, yours to free(); NULL for an empty text.
 * Time grows with length, whatever the text. Errors: MEMORY. */
udump_status udump_normalize(const char *text, size_t length, int32_t **codes, size_t *count, udump_error *error);

#endif
