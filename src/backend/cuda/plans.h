/* Which of the vendors' engines is fastest for a shape, on one device with one version of their libraries: measured once, and kept in a file from which the
 * same engines, and so the same bits, come again. Sessions in several threads share it. */
#ifndef UDUMP_CUDA_PLANS_H
#define UDUMP_CUDA_PLANS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UDUMP_PLANS_KEY_MOST = 160 };

typedef struct udump_plans udump_plans;
typedef struct udump_plan_choice {
    int32_t rank;   /* in the vendor's own order */
    int32_t engine; /* the vendor's number of it: another one means that the order has changed */
} udump_plan_choice;

/* folder: NULL: unetdump in $XDG_CACHE_HOME or ~/.cache. stamp: the device and the versions, one line; each has a file of its own. A file that is foreign,
 * cut off or not understood counts as none. NULL without memory. */
udump_plans *udump_plans_open(const char *folder, const char *stamp);
void udump_plans_close(udump_plans *plans); /* accepts NULL, as do the two below: nothing is found, nothing kept */
/* In what was read and kept, else in the file as it is now. */
bool udump_plans_find(udump_plans *plans, const char *key, udump_plan_choice *choice);
/* Also writes the file, whole or not at all; where that cannot be, the choice lasts as long as plans. */
void udump_plans_keep(udump_plans *plans, const char *key, udump_plan_choice choice);

enum { UDUMP_CANDIDATES_MOST = 16 };
/* Begins a candidate in the stream; false where it fails. */
typedef bool (*udump_begin_fn)(void *user, int32_t candidate);
/* The candidate, of UDUMP_CANDIDATES_MOST at most, whose shortest of some runs is the shortest; -1 where none runs. Waits for each. */
int32_t udump_fastest(cudaStream_t stream, int32_t count, udump_begin_fn begin, void *user);

#endif
