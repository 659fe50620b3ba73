/* Fibers: stacks that a thread changes between. */
#ifndef UDUMP_EMULATION_FIBERS_H
#define UDUMP_EMULATION_FIBERS_H

/* A fiber runs entry() when it is first switched to; entry never returns. */
struct udump_fiber;
udump_fiber *udump_fiber_new(void (*entry)(void));
/* From the fiber that runs to another; NULL: the thread's own stack. */
void udump_fiber_switch(udump_fiber *to);

/* What happened before a release happens before what follows an acquire: ThreadSanitizer is told, as fibers do not say so by themselves. */
void udump_fiber_release(void *place);
void udump_fiber_acquire(void *place);

#endif
