/* Pictures to latents and back, whole or in tiles. Tiles overlap by a quarter; where they do, each counts the less the nearer its border is,
 * so that there is no seam. Group norms see a tile alone: a picture in tiles is not quite the picture as a whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "pipeline/session.h"

enum { PX = UDUMP_PIXELS_PER_LATENT };

/* One direction, in latents. */
typedef struct tiling {
    int32_t whole, size, overlap, count;
} tiling;

static tiling tiling_make(int32_t whole, int32_t size) {
    if (!size || whole <= size) return (tiling){ .whole = whole, .size = whole, .count = 1 };
    int32_t overlap = size / 4, stride = size - overlap;
    return (tiling){ whole, size, overlap, (whole - overlap + stride - 1) / stride };
}

/* Where tile i begins: the last one ends with the whole. */
static int32_t tile_begin(const tiling *t, int32_t i) {
    return i == t->count - 1 ? t->whole - t->size : i * (t->size - t->overlap);
}

/* How much tile i counts at position `at` of the whole, units a latent: ramps over the overlap, but not at the whole's own borders. */
static float raw_weight(const tiling *t, int32_t i, int32_t units, int32_t at) {
    int32_t begin = tile_begin(t, i) * units, end = begin + t->size * units, ramp = t->overlap * units;
    if (at < begin || at >= end) return 0;
    float left = begin > 0 ? ((float)(at - begin) + 0.5f) / (float)ramp : 1;
    float right = end < t->whole * units ? ((float)(end - at) - 0.5f) / (float)ramp : 1;
    float weight = left < right ? left : right;
    return weight < 1 ? weight : 1;
}

static float weight_of(const tiling *t, int32_t i, int32_t units, int32_t at) {
    float all = 0;
    for (int32_t k = 0; k < t->count; k++) all += raw_weight(t, k, units, at);
    return raw_weight(t, i, units, at) / all;
}

/* A tile of both directions. */
typedef struct tile {
    const tiling *rows, *columns;
    int32_t row, column;
} tile;

/* whole [h * units, w * units, channels] += the tile's values [size * units, size * units, channels], weighted. */
static void blend(const tile *t, int32_t units, size_t channels, float *whole, size_t value_channels, const float *values) {
    int32_t top = tile_begin(t->rows, t->row) * units, left = tile_begin(t->columns, t->column) * units;
    size_t width = (size_t)t->columns->whole * (size_t)units, tile_width = (size_t)t->columns->size * (size_t)units;
    for (int32_t y = 0; y < t->rows->size * units; y++) {
        float row_weight = weight_of(t->rows, t->row, units, top + y);
        for (int32_t x = 0; x < t->columns->size * units; x++) {
            float weight = row_weight * weight_of(t->columns, t->column, units, left + x);
            float *to = whole + ((size_t)(top + y) * width + (size_t)(left + x)) * channels;
            const float *from = values + ((size_t)y * tile_width + (size_t)x) * value_channels;
            for (size_t c = 0; c < channels; c++) to[c] += weight * from[c];
        }
    }
}

/* ---------------------------------------------------------------- decoding */

static void decode_whole(udump_session *session, udump_tensor latent) {
    udump_run *run = &session->run;
    udump_exec *x = &session->x;
    udump_tensor picture = udump_tensor_new(x, x->compute, 1, run->sizes.height_px, run->sizes.width_px, 3);
    udump_tensor unscaled = udump_tensor_new(x, UDUMP_F32, 1, latent.h, latent.w, latent.c),
                 in = udump_tensor_new(x, x->compute, 1, latent.h, latent.w, latent.c);
    udump_into_linear_combination(x, unscaled, 1, &latent, &(float){ (float)(1 / session->model->vae.scaling_factor) });
    udump_into_convert(x, in, unscaled);
    udump_vae_decode(x, &session->model->vae, picture, in);
    udump_download(x, run->decoded, picture);
}

/* The tile's part of run->latent, scaled, into run->tile. */
static void cut_latent(udump_session *session, const tile *t, int32_t channels) {
    udump_run *run = &session->run;
    float scale = (float)(1 / session->model->vae.scaling_factor), *to = run->tile;
    int32_t top = tile_begin(t->rows, t->row), left = tile_begin(t->columns, t->column), length = t->columns->size * channels;
    for (int32_t y = 0; y < t->rows->size; y++)
        for (int32_t i = 0; i < length; i++)
            *to++ = run->latent[(size_t)(top + y) * (size_t)t->columns->whole * (size_t)channels + (size_t)(left * channels + i)] * scale;
}

