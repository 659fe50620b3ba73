/* Weights to the device, in its compute type and the layout that their products read. */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/half.h"
#include "base/status.h"

void udump_cuda_packed_free(udump_packed *packed) {
    if (!packed) return;
    cudaFree(packed->values);
    cudaFree(packed->bias);
    free(packed);
}

size_t udump_cuda_packed_bytes(const udump_packed *packed) { return packed->bytes; }

/* count values to new device memory, as dtype. */
static udump_status place(void **memory, const float *values, size_t count, udump_dtype dtype, udump_packed *packed, udump_error *error) {
    size_t bytes = count * udump_dtype_bytes(dtype);
    uint16_t *halves = dtype == UDUMP_F32 ? NULL : malloc(bytes);
    if (dtype != UDUMP_F32 && !halves) return udump_fail_memory(error, "weights", bytes);
    for (size_t i = 0; halves && i < count; i++) halves[i] = dtype == UDUMP_BF16 ? udump_f32_to_bf16(values[i]) : udump_f32_to_f16(values[i]);
    cudaError_t result = cudaSetDevice(packed->device->ordinal);
    if (result == cudaSuccess) result = cudaMalloc(memory, bytes);
    if (result == cudaSuccess) result = cudaMemcpy(*memory, halves ? (const void *)halves : values, bytes, cudaMemcpyHostToDevice);
    if (result == cudaSuccess) result = cudaStreamSynchronize(NULL); /* the copy may return before its end, and sessions' streams wait for no other */
    free(halves);
    packed->bytes += bytes;
    if (result == cudaErrorMemoryAllocation) return cudaGetLastError(), udump_fail_memory(error, "weights on the device", bytes);
    return udump_cuda_status(result, "weights", error);
}

/* values: [out, in], in the layout that they shall have; bias: [out] or NULL. */
static udump_packed *pack(udump_packed like, const float *values, const float *bias, udump_error *error) {
    udump_packed *packed = malloc(sizeof *packed);
    if (!packed) return udump_fail_memory(error, "weights", sizeof *packed), NULL;
    *packed = like;
    udump_dtype dtype = like.device->compute;
    udump_status status = place(&packed->values, values, (size_t)like.in * (size_t)like.out, dtype, packed, error);
    if (!status && bias) status = place(&packed->bias, bias, (size_t)like.out, dtype, packed, error);
    if (!status) return packed;
    udump_cuda_packed_free(packed);
    return NULL;
}

/* From [out, in, taps] to [out, taps, in], or, for our own kernel, to [taps, in, out]. */
static void reorder(float *to, const float *from, size_t out, size_t in, size_t taps, bool direct) {
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t tap = 0; tap < taps; tap++)
                to[direct ? (tap * in + i) * out + o : (o * taps + tap) * in + i] = from[(o * in + i) * taps + tap];
}

udump_packed *udump_cuda_pack_conv(void *opened, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error) {
    udump_cuda_device *device = opened;
    if (udump_cuda_libraries(device, error)) return NULL;
    size_t taps = (size_t)shape->kernel * (size_t)shape->kernel, count = (size_t)shape->in * (size_t)shape->out * taps;
    /* Of channels last a 1 x 1 convolution is a product; rows of odd lengths (the latent's) are not what its library is for. */
    bool product = taps == 1 && shape->stride == 1 && !shape->pad_begin && !shape->pad_end && shape->in % 8 == 0 && shape->out % 8 == 0;
    bool library = device->convolutions && udump_convolution_library_fits(device->convolutions, shape);
    udump_packed like = { .device = device, .conv = *shape, .in = shape->in * (int32_t)taps, .out = shape->out, .direct = !product && !library };
    if (product) like.conv.kernel = 0;
    float *values = malloc(count * sizeof *values), *zeros = bias || product ? NULL : calloc((size_t)shape->out, sizeof *zeros);
    if (!values || (!bias && !product && !zeros)) {
        free(values);
        return udump_fail_memory(error, "weights", count * sizeof *values), NULL;
    }
    reorder(values, weight, (size_t)shape->out, (size_t)shape->in, taps, like.direct);
    udump_packed *packed = pack(like, values, bias ? bias : zeros, error);
    free(values);
    free(zeros);
    return packed;
}

udump_packed *udump_cuda_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    (void)rows;
    if (udump_cuda_libraries(device, error)) return NULL;
    size_t out = 0, first = 0;
    bool biased = false;
    for (int32_t p = 0; p < part_count; p++) out += (size_t)parts[p].out, biased |= parts[p].bias != NULL;
    udump_packed like = { .device = device, .in = in, .out = (int32_t)out };
    if (part_count == 1) return pack(like, parts->weight, parts->bias, error);
    float *values = calloc(((size_t)in + 1) * out, sizeof *values), *bias = values ? values + (size_t)in * out : NULL;
    if (!values) return udump_fail_memory(error, "weights", ((size_t)in + 1) * out * sizeof *values), NULL;
    for (int32_t p = 0; p < part_count; first += (size_t)parts[p++].out) {
        memcpy(values + first * (size_t)in, parts[p].weight, (size_t)parts[p].out * (size_t)in * sizeof *values);
        if (parts[p].bias) memcpy(bias + first, parts[p].bias, (size_t)parts[p].out * sizeof *bias);
    }
    udump_packed *packed = pack(like, values, biased ? bias : NULL, error);
    free(values);
    return packed;
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
    if (!place(&packed->values, values, (size_t)rows * (size_t)c, UDUMP_F32, packed, error)) return packed;
    udump_cuda_packed_free(packed);
    return NULL;
}
