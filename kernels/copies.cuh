/* Copies to shared memory that go on beside what the thread does next. A thread's copies come in groups, each ended by udump_copy_commit, and are done in
 * the order of their groups. After udump_copy_wait<N> all but the last N groups are there, for this thread: the others see them after a barrier. On the
 * CPU they are made as late as they may be, so that whoever does not wait finds what was there before. PTX ISA: cp.async. */
#ifndef UDUMP_KERNELS_COPIES_CUH
#define UDUMP_KERNELS_COPIES_CUH

#include "kernel.cuh"

#if defined(__CUDACC__)

/* 16 bytes, or 4; zeros, and nothing read, where there is nothing to copy. Both addresses are multiples of as many. */
template <int BYTES = 16> __device__ __forceinline__ void udump_copy(void *to, const void *from, bool there) {
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    int bytes = there ? BYTES : 0;
    if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(at), "l"(from), "r"(bytes) : "memory");
    else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" : : "r"(at), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void udump_copy_commit(void) { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int N> __device__ __forceinline__ void udump_copy_wait(void) { asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory"); }

#else

#include <stdio.h>

#include <vector>

struct udump_emulated_copy {
    void *to;
    const void *from;
    size_t bytes;
    bool there;
    long group;
};
struct udump_emulated_copies { /* of one thread */
    std::vector<udump_emulated_copy> waiting;
    long group;
    uint3 block;
};
inline udump_emulated_copies udump_emulated_copying[1024];

template <int BYTES = 16> inline void udump_copy(void *to, const void *from, bool there) {
    udump_emulated_copies *mine = &udump_emulated_copying[threadIdx.x];
    if ((uintptr_t)to % BYTES || (there && (uintptr_t)from % BYTES)) abort();
    if (!mine->waiting.empty() && memcmp(&mine->block, &blockIdx, sizeof blockIdx) != 0) {
        fprintf(stderr, "emulation: block %u is done, and nobody waited for its copies\n", mine->block.x);
        abort();
    }
    mine->block = blockIdx;
    mine->waiting.push_back({ to, from, BYTES, there, mine->group });
}
inline void udump_copy_commit(void) { udump_emulated_copying[threadIdx.x].group++; }
template <int N> inline void udump_copy_wait(void) {
    udump_emulated_copies *mine = &udump_emulated_copying[threadIdx.x];
    size_t done = 0;
    for (; done < mine->waiting.size() && mine->waiting[done].group < mine->group - N; done++) {
        const udump_emulated_copy *copy = &mine->waiting[done];
        if (copy->there) memcpy(copy->to, copy->from, copy->bytes);
        else memset(copy->to, 0, copy->bytes);
    }
    mine->waiting.erase(mine->waiting.begin(), mine->waiting.begin() + (long)done);
}

#endif

/* All that this thread has begun. */
__device__ __forceinline__ void udump_copies_wait(void) {
    udump_copy_commit();
    udump_copy_wait<0>();
}

/* Lets a kernel have more shared memory than the 48 KB that each may: before every launch, as each device is told for itself. bytes: the most that any launch of it
 * asks for, always the same, since other threads' launches and graphs that wait to be launched go by the last that was told. */
static inline void udump_allow_shared(const void *kernel, size_t bytes) {
    if (bytes > 48 << 10) cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

#endif