static void decode_tile(udump_session *session, udump_exec *x, const udump_vae *vae, const tile *t, int32_t channels) {
    udump_run *run = &session->run;
    int32_t h = t->rows->size, w = t->columns->size;
    size_t mark = udump_arena_mark(x);
    udump_tensor picture = udump_tensor_new(x, x->compute, 1, h * PX, w * PX, 3);
    udump_tensor cut = udump_tensor_new(x, UDUMP_F32, 1, h, w, channels), in = udump_tensor_new(x, x->compute, 1, h, w, channels);
    if (!x->dry) cut_latent(session, t, channels);
    udump_upload(x, cut, run->tile);
    udump_into_convert(x, in, cut);
    udump_vae_decode(x, vae, picture, in);
    udump_download(x, run->tile, picture);
    if (!x->dry && !udump_exec_stopped(x)) blend(t, PX, 3, run->decoded, 3, run->tile);
    udump_arena_release(x, mark);
}

/* From run->latent. */
static void decode_tiles(udump_session *session, udump_exec *x, const udump_vae *vae, const tiling *rows, const tiling *columns) {
    udump_run *run = &session->run;
    memset(run->decoded, 0, (size_t)run->sizes.height_px * (size_t)run->sizes.width_px * 3 * sizeof *run->decoded);
    for (int32_t i = 0; i < rows->count; i++)
        for (int32_t j = 0; j < columns->count; j++) decode_tile(session, x, vae, &(tile){ rows, columns, i, j }, vae->latent_channels);
}

void udump_decode_latent(udump_session *session, int32_t at) {
    const udump_sizes *sizes = &session->run.sizes;
    tiling rows = tiling_make(sizes->latent_h, sizes->tile), columns = tiling_make(sizes->latent_w, sizes->tile);
    udump_tensor latent = udump_tensor_rows(session->run.sampling.latent, at, 1);
    size_t mark = udump_arena_mark(&session->x);
    if (rows.count * columns.count == 1) decode_whole(session, latent);
    else {
        udump_download(&session->x, session->run.latent, latent);
        decode_tiles(session, &session->x, &session->model->vae, &rows, &columns);
    }
    udump_arena_release(&session->x, mark);
}

/* ---------------------------------------------------------------- fp32 */

static bool all_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

/* The context in which the autoencoder runs in fp32. */
static udump_status open_wide(udump_session *session, udump_error *error) {
    if (session->wide.backend) return UDUMP_OK;
    const udump_model *model = session->model;
    return udump_exec_open(&session->wide, model->backend, model->wide_device, model->threads, UDUMP_F32, error);
}

/* Host memory for the tiles, or for the picture as one, where the run has none. */
static udump_status reserve_host(udump_run *run, const tiling *rows, const tiling *columns, int32_t channels, udump_error *error) {
    size_t values = (size_t)rows->size * (size_t)columns->size * PX * PX * 3, latents = (size_t)rows->whole * (size_t)columns->whole * (size_t)channels;
    if (!run->tile) run->tile = malloc(values * sizeof *run->tile);
    if (!run->latent) run->latent = malloc(latents * sizeof *run->latent);
    return run->tile && run->latent ? UDUMP_OK : udump_fail_memory(error, "picture", (values + latents) * sizeof(float));
}

udump_status udump_decode_again(udump_session *session, int32_t at, udump_error *error) {
    udump_run *run = &session->run;
    const udump_sizes *sizes = &run->sizes;
    const udump_vae *vae = &session->model->wide_vae;
    udump_exec *x = &session->wide;
    size_t values = (size_t)sizes->height_px * (size_t)sizes->width_px * 3;
    if (!session->model->wide_device || all_finite(run->decoded, values)) return UDUMP_OK;
    tiling rows = tiling_make(sizes->latent_h, sizes->tile), columns = tiling_make(sizes->latent_w, sizes->tile);
    udump_status status = reserve_host(run, &rows, &columns, vae->latent_channels, error);
    if (!status) status = open_wide(session, error);
    if (status) return status;
    udump_download(&session->x, run->latent, udump_tensor_rows(run->sampling.latent, at, 1));
    udump_exec_begin_dry(x);
    decode_tile(session, x, vae, &(tile){ &rows, &columns, 0, 0 }, vae->latent_channels);
    status = udump_exec_end_dry(x, error);
    if (status) return status;
    decode_tiles(session, x, vae, &rows, &columns);
    return udump_exec_status(x, error);
}

