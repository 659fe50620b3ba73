/* The table, the device, a session's streams, and what crosses between host and device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/module.h"
#include "base/half.h"
#include "base/status.h"

udump_status udump_cuda_status(cudaError_t result, const char *where, udump_error *error) {
    if (result == cudaSuccess) return UDUMP_OK;
    cudaGetLastError(); /* it would be reported again */
    udump_status status = result == cudaErrorMemoryAllocation ? UDUMP_ERROR_MEMORY : UDUMP_ERROR_DEVICE;
    return udump_fail(error, status, where, "CUDA: %s", cudaGetErrorString(result));
}

static void fail_with(udump_exec *x, const char *where, cudaError_t result) {
    if (result == cudaSuccess) return;
    cudaGetLastError();
    udump_exec_fail(x, result == cudaErrorMemoryAllocation ? UDUMP_ERROR_MEMORY : UDUMP_ERROR_DEVICE, where, "CUDA: %s", cudaGetErrorString(result));
}

void udump_cuda_check(udump_exec *x, const char *operation) { fail_with(x, operation, cudaGetLastError()); }

/* ---- device */

static void device_close(void *opened) {
    udump_cuda_device *device = opened;
    if (!device) return;
    udump_gemm_library_close(device->gemms);
    udump_convolution_library_close(device->convolutions);
    udump_plans_close(device->plans);
    udump_fused_library_close(device->fused);
    cudaFree(device->stage.memory);
    if (device->stage.stream) cudaStreamDestroy(device->stage.stream);
    free(device->library_path);
    free(device->plan_cache);
    free(device);
}

/* Measured engines are of one kind of device and one version of each library. */
static void open_plans(udump_cuda_device *device) {
    struct cudaDeviceProp p;
    char stamp[400];
    int driver = 0;
    if (device->plan_cache && !*device->plan_cache) return;
    if (cudaGetDeviceProperties(&p, device->ordinal) != cudaSuccess || cudaDriverGetVersion(&driver) != cudaSuccess) return;
    snprintf(stamp, sizeof stamp, "%s, %d.%d, %d multiprocessors; driver %d; cuDNN %zu; cuBLASLt %zu", p.name, p.major, p.minor, p.multiProcessorCount, driver,
        device->convolutions ? udump_convolution_library_version(device->convolutions) : 0, udump_gemm_library_version(device->gemms));
    device->plans = udump_plans_open(device->plan_cache, stamp);
}

/* It is a library of libraries, the rest of which it looks for when it is first used. */
static udump_status try_cudnn(const udump_cuda_device *device, udump_error *error) {
    udump_convolution *trial = NULL;
    udump_status status = udump_convolution_open(device->convolutions, NULL, &trial, error);
    udump_convolution_close(trial);
    return status;
}

/* Without it our own kernels convolve and attend. */
static void open_cudnn(udump_cuda_device *device) {
    udump_error why;
    udump_status status = udump_convolution_library_open(device->library_path, &device->convolutions, &why);
    if (!status) status = try_cudnn(device, &why);
    if (!status) status = udump_fused_library_open(device->library_path, &device->fused, &why);
    if (!status) return;
    udump_convolution_library_close(device->convolutions);
    device->convolutions = NULL;
    snprintf(device->lacks, sizeof device->lacks, "no cuDNN (%s): convolutions and long attention are slower by our own kernels", why.what);
}

udump_status udump_cuda_libraries(udump_cuda_device *device, udump_error *error) {
    if (device->gemms) return UDUMP_OK;
    udump_status status = udump_cuda_status(cudaSetDevice(device->ordinal), "device", error);
    if (!status) status = udump_gemm_library_open(device->library_path, &device->gemms, error);
    if (status) return status;
    open_cudnn(device);
    open_plans(device);
    return UDUMP_OK;
}

static const char *device_lacks(void *opened) {
    const udump_cuda_device *device = opened;
    return *device->lacks ? device->lacks : NULL;
}

static udump_status device_open(const udump_device_request *request, void **opened, udump_error *error) {
    udump_cuda_device *device = calloc(1, sizeof *device);
    if (!device) return udump_fail_memory(error, "device", sizeof *device);
    device->ordinal = request->ordinal;
    device->compute = request->compute;
    device->eager = request->eager;
    udump_status status = udump_cuda_status(cudaSetDevice(request->ordinal), "device", error);
    if (!status && request->library_path && !(device->library_path = strdup(request->library_path)))
        status = udump_fail_memory(error, "device", strlen(request->library_path));
    if (!status && request->plan_cache && !(device->plan_cache = strdup(request->plan_cache)))
        status = udump_fail_memory(error, "device", strlen(request->plan_cache));
    if (status) device_close(device);
    else *opened = device;
    return status;
}

