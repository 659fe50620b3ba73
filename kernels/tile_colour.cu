/* Tiles to a picture. A block takes 32 tiles by up to 64 pixels of a row, or by several rows of small tiles: its threads take two tiles by four pixels each, with
 * all loads first, and put their bytes together into whole words, in shared memory. From there they are written along the rows of the picture, in words too: a
 * row's bytes begin at any address, so that words are cut out of two. */
#include "colours.cuh"
#include "ranges.cuh"

enum { TILES = 32, PAIRS = TILES / 2, RUN = 4 /* pixels of a thread */, RUNS = 16 /* of a block, at most */, THREADS = PAIRS * RUNS };
enum { WRITERS = 16 /* threads that write a row of a tile */ };
enum { EXPRESSION_BYTES = 32768 /* of shared memory for an expression's registers: a block has only so many threads */ };

typedef enum loads { LOAD_EACH, LOAD_TILES /* two side by side */, LOAD_PIXELS /* four side by side */ } loads;

/* How a block is laid out. grid: [rows of a tile and the line below / rows, cells / TILES, pixels of a row / (runs * RUN)]; block: [PAIRS, runs, rows], or
 * [runs, PAIRS, rows], TILES threads or more. */
typedef struct layout {
    int runs, rows; /* that a block takes: of a row of a tile, and of a tile */
    int pitch;      /* words of a row of a tile in shared memory: odd, so that tiles side by side are in banks of their own */
    int first;      /* cell of the launch */
    int registers;  /* words of all rows, after which the registers of expressions come */
    bool pairs_first;
    loads load;
} layout;

typedef udump_vector<uint32_t, RUN> bytes_of_run;

/* ---- colours: plain ones by kind, expressions by program */

template <int COLOUR> struct plain {
    enum { CHANNELS = COLOUR == UDUMP_COLOUR_WHITE_BLACK ? 1 : 3 };
    udump_transform transform;
};
struct expressions {
    enum { CHANNELS = 3 };
    udump_style_program program;
};

static __device__ __noinline__ float transformed(float v, const udump_transform *t, bool grey, const udump_kernel_range *range) {
    return udump_transform_value(v, t, grey, range);
}
static __device__ __noinline__ uint32_t other_bytes(float v, const udump_transform *t, int colour, const udump_kernel_range *range) {
    return udump_colour(udump_transform_value(v, t, colour == UDUMP_COLOUR_WHITE_BLACK, range), colour);
}

/* scale: for a tile whose transform is auto01 or auto11, and which is ordinary; else its reciprocal is 0. */
template <int COLOUR>
static __device__ __forceinline__ bytes_of_run colour_run(
    const plain<COLOUR> &style, const float (&v)[RUN], udump_scale scale, const udump_kernel_range *range, udump_four *, int) {
    bool both_signs = style.transform.kind == UDUMP_TRANSFORM_AUTO11;
    float shift = both_signs ? 0.5f : 0.0f, gain = (both_signs ? 2.0f : 1.0f) * (COLOUR == UDUMP_COLOUR_DEFAULT ? 1.0f : 256.0f);
    bytes_of_run bytes;
    if (scale.reciprocal != 0) {
#pragma unroll
        for (int k = 0; k < RUN; k++) bytes.at[k] = udump_share_colour<COLOUR>(udump_share(v[k], scale), shift, gain);
    } else {
#pragma unroll
        for (int k = 0; k < RUN; k++) bytes.at[k] = other_bytes(v[k], &style.transform, COLOUR, range);
    }
    return bytes;
}

/* registers: of this thread, columns of `threads`. */
static __device__ __forceinline__ bytes_of_run colour_run(
    const expressions &style, const float (&v)[RUN], udump_scale, const udump_kernel_range *range, udump_four *registers, int threads) {
    bytes_of_run bytes;
    udump_four channels[3], value;
#pragma unroll
    for (int k = 0; k < RUN; k++) value.at[k] = transformed(v[k], &style.program.transform, false, range);
    registers[0] = value;
#pragma unroll
    for (int c = 0; c < 3; c++) channels[c] = udump_run_expression(&style.program.expression[c], registers, threads);
#pragma unroll
    for (int k = 0; k < RUN; k++)
        bytes.at[k] = style.program.colour == UDUMP_COLOUR_RGB ? udump_rgb(channels[0].at[k], channels[1].at[k], channels[2].at[k])
                                                                : udump_hsl(channels[0].at[k], channels[1].at[k], channels[2].at[k]);
    return bytes;
}

