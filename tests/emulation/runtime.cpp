/* Streams, events, graphs and memory. Work is done when someone waits for it, in the order of its stream and of the events that it waits for. In a capture
 * it is only written down, and whatever CUDA forbids then is an error that spoils the capture: waiting, allocating, freeing, the default stream, memory that is
 * not pinned. Forks, which CUDA allows, are errors too: there are none. */
#include "cuda_runtime_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blocks.h"

typedef std::vector<std::function<void()>> udump_work;
struct CUgraph_st {
    udump_work work;
};
struct CUgraphExec_st {
    std::shared_ptr<udump_work> work; /* what was launched runs, even if this is destroyed before */
    size_t bytes;
};
struct CUstream_st {
    std::deque<std::function<void()>> work;
    long queued, done;
    bool capturing, spoiled;
    udump_work captured;
};
struct CUevent_st {
    CUstream_st *stream;
    long position; /* of the stream's work: all before it */
    std::shared_ptr<float> time; /* when that was done; events without timing have none */
};
static float clock_milliseconds;

static bool idle = getenv("UDUMP_EMULATED_IDLE") != NULL; /* nothing is done, only counted: memory holds what it held */

static std::map<char *, size_t> pinned;
static std::map<void *, size_t> sizes;
static cudaError_t last;
static CUstream_st *capturing; /* of the thread: there is one */
static udump_emulated_counts counts;

static cudaError_t fail(cudaError_t error) { return last = error; }

/* What may not be done while the thread captures; the capture is lost. */
static bool is_forbidden(void) {
    if (!capturing) return false;
    capturing->spoiled = true;
    fail(cudaErrorStreamCaptureUnsupported);
    return true;
}

static bool says(const char *name, const char *value) {
    const char *text = getenv(name);
    return text && strcmp(text, value) == 0;
}

/* Counts it. */
static bool allocation_fails(void) {
    const char *text = getenv("UDUMP_EMULATED_FAIL_AT");
    counts.allocations++;
    return text && atol(text) == counts.allocations;
}

static void run_until(CUstream_st *stream, long position) {
    while (stream->done < position) {
        std::function<void()> work = stream->work.front();
        stream->work.pop_front();
        stream->done++;
        work();
    }
}

static void wait_for(CUstream_st *stream, long position) {
    counts.waits += stream->done < position;
    run_until(stream, position);
}

static void append(CUstream_st *stream, std::function<void()> work) {
    if (idle) return;
    if (stream->capturing) {
        if (stream->spoiled) fail(cudaErrorStreamCaptureInvalidated);
        else stream->captured.push_back(work);
        return;
    }
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
cudaError_t cudaDeviceSynchronize(void) { return is_forbidden() ? last : cudaSuccess; }
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
    *free_bytes = counts.used_bytes < *total_bytes ? *total_bytes - counts.used_bytes : 0;
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void) {
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}
const char *cudaGetErrorString(cudaError_t error) {
    if (error == cudaErrorStreamCaptureUnsupported) return "operation not permitted when stream is capturing";
    if (error == cudaErrorStreamCaptureInvalidated) return "operation failed due to a previous error during capture";
    if (error == cudaErrorStreamCaptureIsolation) return "dependency created on uncaptured work in another stream";
    return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" : error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "invalid argument";
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
    *memory = NULL;
    if (is_forbidden()) return last;
    if (allocation_fails() || counts.used_bytes + bytes > limit_bytes()) return fail(cudaErrorMemoryAllocation);
    *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    if (!idle) memset(*memory, 0xFF, bytes); /* NaN, in every format */
    sizes[*memory] = bytes;
    counts.used_bytes += bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void *memory) {
    if (!memory) return cudaSuccess;
    if (is_forbidden()) return last;
    counts.used_bytes -= sizes[memory];
    sizes.erase(memory);
    free(memory);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
    *memory = NULL;
    if (is_forbidden()) return last;
    if (allocation_fails()) return fail(cudaErrorMemoryAllocation);
    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    memset(*memory, 0xFF, bytes);
    pinned[(char *)*memory] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *memory) {
    if (is_forbidden()) return last;
    pinned.erase((char *)memory);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) { return *stream = new CUstream_st(), cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return is_forbidden() ? last : (wait_for(stream, stream->queued), cudaSuccess); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaStreamSynchronize(stream);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    *event = new CUevent_st();
    if (!(flags & cudaEventDisableTiming)) (*event)->time = std::make_shared<float>(0.0f);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    static CUstream_st default_stream; /* with nothing in it */
    if (is_forbidden()) return last;
    if (!stream) stream = &default_stream;
    std::shared_ptr<float> time = event->time;
    if (time) append(stream, [time]() { *time = clock_milliseconds; });
    event->stream = stream;
    event->position = stream->queued;
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (is_forbidden()) return last;
    if (event->stream) wait_for(event->stream, event->position);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    if (!begin->time || !end->time) return fail(cudaErrorInvalidValue);
    counts.timings++;
    *milliseconds = *end->time - *begin->time;
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    counts.launches += !stream->capturing;
    append(stream, [=]() { memset(memory, value, bytes); });
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    CUevent_st then = *event;
    if (stream->capturing) return stream->spoiled = true, fail(cudaErrorStreamCaptureIsolation);
    if (then.stream && then.stream != stream) append(stream, [then]() { run_until(then.stream, then.position); });
    return cudaSuccess;
}

