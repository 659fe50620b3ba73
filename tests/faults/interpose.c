#include "interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);

/* ---- what is armed */

static atomic_int armed_kind, armed_code, fired;
static atomic_llong left;

void fault_arm(fault_kind kind, int64_t nth, int code) {
    atomic_store(&fired, 0);
    atomic_store(&armed_code, code);
    atomic_store(&left, nth);
    atomic_store(&armed_kind, kind);
}

bool fault_disarm(void) {
    atomic_store(&armed_kind, FAULT_NONE);
    return atomic_load(&fired);
}

static bool fails(fault_kind kind) {
    if (atomic_load_explicit(&armed_kind, memory_order_relaxed) != (int)kind || atomic_fetch_sub(&left, 1) != 1) return false;
    atomic_store(&fired, 1);
    return true;
}

/* ---- allocations: whose they are, and which live */

enum { RANGES_MOST = 64, SLOTS = 1 << 18 };
static struct {
    uintptr_t begin, end;
} spared[RANGES_MOST];
static int spared_count;
enum { NONE, GONE }; /* a slot without an address: the search for one ends there, or goes on */
static uintptr_t slots[SLOTS]; /* counted allocations, by address */
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_llong live;

static int note_range(struct dl_phdr_info *info, size_t size, void *user) {
    static const char *const names[] = { "libdnnl", "libgomp", "libstdc++", "libjansson", "libcmocka", "/ld-linux", "libgcc" };
    bool wanted = false;
    (void)size, (void)user;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) wanted |= info->dlpi_name && strstr(info->dlpi_name, names[i]);
    for (int i = 0; wanted && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && spared_count < RANGES_MOST) {
            spared[spared_count].begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            spared[spared_count].end = spared[spared_count].begin + info->dlpi_phdr[i].p_memsz;
            spared_count++;
        }
    return 0;
}

__attribute__((constructor)) static void note_ranges(void) { dl_iterate_phdr(note_range, NULL); }

static bool is_counted(const void *caller) {
    for (int i = 0; i < spared_count; i++)
        if ((uintptr_t)caller >= spared[i].begin && (uintptr_t)caller < spared[i].end) return false;
    return spared_count > 0;
}

static size_t slot_of(uintptr_t address) { return (address >> 4) * 0x9E3779B97F4A7C15u >> 46; }
_Static_assert(1 << (64 - 46) == SLOTS, "as many as the hash has");

static void *keep(void *memory, bool counted) {
    if (!memory || !counted) return memory;
    pthread_mutex_lock(&slots_lock);
    size_t at = slot_of((uintptr_t)memory);
    while (slots[at] > GONE) at = (at + 1) % SLOTS;
    slots[at] = (uintptr_t)memory;
    pthread_mutex_unlock(&slots_lock);
    atomic_fetch_add(&live, 1);
    return memory;
}

/* Where nothing follows, nothing goes on: else, after some hundred thousand allocations, no search would end. */
static void clear_slot(size_t at) {
    slots[at] = GONE;
    if (slots[(at + 1) % SLOTS] != NONE) return;
    for (; slots[at] == GONE; at = (at + SLOTS - 1) % SLOTS) slots[at] = NONE;
}

/* Whether it was counted. */
static bool forget(void *memory) {
    pthread_mutex_lock(&slots_lock);
    size_t at = slot_of((uintptr_t)memory);
    while (slots[at] != NONE && slots[at] != (uintptr_t)memory) at = (at + 1) % SLOTS;
    bool counted = slots[at] != NONE;
    if (counted) clear_slot(at);
    pthread_mutex_unlock(&slots_lock);
    if (counted) atomic_fetch_sub(&live, 1);
    return counted;
}

int64_t fault_live(void) { return atomic_load(&live); }

#define CALLER __builtin_return_address(0)
#define OR_FAIL(counted) \
    if ((counted) && fails(FAULT_ALLOCATION)) { \
        errno = ENOMEM; \
        return NULL; \
    }

