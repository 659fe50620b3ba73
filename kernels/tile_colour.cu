/* Tiles to a picture. A block takes 32 tiles by 32 pixels: values are read along whichever of the two is side by side in memory, and, through
 * shared memory, bytes are written along the pixels. */
#include "colours.cuh"

enum { SIDE = 32, LINES = 8, THREADS = SIDE * LINES };

/* Where pixel `pixel` of tile `tile` goes, in bytes. */
static __device__ __forceinline__ int64_t place(const udump_kernel_grid &g, int tile, int pixel) {
    int64_t width_px = (int64_t)g.columns * (g.tile_w + 1) - 1;
    int64_t y = (int64_t)(tile / g.columns) * (g.tile_h + 1) + pixel / g.tile_w, x = (int64_t)(tile % g.columns) * (g.tile_w + 1) + pixel % g.tile_w;
    return (y * width_px + x) * g.channels;
}

static __global__ void tile_colour(uint8_t *pixels, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, const udump_kernel_range *ranges,
    UDUMP_CONSTANT_PARAM udump_style_program style, UDUMP_CONSTANT_PARAM udump_kernel_grid g) {
    UDUMP_SHARED(float, registers); /* [UDUMP_EXPRESSION_REGISTERS, THREADS], for expressions */
    __shared__ float values[SIDE][SIDE + 1]; /* [tile, pixel] */
    int first_tile = (int)blockIdx.y * SIDE, first_pixel = (int)blockIdx.x * SIDE, area = t.h * t.w;
    bool channels_last = t.stride_tile == 1;
    for (int line = (int)threadIdx.y; line < SIDE; line += LINES) {
        int i = channels_last ? (int)threadIdx.x : line, j = channels_last ? line : (int)threadIdx.x, tile = first_tile + i, pixel = first_pixel + j;
        if (tile < t.count && pixel < area)
            values[i][j] = udump_load(t.data, t.dtype, tile * t.stride_tile + pixel / t.w * t.stride_y + pixel % t.w * t.stride_x);
    }
    __syncthreads();
    int pixel = first_pixel + (int)threadIdx.x;
    for (int line = (int)threadIdx.y; line < SIDE; line += LINES) {
        int tile = first_tile + line;
        if (tile >= t.count || pixel >= area) continue;
        float v = udump_transform_value(values[line][threadIdx.x], &style, ranges ? ranges + tile : NULL);
        uint32_t bytes = udump_colour(v, &style, registers + threadIdx.y * SIDE + threadIdx.x, THREADS);
        uint8_t *out = pixels + place(g, tile, pixel);
        for (int c = 0; c < g.channels; c++) out[c] = (uint8_t)(bytes >> (8 * c));
    }
}

/* The lines between tiles, and the cells that no tile fills, are black. */
static __global__ void clear_gaps(uint8_t *pixels, int64_t count, int tiles, UDUMP_CONSTANT_PARAM udump_kernel_grid g) {
    int64_t i = udump_thread_index(), width_px = (int64_t)g.columns * (g.tile_w + 1) - 1;
    if (i >= count) return;
    int x = (int)(i / g.channels % width_px), y = (int)(i / g.channels / width_px);
    bool line = x % (g.tile_w + 1) == g.tile_w || y % (g.tile_h + 1) == g.tile_h;
    if (line || y / (g.tile_h + 1) * g.columns + x / (g.tile_w + 1) >= tiles) pixels[i] = 0;
}

void udump_kernel_tile_colour(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, const udump_style_program *style,
    const udump_kernel_grid *grid, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    udump_kernel_grid g = *grid;
    udump_style_program program = *style;
    bool expressions = program.colour == UDUMP_COLOUR_RGB || program.colour == UDUMP_COLOUR_HSL;
    size_t shared_bytes = expressions ? UDUMP_EXPRESSION_REGISTERS * THREADS * sizeof(float) : 0;
    int64_t bytes = ((int64_t)g.columns * (g.tile_w + 1) - 1) * ((int64_t)g.rows * (g.tile_h + 1) - 1) * g.channels;
    UDUMP_LAUNCH(clear_gaps, udump_blocks(bytes, 256), 256, 0, stream, pixels, bytes, t.count, g);
    UDUMP_LAUNCH(tile_colour, dim3(udump_blocks((int64_t)t.h * t.w, SIDE), udump_blocks(t.count, SIDE)), dim3(SIDE, LINES), shared_bytes, stream, pixels,
        t, ranges, program, g);
}
