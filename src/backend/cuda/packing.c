/* Weights to the device, in its compute type and the layout that their products read: they cross as they are, some rows at a time, and are rounded and
 * turned over there. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/status.h"

static const size_t STAGE_BYTES = (size_t)8 << 20; /* what crosses at once, if no row is longer */

void udump_cuda_packed_free(udump_packed *packed) {
    if (!packed) return;
    cudaFree(packed->values);
    cudaFree(packed->bias);
    free(packed);
}

size_t udump_cuda_packed_bytes(const udump_packed *packed) { return packed->bytes; }

static udump_status failed(cudaError_t result, size_t bytes, udump_error *error) {
    if (result == cudaErrorMemoryAllocation) return cudaGetLastError(), udump_fail_memory(error, "weights on the device", bytes);
    return udump_cuda_status(result, "weights", error);
}

/* Memory of a weight, which counts. */
static udump_status take(void **memory, size_t bytes, udump_packed *packed, udump_error *error) {
    cudaError_t result = cudaSetDevice(packed->device->ordinal);
    if (result == cudaSuccess) result = cudaMalloc(memory, bytes);
    packed->bytes += bytes;
    return failed(result, bytes, error);
}

/* Where what crosses arrives: at least bytes. */
static cudaError_t make_stage(udump_cuda_device *device, size_t bytes) {
    udump_cuda_stage *stage = &device->stage;
    if (bytes < STAGE_BYTES) bytes = STAGE_BYTES;
    if (!stage->stream) {
        cudaError_t result = cudaStreamCreateWithFlags(&stage->stream, cudaStreamNonBlocking);
        if (result != cudaSuccess) return result;
    }
    if (stage->bytes >= bytes) return cudaSuccess;
    cudaFree(stage->memory);
    *stage = (udump_cuda_stage){ .stream = stage->stream };
    cudaError_t result = cudaMalloc((void **)&stage->memory, bytes);
    if (result == cudaSuccess) stage->bytes = bytes;
    return result;
}

/* values: [rows, c, taps], to `first` rows behind `to`. */
static udump_status cross(const udump_packed *packed, void *to, size_t first, const float *values, size_t rows, size_t c, size_t taps, udump_error *error) {
    udump_cuda_device *device = packed->device;
    size_t row = c * taps, row_bytes = row * sizeof *values, width = udump_dtype_bytes(device->compute);
    cudaError_t result = make_stage(device, row_bytes);
    if (result != cudaSuccess) return failed(result, row_bytes, error);
    size_t most = device->stage.bytes / row_bytes;
    for (size_t done = 0; done < rows && result == cudaSuccess; done += most) {
        size_t count = rows - done < most ? rows - done : most, place = first + done;
        char *out = (char *)to + (packed->direct ? place : place * row) * width;
        result = cudaMemcpyAsync(device->stage.memory, values + done * row, count * row_bytes, cudaMemcpyHostToDevice, device->stage.stream);
        if (result != cudaSuccess) break;
        udump_kernel_pack_weights(out, udump_cuda_dtype(device->compute), device->stage.memory, (int)count, (int)c, (int)taps, packed->direct ? packed->out : 0,
            device->stage.stream);
        result = cudaGetLastError();
    }
    if (result == cudaSuccess) result = cudaStreamSynchronize(device->stage.stream); /* sessions' streams wait for no other */
    return failed(result, 0, error);
}

static udump_status cross_zeros(const udump_packed *packed, void *to, size_t first, size_t count, udump_error *error) {
    size_t width = udump_dtype_bytes(packed->device->compute);
    cudaError_t result = make_stage(packed->device, 0);
    if (result == cudaSuccess) result = cudaMemsetAsync((char *)to + first * width, 0, count * width, packed->device->stage.stream);
    if (result == cudaSuccess) result = cudaStreamSynchronize(packed->device->stage.stream);
    return failed(result, 0, error);
}

/* Parts one after another; bias: whether there is one, zeros where a part has none. */
static udump_packed *pack(udump_packed like, size_t taps, bool bias, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    udump_packed *packed = malloc(sizeof *packed);
    if (!packed) return udump_fail_memory(error, "weights", sizeof *packed), NULL;
    *packed = like;
    size_t in = (size_t)like.in, out = (size_t)like.out, width = udump_dtype_bytes(like.device->compute), first = 0;
    udump_status status = take(&packed->values, in * out * width, packed, error);
    if (!status && bias) status = take(&packed->bias, out * width, packed, error);
    for (int32_t p = 0; p < part_count && !status; first += (size_t)parts[p++].out) {
        size_t rows = (size_t)parts[p].out;
        status = cross(packed, packed->values, first, parts[p].weight, rows, in / taps, taps, error);
        if (!status && parts[p].bias) status = cross(packed, packed->bias, first, parts[p].bias, rows, 1, 1, error);
        else if (!status && bias) status = cross_zeros(packed, packed->bias, first, rows, error);
    }
    if (!status) return packed;
    udump_cuda_packed_free(packed);
    return NULL;
}

udump_packed *udump_cuda_pack_conv(void *opened, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error) {
    udump_cuda_device *device = opened;
    if (udump_cuda_libraries(device, error)) return NULL;
    size_t taps = (size_t)shape->kernel * (size_t)shape->kernel;
    /* Of channels last a 1 x 1 convolution is a product; rows of odd lengths (the latent's) are not what its library is for. */
    bool product = taps == 1 && shape->stride == 1 && !shape->pad_begin && !shape->pad_end && shape->in % 8 == 0 && shape->out % 8 == 0;
    bool library = device->convolutions && udump_convolution_library_fits(device->convolutions, shape);
    udump_packed like = { .device = device, .conv = *shape, .in = shape->in * (int32_t)taps, .out = shape->out, .direct = !product && !library };
    if (product) like.conv.kernel = 0;
    const udump_linear_part part = { weight, bias, shape->out };
    return pack(like, taps, bias || !product, 1, &part, error);
}

udump_packed *udump_cuda_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    (void)rows;
    if (udump_cuda_libraries(device, error)) return NULL;
    udump_packed like = { .device = device, .in = in };
    bool biased = false;
    for (int32_t p = 0; p < part_count; p++) like.out += parts[p].out, biased |= parts[p].bias != NULL;
    return pack(like, 1, biased, part_count, parts, error);
}

udump_packed *udump_cuda_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error) {
    return udump_cuda_pack_linear(device, in, rows, 2, parts, error);
}

udump_packed *udump_cuda_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error) {
    udump_packed *packed = calloc(1, sizeof *packed);
    if (!packed) return udump_fail_memory(error, "weights", sizeof *packed), NULL;
    packed->device = device; /* norms and embeddings stay fp32 */
    packed->in = rows;
    packed->out = c;
    size_t bytes = (size_t)rows * (size_t)c * sizeof *values;
    udump_status status = take(&packed->values, bytes, packed, error);
    if (!status) status = failed(cudaMemcpy(packed->values, values, bytes, cudaMemcpyHostToDevice), bytes, error);
    if (!status) status = failed(cudaStreamSynchronize(NULL), bytes, error); /* the copy may return before its end, and sessions' streams wait for no other */
    if (!status) return packed;
    udump_cuda_packed_free(packed);
    return NULL;
}
