/* The table, the device and the packing of the reference backend. */
#include <stdlib.h>
#include <string.h>

#include "backend/reference/reference.h"
#include "backend/reference/tiles.h"
#include "base/memory.h"
#include "base/status.h"

struct reference_device {
    udump_dtype compute; /* BF16: weights are rounded to it when packed */
};

static udump_status device_open(const udump_device_request *request, void **device, udump_error *error) {
    struct reference_device *opened = calloc(1, sizeof *opened);
    if (!opened) return udump_fail_memory(error, "device", sizeof *opened);
    opened->compute = request->compute;
    *device = opened;
    return UDUMP_OK;
}

static void device_close(void *device) { free(device); }

static void *memory_alloc(void *device, size_t bytes) {
    (void)device;
    return udump_aligned_alloc(bytes);
}

static void memory_free(void *device, void *memory) {
    (void)device;
    udump_aligned_free(memory);
}

static udump_status exec_open(udump_exec *x, udump_error *error) {
    (void)x, (void)error;
    return UDUMP_OK;
}

static void exec_close(udump_exec *x) { (void)x; }

void udump_reference_packed_free(udump_packed *packed) {
    if (!packed) return;
    free(packed->values);
    free(packed->bias);
    free(packed);
}

size_t udump_reference_packed_bytes(const udump_packed *packed) { return packed->bytes; }

static udump_packed *packed_new(int32_t in, int32_t out, bool with_bias, udump_error *error) {
    size_t values_bytes = (size_t)in * (size_t)out * sizeof(float), bias_bytes = with_bias ? (size_t)out * sizeof(float) : 0;
    udump_packed *packed = calloc(1, sizeof *packed);
    if (packed) {
        *packed = (udump_packed){ .in = in, .out = out, .values = malloc(values_bytes), .bias = with_bias ? calloc(1, bias_bytes) : NULL, .bytes = values_bytes + bias_bytes };
        if (packed->values && (packed->bias || !with_bias)) return packed;
    }
    udump_reference_packed_free(packed);
    udump_fail_memory(error, "weights", values_bytes + bias_bytes);
    return NULL;
}

static float rounded(const void *device, float value) {
    const struct reference_device *d = device;
    if (d->compute == UDUMP_BF16) return udump_bf16_to_f32(udump_f32_to_bf16(value));
    return d->compute == UDUMP_F16 ? udump_f16_to_f32(udump_f32_to_f16(value)) : value;
}

udump_packed *udump_reference_pack_conv(
    void *device, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error) {
    int32_t in = shape->in, out = shape->out, taps = shape->kernel * shape->kernel;
    udump_packed *packed = packed_new(in * taps, out, true, error);
    if (!packed) return NULL;
    packed->conv = *shape;
    for (size_t o = 0; o < (size_t)out; o++)
        for (size_t i = 0; i < (size_t)in; i++)
            for (size_t tap = 0; tap < (size_t)taps; tap++) /* to [tap, in, out]: a patch's channels stay together */
                packed->values[(tap * (size_t)in + i) * (size_t)out + o] = rounded(
                    device, weight[(o * (size_t)in + i) * (size_t)taps + tap]);
    if (bias) memcpy(packed->bias, bias, (size_t)out * sizeof(float));
    return packed;
}

udump_packed *udump_reference_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error) {
    (void)rows;
    int32_t out = 0, first = 0;
    for (int32_t p = 0; p < part_count; p++) out += parts[p].out;
    udump_packed *packed = packed_new(in, out, true, error);
    for (int32_t p = 0; packed && p < part_count; first += parts[p++].out) {
        for (int32_t o = 0; o < parts[p].out; o++)
            for (int32_t i = 0; i < in; i++)
                packed->values[(size_t)i * (size_t)out + (size_t)(first + o)] = rounded(
                    device, parts[p].weight[(size_t)o * (size_t)in + (size_t)i]);
        if (parts[p].bias) memcpy(packed->bias + first, parts[p].bias, (size_t)parts[p].out * sizeof(float));
    }
    return packed;
}

udump_packed *udump_reference_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error) {
    return udump_reference_pack_linear(device, in, rows, 2, parts, error);
}

udump_packed *udump_reference_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error) {
    (void)device; /* norms and embeddings stay fp32: they are small, or read once */
    udump_packed *packed = packed_new(rows, c, false, error);
    if (packed) memcpy(packed->values, values, (size_t)rows * (size_t)c * sizeof(float));
    return packed;
}

float *udump_reference_scratch(udump_exec *x, size_t count) {
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, x->threads, 1, 1, (int32_t)count);
    return x->dry || x->status ? NULL : udump_tensor_data(x, scratch);
}

const udump_backend *udump_backend_reference(void) {
    static const udump_backend backend = {
        .name = "reference",
        .host_memory = true,
        .device_open = device_open,
        .device_close = device_close,
        .memory_alloc = memory_alloc,
        .memory_free = memory_free,
        .host_alloc = memory_alloc,
        .host_free = memory_free,
        .pack_conv = udump_reference_pack_conv,
        .pack_linear = udump_reference_pack_linear,
        .pack_geglu = udump_reference_pack_geglu,
        .pack_vectors = udump_reference_pack_vectors,
        .packed_free = udump_reference_packed_free,
        .packed_bytes = udump_reference_packed_bytes,
        .exec_open = exec_open,
        .exec_close = exec_close,
        .conv2d = udump_reference_conv2d,
        .linear = udump_reference_linear,
        .linear_geglu = udump_reference_linear_geglu,
        .group_norm = udump_reference_group_norm,
        .layer_norm = udump_reference_layer_norm,
        .attention = udump_reference_attention,
        .attention_cross = udump_reference_attention_cross,
        .upsample_nearest = udump_reference_upsample_nearest,
        .concat_channels = udump_reference_concat_channels,
        .activation = udump_reference_activation,
        .gather_rows = udump_reference_gather_rows,
        .embed_tokens = udump_reference_embed_tokens,
        .timestep_embedding = udump_reference_timestep_embedding,
        .linear_combination = udump_reference_linear_combination,
        .cfg_combine = udump_reference_cfg_combine,
        .convert = udump_reference_convert,
        .upload = udump_reference_upload,
        .download = udump_reference_download,
        .write = udump_reference_write,
        .read = udump_reference_read,
        .copy = udump_reference_copy,
        .attention_maps = udump_reference_attention_maps,
        .attention_rows = udump_reference_attention_rows,
        .attention_summary = udump_reference_attention_summary,
        .attention_covariance = udump_reference_attention_covariance,
        .attention_components = udump_reference_attention_components,
        .word_map = udump_reference_word_map,
        .warm = udump_reference_warm,
        .subtract = udump_reference_subtract,
        .tile_reduce = udump_reference_tile_reduce,
        .tile_join = udump_reference_tile_join,
        .tile_average = udump_reference_tile_average,
        .tile_colour = udump_reference_tile_colour,
        .tile_rgb = udump_reference_tile_rgb,
    };
    return &backend;
}
