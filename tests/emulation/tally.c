/* The emulated module with every operation counted: its calls, the launches that they came to, and the bytes and multiplications that its tensors ask for.
 * Reads from the environment which module that is (UDUMP_TALLIED_MODULE). floor.c prints what is counted. */
#include "tally.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "backend/module.h"
#include "cuda_runtime_api.h"

static udump_backend table; /* the module's, and those below instead of its operations */
static const udump_backend *under;
static const udump_emulated_counts *(*counts)(void);
static udump_tally tallies[UDUMP_TALLIES];

__attribute__((visibility("default"))) udump_tally *udump_tally_all(void) { return tallies; }

static double size_of(udump_tensor t) { return (double)udump_tensor_bytes(t); }
static double pixels_of(udump_tensor t) { return (double)t.n * t.h * t.w; }

/* least: bytes that must be read or written once; moved: with what our kernels read or write again. */
static void add(const udump_exec *x, const char *name, long before, double least, double moved, double flops) {
    udump_tally *t = tallies;
    if (x->dry) return;
    while (t->name && strcmp(t->name, name) != 0) t++;
    t->name = name;
    t->calls++;
    t->launches += counts()->launches - before;
    t->least_bytes += least;
    t->moved_bytes += moved;
    t->flops += flops;
}

static void conv2d(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, const udump_tensor *residual) {
    long before = counts()->launches;
    under->conv2d(x, out, in, w, residual);
    double weights = (double)under->packed_bytes(w), bytes = size_of(in) + size_of(out) + weights + (residual ? size_of(*residual) : 0);
    add(x, in.c % 8 || out.c % 8 ? "convolution of our own" : "convolution", before, bytes, bytes, pixels_of(out) * weights / (double)udump_dtype_bytes(x->compute) * 2);
}

static void linear(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, udump_activation activation, const udump_tensor *residual) {
    long before = counts()->launches;
    under->linear(x, out, in, w, activation, residual);
    double weights = (double)under->packed_bytes(w), bytes = size_of(in) + size_of(out) + weights + (residual ? size_of(*residual) : 0);
    add(x, "linear", before, bytes, bytes + (activation ? 2 * size_of(out) : 0), pixels_of(in) * weights / (double)udump_dtype_bytes(x->compute) * 2);
}

static void linear_geglu(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w) {
    long before = counts()->launches;
    under->linear_geglu(x, out, in, w);
    double weights = (double)under->packed_bytes(w), bytes = size_of(in) + size_of(out) + weights;
    add(x, "linear, GEGLU", before, bytes, bytes + 4 * size_of(out), pixels_of(in) * weights / (double)udump_dtype_bytes(x->compute) * 2);
}

static void group_norm(
    udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, int32_t groups, float eps, bool silu, const udump_tensor *row) {
    long before = counts()->launches;
    under->group_norm(x, out, in, w, groups, eps, silu, row);
    bool small = counts()->launches - before == 1;
    add(x, small ? "group norm, small" : "group norm", before, 2 * size_of(in), (small ? 2 : 3) * size_of(in), 0);
}

static void layer_norm(udump_exec *x, udump_tensor out, udump_tensor in, const udump_packed *w, float eps) {
    long before = counts()->launches;
    under->layer_norm(x, out, in, w, eps);
    add(x, "layer norm", before, 2 * size_of(in), 2 * size_of(in), 0);
}

static void attention(udump_exec *x, udump_tensor out, udump_tensor qkv, int32_t heads, bool causal) {
    long before = counts()->launches;
    double tokens = (double)out.h * out.w, bytes = size_of(qkv) + size_of(out), scores = out.n * heads * tokens * tokens;
    bool products = out.c / heads > 160; /* scores written and read in fp32, weights in the compute type */
    under->attention(x, out, qkv, heads, causal);
    add(x, products ? "attention by products" : tokens >= 1024 ? "attention of many" : "attention", before, bytes,
        bytes + (products ? scores * 2 * (4 + (double)udump_dtype_bytes(qkv.dtype)) : 0), 4 * out.n * tokens * tokens * out.c);
}

static void attention_cross(udump_exec *x, udump_tensor out, udump_tensor q, const udump_kv *kv, int32_t heads) {
    long before = counts()->launches;
    double bytes = size_of(q) + size_of(out) + size_of(kv->kv);
    under->attention_cross(x, out, q, kv, heads);
    add(x, "attention, cross", before, bytes, bytes, 4 * pixels_of(q) * kv->kv.h / q.n * q.c); /* prompts share the tokens */
}