/* ---- values of two tiles and four pixels; 0 where there are none */

template <typename T>
static __device__ __forceinline__ void load_values(float (&v)[2][RUN], const udump_kernel_tiles &t, int tile, int y, int x, loads load) {
    const T *from = (const T *)t.data + (tile * t.stride_tile + y * t.stride_y + x * t.stride_x);
    if (load == LOAD_TILES) {
        udump_vector<T, 2> both[RUN];
#pragma unroll
        for (int k = 0; k < RUN; k++) both[k] = *(const udump_vector<T, 2> *)(from + (x + k < t.w ? k * t.stride_x : 0));
#pragma unroll
        for (int k = 0; k < 2 * RUN; k++) v[k % 2][k / 2] = udump_f32(both[k / 2].at[k % 2]);
    } else if (load == LOAD_PIXELS) {
        udump_vector<T, RUN> all[2];
#pragma unroll
        for (int i = 0; i < 2; i++) all[i] = *(const udump_vector<T, RUN> *)(from + (tile + i < t.count ? i * t.stride_tile : 0));
#pragma unroll
        for (int k = 0; k < 2 * RUN; k++) v[k / RUN][k % RUN] = udump_f32(all[k / RUN].at[k % RUN]);
    } else {
#pragma unroll
        for (int k = 0; k < 2 * RUN; k++)
            v[k / RUN][k % RUN] = udump_f32(from[(tile + k / RUN < t.count ? k / RUN * t.stride_tile : 0) + (x + k % RUN < t.w ? k % RUN * t.stride_x : 0)]);
    }
}

/* ---- bytes */

/* Bytes low, low + 1 .. of a, and then those of b from its first on: a word. */
static __device__ __forceinline__ uint32_t joined(uint32_t a, uint32_t b, int low, int of_a) {
#if defined(__CUDACC__)
    unsigned selector = 0;
    for (int i = 0; i < 4; i++) selector |= (unsigned)(i < of_a ? low + i : 4 + i - of_a) << (4 * i);
    return __byte_perm(a, b, selector);
#else
    uint32_t kept = (a >> (8 * low)) & (uint32_t)((1ull << (8 * of_a)) - 1);
    return kept | (uint32_t)((uint64_t)b << (8 * of_a));
#endif
}

/* Four pixels' bytes to shared memory, in whole words. */
template <int CHANNELS> static __device__ __forceinline__ void put_run(uint32_t *to, const bytes_of_run &bytes) {
    if (CHANNELS == 1) to[0] = bytes.at[0] + (bytes.at[1] << 8) + (bytes.at[2] << 16) + (bytes.at[3] << 24);
    else
#pragma unroll
        for (int k = 0; k < 3; k++) to[k] = joined(bytes.at[k], bytes.at[k + 1], k, 3 - k);
}

/* count bytes from shared memory to any address, by WRITERS threads. */
static __device__ __forceinline__ void write_row(uint8_t *to, const uint32_t *from, int count, int lane) {
    int head = (int)(-(uintptr_t)to & 3), whole, edge;
    head = head < count ? head : count; /* bytes before the first whole word of `to` */
    whole = (count - head) / 4;
    edge = lane < 4 ? lane : head + 4 * whole + lane - 4;
    if (lane < 8 && edge < (lane < 4 ? head : count)) to[edge] = (uint8_t)(from[edge / 4] >> (edge % 4 * 8));
    uint32_t *words = (uint32_t *)(to + head);
#pragma unroll 4
    for (int i = lane; i < whole; i += WRITERS) words[i] = (uint32_t)((((uint64_t)from[i + 1] << 32) | from[i]) >> (8 * head));
}

/* ---- a block */

