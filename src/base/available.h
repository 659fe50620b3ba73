/* How much memory may still be had, so that a run that does not fit is refused before it starts instead of being killed in the middle. */
#ifndef UDUMP_BASE_AVAILABLE_H
#define UDUMP_BASE_AVAILABLE_H

#include <stddef.h>

#include "unetdump.h"

/* Bytes that this process can still fill: what the system has free (swap included), what its control groups leave it, and what RLIMIT_AS and
 * RLIMIT_DATA leave. SIZE_MAX where none of these is known. */
size_t udump_memory_available_bytes(void);

/* Refuses what is more than that: MEMORY, with both figures; where is what it is for. */
udump_status udump_memory_check(const char *where, size_t bytes, udump_error *error);

#endif