void *malloc(size_t size) {
    bool counted = is_counted(CALLER);
    OR_FAIL(counted)
    return keep(__libc_malloc(size), counted);
}

void *calloc(size_t count, size_t size) {
    bool counted = is_counted(CALLER);
    OR_FAIL(counted)
    return keep(__libc_calloc(count, size), counted);
}

void *realloc(void *memory, size_t size) {
    bool counted = is_counted(CALLER);
    OR_FAIL(counted)
    bool before = memory && forget(memory);
    void *grown = __libc_realloc(memory, size);
    if (!grown && size) return keep(memory, before), NULL;
    return keep(grown, counted);
}

void *aligned_alloc(size_t alignment, size_t size) {
    bool counted = is_counted(CALLER);
    OR_FAIL(counted)
    return keep(__libc_memalign(alignment, size), counted);
}

void free(void *memory) {
    if (memory) forget(memory);
    __libc_free(memory);
}

/* ---- the system */

static bool fails_with(fault_kind kind) {
    if (!fails(kind)) return false;
    errno = atomic_load(&armed_code);
    return true;
}

/* How much of size is to be done; -1: nothing, with errno. */
static ssize_t share(bool failing, size_t size) {
    if (!failing) return (ssize_t)size;
    int code = atomic_load(&armed_code);
    if (code == FAULT_SHORT) return (ssize_t)(size > 1 ? size / 2 : size);
    if (code == FAULT_KILL) return (ssize_t)(size / 2);
    errno = code;
    return -1;
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return fails_with(FAULT_OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* What a write of part of size did: the process's end, if that was to come in it. */
static ssize_t written(ssize_t part, size_t size, long done) {
    if ((size_t)part < size && atomic_load(&armed_code) == FAULT_KILL) kill(getpid(), SIGKILL);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t part = share(fails(FAULT_WRITE) || fails(FAULT_SAVE), size);
    return part < 0 ? -1 : written(part, size, syscall(SYS_write, fd, data, part));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    ssize_t part = share(fails(FAULT_WRITE) || fails(FAULT_DRAFT), size);
    return part < 0 ? -1 : written(part, size, syscall(SYS_pwrite64, fd, data, part, offset));
}

ssize_t read(int fd, void *data, size_t size) {
    ssize_t part = share(fails(FAULT_READ), size);
    return part < 0 ? -1 : syscall(SYS_read, fd, data, part);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    ssize_t part = share(fails(FAULT_READ), size);
    return part < 0 ? -1 : syscall(SYS_pread64, fd, data, part, offset);
}

int rename(const char *from, const char *to) { return fails_with(FAULT_RENAME) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to); }

int close(int fd) { /* closes in any case, as Linux does */
    int result = (int)syscall(SYS_close, fd);
    return fails_with(FAULT_CLOSE) ? -1 : result;
}

/* ---- oneDNN: dnnl_runtime_error instead of the n-th call. Pointers all, whatever the version calls their types. */

enum { DNN_RUNTIME_ERROR = 5 };
#define WRAP(name, parameters, arguments) \
    int __real_##name parameters; \
    int __wrap_##name parameters; \
    int __wrap_##name parameters { return fails(FAULT_DNN) ? DNN_RUNTIME_ERROR : __real_##name arguments; }

WRAP(dnnl_engine_create, (void *engine, int kind, size_t index), (engine, kind, index))
WRAP(dnnl_stream_create, (void *stream, void *engine, unsigned flags), (stream, engine, flags))
WRAP(dnnl_stream_wait, (void *stream), (stream))
WRAP(dnnl_memory_create, (void *memory, const void *description, void *engine, void *data), (memory, description, engine, data))
WRAP(dnnl_memory_set_data_handle, (void *memory, void *data), (memory, data))
WRAP(dnnl_primitive_create, (void *primitive, const void *description), (primitive, description))
WRAP(dnnl_primitive_execute, (const void *primitive, void *stream, int count, const void *arguments), (primitive, stream, count, arguments))
WRAP(dnnl_primitive_attr_create, (void *attributes), (attributes))
WRAP(dnnl_post_ops_create, (void *operations), (operations))
