#include "backend/reference/tiles.h"

#include <math.h>
#include <string.h>

#include "backend/reference/tiles_gather.h"
#include "backend/reference/tiles_rows.h"
#include "base/half.h"
#include "base/parallel.h"
#include "tensor/view.h"

static int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- extremes */

enum { LANES = 128 };

/* Running extremes side by side. zero stays 0 until a NaN or an infinity comes. */
typedef struct lanes {
    float lo[LANES], hi[LANES], zero[LANES];
} lanes;

static void lanes_start(lanes *l) {
    for (int i = 0; i < LANES; i++) {
        l->lo[i] = INFINITY;
        l->hi[i] = -INFINITY;
        l->zero[i] = 0;
    }
}

static void lanes_add(lanes *l, const float *restrict values, int count) {
    float *lo = l->lo, *hi = l->hi, *zero = l->zero;
    for (int i = 0; i < count; i++) {
        float v = values[i];
        lo[i] = v < lo[i] ? v : lo[i];
        hi[i] = v > hi[i] ? v : hi[i];
        zero[i] += v * 0.0f;
    }
}

static udump_tile_range lanes_join(const lanes *l, int begin, int end) {
    udump_tile_range range = { INFINITY, -INFINITY, 1 };
    for (int i = begin; i < end; i++) {
        range.lo = l->lo[i] < range.lo ? l->lo[i] : range.lo;
        range.hi = l->hi[i] > range.hi ? l->hi[i] : range.hi;
        range.finite = range.finite && l->zero[i] == 0;
    }
    return range;
}

static const void *element(const udump_tiles *tiles, int64_t at) {
    return (const char *)tiles->data + at * (int64_t)udump_dtype_bytes(tiles->dtype);
}

/* count neighbours in memory from element `at` on, as fp32: in place, or converted to `copy`. */
static const float *strip(const udump_tiles *tiles, int64_t at, int count, float *copy) {
    if (tiles->dtype == UDUMP_F32) return element(tiles, at);
    if (tiles->dtype == UDUMP_BF16) {
        const uint16_t *halves = element(tiles, at);
        for (int i = 0; i < count; i++) copy[i] = udump_bf16_to_f32(halves[i]);
    } else
        udump_convert_to_f32(copy, element(tiles, at), tiles->dtype, count);
    return copy;
}

/* Up to LANES tiles whose values are neighbours: a lane is a tile. */
static void reduce_channels_last(const udump_tiles *tiles, int64_t tile, int count, udump_tile_range *ranges) {
    lanes l;
    float copy[LANES];
    lanes_start(&l);
    for (int32_t y = 0; y < tiles->h; y++)
        for (int32_t x = 0; x < tiles->w; x++)
            lanes_add(&l, strip(tiles, tile + y * tiles->stride_y + x * tiles->stride_x, count, copy), count);
    for (int i = 0; i < count; i++) ranges[tile + i] = lanes_join(&l, i, i + 1);
}

/* One tile of any strides: a lane is a column. */
static udump_tile_range reduce_tile(const udump_tiles *tiles, int64_t tile) {
    lanes l;
    float copy[LANES];
    lanes_start(&l);
    for (int32_t y = 0; y < tiles->h; y++)
        for (int64_t x = 0; x < tiles->w; x += LANES) {
            int count = (int)least(LANES, tiles->w - x);
            int64_t at = tile * tiles->stride_tile + y * tiles->stride_y + x * tiles->stride_x;
            if (tiles->stride_x == 1) {
                lanes_add(&l, strip(tiles, at, count, copy), count);
                continue;
            }
            for (int i = 0; i < count; i++) udump_convert_to_f32(&copy[i], element(tiles, at + i * tiles->stride_x), tiles->dtype, 1);
            lanes_add(&l, copy, count);
        }
    return lanes_join(&l, 0, (int)least(LANES, tiles->w));
}

typedef struct reduce_job {
    const udump_tiles *tiles;
    udump_tile_range *ranges;
} reduce_job;

/* A range of groups of 16 tiles: a cache line of fp32. */
static void reduce_groups(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const reduce_job *job = arg;
    int64_t last = least(end * 16, job->tiles->count);
    for (int64_t tile = begin * 16; tile < last;) {
        int count = (int)least(LANES, last - tile);
        if (job->tiles->stride_tile == 1) reduce_channels_last(job->tiles, tile, count, job->ranges);
        else
            for (int i = 0; i < count; i++) job->ranges[tile + i] = reduce_tile(job->tiles, tile + i);
        tile += count;
    }
}

