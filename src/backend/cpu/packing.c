/* Weights, reordered once at load. The packed copy is the only one; a layer's merged parts live beside it only while it is packed. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/memory.h"
#include "base/status.h"

void udump_cpu_packed_free(udump_packed *packed) {
    if (!packed) return;
    udump_panels_free(packed->weights.panels);
    udump_panels_free(packed->gate.panels);
    udump_dnn_weights_free(packed->weights.dnn);
    udump_dnn_weights_free(packed->gate.dnn);
    free(packed->values);
    free(packed);
}

size_t udump_cpu_packed_bytes(const udump_packed *packed) { return packed->bytes; }

static udump_packed *packed_new(const udump_conv_shape *shape, udump_error *error) {
    udump_packed *packed = calloc(1, sizeof *packed);
    if (packed) packed->shape = *shape;
    else udump_fail_memory(error, "weights", sizeof *packed);
    return packed;
}

static bool weights_pack(const udump_cpu_device *device, udump_cpu_weights *weights, udump_packed *packed, const float *weight,
    const float *bias, udump_error *error) {
    const udump_conv_shape *s = &packed->shape;
    if (device->by_dnn) {
        weights->dnn = udump_dnn_weights_new(device->dnn, s, device->compute, device->threads, weight, bias, error);
        if (weights->dnn) packed->bytes += udump_dnn_weights_bytes(weights->dnn);
        return weights->dnn;
    }
    size_t taps = s->kernel ? (size_t)(s->kernel * s->kernel) : 1;
    weights->panels = udump_panels_new(
        device->kernels, (size_t)s->out, (size_t)s->in, taps, weight, bias, device->compute == UDUMP_BF16, device->threads, error);
    if (weights->panels) packed->bytes += weights->panels->bytes;
    return weights->panels;
}

/* Packs the weights, and the gate's part if there is one; NULL, and nothing left behind, on failure. */
static udump_packed *pack(void *device, const udump_conv_shape *shape, const float *weight, const float *bias,
    const udump_linear_part *gate, udump_error *error) {
    udump_packed *packed = packed_new(shape, error);
    if (!packed) return NULL;
    if (weights_pack(device, &packed->weights, packed, weight, bias, error)
        && (!gate || weights_pack(device, &packed->gate, packed, gate->weight, gate->bias, error)))
        return packed;
    udump_cpu_packed_free(packed);
    return NULL;
}

udump_packed *udump_cpu_pack_conv(void *device, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error) {
    return pack(device, shape, weight, bias, NULL, error);
}

static udump_conv_shape linear_shape(int32_t in, int32_t out, int32_t rows) {
    return (udump_conv_shape){ .in = in, .out = out, .n = rows, .h = 1, .w = 1 };
}

/* Parts one after another: values [out, in], then bias [out], zeros where a part has none. */
static float *merge(int32_t in, int32_t out, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    size_t bytes = ((size_t)in + 1) * (size_t)out * sizeof(float);
    float *merged = malloc(bytes), *values = merged, *bias = merged ? merged + (size_t)in * (size_t)out : NULL;
    if (!merged) udump_fail_memory(error, "weights", bytes);
    for (int32_t p = 0; merged && p < part_count; p++) {
        size_t part = (size_t)parts[p].out;
        memcpy(values, parts[p].weight, part * (size_t)in * sizeof *values);
        if (parts[p].bias) memcpy(bias, parts[p].bias, part * sizeof *bias);
        else memset(bias, 0, part * sizeof *bias);
        values += part * (size_t)in;
        bias += part;
    }
    return merged;
}

udump_packed *udump_cpu_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    int32_t out = 0;
    bool biased = false;
    for (int32_t p = 0; p < part_count; p++) out += parts[p].out, biased |= parts[p].bias != NULL;
    udump_conv_shape shape = linear_shape(in, out, rows);
    if (part_count == 1) return pack(device, &shape, parts->weight, parts->bias, NULL, error);
    float *merged = merge(in, out, part_count, parts, error);
    udump_packed *packed = merged ? pack(device, &shape, merged, biased ? merged + (size_t)in * (size_t)out : NULL, NULL, error) : NULL;
    free(merged);
    return packed;
}

udump_packed *udump_cpu_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error) {
    udump_conv_shape shape = linear_shape(in, parts[0].out, rows);
    return pack(device, &shape, parts[0].weight, parts[0].bias, &parts[1], error);
}

udump_packed *udump_cpu_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error) {
    (void)device; /* norms and embeddings stay fp32: they are small, or read once */
    udump_conv_shape shape = linear_shape(rows, c, 0);
    udump_packed *packed = packed_new(&shape, error);
    if (!packed) return NULL;
    packed->bytes = (size_t)rows * (size_t)c * sizeof *values;
    packed->values = malloc(packed->bytes);
    if (packed->values) {
        memcpy(packed->values, values, packed->bytes);
        return packed;
    }
    udump_fail_memory(error, "weights", packed->bytes);
    udump_cpu_packed_free(packed);
    return NULL;
}
