/* Preloaded: answers for the kernel, which was told of no AMX, that a program may use its tiles (arch_prctl's ARCH_GET_XCOMP_PERM and ARCH_REQ_XCOMP_PERM). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

enum { GET_PERMISSION = 0x1022, ASK_PERMISSION = 0x1023 };

long syscall(long number, ...) {
    va_list list;
    long a[6], result;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_arch_prctl && a[0] == ASK_PERMISSION) return 0;
    if (number == SYS_arch_prctl && a[0] == GET_PERMISSION) return *(uint64_t *)a[1] = UINT64_MAX, 0;
    register long fourth __asm__("r10") = a[3], fifth __asm__("r8") = a[4], sixth __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(fourth), "r"(fifth), "r"(sixth) : "rcx", "r11", "memory");
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}