void udump_reference_tile_reduce(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges) {
    reduce_job job = { tiles, ranges };
    udump_parallel_for(x->threads, blocks_of(tiles->count, 16), reduce_groups, &job);
}

void udump_reference_tile_join(udump_exec *x, udump_tile_range *ranges, int32_t count) {
    float lo = INFINITY, hi = -INFINITY;
    (void)x;
    for (int32_t i = 0; i < count; i++) {
        if (!ranges[i].finite) continue;
        lo = ranges[i].lo < lo ? ranges[i].lo : lo;
        hi = ranges[i].hi > hi ? ranges[i].hi : hi;
    }
    for (int32_t i = 0; i < count; i++)
        if (ranges[i].finite) ranges[i].lo = lo, ranges[i].hi = hi;
}

/* ---- averages */

typedef struct average_job {
    const udump_tiles *tiles;
    udump_average kind;
    float *average; /* [h, w] */
} average_job;

static void add_block(const udump_tile_block *block, int tile_count, udump_average kind, double *restrict sums) {
    for (int k = 0; k < tile_count; k++) {
        const float *v = block->values[k];
        if (kind == UDUMP_AVERAGE_SUM)
            for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) sums[i] += (double)v[i];
        else if (kind == UDUMP_AVERAGE_L1)
            for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) sums[i] += fabs((double)v[i]);
        else
            for (int i = 0; i < UDUMP_BLOCK_PIXELS; i++) sums[i] += (double)v[i] * (double)v[i];
    }
}

/* A range of blocks of pixels, through all tiles. */
static void average_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const average_job *job = arg;
    const udump_tiles *tiles = job->tiles;
    int64_t pixels = (int64_t)tiles->h * tiles->w;
    udump_tile_block block = { { { 0 } } };
    for (int64_t pixel = begin * UDUMP_BLOCK_PIXELS; pixel < least(end * UDUMP_BLOCK_PIXELS, pixels); pixel += UDUMP_BLOCK_PIXELS) {
        int count = (int)least(UDUMP_BLOCK_PIXELS, pixels - pixel);
        double sums[UDUMP_BLOCK_PIXELS] = { 0 };
        for (int64_t tile = 0; tile < tiles->count; tile += UDUMP_BLOCK_TILES) {
            int tile_count = (int)least(UDUMP_BLOCK_TILES, tiles->count - tile);
            udump_tiles_gather(tiles, tile, tile_count, pixel, count, &block);
            add_block(&block, tile_count, job->kind, sums);
        }
        for (int i = 0; i < count; i++) {
            double sum = job->kind == UDUMP_AVERAGE_L2 ? sqrt(sums[i]) : sums[i];
            job->average[pixel + i] = (float)(sum / tiles->count);
        }
    }
}

void udump_reference_tile_average(udump_exec *x, const udump_tiles *tiles, udump_average kind, float *average) {
    average_job job = { tiles, kind, average };
    udump_parallel_for(x->threads, blocks_of((int64_t)tiles->h * tiles->w, UDUMP_BLOCK_PIXELS), average_blocks, &job);
}

/* ---- colours */

typedef struct colour_job {
    const udump_tiles *tiles;
    const udump_tile_range *ranges; /* [count], or NULL */
    const udump_style_program *style;
    const udump_grid *grid;
    uint8_t *pixels;
    size_t row_bytes;
    udump_colour_run_fn colour;
} colour_job;

/* Four bytes are written for each pixel but the last; the fourth is the next pixel's first, or was. */
static void store_rgb(uint8_t *out, const uint32_t *run, int count) {
    for (int i = 0; i + 1 < count; i++) memcpy(out + 3 * i, &run[i], 4);
    memcpy(out + 3 * (count - 1), &run[count - 1], 3);
}

static void store_grey(uint8_t *restrict out, const uint32_t *restrict run, int count) {
    for (int i = 0; i < count; i++) out[i] = (uint8_t)run[i];
}