/* From memory that is not pinned a copy is staged before the call returns; to it, the call waits. As the CUDA documentation says of both. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    bool pageable = (kind == cudaMemcpyHostToDevice && !is_pinned(from)) || (kind == cudaMemcpyDeviceToHost && !is_pinned(to));
    if (pageable && stream->capturing) return is_forbidden(), last;
    if (kind == cudaMemcpyHostToDevice && pageable && !idle) {
        std::string staged((const char *)from, bytes);
        append(stream, [to, staged]() { memcpy(to, staged.data(), staged.size()); });
        return cudaSuccess;
    }
    append(stream, [=]() { memmove(to, from, bytes); });
    if (pageable) cudaStreamSynchronize(stream);
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind) {
    if (is_forbidden()) return last;
    if (!idle) memcpy(to, from, bytes);
    return cudaSuccess;
}

/* UDUMP_EMULATED_GRAPHS: "begin", "end" or "instantiate" is what fails. */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode) {
    if (!stream || capturing || says("UDUMP_EMULATED_GRAPHS", "begin")) return fail(cudaErrorStreamCaptureUnsupported);
    capturing = stream;
    stream->capturing = true;
    stream->spoiled = false;
    counts.captures++;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = NULL;
    if (capturing != stream) return fail(cudaErrorInvalidValue);
    capturing = NULL;
    stream->capturing = false;
    udump_work work;
    work.swap(stream->captured);
    if (stream->spoiled || says("UDUMP_EMULATED_GRAPHS", "end")) return fail(cudaErrorStreamCaptureInvalidated);
    *graph = new CUgraph_st{ work };
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    size_t bytes = 1024 * graph->work.size(); /* about what a kernel's node takes on a device */
    *exec = NULL;
    if (is_forbidden()) return last;
    if (allocation_fails() || counts.used_bytes + bytes > limit_bytes() || says("UDUMP_EMULATED_GRAPHS", "instantiate")) return fail(cudaErrorMemoryAllocation);
    counts.used_bytes += bytes;
    *exec = new CUgraphExec_st{ std::make_shared<udump_work>(graph->work), bytes };
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    if (is_forbidden()) return last;
    counts.used_bytes -= exec->bytes;
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    if (is_forbidden()) return last;
    std::shared_ptr<udump_work> work = exec->work;
    counts.graph_launches++;
    append(stream, [work]() {
        for (std::function<void()> &each : *work) each();
    });
    return cudaSuccess;
}

const udump_emulated_counts *udump_emulation_counts(void) { return &counts; }

} /* extern "C" */

void udump_emulation_spend(cudaStream_t stream, float milliseconds) {
    append(stream, [milliseconds]() { clock_milliseconds += milliseconds; });
}

void udump_emulation_append(cudaStream_t stream, std::function<void()> work) {
    counts.launches += !stream->capturing;
    append(stream, work);
}

void udump_emulation_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> thread) {
    udump_emulated_launch launch = { grid, block, shared_bytes, thread };
    udump_emulation_append(stream, [launch]() { udump_emulation_run(launch); });
}
