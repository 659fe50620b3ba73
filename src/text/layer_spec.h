/* Layer specs: "IN00", "IN00,M00", "IN00-OUT11", "IN00-OUT11(+2)". Names are case-sensitive, with two digits; ranges run over the
 * blocks in order, include both ends and may be given in reverse. An empty spec means every block. */
#ifndef UDUMP_TEXT_LAYER_SPEC_H
#define UDUMP_TEXT_LAYER_SPEC_H

#include "unetdump.h"

#include "text/block.h"

/* selected[i] becomes 1 or 0 for each of the set's blocks; after a failure its contents say nothing. Thread-safe.
 * Errors: SYNTAX, with the offset, line and column of the first part that cannot continue, and the set's blocks where one was
 * expected. */
udump_status udump_layer_spec_parse(const udump_block_set *blocks, const char *spec, uint8_t *selected, udump_error *error);

#endif