/* A run of a tile's pixels, from `pixel` on, to its place; a row that ends gets the black pixel behind it. */
static void store_run(const colour_job *job, int64_t tile, int64_t pixel, int count, const uint32_t *run) {
    const udump_grid *grid = job->grid;
    int64_t column = tile % grid->columns, row = tile / grid->columns, y = pixel / grid->tile_w, x = pixel % grid->tile_w;
    size_t bytes = (size_t)grid->channels;
    for (int done = 0; done < count; y++, x = 0) {
        int length = (int)least(grid->tile_w - x, count - done);
        uint8_t *out = job->pixels + (size_t)(row * (grid->tile_h + 1) + y) * job->row_bytes
            + (size_t)(column * (grid->tile_w + 1) + x) * bytes;
        if (bytes == 1) store_grey(out, run + done, length);
        else store_rgb(out, run + done, length);
        bool inner = x + length == grid->tile_w && column + 1 < grid->columns;
        if (inner) memset(out + (size_t)length * bytes, 0, bytes);
        done += length;
    }
}

/* A range of blocks, tiles before pixels: memory is read in its order where channels are last. */
static void colour_blocks(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const colour_job *job = arg;
    const udump_tiles *tiles = job->tiles;
    int64_t tile_blocks = blocks_of(tiles->count, UDUMP_BLOCK_TILES), pixels = (int64_t)tiles->h * tiles->w;
    udump_tile_block block = { { { 0 } } };
    _Alignas(64) uint32_t run[UDUMP_BLOCK_PIXELS];
    for (int64_t i = begin; i < end; i++) {
        int64_t tile = i % tile_blocks * UDUMP_BLOCK_TILES, pixel = i / tile_blocks * UDUMP_BLOCK_PIXELS;
        int tile_count = (int)least(UDUMP_BLOCK_TILES, tiles->count - tile), count = (int)least(UDUMP_BLOCK_PIXELS, pixels - pixel);
        udump_tiles_gather(tiles, tile, tile_count, pixel, count, &block);
        for (int k = 0; k < tile_count; k++) {
            job->colour(job->style, job->ranges ? &job->ranges[tile + k] : NULL, block.values[k], run);
            store_run(job, tile + k, pixel, count, run);
        }
    }
}

/* The lines between rows of tiles, and the cells that no tile fills. */
static void clear_gaps(const colour_job *job) {
    const udump_grid *grid = job->grid;
    int64_t cells = (int64_t)grid->columns * grid->rows, cell_px = grid->tile_w + 1;
    for (int64_t row = 0; row + 1 < grid->rows; row++)
        memset(job->pixels + (size_t)(row * (grid->tile_h + 1) + grid->tile_h) * job->row_bytes, 0, job->row_bytes);
    for (int64_t cell = job->tiles->count; cell < cells; cell++) {
        int64_t column = cell % grid->columns, row = cell / grid->columns;
        size_t bytes = (size_t)(cell_px - (column + 1 == grid->columns)) * (size_t)grid->channels;
        uint8_t *out = job->pixels + (size_t)(row * (grid->tile_h + 1)) * job->row_bytes
            + (size_t)(column * cell_px) * (size_t)grid->channels;
        for (int32_t y = 0; y < grid->tile_h; y++) memset(out + (size_t)y * job->row_bytes, 0, bytes);
    }
}

void udump_reference_tile_colour(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style,
    const udump_grid *grid, uint8_t *pixels) {
    size_t row_bytes = ((size_t)grid->columns * ((size_t)grid->tile_w + 1) - 1) * (size_t)grid->channels;
    colour_job job = { tiles, ranges, style, grid, pixels, row_bytes, udump_colour_run() };
    int64_t blocks = blocks_of(tiles->count, UDUMP_BLOCK_TILES) * blocks_of((int64_t)tiles->h * tiles->w, UDUMP_BLOCK_PIXELS);
    clear_gaps(&job);
    udump_parallel_for(x->threads, blocks, colour_blocks, &job);
}

void udump_reference_tile_rgb(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, uint8_t *pixels) {
    (void)x;
    for (int32_t c = 0; c < 3; c++) {
        const float *values = (const float *)tiles->data + c * tiles->stride_tile;
        float lo = ranges[c].lo, span = ranges[c].hi - lo;
        for (int32_t y = 0; y < tiles->h; y++)
            for (int32_t i = 0; i < tiles->w; i++) {
                float v = span > 0 ? (values[y * tiles->stride_y + i * tiles->stride_x] - lo) / span * 256 : 0;
                pixels[((size_t)y * (size_t)tiles->w + (size_t)i) * 3 + (size_t)c] = v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
            }
    }
}
