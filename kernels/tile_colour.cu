/* Tiles to a picture. A block takes 32 tiles by 32 pixels: values are read along whichever of the two is side by side in memory, and, through
 * shared memory, bytes are written along the pixels. */
#include "colours.cuh"

enum { SIDE = 32, LINES = 8, THREADS = SIDE * LINES };

/* A tile and the black lines right of it and below it are a cell; cells that no tile fills are black. */
static __global__ void tile_colour(uint8_t *pixels, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, const udump_kernel_range *ranges,
    UDUMP_CONSTANT_PARAM udump_style_program style, UDUMP_CONSTANT_PARAM udump_kernel_grid g) {
    UDUMP_SHARED(float, registers); /* [UDUMP_EXPRESSION_REGISTERS, THREADS], for expressions */
    __shared__ float values[SIDE][SIDE + 1]; /* [tile, pixel] */
    int first_tile = (int)blockIdx.y * SIDE, first_pixel = (int)blockIdx.x * SIDE, cell_w = t.w + 1, width_px = g.columns * cell_w - 1;
    bool channels_last = t.stride_tile == 1;
    for (int line = (int)threadIdx.y; line < SIDE; line += LINES) {
        int i = channels_last ? (int)threadIdx.x : line, j = channels_last ? line : (int)threadIdx.x, tile = first_tile + i;
        int y = (first_pixel + j) / cell_w, x = (first_pixel + j) % cell_w;
        if (tile < t.count && y < t.h && x < t.w) values[i][j] = udump_load(t.data, t.dtype, tile * t.stride_tile + y * t.stride_y + x * t.stride_x);
    }
    __syncthreads();
    int y = (first_pixel + (int)threadIdx.x) / cell_w, x = (first_pixel + (int)threadIdx.x) % cell_w;
    for (int line = (int)threadIdx.y; line < SIDE; line += LINES) {
        int tile = first_tile + line, row = tile / g.columns, to_x = tile % g.columns * cell_w + x;
        if (row >= g.rows || y > t.h || to_x == width_px || (row + 1 == g.rows && y == t.h)) continue; /* beyond the picture */
        uint32_t bytes = 0;
        if (tile < t.count && y < t.h && x < t.w) {
            float v = udump_transform_value(values[line][threadIdx.x], &style, ranges ? ranges + tile : NULL);
            bytes = udump_colour(v, &style, registers + threadIdx.y * SIDE + threadIdx.x, THREADS);
        }
        uint8_t *out = pixels + (((int64_t)row * (t.h + 1) + y) * width_px + to_x) * g.channels;
        for (int c = 0; c < g.channels; c++) out[c] = (uint8_t)(bytes >> (8 * c));
    }
}

void udump_kernel_tile_colour(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, const udump_style_program *style,
    const udump_kernel_grid *grid, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    udump_kernel_grid g = *grid;
    udump_style_program program = *style;
    bool expressions = program.colour == UDUMP_COLOUR_RGB || program.colour == UDUMP_COLOUR_HSL;
    size_t shared_bytes = expressions ? UDUMP_EXPRESSION_REGISTERS * THREADS * sizeof(float) : 0;
    dim3 blocks(udump_blocks((int64_t)(t.h + 1) * (t.w + 1), SIDE), udump_blocks((int64_t)g.columns * g.rows, SIDE));
    UDUMP_LAUNCH(tile_colour, blocks, dim3(SIDE, LINES), shared_bytes, stream, pixels, t, ranges, program, g);
}