static void *memory_alloc(void *opened, size_t bytes) {
    const udump_cuda_device *device = opened;
    void *memory = NULL;
    if (cudaSetDevice(device->ordinal) == cudaSuccess && cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
    cudaGetLastError();
    return NULL;
}

static void memory_free(void *opened, void *memory) {
    (void)opened;
    cudaFree(memory);
}

static bool memory_left(void *opened, size_t *free_bytes, size_t *total_bytes) {
    const udump_cuda_device *device = opened;
    if (cudaSetDevice(device->ordinal) == cudaSuccess && cudaMemGetInfo(free_bytes, total_bytes) == cudaSuccess) return true;
    cudaGetLastError();
    return false;
}

static void *enter(void *opened) {
    const udump_cuda_device *device = opened;
    void *before = udump_cuda_context();
    if (device) cudaSetDevice(device->ordinal);
    return before;
}

static void *host_alloc(void *opened, size_t bytes) {
    (void)opened;
    void *memory = NULL;
    if (cudaHostAlloc(&memory, bytes, 0) == cudaSuccess) return memory;
    cudaGetLastError();
    return NULL;
}

static void host_free(void *opened, void *memory) {
    (void)opened;
    cudaFreeHost(memory);
}

/* ---- session */

static void exec_close(udump_exec *x) {
    udump_cuda_state *state = x->state;
    if (!state) return;
    if (state->stream) cudaStreamSynchronize(state->stream);
    if (state->copies) cudaStreamSynchronize(state->copies);
    udump_gemm_close(state->gemm);
    udump_convolution_close(state->convolution);
    udump_fused_close(state->fused);
    for (int i = 0; i < UDUMP_CUDA_EVENTS && state->events[i]; i++) cudaEventDestroy(state->events[i]);
    if (state->made) cudaEventDestroy(state->made);
    if (state->stream) cudaStreamDestroy(state->stream);
    if (state->copies) cudaStreamDestroy(state->copies);
    cudaFree(state->scratch);
    while (state->outgrown_count) cudaFree(state->outgrown[--state->outgrown_count]);
    udump_cuda_pinned_close(&state->pinned);
    free(state->staging);
    free(state);
    x->state = NULL;
}

static cudaError_t streams_open(udump_cuda_state *state) {
    cudaError_t result = cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking);
    if (result == cudaSuccess) result = cudaStreamCreateWithFlags(&state->copies, cudaStreamNonBlocking);
    if (result == cudaSuccess) result = cudaEventCreateWithFlags(&state->made, cudaEventDisableTiming);
    for (int i = 0; i < UDUMP_CUDA_EVENTS && result == cudaSuccess; i++) result = cudaEventCreateWithFlags(&state->events[i], cudaEventDisableTiming);
    if (result == cudaSuccess) result = udump_cuda_pinned_open(&state->pinned);
    state->scratch_bytes = UDUMP_CUDA_SCRATCH_BYTES;
    return result == cudaSuccess ? cudaMalloc(&state->scratch, state->scratch_bytes) : result;
}

udump_status udump_cuda_products_open(udump_exec *x, udump_error *error) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    udump_cuda_device *device = state->device;
    udump_status status = udump_cuda_status(cudaSetDevice(device->ordinal), "session", error);
    if (!status && device->gemms && !state->gemm) status = udump_gemm_open(device->gemms, device->plans, &state->gemm, error);
    if (!status && device->convolutions && !state->convolution) status = udump_convolution_open(device->convolutions, device->plans, &state->convolution, error);
    if (!status && device->fused && !state->fused) status = udump_fused_open(device->fused, &state->fused, error);
    return status;
}

static udump_status exec_open(udump_exec *x, udump_error *error) {
    udump_cuda_state *state = x->state = calloc(1, sizeof *state);
    if (!state) return udump_fail_memory(error, "session", sizeof *state);
    state->device = x->device;
    udump_status status = udump_cuda_status(cudaSetDevice(state->device->ordinal), "session", error);
    if (!status) status = udump_cuda_status(streams_open(state), "session", error);
    if (!status) status = udump_cuda_products_open(x, error);
    if (status) exec_close(x);
    return status;
}

void *udump_cuda_scratch(udump_exec *x, size_t bytes) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    void *grown = NULL;
    if (bytes <= state->scratch_bytes) return state->scratch;
    if (bytes < 2 * state->scratch_bytes) bytes = 2 * state->scratch_bytes;
    cudaSetDevice(state->device->ordinal); /* a callback may have chosen another */
    cudaError_t result = state->outgrown_count < UDUMP_CUDA_OUTGROWN ? cudaMalloc(&grown, bytes) : cudaErrorMemoryAllocation;
    fail_with(x, "scratch", result);
    if (result != cudaSuccess) return NULL;
    state->outgrown[state->outgrown_count++] = state->scratch;
    state->scratch = grown;
    state->scratch_bytes = bytes;
    return grown;
}

