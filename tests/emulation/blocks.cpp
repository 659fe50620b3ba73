/* Running a grid: blocks one after the other, a block's threads as fibers. A fiber goes from thread to thread until one waits; only then
 * another fiber is needed, so kernels without barriers cost a call a thread. */
#include <stdio.h>

#include <vector>

#include "blocks.h"
#include "emulation.h"
#include "fibers.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

enum { LANES = 32, SLOT_BYTES = 64, THREADS_MOST = 1024 };

namespace {

struct warp {
    alignas(16) unsigned char slots[2][LANES][SLOT_BYTES];
    long arrived; /* lanes, over all exchanges */
};

struct thread_state {
    udump_fiber *fiber; /* that waits; NULL: not begun, or done */
    unsigned index;
    uint3 place; /* threadIdx */
    long exchanges;
};

std::function<void()> *body;
std::vector<udump_fiber *> idle;
thread_state threads[THREADS_MOST];
warp warps[THREADS_MOST / LANES];
unsigned thread_count, next_thread, done_count;
thread_state *now;
long barrier_arrived, barrier_generation, progress;
bool reverse_order = getenv("UDUMP_EMULATED_REVERSE") != NULL; /* threads run from the last to the first: results must not depend on it */
unsigned char *shared_memory;

uint3 place_of(unsigned i) { return uint3{ i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y }; }

void become(thread_state *state) {
    now = state;
    threadIdx = state->place;
}

/* A fiber's life: it takes thread after thread, and sleeps when there is none left. */
void work(void) {
    for (;;) {
        while (next_thread < thread_count) {
            unsigned turn = next_thread++, i = reverse_order ? thread_count - 1 - turn : turn;
            threads[i] = thread_state{ NULL, i, place_of(i), 0 };
            become(&threads[i]);
            udump_fiber_acquire(&next_thread); /* the blocks and launches before are done */
            (*body)();
            udump_fiber_release(&done_count);
            done_count++;
            progress++;
        }
        udump_fiber_switch(NULL);
    }
}

/* Arrays of our own: whoever watches memory knows what a library moves, and no fiber is ordered after another. */
thread_state *waiting[THREADS_MOST], *waking[THREADS_MOST];
unsigned waiting_count;
udump_fiber *running;

void wait_for_others(void) {
    now->fiber = running;
    waiting[waiting_count++] = now;
    udump_fiber_switch(NULL);
}

void resume(udump_fiber *fiber) {
    running = fiber;
    udump_fiber_switch(fiber);
}

void run_block(void) {
    next_thread = done_count = 0;
    barrier_arrived = 0;
    for (unsigned i = 0; i < thread_count / LANES + 1 && i < THREADS_MOST / LANES; i++) warps[i].arrived = 0;
    for (unsigned i = 0; i < thread_count; i++) threads[i].exchanges = 0;
    waiting_count = 0;
    udump_fiber_release(&next_thread);
    while (done_count < thread_count) {
        long before = progress;
        while (next_thread < thread_count) { /* as many fibers as threads that wait */
            udump_fiber *fiber = idle.empty() ? udump_fiber_new(work) : idle.back();
            if (!idle.empty()) idle.pop_back();
            unsigned count = waiting_count;
            resume(fiber);
            if (waiting_count == count) idle.push_back(fiber); /* it has nothing left to do */
        }
        unsigned woken = waiting_count;
        for (unsigned i = 0; i < woken; i++) waking[i] = waiting[i];
        waiting_count = 0;
        for (unsigned i = 0; i < woken; i++) {
            udump_fiber *fiber = waking[i]->fiber;
            unsigned count = waiting_count;
            become(waking[i]);
            resume(fiber);
            if (waiting_count == count) idle.push_back(fiber);
        }
        if (before == progress) {
            fprintf(stderr, "emulation: block %u: %u of %u threads wait for others that never come\n", blockIdx.x, waiting_count, thread_count);
            abort();
        }
    }
    udump_fiber_acquire(&done_count);
}

} // namespace

unsigned char *udump_emulation_shared(void) { return shared_memory; }
int udump_emulation_lane(void) { return (int)(now->index % LANES); }

/* Whoever comes to the next barrier already is not waited for at this one: they take turns at two places, or what it did in between would seem to be ordered. */
void udump_emulation_barrier(void) {
    static char places[2];
    long generation = barrier_generation;
    udump_fiber_release(&places[generation & 1]);
    progress++;
    if (++barrier_arrived == (long)(thread_count - done_count)) { /* whoever has returned is not waited for */
        barrier_arrived = 0;
        barrier_generation++;
    } else
        while (barrier_generation == generation) wait_for_others();
    udump_fiber_acquire(&places[generation & 1]);
}

const unsigned char *udump_emulation_exchange(const void *value, size_t bytes, size_t *stride) {
    unsigned lane = now->index % LANES;
    warp *w = &warps[now->index / LANES];
    if (thread_count % LANES || bytes > SLOT_BYTES) {
        fprintf(stderr, "emulation: an exchange of %zu bytes in a block of %u threads\n", bytes, thread_count);
        abort();
    }
    long round = now->exchanges++;
    memcpy(w->slots[round & 1][lane], value, bytes);
    udump_fiber_release(w->slots[round & 1]); /* a place each time, as at barriers */
    w->arrived++;
    progress++;
    while (w->arrived < (round + 1) * LANES) wait_for_others();
    udump_fiber_acquire(w->slots[round & 1]);
    *stride = SLOT_BYTES;
    return w->slots[round & 1][0];
}

void udump_emulation_run(const udump_emulated_launch &launch) {
    blockDim = launch.block;
    gridDim = launch.grid;
    thread_count = launch.block.x * launch.block.y * launch.block.z;
    std::function<void()> thread = launch.thread;
    body = &thread;
    shared_memory = launch.shared_bytes ? (unsigned char *)aligned_alloc(16, (launch.shared_bytes + 15) / 16 * 16) : NULL;
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                if (shared_memory) memset(shared_memory, 0xFF, launch.shared_bytes);
                run_block();
            }
    free(shared_memory);
    shared_memory = NULL;
}