/* ---------------------------------------------------------------- encoding */

/* What an encoding needs on the host. */
typedef struct encoding {
    const udump_picture *picture;
    tiling rows, columns;
    float *pixels;  /* of a tile, [8 * h, 8 * w, 3], -1..1 */
    float *moments; /* of a tile, [h, w, 2 * channels] */
    int32_t channels;
} encoding;

/* As the webui: byte / 255 in float32, then * 2 - 1. */
static void cut_picture(const encoding *e, const tile *t) {
    int32_t top = tile_begin(t->rows, t->row) * PX, left = tile_begin(t->columns, t->column) * PX, width = t->columns->size * PX * 3;
    float *to = e->pixels;
    for (int32_t y = 0; y < t->rows->size * PX; y++) {
        const uint8_t *from = e->picture->pixels + (size_t)(top + y) * e->picture->row_bytes + (size_t)left * 3;
        for (int32_t i = 0; i < width; i++) *to++ = (float)from[i] / 255.0f * 2 - 1;
    }
}

static void encode_tile(udump_exec *x, const udump_vae *vae, const encoding *e, const tile *t, float *latent) {
    int32_t h = t->rows->size, w = t->columns->size;
    size_t mark = udump_arena_mark(x);
    udump_tensor moments = udump_tensor_new(x, x->compute, 1, h, w, 2 * e->channels);
    udump_tensor pixels = udump_tensor_new(x, UDUMP_F32, 1, h * PX, w * PX, 3), in = udump_tensor_new(x, x->compute, 1, h * PX, w * PX, 3);
    if (!x->dry) cut_picture(e, t);
    udump_upload(x, pixels, e->pixels);
    udump_into_convert(x, in, pixels);
    udump_vae_encode(x, vae, moments, in);
    udump_download(x, e->moments, moments);
    if (!x->dry && !udump_exec_stopped(x)) blend(t, 1, (size_t)e->channels, latent, 2 * (size_t)e->channels, e->moments);
    udump_arena_release(x, mark);
}

static udump_status encode_tiles(udump_exec *x, const udump_vae *vae, const encoding *e, float *latent, udump_error *error) {
    size_t count = (size_t)e->rows.whole * (size_t)e->columns.whole * (size_t)e->channels;
    memset(latent, 0, count * sizeof *latent);
    udump_exec_begin_dry(x);
    encode_tile(x, vae, e, &(tile){ &e->rows, &e->columns, 0, 0 }, latent);
    udump_status status = udump_exec_end_dry(x, error);
    x->dry = false;
    if (status) return status;
    for (int32_t i = 0; i < e->rows.count; i++)
        for (int32_t j = 0; j < e->columns.count; j++) encode_tile(x, vae, e, &(tile){ &e->rows, &e->columns, i, j }, latent);
    return udump_exec_status(x, error);
}

udump_status udump_encode_picture(udump_session *session, const udump_picture *picture, float *latent, udump_error *error) {
    const udump_sizes *sizes = &session->run.sizes;
    encoding e = { .picture = picture,
        .rows = tiling_make(sizes->latent_h, sizes->tile),
        .columns = tiling_make(sizes->latent_w, sizes->tile),
        .channels = session->model->vae.latent_channels };
    size_t positions = (size_t)e.rows.size * (size_t)e.columns.size, count = (size_t)sizes->latent_h * (size_t)sizes->latent_w * (size_t)e.channels;
    e.pixels = malloc(positions * PX * PX * 3 * sizeof *e.pixels);
    e.moments = malloc(positions * 2 * (size_t)e.channels * sizeof *e.moments);
    udump_status status = e.pixels && e.moments ? encode_tiles(&session->x, &session->model->vae, &e, latent, error)
                                                : udump_fail_memory(error, "init", positions * PX * PX * 3 * sizeof *e.pixels);
    if (!status && session->model->wide_device && !all_finite(latent, count)) {
        status = open_wide(session, error);
        if (!status) status = encode_tiles(&session->wide, &session->model->wide_vae, &e, latent, error);
    }
    for (size_t i = 0; i < count; i++) latent[i] *= (float)session->model->vae.scaling_factor;
    free(e.pixels);
    free(e.moments);
    return status;
}
