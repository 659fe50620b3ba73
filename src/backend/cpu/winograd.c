/* Winograd's convolutions F(2x2, 3x3) and F(4x4, 3x3). Tiles of n x n pixels, m apart, in blocks whose transforms fit the L3 cache: all threads
 * transform the block's input, then each multiplies some of the columns, a group of panels and some tiles at a time, and transforms what comes out. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/multiply.h"
#include "base/parallel.h"

enum {
    POSITIONS_MOST = (UDUMP_WINOGRAD_MOST + 2) * (UDUMP_WINOGRAD_MOST + 2),
    LARGE = 64, /* tiles of 4 x 4 in a picture: from there on fewer products win over the transforms of weights, whatever the batch */
    BLOCK_FLOATS = 1 << 22, /* of a block's transformed input: 16 MiB */
    GROUP = 4, /* panels whose transformed weights a thread keeps */
    TILES = 48 /* multiplied together: with UDUMP_DEPTH_PIECE a quarter of an L2 cache; whole multiply_rows */
};

struct winograd {
    udump_exec *x;
    const udump_product *p;
    const udump_kernels *kernels;
    const udump_winograd_kernels *transform;
    size_t m, n, positions; /* n * n */
    size_t channels, columns, panels, width;
    size_t across, down, tiles; /* tiles of a row, of a column, in all */
    size_t block, begin, end; /* tiles in a block; those of this one */
    const float *in, *zeros /* [channels] */, *residual;
    float *out;
    float *transformed; /* [positions, block, channels] */
    float *scratch; /* [threads, scratch_floats] */
};

/* Transformed weights of a group, and its sums of some tiles. */
static size_t scratch_floats(const struct winograd *w) { return w->positions * GROUP * w->width * (w->channels + TILES); }

static void input_range(void *arg, int64_t begin, int64_t end, int thread) { /* of the block's tiles */
    const struct winograd *w = arg;
    const udump_conv_shape *s = &w->p->shape;
    (void)thread;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t tile = w->begin + at, image = tile / (w->across * w->down);
        int32_t m = (int32_t)w->m, n = (int32_t)w->n, top = (int32_t)(tile / w->across % w->down) * m - 1, left = (int32_t)(tile % w->across) * m - 1;
        const float *pixels[POSITIONS_MOST];
        for (int32_t i = 0; i < n * n; i++) {
            int32_t y = top + i / n, column = left + i % n;
            bool inside = y >= 0 && y < s->h && column >= 0 && column < s->w;
            pixels[i] = inside ? w->in + udump_product_pixel(w->p, image, y, column) * w->channels : w->zeros;
        }
        w->transform->in(pixels, w->channels, w->transformed + at * w->channels, w->block * w->channels);
    }
}

static void transform_weights(const struct winograd *w, size_t first_panel, size_t panels, float *to) {
    const udump_panels *from = w->p->weights;
    size_t count = w->channels * w->width;
    for (size_t panel = 0; panel < panels; panel++)
        w->transform->weights(udump_panels_at(from, first_panel + panel, 0, 0), from->dtype, count, to + panel * w->positions * count);
}

/* sums [positions, TILES, GROUP * width] = transformed input times transformed weights. */
static void multiply_tiles(const struct winograd *w, size_t first, size_t count, size_t panels, const float *weights, float *sums) {
    size_t piece = udump_depth_piece(w->channels);
    for (size_t position = 0; position < w->positions; position++) {
        const float *rows[TILES], *from = w->transformed + (position * w->block + first) * w->channels;
        for (size_t i = 0; i < TILES; i++) rows[i] = from + (i < count ? i : count - 1) * w->channels;
        for (size_t at = 0; at < w->channels; at += piece)
            for (size_t panel = 0; panel < panels; panel++)
                w->kernels->multiply(&(udump_multiply){ .a = rows,
                    .first = at,
                    .b = weights + ((panel * w->positions + position) * w->channels + at) * w->width,
                    .c = sums + (position * TILES * GROUP + panel) * w->width,
                    .c_stride = GROUP * w->width,
                    .rows = count,
                    .depth = w->channels - at < piece ? w->channels - at : piece,
                    .add = at > 0,
                    .next = weights + (((panel + 1) % panels * w->positions + position) * w->channels + at) * w->width,
                    .next_bytes = piece * w->width * sizeof *weights });
    }
}

