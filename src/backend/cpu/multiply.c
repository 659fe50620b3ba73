/* Blocks of rows times blocks of columns, spread over threads. For each piece of the depth a panel is widened once and multiplied with all rows of the
 * block, which stay in the L2 cache from panel to panel. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/multiply.h"
#include "base/parallel.h"

enum {
    ROWS = 192, /* of a block: times UDUMP_DEPTH_PIECE, half of an L2 cache; whole multiply_rows */
    PANELS_MOST = 16, /* of a block, */
    PANELS_LEAST = 4, /* where there are few blocks */
    BLOCKS_ENOUGH = 8 /* for each thread */
};

struct multiplying {
    udump_exec *x;
    const udump_product *p;
    const udump_kernels *kernels;
    size_t rows, panels, block_panels, column_blocks;
    size_t depth, kernel; /* kernel: 1 for a linear layer */
    const float *in, *zeros /* [depth] */, *residual;
    float *out;
    float *scratch; /* [threads, scratch_floats] */
};

/* Sums [ROWS, block_panels * width], of the gate's too, and a widened piece of a panel. */
static size_t scratch_floats(const struct multiplying *m) {
    size_t width = m->p->weights->width, sets = m->p->gate ? 2 : 1;
    return (ROWS * m->block_panels * sets + UDUMP_DEPTH_PIECE) * width;
}

/* Where the rows of a block begin in the input, for one tap of the kernel: outside of the picture are zeros. */
static void find_rows(const struct multiplying *m, size_t first, size_t count, size_t tap, const float **rows) {
    const udump_conv_shape *s = &m->p->shape;
    udump_tensor out = m->p->out;
    for (size_t i = 0; i < ROWS; i++) {
        size_t row = first + (i < count ? i : count - 1);
        if (!s->kernel) {
            rows[i] = m->in + row * m->depth;
            continue;
        }
        size_t area = (size_t)out.h * (size_t)out.w, image = row / area;
        int32_t y = (int32_t)(row % area / (size_t)out.w) * s->stride - s->pad_begin + (int32_t)(tap / m->kernel),
                column = (int32_t)(row % (size_t)out.w) * s->stride - s->pad_begin + (int32_t)(tap % m->kernel);
        bool inside = y >= 0 && y < s->h && column >= 0 && column < s->w;
        rows[i] = inside ? m->in + udump_product_pixel(m->p, image, y, column) * m->depth : m->zeros;
    }
}

struct block {
    size_t first_row, rows, first_panel, panels;
    const float *a[ROWS];
    float *sums, *wide; /* [ROWS, panels, width], the gate's behind them; [depth piece, width] */
};

static void multiply_panel(const struct multiplying *m, const struct block *b, const udump_panels *w, size_t panel, size_t tap,
    size_t first, size_t depth, float *sums) {
    const void *values = udump_panels_at(w, b->first_panel + panel, tap, first);
    udump_multiply job = { .a = b->a,
        .first = first,
        .b = values,
        .c = sums + panel * w->width,
        .c_stride = m->block_panels * w->width,
        .rows = b->rows,
        .depth = depth,
        .add = tap || first,
        .next = udump_panels_at(w, b->first_panel + (panel + 1) % b->panels, tap, first),
        .next_bytes = depth * w->width * udump_dtype_bytes(w->dtype) };
    if (w->dtype != UDUMP_F32) {
        m->kernels->unpack(b->wide, values, w->dtype, depth * w->width);
        job.b = b->wide;
    }
    m->kernels->multiply(&job);
}

