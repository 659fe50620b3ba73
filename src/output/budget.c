#include "output/budget.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/status.h"
#include "output/file.h"

enum {
    MANIFEST_ENTRY_BYTES = 512,     /* of one picture or tensor */
    SAFETENSORS_HEADER_BYTES = 1024 /* a tensor's share of the header */
};

/* Sizes of a run come from whoever drives the sink. */
static int64_t add(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a > 0 ? a : 0, b > 0 ? b : 0, &sum) ? INT64_MAX : sum;
}

static int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a > 0 ? a : 0, b > 0 ? b : 0, &product) ? INT64_MAX : product;
}

udump_budget udump_budget_of(const udump_run_info *run, udump_dump dump, int64_t block_bytes) {
    bool tensors = dump != UDUMP_DUMP_NONE && run->tensor_count > 0;
    int64_t tensor_files = !tensors ? 0 : dump == UDUMP_DUMP_BIN ? run->tensor_tile_count
        : dump == UDUMP_DUMP_SAFETENSORS ? (int64_t)run->batch_size * (run->batch_count > 1 ? run->batch_count : 1) : run->tensor_count;
    udump_budget budget = { add(1, add(run->picture_count, tensor_files)), run->picture_bytes }; /* one: the manifest */
    budget.bytes = add(budget.bytes, times(add(run->picture_count, tensors ? run->tensor_count : 0), MANIFEST_ENTRY_BYTES));
    if (tensors) budget.bytes = add(budget.bytes, run->tensor_bytes);
    if (tensors && dump == UDUMP_DUMP_SAFETENSORS) budget.bytes = add(budget.bytes, times(run->tensor_count, SAFETENSORS_HEADER_BYTES));
    budget.bytes = add(budget.bytes, times(budget.files, block_bytes));
    return budget;
}

/* "1.5 GB": three digits */
static void format_bytes(char text[32], int64_t bytes) {
    static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 999.5 && unit < 6; unit++) value /= 1000;
    snprintf(text, 32, "%.*f %s", !unit || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, units[unit]);
}

udump_status udump_budget_check(const char *folder, const udump_run_info *run, udump_dump dump, udump_error *error) {
    struct statvfs disk;
    while (statvfs(folder, &disk))
        if (errno != EINTR) return udump_file_fail(error, folder, "asked how much room its disk has", errno);
    if (!disk.f_blocks) return UDUMP_OK; /* a file system that does not count */
    udump_budget budget = udump_budget_of(run, dump, (int64_t)disk.f_frsize);
    int64_t room = times((int64_t)disk.f_bavail, (int64_t)disk.f_frsize);
    char needed[32], left[32];
    format_bytes(needed, budget.bytes);
    format_bytes(left, room);
    if (budget.bytes > room)
        return udump_fail(error, UDUMP_ERROR_FILE, folder, "the run may write %" PRId64 " files, up to %s; the disk has %s free",
            budget.files, needed, left);
    if (disk.f_files && (uint64_t)budget.files > disk.f_favail)
        return udump_fail(error, UDUMP_ERROR_FILE, folder, "the run may write %" PRId64 " files; the disk has room for %" PRIu64,
            budget.files, (uint64_t)disk.f_favail);
    return UDUMP_OK;
}