static void output_tile(const struct winograd *w, size_t tile, size_t column, size_t columns, const float *sums) {
    udump_tensor out = w->p->out;
    size_t image = tile / (w->across * w->down), top = tile / w->across % w->down * w->m, left = tile % w->across * w->m;
    udump_winograd_out job = { .m = sums, .bias = w->p->weights->bias + column, .columns = columns, .m_stride = TILES * GROUP * w->width };
    for (size_t i = 0; i < w->m * w->m; i++) {
        size_t y = top + i / w->m, x = left + i % w->m;
        if (y >= (size_t)out.h || x >= (size_t)out.w) continue;
        size_t at = ((image * (size_t)out.h + y) * (size_t)out.w + x) * w->columns + column;
        job.out[i] = w->out + at;
        job.other[i] = w->residual ? w->residual + at : NULL;
    }
    w->transform->out(&job);
}

static void columns_range(void *arg, int64_t begin, int64_t end, int thread) { /* of groups, and within one of the block's tiles */
    const struct winograd *w = arg;
    float *weights = w->scratch + (size_t)thread * scratch_floats(w), *sums = weights + w->positions * GROUP * w->width * w->channels;
    size_t tiles = w->end - w->begin, parts = (tiles + TILES - 1) / TILES, ready = SIZE_MAX;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        size_t group = at / parts, first = at % parts * TILES, count = tiles - first < TILES ? tiles - first : TILES;
        size_t panel = group * GROUP, panels = w->panels - panel < GROUP ? w->panels - panel : GROUP, column = panel * w->width;
        size_t columns = w->columns - column < GROUP * w->width ? w->columns - column : GROUP * w->width;
        if (ready != group) transform_weights(w, panel, panels, weights);
        ready = group;
        multiply_tiles(w, first, count, panels, weights, sums);
        for (size_t i = 0; i < count; i++) output_tile(w, w->begin + first + i, column, columns, sums + i * GROUP * w->width);
    }
}

static void run(struct winograd *w, int threads) {
    for (w->begin = 0; w->begin < w->tiles; w->begin = w->end) {
        w->end = w->tiles - w->begin < w->block ? w->tiles : w->begin + w->block;
        size_t tiles = w->end - w->begin, groups = (w->panels + GROUP - 1) / GROUP;
        udump_parallel_for(threads, (int64_t)tiles, input_range, w);
        udump_parallel_for(threads, (int64_t)(groups * ((tiles + TILES - 1) / TILES)), columns_range, w);
    }
}

bool udump_cpu_is_winograd(const udump_kernels *kernels, const udump_conv_shape *s) {
    return s->kernel == 3 && s->stride == 1 && s->pad_begin == 1 && s->pad_end == 1 && s->in % (int32_t)kernels->lanes == 0
        && s->out >= (int32_t)udump_panel_width(kernels);
}

static bool is_large(const udump_conv_shape *s) { return s->w * s->h >= LARGE * UDUMP_WINOGRAD_MOST * UDUMP_WINOGRAD_MOST; }

void udump_cpu_winograd(udump_exec *x, const udump_product *p) {
    size_t mark = udump_arena_mark(x);
    const udump_kernels *kernels = udump_cpu_kernels(x);
    const udump_winograd_kernels *transform = is_large(&p->shape) ? &kernels->winograd_4 : &kernels->winograd_2;
    size_t m = (size_t)transform->m, n = m + 2;
    struct winograd w = { .x = x,
        .p = p,
        .kernels = kernels,
        .transform = transform,
        .m = m,
        .n = n,
        .positions = n * n,
        .channels = p->weights->depth,
        .columns = p->weights->columns,
        .panels = udump_panels_count(p->weights),
        .width = p->weights->width,
        .across = ((size_t)p->shape.w + m - 1) / m,
        .down = ((size_t)p->shape.h + m - 1) / m };
    w.tiles = (size_t)p->in.n * w.across * w.down;
    size_t most = BLOCK_FLOATS / (w.positions * w.channels), least = 2 * TILES;
    w.block = most < least ? least : most;
    if (w.block > w.tiles) w.block = w.tiles;
    udump_tensor transformed = udump_tensor_new(x, UDUMP_F32, (int32_t)w.positions, (int32_t)w.block, 1, (int32_t)w.channels);
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, x->threads, 1, 1, (int32_t)scratch_floats(&w));
    udump_tensor zeros = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, (int32_t)w.channels);
    if (!x->dry && !x->status) {
        w.in = udump_tensor_data(x, p->in);
        w.out = udump_tensor_data(x, p->out);
        w.residual = p->residual ? udump_tensor_data(x, *p->residual) : NULL;
        w.transformed = udump_tensor_data(x, transformed);
        w.scratch = udump_tensor_data(x, scratch);
        w.zeros = memset(udump_tensor_data(x, zeros), 0, udump_tensor_bytes(zeros));
        run(&w, udump_threads_worth(x->threads, (int64_t)(w.tiles * w.positions * w.channels * w.columns)));
    }
    udump_arena_release(x, mark);
}