static void upsample_nearest(udump_exec *x, udump_tensor out, udump_tensor in) {
    long before = counts()->launches;
    under->upsample_nearest(x, out, in);
    add(x, "upsampling", before, size_of(in) + size_of(out), size_of(in) + size_of(out), 0);
}

static void concat_channels(udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b) {
    long before = counts()->launches;
    under->concat_channels(x, out, a, b);
    add(x, "concatenation", before, 2 * size_of(out), 2 * size_of(out), 0);
}

static void convert(udump_exec *x, udump_tensor out, udump_tensor in) {
    long before = counts()->launches;
    under->convert(x, out, in);
    add(x, "the sampler's", before, size_of(in) + size_of(out), size_of(in) + size_of(out), 0);
}

static void linear_combination(udump_exec *x, udump_tensor out, int32_t count, const udump_tensor *in, const float *coefficients) {
    long before = counts()->launches;
    under->linear_combination(x, out, count, in, coefficients);
    add(x, "the sampler's", before, (count + 1) * size_of(out), (count + 1) * size_of(out), 0);
}

static void cfg_combine(udump_exec *x, udump_tensor out, udump_tensor cond_uncond, float scale) {
    long before = counts()->launches;
    under->cfg_combine(x, out, cond_uncond, scale);
    add(x, "the sampler's", before, size_of(cond_uncond) + size_of(out), size_of(cond_uncond) + size_of(out), 0);
}

static void gather_rows(udump_exec *x, int32_t count, const udump_tensor *out, const udump_tensor *in, int32_t first, const int32_t *const *which) {
    long before = counts()->launches;
    double bytes = 0;
    under->gather_rows(x, count, out, in, first, which);
    for (int32_t i = 0; i < count; i++) bytes += 2 * size_of(out[i]);
    add(x, "times", before, bytes, bytes, 0);
}

static void attention_maps(udump_exec *x, const udump_attended *a, float *maps) {
    long before = counts()->launches;
    double scores = (double)a->heads * a->queries * a->keys, bytes = (double)(a->queries + a->keys) * a->heads * a->d * (double)udump_dtype_bytes(a->dtype);
    under->attention_maps(x, a, maps);
    add(x, "maps", before, bytes + 4 * scores, bytes + (a->dtype == UDUMP_F32 ? 12 : 4) * scores, 0);
}

static double values_of(const udump_tiles *t) { return (double)t->count * t->h * t->w; }

static void tile_reduce(udump_exec *x, const udump_tiles *tiles, udump_tile_range *ranges) {
    long before = counts()->launches;
    under->tile_reduce(x, tiles, ranges);
    add(x, "tiles' ranges", before, values_of(tiles) * (double)udump_dtype_bytes(tiles->dtype), values_of(tiles) * (double)udump_dtype_bytes(tiles->dtype), 0);
}

static void tile_colour(udump_exec *x, const udump_tiles *tiles, const udump_tile_range *ranges, const udump_style_program *style, const udump_grid *grid,
    uint8_t *pixels) {
    long before = counts()->launches;
    double bytes = values_of(tiles) * ((double)udump_dtype_bytes(tiles->dtype) + grid->channels);
    under->tile_colour(x, tiles, ranges, style, grid, pixels);
    add(x, "tiles' colours", before, bytes, bytes, 0);
}

__attribute__((visibility("default"))) const udump_module *udump_module_entry(void) {
    static udump_module module;
    const char *path = getenv("UDUMP_TALLIED_MODULE");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const udump_module *(*entry)(void) = NULL;
    if (library) *(void **)&entry = dlsym(library, "udump_module_entry");
    if (library) *(void **)&counts = dlsym(library, "udump_emulation_counts");
    if (!entry || !counts) return NULL;
    module = *entry();
    under = module.backend;
    table = *under;
    table.conv2d = conv2d;
    table.linear = linear;
    table.linear_geglu = linear_geglu;
    table.group_norm = group_norm;
    table.layer_norm = layer_norm;
    table.attention = attention;
    table.attention_cross = attention_cross;
    table.upsample_nearest = upsample_nearest;
    table.concat_channels = concat_channels;
    table.convert = convert;
    table.linear_combination = linear_combination;
    table.cfg_combine = cfg_combine;
    table.gather_rows = gather_rows;
    table.attention_maps = attention_maps;
    table.tile_reduce = tile_reduce;
    table.tile_colour = tile_colour;
    module.backend = &table;
    return &module;
}