float *udump_cuda_staging(udump_exec *x, size_t bytes) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    if (bytes <= state->staging_bytes) return state->staging;
    float *grown = realloc(state->staging, bytes);
    if (!grown) {
        udump_exec_fail(x, UDUMP_ERROR_MEMORY, "staging", "out of memory: %zu bytes", bytes);
        return NULL;
    }
    state->staging = grown;
    state->staging_bytes = bytes;
    return grown;
}

/* ---- crossing */

void udump_cuda_write(udump_exec *x, void *arena, const void *host, size_t bytes) {
    fail_with(x, "write", udump_cuda_pinned_cross(&udump_cuda_state_of(x)->pinned, arena, host, bytes, udump_cuda_stream(x)));
}

void udump_cuda_read(udump_exec *x, void *host, const void *arena, size_t bytes) {
    cudaStream_t stream = udump_cuda_stream(x);
    cudaError_t result = cudaMemcpyAsync(host, arena, bytes, cudaMemcpyDeviceToHost, stream);
    if (result == cudaSuccess) result = cudaStreamSynchronize(stream);
    fail_with(x, "read", result);
}

static void copy(udump_exec *x, void *to, const void *from, size_t bytes) {
    fail_with(x, "copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, udump_cuda_stream(x)));
}

static void await(udump_exec *x, udump_ticket ticket) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    if (ticket <= state->ticket - UDUMP_CUDA_EVENTS || ticket <= 0) return; /* its event was waited for when it was taken again */
    fail_with(x, "await", cudaEventSynchronize(state->events[ticket % UDUMP_CUDA_EVENTS]));
}

/* The next ticket, for what is in the stream. */
static udump_ticket take_ticket(udump_exec *x, cudaStream_t stream) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    udump_ticket ticket = ++state->ticket;
    cudaEvent_t event = state->events[ticket % UDUMP_CUDA_EVENTS];
    cudaError_t result = ticket > UDUMP_CUDA_EVENTS ? cudaEventSynchronize(event) : cudaSuccess;
    if (result == cudaSuccess) result = cudaEventRecord(event, stream);
    fail_with(x, "event", result);
    return ticket;
}

static udump_ticket mark(udump_exec *x) { return take_ticket(x, udump_cuda_stream(x)); }

static void follow(udump_exec *x, void *stream) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    cudaError_t result = cudaStreamIsCapturing(stream, &capture);
    if (result == cudaSuccess && capture != cudaStreamCaptureStatusNone) udump_exec_fail(x, UDUMP_ERROR_ARGUMENT, "stream", "it is being captured");
    if (x->status) return;
    if (result == cudaSuccess) result = cudaEventRecord(state->made, stream);
    if (result == cudaSuccess) result = cudaStreamWaitEvent(state->stream, state->made, 0);
    fail_with(x, "follow", result);
}

static udump_ticket fetch(udump_exec *x, void *host, const void *arena, size_t bytes) {
    udump_cuda_state *state = udump_cuda_state_of(x);
    cudaError_t result = cudaEventRecord(state->made, state->stream);
    if (result == cudaSuccess) result = cudaStreamWaitEvent(state->copies, state->made, 0);
    if (result == cudaSuccess) result = cudaMemcpyAsync(host, arena, bytes, cudaMemcpyDeviceToHost, state->copies);
    fail_with(x, "fetch", result);
    return take_ticket(x, state->copies);
}

/* 16-bit values are made on the host: what crosses this way is small. */
void udump_cuda_upload(udump_exec *x, udump_tensor out, const float *host) {
    size_t count = udump_tensor_count(out);
    const void *from = host;
    if (out.dtype != UDUMP_F32) {
        uint16_t *halves = (uint16_t *)udump_cuda_staging(x, count * sizeof *halves);
        for (size_t i = 0; halves && i < count; i++) halves[i] = out.dtype == UDUMP_BF16 ? udump_f32_to_bf16(host[i]) : udump_f32_to_f16(host[i]);
        from = halves;
    }
    if (from) udump_cuda_write(x, udump_tensor_data(x, out), from, udump_tensor_bytes(out));
}

void udump_cuda_download(udump_exec *x, float *host, udump_tensor in) {
    size_t count = udump_tensor_count(in);
    if (in.dtype == UDUMP_F32) {
        udump_cuda_read(x, host, udump_tensor_data(x, in), udump_tensor_bytes(in));
        return;
    }
    void *halves = udump_cuda_staging(x, udump_tensor_bytes(in));
    if (!halves) return;
    udump_cuda_read(x, halves, udump_tensor_data(x, in), udump_tensor_bytes(in));
    udump_convert_to_f32(host, halves, in.dtype, (int64_t)count);
}

/* ---- the table */

