/* Byte-pair encoding of one word (Sennrich et al. 2016): as long as two neighbours form a known pair, the pair of lowest rank,
 * and of those the leftmost, becomes one token. */
#ifndef UDUMP_TEXT_BPE_H
#define UDUMP_TEXT_BPE_H

#include "unetdump.h"

#include <stdint.h>

/* A growing list of token ids. Starts zeroed; ids is freed with free(). */
typedef struct udump_id_list {
    int32_t *ids;
    int32_t count, capacity;
} udump_id_list;

/* Errors: MEMORY. */
udump_status udump_id_list_push(udump_id_list *list, int32_t id, udump_error *error);

/* Working memory that the words of a text share. Starts zeroed; freed with udump_bpe_free. */
typedef struct udump_bpe {
    struct udump_bpe_node *nodes; /* [capacity]: the word's tokens, a linked list in an array */
    uint64_t *heap;               /* [3 * capacity]: rank << 32 | node, smallest first */
    int32_t capacity;
    int32_t heap_count;
} udump_bpe;

void udump_bpe_free(udump_bpe *bpe);

/* Appends the tokens of a word of count (1..2^30) bytes. Time grows with count * log(count). Errors: MEMORY. */
udump_status udump_bpe_word(udump_bpe *bpe, const uint8_t *word, int32_t count, udump_id_list *out, udump_error *error);

#endif
