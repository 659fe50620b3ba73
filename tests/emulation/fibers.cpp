#include "fibers.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *place);
void __tsan_release(void *place);
}
enum { TSAN_NO_SYNC = 1 }; /* a switch orders nothing: only barriers do */
#endif

static const size_t STACK_BYTES = 256 << 10;

struct udump_fiber {
    void *stack;
    void (*entry)(void);
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    void *fake_stack, *tsan;
    const void *bottom; /* of the stack, for ASan */
    size_t stack_bytes;
    udump_fiber *next; /* of all there are: they live as long as the program */
};

static udump_fiber own; /* the thread's own stack */
static udump_fiber *current = &own, *previous, *all;

static void arrive(void) {
#ifdef WITH_ASAN
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(current->fake_stack, &bottom, &bytes);
    if (previous == &own) own.bottom = bottom, own.stack_bytes = bytes;
#endif
}

static void begin(void) {
    arrive();
    current->entry();
    abort();
}

#if defined(__x86_64__)
/* Keeps what a call must keep, on the old stack, and takes it from the new one. */
extern "C" void udump_fiber_swap(void **from, void *to);
__asm__(".text\n.globl udump_fiber_swap\n.type udump_fiber_swap,@function\nudump_fiber_swap:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size udump_fiber_swap,.-udump_fiber_swap\n");
#endif

udump_fiber *udump_fiber_new(void (*entry)(void)) {
    udump_fiber *fiber = new udump_fiber();
    fiber->entry = entry;
    fiber->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fiber->stack == MAP_FAILED) {
        perror("fiber");
        exit(1);
    }
    fiber->next = all;
    all = fiber;
    fiber->bottom = fiber->stack;
    fiber->stack_bytes = STACK_BYTES;
#if defined(__x86_64__)
    void **top = (void **)((char *)fiber->stack + STACK_BYTES) - 1; /* aligned as after a call */
    *--top = (void *)begin;
    fiber->stack_pointer = top - 6;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, begin, 0);
#endif
#ifdef WITH_TSAN
    fiber->tsan = __tsan_create_fiber(0);
#endif
    return fiber;
}

void udump_fiber_switch(udump_fiber *to) {
    udump_fiber *from = current;
    previous = from;
    current = to ? to : &own;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, current->bottom, current->stack_bytes);
#endif
#ifdef WITH_TSAN
    if (!own.tsan) own.tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(current->tsan, TSAN_NO_SYNC);
#endif
#if defined(__x86_64__)
    udump_fiber_swap(&from->stack_pointer, current->stack_pointer);
#else
    swapcontext(&from->context, &current->context);
#endif
    arrive();
}

#ifdef WITH_TSAN
void udump_fiber_release(void *place) { __tsan_release(place); }
void udump_fiber_acquire(void *place) { __tsan_acquire(place); }
#else
void udump_fiber_release(void *) {}
void udump_fiber_acquire(void *) {}
#endif
