/* CLIP's byte-pair vocabulary as constant tables, written by tools/pack_merges.c from data/clip_merges.txt at build time.
 *
 * Token ids (Radford et al. 2021, the published tokenizer): 0..255 a byte inside a word, 256..511 the same bytes at a word's end,
 * 512 + r the merge of rank r, then start and end of a text. */
#ifndef UDUMP_TEXT_MERGES_H
#define UDUMP_TEXT_MERGES_H

#include <stdint.h>

enum {
    UDUMP_CLIP_MERGES = 48894,
    UDUMP_CLIP_WORD_END = 256,    /* added to a byte's id at the end of a word */
    UDUMP_CLIP_FIRST_MERGE = 512, /* the id of the merge of rank 0 */
    UDUMP_CLIP_START = 49406,
    UDUMP_CLIP_END = 49407,
    UDUMP_CLIP_TOKEN_BYTES = 63   /* no token's text is longer; pack_merges checks it */
};

extern const uint16_t udump_clip_merges[UDUMP_CLIP_MERGES][2];     /* [rank]: ids of the left and right half */
extern const uint16_t udump_clip_merge_order[UDUMP_CLIP_MERGES];   /* ranks, sorted by (left, right) */
extern const uint8_t udump_clip_bytes[256];                        /* [id]: the byte of tokens 0..255 */
extern const uint8_t udump_clip_byte_ids[256];                     /* [byte]: its id inside a word */

#endif
