/* Streams, events and memory. Work is done when someone waits for it, in the order of its stream and of the events that it waits for. */
#include "cuda_runtime_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <map>
#include <string>

#include "blocks.h"

struct CUstream_st {
    std::deque<std::function<void()>> work;
    long queued, done;
};
struct CUevent_st {
    CUstream_st *stream;
    long position; /* of the stream's work: all before it */
};

static std::map<char *, size_t> pinned;
static size_t used_bytes;
static std::map<void *, size_t> sizes;
static cudaError_t last;

static cudaError_t fail(cudaError_t error) { return last = error; }

static void run_until(CUstream_st *stream, long position) {
    while (stream->done < position) {
        std::function<void()> work = stream->work.front();
        stream->work.pop_front();
        stream->done++;
        work();
    }
}

static void append(CUstream_st *stream, std::function<void()> work) {
    stream->work.push_back(work);
    stream->queued++;
}

static bool is_pinned(const void *memory) {
    auto next = pinned.upper_bound((char *)memory);
    return next != pinned.begin() && (char *)memory < std::prev(next)->first + std::prev(next)->second;
}

static size_t limit_bytes(void) {
    const char *text = getenv("UDUMP_EMULATED_MEMORY_BYTES");
    return text ? strtoull(text, NULL, 10) : (size_t)4 << 30;
}

extern "C" {

/* Without a device where UDUMP_EMULATED_DEVICES is 0. */
cudaError_t cudaGetDeviceCount(int *count) {
    const char *text = getenv("UDUMP_EMULATED_DEVICES");
    *count = text ? atoi(text) : 1;
    return *count ? cudaSuccess : fail(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
/* Only what cudaMemcpy leaves would be waited for, and here it leaves nothing. */
cudaError_t cudaDeviceSynchronize(void) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "emulated device");
    p->totalGlobalMem = limit_bytes();
    p->major = 9;
    p->multiProcessorCount = 2;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    *total_bytes = limit_bytes();
    *free_bytes = used_bytes < *total_bytes ? *total_bytes - used_bytes : 0;
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void) {
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}
const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" : error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "invalid argument";
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
    *memory = NULL;
    if (used_bytes + bytes > limit_bytes()) return fail(cudaErrorMemoryAllocation);
    *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    memset(*memory, 0xFF, bytes); /* NaN, in every format */
    sizes[*memory] = bytes;
    used_bytes += bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void *memory) {
    if (!memory) return cudaSuccess;
    used_bytes -= sizes[memory];
    sizes.erase(memory);
    free(memory);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    memset(*memory, 0xFF, bytes);
    pinned[(char *)*memory] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *memory) {
    pinned.erase((char *)memory);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return *stream = new CUstream_st(), cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return run_until(stream, stream->queued), cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaStreamSynchronize(stream);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) { return *event = new CUevent_st(), cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    static CUstream_st default_stream; /* with nothing in it */
    if (!stream) stream = &default_stream;
    event->stream = stream;
    event->position = stream->queued;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (event->stream) run_until(event->stream, event->position);
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    CUevent_st then = *event;
    if (then.stream && then.stream != stream) append(stream, [then]() { run_until(then.stream, then.position); });
    return cudaSuccess;
}

/* From memory that is not pinned a copy is staged before the call returns; to it, the call waits. As the CUDA documentation says of both. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {
        std::string staged((const char *)from, bytes);
        append(stream, [to, staged]() { memcpy(to, staged.data(), staged.size()); });
        return cudaSuccess;
    }
    append(stream, [=]() { memmove(to, from, bytes); });
    if (kind == cudaMemcpyDeviceToHost && !is_pinned(to)) cudaStreamSynchronize(stream);
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind) { return memcpy(to, from, bytes), cudaSuccess; }

} /* extern "C" */

void udump_emulation_append(cudaStream_t stream, std::function<void()> work) { append(stream, work); }

void udump_emulation_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> thread) {
    udump_emulated_launch launch = { grid, block, shared_bytes, thread };
    append(stream, [launch]() { udump_emulation_run(launch); });
}
