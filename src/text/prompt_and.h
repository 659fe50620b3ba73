/* AND, which joins prompts (Liu et al. 2022, Composable Diffusion), as the webui reads it. */
#ifndef UDUMP_TEXT_PROMPT_AND_H
#define UDUMP_TEXT_PROMPT_AND_H

#include "unetdump.h"

enum { UDUMP_AND_PARTS_MOST = 16 };

typedef struct udump_and_part {
    char *text;   /* white space at its end left out, white space at its beginning not */
    float weight; /* after a ':' at the part's end; within +-1e6; 1 without one */
} udump_and_part;

/* Splits at every whole word AND, inside brackets too; before anything else is read. A text without AND is one part, whose weight counts
 * too. text is UTF-8. *parts is freed with udump_and_free. Errors: UNSUPPORTED (more than UDUMP_AND_PARTS_MOST), MEMORY. */
udump_status udump_and_split(const char *text, udump_and_part **parts, int32_t *count, udump_error *error);
/* UNSUPPORTED, of the one part of a text without AND, unless its weight is 1. */
udump_status udump_and_check_weight(float weight, udump_error *error);
void udump_and_free(udump_and_part *parts, int32_t count);

#endif
