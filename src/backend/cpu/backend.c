/* The table and the device. What is not overridden here is the reference backend's. */
#include <pthread.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"
#include "base/memory.h"
#include "base/status.h"

static void device_close(void *opened) {
    udump_cpu_device *device = opened;
    udump_dnn_close(device->dnn);
    free(device);
}

static udump_status device_open(const udump_device_request *request, void **opened, udump_error *error) {
    if (request->compute != UDUMP_F32 && request->compute != UDUMP_BF16)
        return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "device", "the CPU computes in fp32 or bf16, not in fp16");
    udump_cpu_device *device = calloc(1, sizeof *device);
    if (!device) return udump_fail_memory(error, "device", sizeof *device);
    *device = (udump_cpu_device){ .dnn = udump_dnn_open(error),
        .kernels = udump_kernels_best(),
        .tiles = udump_attend_amx(),
        .threads = request->threads,
        .compute = request->compute,
        .by_dnn = request->compute == UDUMP_BF16 && udump_dnn_has_bf16() };
    if (!device->dnn) {
        free(device);
        return error ? error->status : UDUMP_ERROR_DEVICE;
    }
    *opened = device;
    return UDUMP_OK;
}

static void exec_close(udump_exec *x) {
    udump_cpu_state *state = x->state;
    if (!state) return;
    udump_plans_free(&state->plans);
    udump_dnn_close(state->dnn);
    free(state->moments);
    free(state);
    x->state = NULL;
}

static udump_status exec_open(udump_exec *x, udump_error *error) {
    size_t moments_bytes = 2 * UDUMP_NORM_RUNS * UDUMP_MOST_GROUPS * sizeof(double);
    udump_cpu_state *state = x->state = calloc(1, sizeof *state);
    if (!state) return udump_fail_memory(error, "session", sizeof *state);
    state->dnn = udump_dnn_open(error);
    state->moments = malloc(moments_bytes);
    udump_status status = !state->dnn ? (error ? error->status : UDUMP_ERROR_DEVICE)
        : !state->moments             ? udump_fail_memory(error, "session", moments_bytes)
                                      : UDUMP_OK;
    if (status) exec_close(x);
    return status;
}

static udump_backend table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void) {
    table = *udump_backend_reference();
    table.name = "cpu";
    table.device_open = device_open;
    table.device_close = device_close;
    table.pack_conv = udump_cpu_pack_conv;
    table.pack_linear = udump_cpu_pack_linear;
    table.pack_geglu = udump_cpu_pack_geglu;
    table.pack_vectors = udump_cpu_pack_vectors;
    table.packed_free = udump_cpu_packed_free;
    table.packed_bytes = udump_cpu_packed_bytes;
    table.exec_open = exec_open;
    table.exec_close = exec_close;
    table.conv2d = udump_cpu_conv2d;
    table.conv2d_upsampled = udump_cpu_conv2d_upsampled;
    table.linear = udump_cpu_linear;
    table.linear_geglu = udump_cpu_linear_geglu;
    table.group_norm = udump_cpu_group_norm;
    table.layer_norm = udump_cpu_layer_norm;
    table.attention = udump_cpu_attention;
    table.attention_cross = udump_cpu_attention_cross;
    table.upsample_nearest = udump_cpu_upsample_nearest;
    table.concat_channels = udump_cpu_concat_channels;
    table.activation = udump_cpu_activation;
    table.embed_tokens = udump_cpu_embed_tokens;
    table.convert = udump_cpu_convert;
    table.upload = udump_cpu_upload;
    table.download = udump_cpu_download;
    table.attention_maps = udump_cpu_attention_maps;
    table.attention_rows = udump_cpu_attention_rows;
    table.attention_summary = udump_cpu_attention_summary;
    table.attention_covariance = udump_cpu_attention_covariance;
    table.subtract = udump_cpu_subtract;
}

const udump_backend *udump_backend_cpu(void) {
    pthread_once(&table_once, table_fill);
    return &table;
}

bool udump_backend_cpu_has_bf16(void) { return udump_dnn_has_bf16(); }
