/* Looking, on our own kernels. */
#include "backend/cuda/cuda.h"

_Static_assert(sizeof(udump_kernel_range) == sizeof(udump_tile_range), "the same struct on both sides");
_Static_assert(UDUMP_COMPONENTS == 3, "what the kernel writes");
_Static_assert(sizeof(udump_difference) == 5 * sizeof(double), "what the kernel writes");

static udump_kernel_attended attended(const udump_attended *a) {
    return (udump_kernel_attended){ a->q, a->k, udump_cuda_dtype(a->dtype), a->q_stride, a->k_stride, a->heads, a->d, a->queries, a->keys };
}

static bool head_fits(udump_exec *x, const udump_attended *a) {
    if (a->d > UDUMP_KERNEL_LOOK_HEAD_MOST)
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "attention", "heads of %d channels: CUDA looks at at most %d", (int)a->d, UDUMP_KERNEL_LOOK_HEAD_MOST);
    return a->d <= UDUMP_KERNEL_LOOK_HEAD_MOST;
}

/* Floats in the arena; NULL in a dry pass and after a failure. */
static float *floats(udump_exec *x, int32_t rows, int32_t columns) {
    udump_tensor tensor = udump_tensor_new(x, UDUMP_F32, 1, 1, rows, columns);
    return x->dry || x->status ? NULL : udump_tensor_data(x, tensor);
}

void udump_cuda_attention_maps(udump_exec *x, const udump_attended *a, float *maps) {
    udump_kernel_attended k = attended(a);
    if (!head_fits(x, a) || x->dry) return;
    udump_kernel_attention_maps(maps, &k, udump_cuda_stream(x));
    udump_cuda_check(x, "attention_maps");
}

void udump_cuda_attention_rows(udump_exec *x, const udump_attended *a, int32_t count, const int32_t *chosen, float *rows) {
    udump_kernel_attended k = attended(a);
    if (!head_fits(x, a) || x->dry) return;
    udump_kernel_attention_rows(rows, chosen, count, &k, udump_cuda_stream(x));
    udump_cuda_check(x, "attention_rows");
}

void udump_cuda_attention_summary(udump_exec *x, const udump_attended *a, float *received, float *entropy) {
    udump_kernel_attended k = attended(a);
    size_t mark = udump_arena_mark(x);
    float *logs = floats(x, a->heads, a->queries);
    if (head_fits(x, a) && logs) {
        udump_kernel_attention_summary(received, entropy, logs, &k, udump_cuda_stream(x));
        udump_cuda_check(x, "attention_summary");
    }
    udump_arena_release(x, mark);
}

void udump_cuda_attention_covariance(udump_exec *x, const udump_attended *a, int32_t count, const float *v, float *y, float *z) {
    udump_kernel_attended k = attended(a);
    size_t mark = udump_arena_mark(x);
    float *scratch = floats(x, 1, (int32_t)(udump_kernel_attention_covariance_scratch_bytes(&k, count) / sizeof(float)));
    if (count > UDUMP_KERNEL_LOOK_COLUMNS_MOST) udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "attention_covariance", "%d columns", (int)count);
    if (head_fits(x, a) && scratch && !x->status) {
        udump_kernel_attention_covariance(y, z, v, count, scratch, &k, udump_cuda_stream(x));
        udump_cuda_check(x, "attention_covariance");
    }
    udump_arena_release(x, mark);
}

void udump_cuda_attention_components(udump_exec *x, const udump_attended *a, const float *received, float *scores) {
    udump_kernel_attended k = attended(a);
    size_t mark = udump_arena_mark(x), bytes = udump_kernel_attention_components_scratch_bytes(&k);
    float *scratch = floats(x, 1, (int32_t)(bytes / sizeof(float)));
    if (head_fits(x, a) && scratch) {
        udump_kernel_attention_components(scores, received, scratch, &k, udump_cuda_stream(x));
        udump_cuda_check(x, "attention_components");
    }
    udump_arena_release(x, mark);
}

void udump_cuda_word_map(
    udump_exec *x, const float *maps, int32_t heads, int32_t tokens, int64_t area, const int32_t *columns, int32_t count, float *map) {
    udump_kernel_word_map(map, maps, heads, tokens, area, columns, count, udump_cuda_stream(x));
    udump_cuda_check(x, "word_map");
}

void udump_cuda_warm(udump_exec *x, const float *map, int32_t h, int32_t w, float *sums, int32_t out_h, int32_t out_w) {
    if (x->dry) return;
    udump_kernel_warm(sums, out_h, out_w, map, h, w, udump_cuda_stream(x));
    udump_cuda_check(x, "warm");
}

void udump_cuda_subtract(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference) {
    double *scratch = udump_cuda_scratch(x, udump_kernel_subtract_scratch_bytes());
    if (!scratch) return;
    udump_kernel_subtract(udump_tensor_data(x, out), udump_tensor_data(x, a), udump_cuda_dtype(a.dtype), udump_tensor_data(x, b),
        udump_cuda_dtype(b.dtype), (int64_t)udump_tensor_count(out), absolute, (double *)difference, scratch, udump_cuda_stream(x));
    udump_cuda_check(x, "subtract");
}

static udump_kernel_tiles tiles_of(const udump_tiles *t) {
    return (udump_kernel_tiles){ t->data, udump_cuda_dtype(t->dtype), t->count, t->h, t->w, t->stride_tile, t->stride_y, t->stride_x };
}

void udump_cuda_tile_reduce(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges) {
    udump_kernel_tiles t = tiles_of(tiles);
    if ((int64_t)t.h * t.w > UDUMP_KERNEL_TILE_PIXELS_MOST) {
        udump_exec_fail(x, UDUMP_ERROR_UNSUPPORTED, "tensor", "%d x %d values of one channel: on CUDA there may be %d", (int)t.h, (int)t.w,
            UDUMP_KERNEL_TILE_PIXELS_MOST);
        return;
    }
    void *scratch = udump_cuda_scratch(x, udump_kernel_tile_reduce_scratch_bytes(&t));
    if (!scratch) return;
    udump_kernel_tile_reduce((udump_kernel_range *)ranges, &t, scratch, udump_cuda_stream(x));
    udump_cuda_check(x, "tile_reduce");
}

void udump_cuda_tile_join(udump_exec *x, udump_tile_range *ranges, int32_t count) {
    udump_kernel_tile_join((udump_kernel_range *)ranges, count, udump_cuda_stream(x));
    udump_cuda_check(x, "tile_join");
}

void udump_cuda_tile_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, float *average) {
    udump_kernel_tiles t = tiles_of(tiles);
    udump_kernel_tile_average(average, &t, (int)kind, udump_cuda_stream(x));
    udump_cuda_check(x, "tile_average");
}

void udump_cuda_tile_colour(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style,
    const udump_grid *grid, uint8_t *pixels) {
    udump_kernel_tiles t = tiles_of(tiles);
    udump_kernel_grid g = { grid->columns, grid->rows, grid->tile_w, grid->tile_h, grid->channels };
    udump_kernel_tile_colour(pixels, &t, (const udump_kernel_range *)ranges, style, &g, udump_cuda_stream(x));
    udump_cuda_check(x, "tile_colour");
}

void udump_cuda_tile_rgb(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, uint8_t *pixels) {
    udump_kernel_tiles t = tiles_of(tiles);
    udump_kernel_tile_rgb(pixels, &t, (const udump_kernel_range *)ranges, udump_cuda_stream(x));
    udump_cuda_check(x, "tile_rgb");
}