/* Where a cell is in the picture, and its scale. A cell is a tile and the black lines right of it and below it; those that no tile fills are black. */
struct cell {
    int64_t place; /* of its first byte; -1: below the picture */
    int lines;     /* of its pixels, the line below included if there is one */
    int black;     /* 1 if there is a line right of it */
};

static __device__ __forceinline__ cell cell_of(int at, const udump_kernel_tiles &t, const udump_kernel_grid &g, int channels) {
    int row = at / g.columns, column = at - row * g.columns;
    int64_t pixel = (int64_t)row * (t.h + 1) * ((int64_t)g.columns * (t.w + 1) - 1) + (int64_t)column * (t.w + 1);
    return cell{ row < g.rows ? pixel * channels : -1, t.h + (row + 1 < g.rows), column + 1 < g.columns };
}

template <typename STYLE>
static __global__ void __launch_bounds__(THREADS) tile_colour(uint8_t *pixels, UDUMP_CONSTANT_PARAM udump_kernel_tiles t, const udump_kernel_range *ranges,
    UDUMP_CONSTANT_PARAM STYLE style, UDUMP_CONSTANT_PARAM udump_kernel_grid g, UDUMP_CONSTANT_PARAM layout l) {
    UDUMP_SHARED(uint32_t, rows); /* [rows, TILES, pitch]; from l.registers on, for expressions: [registers of the program, threads] */
    __shared__ cell cells[TILES];
    __shared__ udump_scale scales[TILES];
    constexpr int channels = STYLE::CHANNELS;
    int me = ((int)threadIdx.z * (int)blockDim.y + (int)threadIdx.y) * (int)blockDim.x + (int)threadIdx.x, threads = PAIRS * l.runs * l.rows;
    int pair = (int)(l.pairs_first ? threadIdx.x : threadIdx.y), run = (int)(l.pairs_first ? threadIdx.y : threadIdx.x);
    int first = l.first + (int)blockIdx.y * TILES, first_y = (int)blockIdx.x * l.rows, first_x = (int)blockIdx.z * l.runs * RUN;
    int tile = first + 2 * pair, y = first_y + (int)threadIdx.z, x = first_x + run * RUN;
    bool live = tile < t.count && y < t.h && x < t.w;
    udump_kernel_range range = UDUMP_NO_RANGE; /* of tile first + me, in flight while the values are */
    if (ranges && me < TILES && first + me < t.count) range = ranges[first + me];
    float v[2][RUN] = { { 0 } };
    if (live) UDUMP_FOR_DTYPE(t.dtype, T, load_values<T>(v, t, tile, y, x, l.load))
    if (me < TILES) {
        cells[me] = cell_of(first + me, t, g, channels);
        scales[me] = udump_scale_of(range);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        bytes_of_run bytes = { { 0 } };
        uint32_t *to = rows + ((int)threadIdx.z * TILES + 2 * pair + i) * l.pitch + run * channels;
        const udump_kernel_range *own = ranges ? ranges + tile + i : NULL;
        if (live && tile + i < t.count) bytes = colour_run(style, v[i], scales[2 * pair + i], own, (udump_four *)(rows + l.registers) + me, threads);
#pragma unroll
        for (int k = 1; k < RUN; k++)
            if (x + k >= t.w) bytes.at[k] = 0;
        put_run<channels>(to, bytes);
        if (run == l.runs - 1) to[channels] = 0; /* the line right of the tile */
    }
    __syncthreads();
    int end_x = first_x + l.runs * RUN < t.w ? first_x + l.runs * RUN : t.w, width_px = g.columns * (t.w + 1) - 1;
    for (int i = me / WRITERS; i < TILES * l.rows; i += threads / WRITERS) {
        cell c = cells[i % TILES];
        int line = first_y + i / TILES, count = end_x - first_x + (end_x == t.w && c.black);
        if (c.place < 0 || line >= c.lines) continue;
        write_row(pixels + c.place + ((int64_t)line * width_px + first_x) * channels, rows + i * l.pitch, count * channels, me % WRITERS);
    }
}

