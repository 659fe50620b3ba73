/* Streams, events, graphs and memory. Work is done when someone waits for it, in the order of its stream and of the events that it waits for; with
 * UDUMP_EMULATED_AHEAD=1 a session's first stream does its own at once, and only what crosses to the host is late: what is overwritten before it has crossed is
 * seen. In a capture work is only written down, and whatever CUDA forbids then is an error that spoils the capture: waiting, allocating, freeing, the default
 * stream, memory that is not pinned. Forks, which CUDA allows, are errors too: there are none. Addresses are looked at: what is copied on the device lies in
 * one allocation of it. UDUMP_EMULATED_DEVICES (1) share memory, but not what is bound to one: streams, launches. From kernel number UDUMP_EMULATED_LOST_AT on the device is lost, as after an illegal address: every call fails. */
#include "cuda_runtime_api.h"

#include <limits.h>
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
    int device;
    std::deque<std::function<void()>> work;
    long queued, done;
    bool capturing, spoiled, ahead;
    udump_work captured;
};
struct CUevent_st {
    CUstream_st *stream;
    long position; /* of the stream's work: all before it */
    std::shared_ptr<float> time; /* when that was done; events without timing have none */
};
static float clock_milliseconds;

static bool idle = getenv("UDUMP_EMULATED_IDLE") != NULL; /* nothing is done, only counted: memory holds what it held */
static std::map<char *, size_t> pinned, sizes; /* of the host, of the device */
static cudaError_t last, lost;
static CUstream_st default_stream; /* what the others do not wait for */
static CUstream_st *capturing; /* of the thread: there is one */
static udump_emulated_counts counts;
static char contexts[UDUMP_EMULATED_DEVICES_MOST]; /* their addresses are what the driver calls a context */
static thread_local char *context;                 /* the thread's current one */

/* The current device, to which something is bound. */
int udump_emulation_bind(void) {
    if (!context) context = contexts; /* as the runtime */
    counts.bound[context - contexts]++;
    return (int)(context - contexts);
}

static cudaError_t fail(cudaError_t error) { return last = error; }

/* What may not be done while the thread captures; the capture is lost. Nothing may once the device is. */
static bool is_forbidden(void) {
    if (lost) return fail(lost), true;
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
        if (!lost) work();
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
    if (stream->ahead) run_until(stream, stream->queued);
}

static bool lies_in(const std::map<char *, size_t> &memories, const void *memory, size_t bytes) {
    auto next = memories.upper_bound((char *)memory);
    return next != memories.begin() && (char *)memory + bytes <= std::prev(next)->first + std::prev(next)->second;
}

static bool is_pinned(const void *memory, size_t bytes) { return lies_in(pinned, memory, bytes); }
bool udump_emulation_on_device(const void *memory, size_t bytes) { return lies_in(sizes, memory, bytes); }

