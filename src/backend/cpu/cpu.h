/* What the files of the CPU backend share. */
#ifndef UDUMP_CPU_CPU_H
#define UDUMP_CPU_CPU_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/panels.h"
#include "backend/cpu/plans.h"
#include "backend/exec.h"

enum {
    UDUMP_NORM_RUNS = 64
}; /* parts of an image whose moments are taken side by side: fixed, so that sums do not depend on the number of threads */

typedef struct udump_cpu_device {
    udump_dnn *dnn; /* for packing */
    const udump_kernels *kernels;
    const udump_attend_kernels *tiles; /* attention of BF16 tensors; NULL: kernels do it */
    int32_t threads;
    udump_dtype compute;
    bool by_dnn; /* products are oneDNN's: bf16 where it multiplies that natively; else ours, in fp32 */
} udump_cpu_device;

typedef struct udump_cpu_state {
    udump_dnn *dnn;
    udump_plans plans;
    double *moments; /* [2, UDUMP_NORM_RUNS, UDUMP_MOST_GROUPS]: means, squares */
} udump_cpu_state;

/* One matrix or kernel: panels, or oneDNN's where the device says so. */
typedef struct udump_cpu_weights {
    udump_panels *panels;
    udump_dnn_weights *dnn;
} udump_cpu_weights;

struct udump_packed {
    udump_conv_shape shape;          /* kernel 0: a linear layer */
    udump_cpu_weights weights, gate; /* GEGLU: the value's, and the gate's */
    float *values;                   /* vectors only: [shape.in, shape.out] = [rows, c] */
    size_t bytes;
};

static inline const udump_kernels *udump_cpu_kernels(const udump_exec *x) { return ((const udump_cpu_device *)x->device)->kernels; }

/* Packing, as backend.h says. */
udump_packed *udump_cpu_pack_conv(void *device, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error);
udump_packed *udump_cpu_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error);
udump_packed *udump_cpu_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error);
udump_packed *udump_cpu_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error);
void udump_cpu_packed_free(udump_packed *packed);
size_t udump_cpu_packed_bytes(const udump_packed *packed);

/* Operations, as backend.h says. */
void udump_cpu_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual);
void udump_cpu_linear(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual);
void udump_cpu_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w);
void udump_cpu_group_norm(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu, const udump_tensor *row);
void udump_cpu_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps);
void udump_cpu_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal);
void udump_cpu_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads);
void udump_cpu_conv2d_upsampled(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w);
void udump_cpu_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_cpu_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b);
void udump_cpu_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation);
void udump_cpu_embed_tokens(udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids);
void udump_cpu_convert(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_cpu_upload(udump_exec *x, udump_tensor out, const float *host);
void udump_cpu_download(udump_exec *x, float *host, udump_tensor in);
void udump_cpu_attention_maps(udump_exec *x, const udump_attended *a, float *maps);
void udump_cpu_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows);
void udump_cpu_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy);
void udump_cpu_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z);
void udump_cpu_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference);

#endif