static loads loads_of(const udump_kernel_tiles *t) {
    int64_t bytes = t->dtype == UDUMP_KERNEL_F32 ? 4 : 2;
    uintptr_t tile = (uintptr_t)(t->stride_tile * bytes), y = (uintptr_t)(t->stride_y * bytes), x = (uintptr_t)(t->stride_x * bytes), data = (uintptr_t)t->data;
    if (t->stride_tile == 1 && t->count % 2 == 0 && (data | y | x) % (2 * (uintptr_t)bytes) == 0) return LOAD_TILES;
    if (t->stride_x == 1 && t->w % RUN == 0 && (data | y | tile) % (RUN * (uintptr_t)bytes) == 0) return LOAD_PIXELS;
    return LOAD_EACH;
}

/* registers: of the program, 0 without one. */
template <typename STYLE>
static void colour_tiles(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, const STYLE &style, int registers,
    const udump_kernel_grid *grid, udump_stream stream) {
    udump_kernel_tiles t = *tiles;
    udump_kernel_grid g = *grid;
    STYLE own = style;
    int each_bytes = registers * PAIRS * (int)sizeof(udump_four), most = RUNS;
    if (registers && EXPRESSION_BYTES / each_bytes < RUNS) most = EXPRESSION_BYTES / each_bytes;
    int chunks = (t.w + most * RUN - 1) / (most * RUN);
    layout l;
    l.runs = ((t.w + chunks - 1) / chunks + RUN - 1) / RUN;
    l.rows = most / l.runs < t.h + 1 ? most / l.runs : t.h + 1;
    l.pitch = (l.runs * STYLE::CHANNELS + 1) | 1;
    l.registers = l.rows * TILES * l.pitch;
    l.pairs_first = t.stride_tile == 1;
    l.load = loads_of(&t);
    dim3 threads(l.pairs_first ? (unsigned)PAIRS : (unsigned)l.runs, l.pairs_first ? (unsigned)l.runs : (unsigned)PAIRS, (unsigned)l.rows);
    size_t shared_bytes = (size_t)l.registers * sizeof(uint32_t) + (size_t)(each_bytes * l.runs * l.rows);
    int64_t cells = (int64_t)g.columns * g.rows, most_cells = 65535 * TILES; /* of a launch: what a grid's second side takes */
    for (int64_t first = 0; first < cells; first += most_cells) {
        dim3 blocks(udump_blocks(t.h + 1, l.rows), udump_blocks(cells - first < most_cells ? cells - first : most_cells, TILES), udump_blocks(t.w, l.runs * RUN));
        l.first = (int)first;
        UDUMP_LAUNCH((tile_colour<STYLE>), blocks, threads, shared_bytes, stream, pixels, t, ranges, own, g, l);
    }
}

/* How many an expression uses: the highest it names and those below. */
static int registers_of(const udump_style_program *program) {
    int most = 0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < program->expression[k].count; i++) {
            udump_instruction code = program->expression[k].code[i];
            const int named[] = { code.out, code.a, code.b, code.c };
            for (int j = 0; j < 4; j++) most = named[j] > most ? named[j] : most;
        }
    return most + 1;
}

void udump_kernel_tile_colour(uint8_t *pixels, const udump_kernel_tiles *tiles, const udump_kernel_range *ranges, const udump_style_program *style,
    const udump_kernel_grid *grid, udump_stream stream) {
    if (!udump_style_needs_ranges(style)) ranges = NULL;
    switch (style->colour) {
    case UDUMP_COLOUR_WHITE_BLACK:
        colour_tiles(pixels, tiles, ranges, plain<UDUMP_COLOUR_WHITE_BLACK>{ style->transform }, 0, grid, stream);
        break;
    case UDUMP_COLOUR_RED_BLUE: colour_tiles(pixels, tiles, ranges, plain<UDUMP_COLOUR_RED_BLUE>{ style->transform }, 0, grid, stream); break;
    case UDUMP_COLOUR_DEFAULT: colour_tiles(pixels, tiles, ranges, plain<UDUMP_COLOUR_DEFAULT>{ style->transform }, 0, grid, stream); break;
    default: colour_tiles(pixels, tiles, ranges, expressions{ *style }, registers_of(style), grid, stream);
    }
}