static void finish_panel(const struct multiplying *m, const struct block *b, size_t panel) {
    const udump_panels *w = m->p->weights;
    size_t column = (b->first_panel + panel) * w->width, left = w->columns - column, at = b->first_row * w->columns + column;
    m->kernels->finish(&(udump_finish){ .c = b->sums + panel * w->width,
        .gate = m->p->gate ? ROWS * m->block_panels * w->width : 0,
        .bias = w->bias + column,
        .gate_bias = m->p->gate ? m->p->gate->bias + column : NULL,
        .other = m->residual ? m->residual + at : NULL,
        .out = m->out + at,
        .rows = b->rows,
        .columns = left < w->width ? left : w->width,
        .c_stride = m->block_panels * w->width,
        .out_stride = w->columns,
        .activation = m->p->activation });
}

static void multiply_block(const struct multiplying *m, struct block *b) {
    const udump_panels *w = m->p->weights, *gate = m->p->gate;
    size_t piece = udump_depth_piece(m->depth);
    for (size_t tap = 0; tap < w->taps; tap++) {
        find_rows(m, b->first_row, b->rows, tap, b->a);
        for (size_t first = 0; first < m->depth; first += piece) {
            size_t depth = m->depth - first < piece ? m->depth - first : piece;
            for (size_t panel = 0; panel < b->panels; panel++) {
                multiply_panel(m, b, w, panel, tap, first, depth, b->sums);
                if (gate) multiply_panel(m, b, gate, panel, tap, first, depth, b->sums + ROWS * m->block_panels * w->width);
                if (tap + 1 == w->taps && first + depth == m->depth) finish_panel(m, b, panel);
            }
        }
    }
}

static void multiply_range(void *arg, int64_t begin, int64_t end, int thread) { /* of blocks */
    const struct multiplying *m = arg;
    struct block b = { .wide = m->scratch + (size_t)thread * scratch_floats(m) };
    b.sums = b.wide + UDUMP_DEPTH_PIECE * m->p->weights->width;
    for (size_t at = (size_t)begin; at < (size_t)end; at++) {
        b.first_row = at / m->column_blocks * ROWS;
        b.rows = m->rows - b.first_row < ROWS ? m->rows - b.first_row : ROWS;
        b.first_panel = at % m->column_blocks * m->block_panels;
        b.panels = m->panels - b.first_panel < m->block_panels ? m->panels - b.first_panel : m->block_panels;
        multiply_block(m, &b);
    }
}

void udump_cpu_multiply(udump_exec *x, const udump_product *p) {
    size_t mark = udump_arena_mark(x), out_count = udump_tensor_count(p->out);
    const udump_panels *w = p->weights;
    struct multiplying m = { .x = x,
        .p = p,
        .kernels = udump_cpu_kernels(x),
        .rows = out_count / w->columns,
        .panels = udump_panels_count(w),
        .depth = w->depth,
        .kernel = p->shape.kernel ? (size_t)p->shape.kernel : 1 };
    size_t row_blocks = (m.rows + ROWS - 1) / ROWS;
    bool many = row_blocks * (m.panels / PANELS_MOST) >= BLOCKS_ENOUGH * (size_t)x->threads;
    m.block_panels = many ? PANELS_MOST : PANELS_LEAST;
    m.column_blocks = (m.panels + m.block_panels - 1) / m.block_panels;
    udump_tensor scratch = udump_tensor_new(x, UDUMP_F32, x->threads, 1, 1, (int32_t)scratch_floats(&m));
    udump_tensor zeros = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, p->shape.kernel ? (int32_t)m.depth : 1);
    if (!x->dry && !x->status) {
        m.in = udump_tensor_data(x, p->in);
        m.out = udump_tensor_data(x, p->out);
        m.residual = p->residual ? udump_tensor_data(x, *p->residual) : NULL;
        m.scratch = udump_tensor_data(x, scratch);
        m.zeros = memset(udump_tensor_data(x, zeros), 0, udump_tensor_bytes(zeros));
        int threads = udump_threads_worth(x->threads, (int64_t)(out_count * m.depth * w->taps));
        udump_parallel_for(threads, (int64_t)(row_blocks * m.column_blocks), multiply_range, &m);
    }
    udump_arena_release(x, mark);
}
