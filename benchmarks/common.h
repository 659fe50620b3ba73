/* What the benchmarks share. Each is one source file. */
#ifndef UDUMP_BENCHMARKS_COMMON_H
#define UDUMP_BENCHMARKS_COMMON_H

#include <errno.h> /* program_invocation_short_name */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "unetdump.h"

/* Seconds. */
static inline double bench_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Ends the program where something failed. */
static inline void check(udump_status status, const udump_error *error) {
    if (!status) return;
    char line[1024];
    udump_error_format(error, line, sizeof line);
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, line);
    exit(1);
}

/* "a red circle on a blue background (~: IN00: 0; IN01: 1; ... :~)": `count` different prompts, 0: as many as blocks. */
static inline void write_prompts(const udump_model *model, int count, char *text, size_t size) {
    udump_model_info info;
    udump_model_get_info(model, &info);
    size_t used = (size_t)snprintf(text, size, "a red circle on a blue background (~:");
    for (int32_t i = 0; i < info.block_count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, " %s: %d;", udump_block_name(model, i), (int)(count ? i % count : i));
    if (used < size) snprintf(text + used, size - used, " :~)");
}

#endif
