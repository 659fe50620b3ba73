/* The names of a U-Net's blocks, in the original (LDM) numbering: IN00, IN01, ..., M00, OUT00, ... */
#ifndef UDUMP_TEXT_BLOCK_H
#define UDUMP_TEXT_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which blocks a family has: each count 1..100. Between them lies one middle block. */
typedef struct udump_block_set {
    int32_t in_count, out_count;
} udump_block_set;

enum { UDUMP_SD1_BLOCKS = 25, UDUMP_BLOCK_NAME = 8 };

extern const udump_block_set udump_sd1_blocks; /* IN00..IN11, M00, OUT00..OUT11 */
extern const char *const udump_sd1_block_names[UDUMP_SD1_BLOCKS];

static inline int32_t udump_block_count(const udump_block_set *set) { return set->in_count + 1 + set->out_count; }

/* Writes the name of block index (0..count-1). False, and "", for an index out of range. */
bool udump_block_format(const udump_block_set *set, int32_t index, char out[UDUMP_BLOCK_NAME]);

/* The index of the block of that name (length bytes); -1 if the set has none. */
int32_t udump_block_find(const udump_block_set *set, const char *name, size_t length);

/* The whole set in words: "IN00..IN11, M00, OUT00..OUT11". */
void udump_block_describe(const udump_block_set *set, char out[64]);

#endif
