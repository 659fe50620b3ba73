#include "base/available.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/status.h"

enum { LINE_BYTES = 4352, PATH_LONGEST = 4096 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The number after `key` at a line's start, or the file's first where key is "". False where there is none ("max" is none). */
static bool read_number(const char *path, const char *key, uint64_t *number) {
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), " %" SCNu64, number) == 1;
    if (file) fclose(file);
    return found;
}

static size_t left_on_system(void) {
    uint64_t available, swap = 0;
    if (!read_number("/proc/meminfo", "MemAvailable:", &available)) return SIZE_MAX;
    if (!read_number("/proc/meminfo", "SwapFree:", &swap)) swap = 0;
    return (size_t)(available + swap) * 1024;
}

/* One control group's own limit; cached files that nothing has used lately count as free, as they do for the system. */
static size_t left_in_group(const char *folder, const char *limit_name, const char *used_name, const char *cache_key) {
    char path[LINE_BYTES];
    uint64_t limit, used, cache = 0;
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    if (!read_number(path, "", &limit)) return SIZE_MAX;
    snprintf(path, sizeof path, "%s/%s", folder, used_name);
    if (!read_number(path, "", &used)) return SIZE_MAX;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (!read_number(path, cache_key, &cache)) cache = 0;
    used -= cache < used ? cache : used;
    return limit > used ? (size_t)(limit - used) : 0;
}

/* A group and all above it, up to `root`. In a container the path may be one that is not there: then root's own. */
static size_t left_in_groups(const char *root, const char *group, bool second) {
    char folder[PATH_LONGEST];
    size_t left = SIZE_MAX, root_length = strlen(root);
    int length = snprintf(folder, sizeof folder, "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof folder) return SIZE_MAX;
    for (;;) {
        left = least(left, second ? left_in_group(folder, "memory.max", "memory.current", "inactive_file ")
                                  : left_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "));
        char *slash = strrchr(folder + root_length, '/');
        if (!slash) return left;
        *slash = '\0';
    }
}

/* /proc/self/cgroup has "0::/path" of the second version and "5:memory:/path" of the first. */
static size_t left_in_cgroups(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[LINE_BYTES];
    size_t left = SIZE_MAX;
    while (file && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (strcmp(path, "/") == 0) *path = '\0';
        if (!names[1]) left = least(left, left_in_groups("/sys/fs/cgroup", path, true));
        else if (strstr(names, "memory")) left = least(left, left_in_groups("/sys/fs/cgroup/memory", path, false));
    }
    if (file) fclose(file);
    return left;
}

/* column: of /proc/self/statm, in pages: 0 the address space, 5 data and stack. */
static size_t left_of_limit(int resource, int column) {
    struct rlimit limit;
    unsigned long long pages[6] = { 0 };
    if (getrlimit(resource, &limit) || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
    FILE *file = fopen("/proc/self/statm", "re");
    int count = file ? fscanf(file, "%llu %llu %llu %llu %llu %llu", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]) : 0;
    if (file) fclose(file);
    if (count != 6) return SIZE_MAX;
    size_t used = (size_t)pages[column] * (size_t)sysconf(_SC_PAGESIZE);
    return (size_t)limit.rlim_cur > used ? (size_t)limit.rlim_cur - used : 0;
}

size_t udump_memory_available_bytes(void) {
    size_t limits = least(left_of_limit(RLIMIT_AS, 0), left_of_limit(RLIMIT_DATA, 5));
    return least(least(left_on_system(), left_in_cgroups()), limits);
}

udump_status udump_memory_check(const char *where, size_t bytes, udump_error *error) {
    size_t available = udump_memory_available_bytes();
    if (bytes <= available) return UDUMP_OK;
    return udump_fail(error, UDUMP_ERROR_MEMORY, where, "out of memory: %.2f GB are needed, %.2f GB are available", (double)bytes * 1e-9,
        (double)available * 1e-9);
}
