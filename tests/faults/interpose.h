/* Calls made to fail: the n-th allocation, the n-th call of oneDNN, the n-th call of the system. The program's own definitions of malloc, write and so on
 * go before the C library's; oneDNN's are wrapped by the linker. */
#ifndef INTERPOSE_H
#define INTERPOSE_H

#include <stdbool.h>
#include <stdint.h>

/* What is counted, and fails. Allocations: those that this library, libpng, zlib and the C library on their behalf make. Not those of oneDNN, OpenMP
 * and the loader, which end the process without memory, nor jansson's while it parses (see docs/architecture.md). */
typedef enum fault_kind {
    FAULT_NONE,
    FAULT_ALLOCATION,
    FAULT_DNN,
    FAULT_OPEN,
    FAULT_WRITE, /* write and pwrite */
    FAULT_SAVE,  /* write alone: files that are written at once */
    FAULT_DRAFT, /* pwrite alone: files that are written in pieces */
    FAULT_RENAME,
    FAULT_CLOSE,
    FAULT_READ, /* read and pread */
    FAULT_KINDS
} fault_kind;

/* Instead of an errno: half of what was asked for; that, and then the process is killed (a write's alone). */
enum { FAULT_SHORT = -1, FAULT_KILL = -2 };

/* The nth call from now on, from 1, fails with code, an errno or one of these. */
void fault_arm(fault_kind kind, int64_t nth, int code);
/* Whether it did; nothing fails any more. */
bool fault_disarm(void);
/* Counted allocations that live now. */
int64_t fault_live(void);

#endif
