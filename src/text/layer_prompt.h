/* Layer prompts: another prompt for every block.
 *     prompt: (text | group)*            text may hold "\(~:", which is literal
 *     group:  "(~:" [entry (";" entry)* [";"]] ":~)"
 *     entry:  ("_" | layer spec) ":" text
 * For each block a group is replaced by the text of the last entry that names the block; else of the last "_" entry; else by nothing.
 * Texts are taken as they stand, but: spaces and tabs after "_ :" are dropped; "\;" is a literal ";"; in the last text of a group white
 * space after its last line break is layout, that line break included. The first ":~)" closes. */
#ifndef UDUMP_TEXT_LAYER_PROMPT_H
#define UDUMP_TEXT_LAYER_PROMPT_H

#include "text/block.h"
#include "unetdump.h"

typedef struct udump_layer_prompts {
    int32_t count; /* of blocks */
    char **texts;  /* [count] */
    char *erased;  /* without the groups */
} udump_layer_prompts;

enum { UDUMP_PROMPT_BYTES_MOST = 1 << 15 };

/* Errors: SYNTAX (offset, line and column of the first part that cannot continue), ARGUMENT (not UTF-8, or too long), MEMORY. */
udump_status udump_layer_prompts_parse(
    const udump_block_set *blocks, const char *prompt, udump_layer_prompts *result, udump_error *error);
void udump_layer_prompts_free(udump_layer_prompts *prompts);

#endif
