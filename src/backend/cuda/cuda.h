/* What the CUDA backend's files share. Operations only begin when they are called, in the order of the session's stream. */
#ifndef UDUMP_CUDA_CUDA_H
#define UDUMP_CUDA_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/cuda/convolution.h"
#include "backend/cuda/fused_attention.h"
#include "backend/cuda/gemm.h"
#include "backend/exec.h"
#include "kernels/kernels.h"

/* Where weights arrive on their way: one model's loading uses it. */
typedef struct udump_cuda_stage {
    cudaStream_t stream;
    float *memory;
    size_t bytes;
} udump_cuda_stage;

typedef struct udump_cuda_device {
    int32_t ordinal;
    udump_dtype compute;
    bool eager;                              /* no graphs */
    char *library_path;                      /* or NULL */
    char *plan_cache;                        /* or NULL */
    udump_plans *plans;                      /* NULL until the libraries are loaded, and where nothing is measured */
    udump_gemm_library *gemms;               /* NULL until a weight is packed: who only renders needs no vendor's library */
    udump_convolution_library *convolutions; /* NULL too where cuDNN is not there, and our own kernel does them */
    udump_fused_library *fused;              /* likewise */
    char lacks[400];                         /* what is slower for want of what; or "" */
    udump_cuda_stage stage;
} udump_cuda_device;

/* A weight on the device, of the compute type; vectors are fp32. */
struct udump_packed {
    udump_cuda_device *device;
    udump_conv_shape conv; /* kernel 0: of a linear layer */
    bool direct;           /* for our own convolution: [kernel, kernel, in, out]; else [out, kernel, kernel, in], a linear layer's [out, in] */
    int32_t in, out;
    void *values;
    void *bias; /* [out], or NULL */
    size_t bytes;
};

enum { UDUMP_CUDA_OUTGROWN = 32 /* each is twice the one before */, UDUMP_CUDA_EVENTS = 1024, UDUMP_CUDA_SCRATCH_BYTES = 1 << 20 };

/* pinned.c */
typedef struct udump_cuda_pinned {
    char *memory;            /* two halves */
    cudaEvent_t crossed[2];  /* what was last in each */
    int half;                /* that is being filled */
    size_t used_bytes;       /* of it */
} udump_cuda_pinned;
cudaError_t udump_cuda_pinned_open(udump_cuda_pinned *pinned);
void udump_cuda_pinned_close(udump_cuda_pinned *pinned);
/* Begins it; host has been read when it returns. */
cudaError_t udump_cuda_pinned_cross(udump_cuda_pinned *pinned, void *to, const void *host, size_t bytes, cudaStream_t stream);

/* Which way long self-attention of a shape goes, once a session has decided. */
typedef struct udump_cuda_way {
    udump_fused_call shape;
    bool fused;
} udump_cuda_way;
enum { UDUMP_CUDA_WAYS = 64 }; /* a U-Net has as many shapes as levels with attention */

typedef struct udump_cuda_state {
    udump_cuda_device *device;
    cudaStream_t stream, copies; /* what crosses to the host crosses in the second */
    cudaEvent_t events[UDUMP_CUDA_EVENTS];
    udump_ticket ticket;         /* the last; its event is the ticket modulo the number of events */
    cudaEvent_t made;            /* what a fetch waits for */
    void *scratch;               /* an operation's own; the next overwrites it */
    size_t scratch_bytes;
    void *outgrown[UDUMP_CUDA_OUTGROWN]; /* earlier ones, smaller: graphs have their addresses */
    int32_t outgrown_count;
    udump_cuda_pinned pinned;    /* host memory on its way to the device */
    float *staging;              /* host */
    size_t staging_bytes;
    udump_gemm *gemm;               /* NULL without libraries, as the next */
    udump_convolution *convolution;
    udump_fused *fused;
    udump_cuda_way ways[UDUMP_CUDA_WAYS];
    int32_t way_count;
} udump_cuda_state;

static inline udump_cuda_state *udump_cuda_state_of(const udump_exec *x) { return x->state; }
/* For a launch: the calling thread may be at another card. */
static inline cudaStream_t udump_cuda_stream(const udump_exec *x) {
    cudaSetDevice(udump_cuda_state_of(x)->device->ordinal);
    return udump_cuda_state_of(x)->stream;
}

static inline int udump_cuda_dtype(udump_dtype dtype) {
    return dtype == UDUMP_F32 ? UDUMP_KERNEL_F32 : dtype == UDUMP_F16 ? UDUMP_KERNEL_F16 : UDUMP_KERNEL_BF16;
}