/* Both ends are where kind says. */
static bool is_copy(const void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return udump_emulation_on_device(to, bytes) == to_device && udump_emulation_on_device(from, bytes) == from_device;
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
cudaError_t cudaSetDevice(int device) {
    int count;
    if (cudaGetDeviceCount(&count) || device < 0 || device >= count) return fail(cudaErrorInvalidValue);
    context = contexts + device;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    *device = context ? (int)(context - contexts) : 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr, int) {
    *value = 4096; /* of a cache: few bytes, as they are overwritten often */
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}
/* In the driver's stead, for the backend. */
void *udump_cuda_context(void) { return context; }
void udump_cuda_set_context(void *current) { context = (char *)current; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "emulated device");
    p->totalGlobalMem = limit_bytes();
    p->major = 9;
    p->multiProcessorCount = 2;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    if (lost) return fail(lost);
    *total_bytes = limit_bytes();
    *free_bytes = counts.used_bytes < *total_bytes ? *total_bytes - counts.used_bytes : 0;
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void) {
    cudaError_t error = lost ? lost : last;
    last = cudaSuccess;
    return error;
}
const char *cudaGetErrorString(cudaError_t error) {
    if (error == cudaErrorStreamCaptureUnsupported) return "operation not permitted when stream is capturing";
    if (error == cudaErrorStreamCaptureInvalidated) return "operation failed due to a previous error during capture";
    if (error == cudaErrorStreamCaptureIsolation) return "dependency created on uncaptured work in another stream";
    if (error == cudaErrorIllegalAddress) return "an illegal memory access was encountered";
    if (error == cudaErrorInvalidConfiguration) return "invalid configuration argument";
    return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" : error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "invalid argument";
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
    *memory = NULL;
    if (is_forbidden()) return last;
    if (!bytes) return fail(cudaErrorInvalidValue);
    if (allocation_fails() || counts.used_bytes + bytes > limit_bytes()) return fail(cudaErrorMemoryAllocation);
    *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    if (!idle) memset(*memory, 0xFF, bytes); /* NaN, in every format */
    udump_emulation_bind();
    sizes[(char *)*memory] = bytes;
    counts.used_bytes += bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void *memory) {
    if (!memory) return cudaSuccess;
    if (capturing && is_forbidden()) return last;
    auto found = sizes.find((char *)memory);
    if (found == sizes.end()) return fail(cudaErrorInvalidValue);
    counts.used_bytes -= found->second;
    sizes.erase(found);
    free(memory);
    return lost;
}
cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
    *memory = NULL;
    if (is_forbidden()) return last;
    if (allocation_fails()) return fail(cudaErrorMemoryAllocation);
    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!*memory) return fail(cudaErrorMemoryAllocation);
    memset(*memory, 0xFF, bytes);
    udump_emulation_bind();
    pinned[(char *)*memory] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *memory) {
    if (capturing && is_forbidden()) return last;
    pinned.erase((char *)memory);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    static long created;
    *stream = new CUstream_st();
    (*stream)->device = udump_emulation_bind();
    (*stream)->ahead = says("UDUMP_EMULATED_AHEAD", "1") && created++ % 2 == 0;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (is_forbidden()) return last;
    if (!stream) stream = &default_stream;
    wait_for(stream, stream->queued);
    return lost;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaStreamSynchronize(stream);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    *event = new CUevent_st();
    udump_emulation_bind();
    if (!(flags & cudaEventDisableTiming)) (*event)->time = std::make_shared<float>(0.0f);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
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
    return lost;
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    if (!begin->time || !end->time || !begin->stream || !end->stream) return fail(cudaErrorInvalidResourceHandle);
    if (begin->stream->done < begin->position || end->stream->done < end->position) return fail(cudaErrorNotReady);
    counts.timings++;
    *milliseconds = *end->time - *begin->time;
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
    if (!udump_emulation_on_device(memory, bytes)) return fail(cudaErrorInvalidValue);
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
    bool pageable = (kind == cudaMemcpyHostToDevice && !is_pinned(from, bytes)) || (kind == cudaMemcpyDeviceToHost && !is_pinned(to, bytes));
    if (lost || (pageable && stream->capturing)) return is_forbidden(), last;
    if (!is_copy(to, from, bytes, kind)) return fail(cudaErrorInvalidValue);
    if (kind == cudaMemcpyHostToDevice && pageable && !idle) {
        std::string staged((const char *)from, bytes);
        append(stream, [to, staged]() { memcpy(to, staged.data(), staged.size()); });
        return cudaSuccess;
    }
    append(stream, [=]() { memmove(to, from, bytes); });
    return pageable ? cudaStreamSynchronize(stream) : cudaSuccess;
}
/* To the device the last of it may still be on its way when the call returns, and streams of the kind that sessions have do not wait for the default one. */
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    if (is_forbidden()) return last;
    wait_for(&default_stream, default_stream.queued);
    cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, &default_stream);
    return error || kind == cudaMemcpyHostToDevice ? error : cudaStreamSynchronize(&default_stream);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    *status = stream && stream->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
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
    udump_emulation_bind();
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

enum { SHARED_BYTES = 48 << 10, SHARED_BYTES_MOST = 99 << 10 /* of the smallest card that the kernels are for */ };
static std::map<std::pair<int, const void *>, int> allowed_shared; /* a device's kernels that asked for more than every one may have */

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > SHARED_BYTES_MOST) return fail(cudaErrorInvalidValue);
    int &allowed = allowed_shared[{ context ? (int)(context - contexts) : 0, kernel }];
    /* CUDA takes another value, and then fails what another thread or a graph launches by the one before. */
    if (allowed && allowed != value) return fail(cudaErrorInvalidValue);
    allowed = value;
    return cudaSuccess;
}

/* What CUDA launches. */
static bool is_launch(dim3 grid, dim3 block, size_t shared_bytes, const void *kernel, int device) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    auto allowed = allowed_shared.find({ device, kernel });
    return threads && threads <= 1024 && block.z <= 64 && grid.x && grid.y && grid.z && grid.x <= 0x7FFFFFFF && grid.y <= 65535 && grid.z <= 65535
        && shared_bytes <= (size_t)(allowed == allowed_shared.end() ? (int)SHARED_BYTES : allowed->second);
}

static void count_kernel(void) {
    static long kernels;
    const char *text = getenv("UDUMP_EMULATED_LOST_AT");
    if (++kernels >= (text ? atol(text) : LONG_MAX)) lost = cudaErrorIllegalAddress;
}

void udump_emulation_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> thread, const void *kernel) {
    udump_emulated_launch launch = { grid, block, shared_bytes, thread };
    if (!is_launch(grid, block, shared_bytes, kernel, stream->device)) fail(cudaErrorInvalidConfiguration);
    else if (udump_emulation_bind() != stream->device) fail(cudaErrorInvalidResourceHandle);
    else udump_emulation_append(stream, [launch]() {
        count_kernel();
        if (!lost) udump_emulation_run(launch);
    });
}