static const udump_backend table = {
    .name = "cuda",
    .device_open = device_open,
    .device_close = device_close,
    .device_lacks = device_lacks,
    .memory_alloc = memory_alloc,
    .memory_free = memory_free,
    .memory_left = memory_left,
    .enter = enter,
    .leave = udump_cuda_set_context,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .pack_conv = udump_cuda_pack_conv,
    .pack_linear = udump_cuda_pack_linear,
    .pack_geglu = udump_cuda_pack_geglu,
    .pack_vectors = udump_cuda_pack_vectors,
    .packed_free = udump_cuda_packed_free,
    .packed_bytes = udump_cuda_packed_bytes,
    .exec_open = exec_open,
    .exec_close = exec_close,
    .conv2d = udump_cuda_conv2d,
    .linear = udump_cuda_linear,
    .linear_geglu = udump_cuda_linear_geglu,
    .group_norm = udump_cuda_group_norm,
    .layer_norm = udump_cuda_layer_norm,
    .attention = udump_cuda_attention,
    .attention_cross = udump_cuda_attention_cross,
    .upsample_nearest = udump_cuda_upsample_nearest,
    .concat_channels = udump_cuda_concat_channels,
    .activation = udump_cuda_activation,
    .gather_rows = udump_cuda_gather_rows,
    .embed_tokens = udump_cuda_embed_tokens,
    .timestep_embedding = udump_cuda_timestep_embedding,
    .linear_combination = udump_cuda_linear_combination,
    .cfg_combine = udump_cuda_cfg_combine,
    .convert = udump_cuda_convert,
    .upload = udump_cuda_upload,
    .download = udump_cuda_download,
    .write = udump_cuda_write,
    .read = udump_cuda_read,
    .copy = copy,
    .fetch = fetch,
    .mark = mark,
    .await = await,
    .graph_begin = udump_cuda_graph_begin,
    .graph_end = udump_cuda_graph_end,
    .graph_launch = udump_cuda_graph_launch,
    .graph_free = udump_cuda_graph_free,
    .follow = follow,
    .attention_maps = udump_cuda_attention_maps,
    .attention_rows = udump_cuda_attention_rows,
    .attention_summary = udump_cuda_attention_summary,
    .attention_covariance = udump_cuda_attention_covariance,
    .attention_components = udump_cuda_attention_components,
    .word_map = udump_cuda_word_map,
    .warm = udump_cuda_warm,
    .subtract = udump_cuda_subtract,
    .tile_reduce = udump_cuda_tile_reduce,
    .tile_join = udump_cuda_tile_join,
    .tile_average = udump_cuda_tile_average,
    .tile_colour = udump_cuda_tile_colour,
    .tile_rgb = udump_cuda_tile_rgb,
};

/* Why there is none: what CUDA's own text leaves a user to guess. */
static udump_status fail_probe(cudaError_t result, udump_error *error) {
    int driver = 0;
    bool known = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
    cudaGetLastError(); /* it is told here, and not to the next call that asks */
    if (result == cudaErrorNoDevice) return udump_fail(error, UDUMP_ERROR_DEVICE, "cuda", "there is no GPU that it can use");
    if (result == cudaErrorInsufficientDriver && !known) return udump_fail(error, UDUMP_ERROR_DEVICE, "cuda", "no NVIDIA driver is installed");
    if (result == cudaErrorInsufficientDriver)
        return udump_fail(error, UDUMP_ERROR_DEVICE, "cuda", "the NVIDIA driver is too old: it knows CUDA %d.%d", driver / 1000, driver % 1000 / 10);
    return udump_cuda_status(result, "cuda", error);
}

static udump_status probe(int32_t ordinal, char *note, size_t note_bytes, udump_error *error) {
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count); /* the count alone says nothing: without a driver it is not set */
    if (result != cudaSuccess) return fail_probe(result, error);
    if (ordinal < 0 || ordinal >= count) return udump_fail(error, UDUMP_ERROR_DEVICE, "cuda", "device %d: there are %d", (int)ordinal, count);
    struct cudaDeviceProp properties;
    udump_status status = udump_cuda_status(cudaGetDeviceProperties(&properties, ordinal), "cuda", error);
    if (status) return status;
    if (properties.major < 8)
        return udump_fail(error, UDUMP_ERROR_DEVICE, "cuda", "%s has compute capability %d.%d: 8.0 or newer is needed", properties.name, properties.major,
            properties.minor);
    snprintf(note, note_bytes, "%s, %.0f GiB, compute capability %d.%d", properties.name, (double)properties.totalGlobalMem / (1 << 30),
        properties.major, properties.minor);
    return UDUMP_OK;
}

__attribute__((visibility("default"))) const udump_module *udump_module_entry(void) {
    static const udump_module module = { sizeof module, sizeof table, &table, probe };
    return &module;
}
