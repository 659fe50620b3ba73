/* Attention with a running softmax (Milakov and Gimelshein 2018), fp32 inside. A warp takes one query: a lane scores one key at a time, then each
 * lane adds up its own channels of V. */
#include "attention.h"
#include "kernel.cuh"

enum { WARPS = 4 };

/* SLOTS: channels a lane keeps */
template <typename T, int SLOTS>
__global__ void attention_plain(T *out, const T *q, const T *k, const T *v, UDUMP_CONSTANT_PARAM udump_kernel_attention_shape s) {
    UDUMP_SHARED(float, queries); /* [WARPS, d] */
    int lane = (int)threadIdx.x % UDUMP_WARP, warp = (int)threadIdx.x / UDUMP_WARP;
    int query = (int)blockIdx.x * WARPS + warp, head = (int)blockIdx.y, row = (int)blockIdx.z;
    bool alive = query < s.queries;
    int64_t first = s.keys ? (int64_t)row * s.keys : s.first[row];
    int keys = s.keys ? s.keys : s.count[row];
    if (s.causal && query + 1 < keys) keys = query + 1;
    if (!alive) keys = 0;
    float scale = 1.0f / sqrtf((float)s.d), most = -INFINITY, total = 0, sums[SLOTS];
    float *mine = queries + warp * s.d;
    for (int i = lane; i < s.d && alive; i += UDUMP_WARP) mine[i] = udump_f32(q[((int64_t)row * s.queries + query) * s.q_row + head * s.d + i]);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < SLOTS; i++) sums[i] = 0;
    for (int begin = 0; begin < keys; begin += UDUMP_WARP) {
        int count = keys - begin < UDUMP_WARP ? keys - begin : UDUMP_WARP;
        const T *key = k + (first + begin + (lane < count ? lane : 0)) * s.kv_row + head * s.d;
        float score = 0;
        for (int i = 0; i < s.d; i++) score += mine[i] * udump_f32(key[i]);
        score = lane < count ? score * scale : -INFINITY;
        float larger = udump_warp_max(score);
        larger = larger > most ? larger : most;
        float p = lane < count ? expf(score - larger) : 0, shrink = expf(most - larger); /* at first exp(-inf) = 0 */
        total = total * shrink + udump_warp_sum(p);
        most = larger;
#pragma unroll
        for (int i = 0; i < SLOTS; i++) sums[i] *= shrink;
        for (int j = 0; j < count; j++) {
            float share = __shfl_sync(0xFFFFFFFFu, p, j);
            const T *value = v + (first + begin + j) * s.kv_row + head * s.d;
#pragma unroll
            for (int i = 0; i < SLOTS; i++)
                if (i * UDUMP_WARP + lane < s.d) sums[i] += share * udump_f32(value[i * UDUMP_WARP + lane]);
        }
    }
    T *target = out + ((int64_t)row * s.queries + query) * s.out_row + head * s.d;
#pragma unroll
    for (int i = 0; i < SLOTS; i++)
        if (alive && i * UDUMP_WARP + lane < s.d) target[i * UDUMP_WARP + lane] = udump_from<T>(sums[i] / total);
}

template <typename T>
static void attend(T *out, const T *q, const T *k, const T *v, const udump_kernel_attention_shape *shape, udump_stream stream) {
    udump_kernel_attention_shape s = *shape;
    dim3 grid(udump_blocks(s.queries, WARPS), (unsigned)s.heads, (unsigned)s.n);
    size_t shared_bytes = (size_t)WARPS * (size_t)s.d * sizeof(float);
    if (s.d <= 64) UDUMP_LAUNCH((attention_plain<T, 2>), grid, WARPS * UDUMP_WARP, shared_bytes, stream, out, q, k, v, s);
    else if (s.d <= 160) UDUMP_LAUNCH((attention_plain<T, 5>), grid, WARPS * UDUMP_WARP, shared_bytes, stream, out, q, k, v, s);
    else UDUMP_LAUNCH((attention_plain<T, UDUMP_KERNEL_HEAD_MOST / UDUMP_WARP>), grid, WARPS * UDUMP_WARP, shared_bytes, stream, out, q, k, v, s);
}

void udump_kernel_attention_plain(void *out, const void *q, const void *k, const void *v, int dtype, const udump_kernel_attention_shape *shape,
    udump_stream stream) {
    UDUMP_FOR_DTYPE(dtype, T, attend((T *)out, (const T *)q, (const T *)k, (const T *)v, shape, stream))
}
