/* What the operations of a run come to: see tally.c. */
#ifndef UDUMP_EMULATION_TALLY_H
#define UDUMP_EMULATION_TALLY_H

#include "backend/exec.h"

enum { UDUMP_TALLIES = 32 };

typedef struct udump_tally {
    const char *name; /* NULL behind the last */
    long calls, launches;
    double least_bytes, moved_bytes, flops;
} udump_tally;

/* [UDUMP_TALLIES] */
udump_tally *udump_tally_all(void);

#endif
