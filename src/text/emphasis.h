/* The webui's emphasis: (x) weighs 1.1, [x] 1/1.1, (x:1.3) 1.3; nested ones multiply; brackets left open reach to the end; a backslash
 * before ( ) [ ] \ makes it plain. BREAK as a whole word splits the text. Equal to the webui's parse_prompt_attention, but that weights
 * stay within +-1e6, and brackets of one kind that are nested deeper than 256 are literal. */
#ifndef UDUMP_TEXT_EMPHASIS_H
#define UDUMP_TEXT_EMPHASIS_H

#include "unetdump.h"

/* Neighbours of equal weight are joined; an empty text is one empty piece of weight 1. "BREAK" of weight -1 starts a new chunk. *pieces
 * is freed with udump_emphasis_free. Errors: MEMORY. */
udump_status udump_emphasis_parse(const char *text, udump_prompt_piece **pieces, int32_t *count, udump_error *error);
void udump_emphasis_free(udump_prompt_piece *pieces, int32_t count);

#endif
