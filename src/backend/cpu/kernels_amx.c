/* Attention on AMX's tiles, for Linux, which asks a program to say that it wants them. Every CPU with AMX has AVX-512 and its bf16 instructions. */
#include "backend/cpu/kernels.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANES 16

struct configuration { /* of eight tiles, each of 16 rows of 64 bytes: palette 1 */
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static const struct configuration CONFIGURATION = { .palette = 1, .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

/* GCC's tile loads do not say that they read memory. */
#define MEMORY_IS_WRITTEN() __asm__ volatile("" ::: "memory")
#define TILES_OPEN() _tile_loadconfig(&CONFIGURATION)
#define TILES_CLOSE() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, stride_bytes)              \
    do {                                              \
        MEMORY_IS_WRITTEN();                          \
        _tile_loadd(t, from, (long)(stride_bytes));   \
    } while (0)
#define TILE_STORE(t, to, stride_bytes) _tile_stored(t, to, (long)(stride_bytes))
#define TILE_MULTIPLY(t, a, b) _tile_dpbf16ps(t, a, b)
#include "backend/cpu/kernels_tiles.h"

enum { BF16 = 1 << 22, TILES = 1 << 24, BF16_VECTORS = 1 << 5 }; /* CPUID 7.0 EDX, 7.1 EAX */
enum { TILE_STATE = 3 << 17, TILE_DATA = 18, ASK_PERMISSION = 0x1023 /* ARCH_REQ_XCOMP_PERM */ };

/* That the system keeps tiles from one thread to the next. */
static bool system_keeps_tiles(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & TILE_STATE) == TILE_STATE;
}

const udump_attend_kernels *udump_attend_amx(void) {
    static const udump_attend_kernels kernels = TILES_KERNELS;
    uint32_t a, b, c, d;
    if (!udump_kernels_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (BF16 | TILES)) != (BF16 | TILES)) return NULL;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & BF16_VECTORS) || !system_keeps_tiles()) return NULL;
    return syscall(SYS_arch_prctl, ASK_PERMISSION, TILE_DATA) == 0 ? &kernels : NULL;
}
#else
const udump_attend_kernels *udump_attend_amx(void) { return NULL; }
#endif