/* context.c: the calling thread's; NULL: it has none */
void *udump_cuda_context(void);
void udump_cuda_set_context(void *context);

/* A call's own error, as ours. */
udump_status udump_cuda_status(cudaError_t result, const char *where, udump_error *error);
/* The failure of a vendor's call, which has written the detail to error, sticks in x. */
static inline void udump_cuda_stick(udump_exec *x, udump_status status, const udump_error *error) {
    if (!status || x->status) return;
    x->status = status;
    x->error = *error;
}
/* After an operation's launches: what CUDA says of them sticks in x. */
void udump_cuda_check(udump_exec *x, const char *operation);
/* At least so many bytes of device memory until the next operation; NULL after a failure. */
void *udump_cuda_scratch(udump_exec *x, size_t bytes);
/* Host memory likewise. */
float *udump_cuda_staging(udump_exec *x, size_t bytes);

/* backend.c: crossing */
void udump_cuda_write(udump_exec *x, void *arena, const void *host, size_t bytes);
void udump_cuda_read(udump_exec *x, void *host, const void *arena, size_t bytes);

/* Loads the vendors' libraries, once; packing is done by one thread. Errors: DEVICE, MEMORY. */
udump_status udump_cuda_libraries(udump_cuda_device *device, udump_error *error);

/* The session's own of them, where it began before the first weight was packed. Errors: DEVICE, MEMORY. */
udump_status udump_cuda_products_open(udump_exec *x, udump_error *error);

/* packing.c */
udump_packed *udump_cuda_pack_conv(void *device, const udump_conv_shape *shape, const float *weight, const float *bias, udump_error *error);
udump_packed *udump_cuda_pack_linear(
    void *device, int32_t in, int32_t rows, int32_t part_count, const udump_linear_part *parts, udump_error *error);
udump_packed *udump_cuda_pack_geglu(void *device, int32_t in, int32_t rows, const udump_linear_part parts[2], udump_error *error);
udump_packed *udump_cuda_pack_vectors(void *device, int32_t rows, int32_t c, const float *values, udump_error *error);
void udump_cuda_packed_free(udump_packed *packed);
size_t udump_cuda_packed_bytes(const udump_packed *packed);

/* products.c */
void udump_cuda_conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual);
void udump_cuda_linear(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual);
void udump_cuda_linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w);

/* network.c */
void udump_cuda_group_norm(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu, const udump_tensor *row);
void udump_cuda_layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps);
void udump_cuda_attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal);
void udump_cuda_attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads);
void udump_cuda_upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_cuda_concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b);
void udump_cuda_activation(udump_exec *x, udump_tensor out, udump_tensor in, udump_activation activation);
void udump_cuda_gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which);
void udump_cuda_embed_tokens(udump_exec *x, udump_tensor out, const udump_packed *tokens, const udump_packed *positions, const int32_t *ids);
void udump_cuda_timestep_embedding(udump_exec *x, udump_tensor out, const float *timesteps);
void udump_cuda_linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients);
void udump_cuda_cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale);
void udump_cuda_convert(udump_exec *x, udump_tensor out, udump_tensor in);
void udump_cuda_upload(udump_exec *x, udump_tensor out, const float *host);
void udump_cuda_download(udump_exec *x, float *host, udump_tensor in);

/* graph.c */
bool udump_cuda_graph_begin(udump_exec *x);
void *udump_cuda_graph_end(udump_exec *x);
void udump_cuda_graph_launch(udump_exec *x, void *graph);
void udump_cuda_graph_free(udump_exec *x, void *graph);

/* looking.c */
void udump_cuda_attention_maps(udump_exec *x, const udump_attended *a, float *maps);
void udump_cuda_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows);
void udump_cuda_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy);
void udump_cuda_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z);
void udump_cuda_attention_components(udump_exec *x, const udump_attended *a, const float *received, float *scores);
void udump_cuda_warm(udump_exec *x, const float *map, int32_t h, int32_t w, float *sums, int32_t out_h, int32_t out_w);
void udump_cuda_word_map(udump_exec *x, const float *maps, int32_t heads, int32_t tokens, int64_t area, const int32_t *columns, int32_t count, float *map);
void udump_cuda_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference);
void udump_cuda_tile_reduce(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges);
void udump_cuda_tile_join(udump_exec *x, udump_tile_range *ranges, int32_t count);
void udump_cuda_tile_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, float *average);
void udump_cuda_tile_colour(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style,
    const udump_grid *grid, uint8_t *pixels);
void udump_cuda_tile_rgb(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, uint8_t *pixels);

#endif
