/* Trials of the operations that look: attention, words, differences, tiles. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include "render/render.h"

/* Room in the arena for a result of floats; its address, or NULL in a dry pass. */
static float *room(udump_exec *x, udump_tensor *tensor, int32_t n, int32_t h, int32_t w, int32_t c) {
    *tensor = udump_tensor_new(x, UDUMP_F32, n, h, w, c);
    return x->dry || x->status ? NULL : udump_tensor_data(x, *tensor);
}

/* Q in [h, w], K in a tensor that holds something else beside it. */
static udump_attended attended(udump_exec *x, const trial *t) {
    int32_t queries = t->h * t->w, keys = t->keys ? t->keys : queries;
    udump_tensor q = trial_input(x, t, t->dtype, 1, t->h, t->w, t->in), k = trial_input(x, t, t->dtype, 1, keys, 1, 2 * t->in);
    udump_attended a = { .dtype = t->dtype, .q_stride = t->in, .k_stride = 2 * t->in, .heads = t->heads, .d = t->in / t->heads, .queries = queries, .keys = keys };
    if (!x->dry) {
        a.q = udump_tensor_data(x, q);
        a.k = udump_tensor_data(x, k);
    }
    return a;
}

static udump_tensor maps(udump_exec *x, const trial *t) {
    udump_tensor out;
    udump_attended a = attended(x, t);
    float *to = room(x, &out, a.heads, a.keys, a.queries, 1);
    x->backend->attention_maps(x, &a, to);
    return out;
}

static udump_tensor rows(udump_exec *x, const trial *t) {
    enum { CHOSEN = 5 };
    int32_t chosen[CHOSEN];
    udump_tensor out, list;
    udump_attended a = attended(x, t);
    float *to = room(x, &out, a.heads, CHOSEN, a.keys, 1), *at = room(x, &list, 1, 1, 1, CHOSEN);
    for (int32_t i = 0; i < CHOSEN; i++) chosen[i] = i * 7 % a.queries;
    if (at) x->backend->write(x, at, chosen, sizeof chosen);
    x->backend->attention_rows(x, &a, CHOSEN, (const int32_t *)at, to);
    return out;
}

/* [heads, keys + queries]: received * queries, which is of the size of 1, then entropy */
static udump_tensor summary(udump_exec *x, const trial *t) {
    udump_tensor received, entropy;
    udump_attended a = attended(x, t);
    float *to = room(x, &received, 1, 1, a.heads, a.keys), *wide = room(x, &entropy, 1, 1, a.heads, a.queries);
    x->backend->attention_summary(x, &a, to, wide);
    return t->kind ? entropy : received;
}

static udump_tensor covariance(udump_exec *x, const trial *t) {
    enum { COLUMNS = 16 };
    udump_tensor v_tensor, y_tensor, z_tensor;
    udump_attended a = attended(x, t);
    float *v = room(x, &v_tensor, 1, 1, a.keys, COLUMNS), *y = room(x, &y_tensor, 1, 1, a.queries, COLUMNS), *z = room(x, &z_tensor, 1, 1, a.keys, COLUMNS);
    if (v) udump_upload(x, v_tensor, trial_noise((size_t)(a.keys * COLUMNS), 1));
    x->backend->attention_covariance(x, &a, COLUMNS, v, y, z);
    return t->kind ? y_tensor : z_tensor;
}

/* Q and K that are sines of the place, of a few lengths and strengths: a map of few and well parted directions. */
static void fill_waves(udump_exec *x, const trial *t, udump_tensor qk) {
    float *values = (float *)trial_noise(udump_tensor_count(qk), 1);
    for (int32_t p = 0; p < t->h * t->w; p++)
        for (int32_t i = 0; i < 2 * t->in; i++) {
            float phase = (float)(1 + i % t->in / 2) * 0.7f * (float)(p + 3 * (i / t->in)), strength = t->gain / (float)(1 + i % t->in / 2);
            values[p * 2 * t->in + i] = trial_rounded(strength * (i % 2 ? cosf(phase) : sinf(phase)));
        }
    udump_upload(x, qk, values);
}

/* Two tokens' scores are equal but for the sign: which is the larger, and so positive, is rounding's choice. Here the first is. */
static void turn_pair(udump_exec *x, float *scores) {
    float pair[2];
    x->backend->read(x, pair, scores, sizeof pair);
    const float turned[2] = { -pair[0], -pair[1] };
    if (pair[0] < 0) x->backend->write(x, scores, turned, sizeof turned);
}

/* The components' scores, [3, queries]. */
static udump_tensor components(udump_exec *x, const trial *t) {
    udump_tensor out, received_tensor, entropy_tensor, qk = udump_tensor_new(x, t->dtype, 1, t->h, t->w, 2 * t->in);
    int32_t tokens = t->h * t->w;
    float *scores = room(x, &out, 1, 1, 3, tokens), *received = room(x, &received_tensor, 1, 1, t->heads, tokens), *entropy = room(x, &entropy_tensor, 1, 1, t->heads, tokens);
    udump_attended a = { .dtype = t->dtype, .q_stride = 2 * t->in, .k_stride = 2 * t->in, .heads = t->heads, .d = t->in / t->heads, .queries = tokens, .keys = tokens };
    if (scores) {
        if (!trial_is_timed()) fill_waves(x, t, qk);
        a.q = udump_tensor_data(x, qk);
        a.k = (const char *)a.q + (size_t)t->in * udump_dtype_bytes(t->dtype);
    }
    x->backend->attention_summary(x, &a, received, entropy);
    x->backend->attention_components(x, &a, received, scores);
    if (scores && tokens == 2) turn_pair(x, scores);
    return out;
}

/* Twice, a map that is smaller than the heat and one of another shape. */
static udump_tensor warm(udump_exec *x, const trial *t) {
    udump_tensor sums = trial_input(x, t, UDUMP_F32, 1, t->in, t->out, 1), map = trial_input(x, t, UDUMP_F32, 1, t->h, t->w, 1);
    for (int i = 0; i < 2; i++)
        x->backend->warm(x, x->dry ? NULL : udump_tensor_data(x, map), i ? t->w : t->h, i ? t->h : t->w, x->dry ? NULL : udump_tensor_data(x, sums), t->in, t->out);
    return sums;
}

static udump_tensor word_map(udump_exec *x, const trial *t) {
    int32_t columns[3] = { 1, 4, 2 };
    udump_tensor out, list, in = trial_input(x, t, UDUMP_F32, 2, 6, t->h, t->w);
    float *map = room(x, &out, 1, 1, t->h, t->w), *at = room(x, &list, 1, 1, 1, 3);
    if (map) {
        x->backend->write(x, at, columns, sizeof columns);
        x->backend->word_map(x, udump_tensor_data(x, in), 2, 6, t->h * t->w, (const int32_t *)at, t->count, map);
    }
    return out;
}

/* The difference; or, by kind, one of its norms. */
static udump_tensor difference(udump_exec *x, const trial *t) {
    udump_difference found;
    udump_tensor a = trial_input(x, t, t->dtype, 1, t->h, t->w, t->in), b = trial_input(x, t, UDUMP_F32, 1, t->h, t->w, t->in),
                 out = udump_tensor_new(x, UDUMP_F32, 1, t->h, t->w, t->in), norms = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, sizeof found / 4);
    udump_subtract(x, out, a, b, t->kind == 6, norms);
    if (x->dry || t->kind == 0 || t->kind == 6) return out;
    x->backend->read(x, &found, udump_tensor_data(x, norms), sizeof found);
    float values[5] = { (float)found.l2, (float)found.a_l2, (float)found.b_l2, (float)found.dot, (float)found.max };
    out = udump_tensor_rows(out, 0, 1);
    out.h = out.w = out.c = 1;
    udump_upload(x, out, &values[t->kind - 1]);
    return out;
}

/* ---- tiles: of channels last, or, with kind 1, of whole planes, or, with kind 3, of a part of a larger image */

static udump_tiles tiles_of(udump_exec *x, const trial *t) {
    int32_t row = t->w + (t->kind == 3 ? 5 : 0);
    udump_tensor in = trial_input(x, t, t->dtype, 1, t->h, row, t->in);
    const void *data = x->dry ? NULL : udump_tensor_data(x, in);
    udump_tiles last = { data, t->dtype, t->in, t->h, t->w, 1, (int64_t)row * t->in, t->in },
                planes = { data, t->dtype, t->in, t->h, t->w, (int64_t)t->h * t->w, t->w, 1 },
                turned = { data, t->dtype, t->in, t->h, t->w, (int64_t)t->h * t->w, 1, t->h };
    return t->kind == 0 || t->kind == 3 ? last : t->kind == 1 ? planes : turned;
}

static udump_tensor reduce(udump_exec *x, const trial *t) {
    udump_tensor out, plain;
    udump_tiles tiles = tiles_of(x, t);
    float *to = room(x, &out, 1, 1, tiles.count, 3);
    if (!to) return out;
    x->backend->tile_reduce(x, &tiles, (udump_tile_range *)to);
    if (t->count) x->backend->tile_join(x, (udump_tile_range *)to, tiles.count);
    if (trial_is_timed()) return out;
    /* the count of finite tiles is a whole number: as floats */
    udump_tile_range *ranges = (udump_tile_range *)trial_noise((size_t)tiles.count * 3, 1);
    float *values = (float *)trial_noise((size_t)tiles.count * 3, 1);
    x->backend->read(x, ranges, to, (size_t)tiles.count * sizeof *ranges);
    for (int32_t i = 0; i < tiles.count; i++)
        memcpy(values + 3 * i, ((float[]){ ranges[i].finite ? ranges[i].lo : 0, ranges[i].finite ? ranges[i].hi : 0, (float)ranges[i].finite }), 12);
    plain = out;
    udump_upload(x, plain, values);
    return plain;
}

static udump_tensor average(udump_exec *x, const trial *t) {
    udump_tensor out;
    udump_tiles tiles = tiles_of(x, t);
    float *to = room(x, &out, 1, 1, t->h, t->w);
    if (to) x->backend->tile_average(x, &tiles, (udump_average)t->count, to);
    return out;
}

static const char *const colours[] = { NULL, "white-black", "red-blue", "rgb:v;abs(v)*2-v;0.5+v/3 if v<0.5 else v%0.3",
    "hsl:(2+v)/3;1-v*v;0.3+floor(v*5)/9", /* and of many registers: */ "rgb:(v+1)*((v+2)*((v-3)*((v+4)*((v-5)*((v+6)*((v-7)*((v+8)*((v-9)*((v+v)*(v*v))))))))));v;-v" };
static const char *const transforms[] = { NULL, "auto11", "linear:-0.5,0.75", "sigmoid:3,0.1" };

/* A canvas's bytes, as floats; count: colour + 8 * transform. */
static udump_tensor colour(udump_exec *x, const trial *t) {
    udump_style style;
    static udump_style_program program;
    udump_grid grid;
    udump_tensor out = { .n = 0 }, pixels_tensor;
    udump_tiles tiles = tiles_of(x, t);
    udump_style_init(&style);
    style.color = colours[t->count % 8];
    style.transform = transforms[t->count / 8];
    udump_error error;
    udump_average average;
    if (udump_style_compile(&style, &program, &average, &error) || udump_render_plan(&tiles, 0, &program, &grid, &error)) {
        udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "colour", "%s", error.what);
        return out;
    }
    size_t bytes = udump_grid_bytes(&grid);
    float *ranges = room(x, &out, 1, 1, tiles.count, 3), *pixels = room(x, &pixels_tensor, 1, 1, 1, (int32_t)(bytes / 4 + 1));
    room(x, &out, 1, 1, 1, (int32_t)bytes);
    if (x->dry || x->status) return out;
    udump_render_tiles(x, &tiles, &grid, &program, (udump_tile_range *)ranges, (uint8_t *)pixels);
    if (trial_is_timed()) return out;
    uint8_t *read = (uint8_t *)trial_noise(bytes / 4 + 1, 1);
    float *values = (float *)trial_noise(bytes, 1);
    x->backend->read(x, read, pixels, bytes);
    for (size_t i = 0; i < bytes; i++) values[i] = read[i];
    udump_upload(x, out, values);
    return out;
}

static udump_tensor rgb(udump_exec *x, const trial *t) {
    udump_tensor out, pixels_tensor, in = trial_input(x, t, UDUMP_F32, 1, 3, t->h, t->w);
    int32_t count = 3 * t->h * t->w;
    float *ranges = room(x, &out, 1, 1, 3, 3), *pixels = room(x, &pixels_tensor, 1, 1, 1, count / 4 + 1);
    room(x, &out, 1, 1, 1, count);
    if (x->dry || x->status) return out;
    udump_tiles tiles = { udump_tensor_data(x, in), UDUMP_F32, 3, t->h, t->w, (int64_t)t->h * t->w, t->w, 1 };
    udump_render_rgb(x, &tiles, (udump_tile_range *)ranges, (uint8_t *)pixels);
    uint8_t *read = (uint8_t *)trial_noise((size_t)count / 4 + 1, 1);
    float *values = (float *)trial_noise((size_t)count, 1);
    x->backend->read(x, read, pixels, (size_t)count);
    for (int32_t i = 0; i < count; i++) values[i] = read[i];
    udump_upload(x, out, values);
    return out;
}

/* What looking gives is fp32, whatever it looks at; inputs are the same numbers on both sides. */
static const double EXACT = 2e-5, BYTE = 1.0 / 255; /* one byte, of the largest: where a transform or an expression is transcendental */

static void small_attended(udump_dtype d, trial_each_fn each, void *user) {
    static const int32_t shapes[][5] = { { 1, 1, 1, 8, 1 }, { 5, 3, 2, 16, 9 }, { 9, 9, 2, 40, 77 }, { 8, 8, 3, 64, 0 }, { 13, 5, 1, 160, 0 }, { 4, 4, 2, 10, 154 }, { 6, 6, 1, 160, 77 }, { 5, 5, 2, 80, 231 }, { 7, 3, 1, 40, 308 }, { 12, 12, 1, 128, 0 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t *s = shapes[i];
        trial t = { .dtype = d, .n = 1, .h = s[0], .w = s[1], .in = s[2] * s[3], .heads = s[2], .keys = s[4], .gain = 2, .tolerance = EXACT };
        t.name = "attention_maps", t.run = maps, each(user, &t);
        t.name = "attention_rows", t.run = rows, each(user, &t);
        for (t.kind = 0; t.kind < 2; t.kind++) t.name = "attention_summary", t.run = summary, each(user, &t);
        for (t.kind = 0; t.kind < 2 && i < 7; t.kind++) t.name = "attention_covariance", t.run = covariance, each(user, &t);
        t.kind = 0, t.gain = 30, t.name = "attention_maps large", t.run = maps, t.tolerance = 1e-3 /* exponents of up to 1e4, whose last bit is 1e-3 */, each(user, &t);
    }
    static const int32_t many[][5] = { { 1, 17, 512, 8, 77 }, { 3, 7, 513, 8, 100 } }; /* more blocks than a card takes at once */
    for (size_t i = 0; trials_may_be_many(d) && i < sizeof many / sizeof *many; i++) {
        const int32_t *s = many[i];
        each(user, &(trial){ .name = "attention_maps", .run = maps, .dtype = d, .n = 1, .h = s[0], .w = s[1], .in = s[2] * s[3], .heads = s[2], .keys = s[4], .gain = 2, .tolerance = EXACT });
    }
    for (int kind = 0; kind < 2; kind++) /* many tiles that pass, more queries than keys and the other way round */
        for (int32_t keys = 150; keys <= 650; keys += 500)
            each(user, &(trial){ .name = "attention_summary", .run = summary, .dtype = d, .n = 1, .h = 17, .w = 20, .in = 80, .heads = 2, .keys = keys, .kind = kind, .gain = 2, .tolerance = EXACT });
    each(user, &(trial){ .name = "attention_summary of NaN", .run = summary, .dtype = d, .n = 1, .h = 9, .w = 9, .in = 16, .heads = 2, .kind = 1, .strange = NAN, .tolerance = EXACT });
    each(user, &(trial){ .name = "attention_summary far", .run = summary, .dtype = d, .n = 1, .h = 9, .w = 9, .in = 16, .heads = 2, .kind = 1, .gain = 1e4f, .tolerance = EXACT });
    for (int kind = 0; kind < 2; kind++) /* rows that pass in slices */
        each(user, &(trial){ .name = "attention_covariance", .run = covariance, .dtype = d, .n = 1, .h = 23, .w = 23, .in = 16, .heads = 2, .keys = 0, .kind = kind, .gain = 2, .tolerance = EXACT });
    each(user, &(trial){ .name = "attention_maps of NaN", .run = maps, .dtype = d, .n = 1, .h = 4, .w = 4, .in = 16, .heads = 1, .keys = 7, .strange = NAN, .tolerance = EXACT });
}

/* What is left of an eigenvector when the iteration ends, 2e-5 of its eigenvalue, over how far the next eigenvalue is away. */
static const double COMPONENT = 1e-3;

static void small_components(udump_dtype d, trial_each_fn each, void *user) {
    static const int32_t shapes[][4] = { { 1, 1, 1, 8 }, { 2, 1, 1, 8 }, { 3, 1, 2, 16 }, { 5, 3, 1, 24 }, { 4, 4, 2, 16 }, { 9, 9, 2, 80 }, { 25, 23, 1, 40 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t *s = shapes[i];
        each(user, &(trial){ .name = "attention_components", .run = components, .dtype = d, .n = 1, .h = s[0], .w = s[1], .in = s[2] * s[3], .heads = s[2], .gain = 3, .tolerance = COMPONENT });
    }
    each(user, &(trial){ .name = "attention_components flat", .run = components, .dtype = d, .n = 1, .h = 6, .w = 6, .in = 8, .heads = 1, .gain = 1e-30f, .tolerance = COMPONENT });
}

static void small_differences(udump_dtype d, trial_each_fn each, void *user) {
    static const int32_t heats[][4] = { { 5, 9, 8, 16 }, { 1, 1, 3, 3 }, { 8, 8, 8, 8 }, { 7, 3, 16, 20 } };
    for (size_t i = 0; i < sizeof heats / sizeof *heats; i++)
        each(user, &(trial){ .name = "warm", .run = warm, .dtype = d, .h = heats[i][0], .w = heats[i][1], .in = heats[i][2], .out = heats[i][3], .tolerance = EXACT });
    for (int32_t count = 0; count <= 3; count++)
        each(user, &(trial){ .name = "word_map", .run = word_map, .dtype = d, .h = 5, .w = 9, .count = count, .tolerance = EXACT });
    for (int32_t kind = 0; kind <= 6; kind++) {
        trial t = { .name = "subtract", .run = difference, .dtype = d, .n = 1, .h = 37, .w = 50, .in = 40, .kind = kind, .tolerance = 1e-6 };
        each(user, &t);
        t.name = "subtract of NaN", t.strange = NAN, each(user, &t);
    }
}

static void small_tiles(udump_dtype d, trial_each_fn each, void *user) {
    /* the last three: rows in pieces; several rows at once; tiles cut into strips, to be reduced alone */
    static const int32_t shapes[][3] = { { 1, 1, 1 }, { 5, 7, 33 }, { 8, 8, 64 }, { 3, 70, 5 }, { 16, 16, 320 }, { 2, 132, 6 }, { 4, 3, 74 }, { 65, 66, 8 } };
    static const float strange[] = { 0, NAN, INFINITY, -0.0f };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int32_t kind = 0; kind < (i == 4 ? 3 : 4); kind++) { /* the large one in the usual orders alone */
            const int32_t *s = shapes[i];
            trial t = { .dtype = d, .n = 1, .h = s[0], .w = s[1], .in = s[2], .kind = kind, .gain = 2, .strange = strange[i % 4], .tolerance = 1e-7 };
            t.name = "tile_reduce", t.run = reduce, each(user, &t);
            t.name = "tile_join", t.count = 1, each(user, &t);
            t.name = "tile_average", t.run = average;
            for (t.count = 1; t.count <= 3; t.count++) each(user, &t);
            t.name = "tile_colour", t.run = colour;
            for (int32_t j = 0; j < 20 && s[0] < 65; j++) {
                t.count = j % 5 + j / 5 * 8;
                bool transcendental = j / 5 == 3 || j % 5 > 2;
                t.tolerance = transcendental ? BYTE * 1.01 : 1e-7;
                each(user, &t);
            }
            t.count = 5 + 8, t.name = "tile_colour of many registers";
            if (s[0] < 65) each(user, &t);
        }
    each(user, &(trial){ .name = "tile_rgb", .run = rgb, .dtype = d, .h = 9, .w = 14, .tolerance = 1e-7 });
}

static void large(udump_dtype d, trial_each_fn each, void *user) {
    for (int32_t level = 0; level < 3; level++) {
        int32_t side = 64 >> level, c = 320 << level;
        double values = (double)side * side * c;
        for (int32_t j = 0; j < 5; j++)
            each(user, &(trial){ .name = "tile_colour", .run = colour, .dtype = d, .n = 1, .h = side, .w = side, .in = c, .count = j, .bytes = values * (j == 1 ? 3 : 5) /* 16 bits in, a byte or three out */, .tolerance = j > 2 ? BYTE * 1.01 : 1e-7 });
        each(user, &(trial){ .name = "tile_reduce", .run = reduce, .dtype = d, .n = 1, .h = side, .w = side, .in = c, .bytes = values * 2, .tolerance = 1e-7 });
        each(user, &(trial){ .name = "attention_components", .run = components, .dtype = d, .n = 1, .h = side, .w = side, .in = 320, .heads = 8, .gain = 3, .tolerance = COMPONENT });
        each(user, &(trial){ .name = "attention_maps", .run = maps, .dtype = d, .n = 1, .h = side, .w = side, .in = c, .heads = 8, .keys = 77, .tolerance = EXACT,
                       .operations = (double)side * side * 77 * c * 2 });
        each(user, &(trial){ .name = "attention_summary", .run = summary, .dtype = d, .n = 1, .h = side, .w = side, .in = c, .heads = 8, .tolerance = EXACT,
                       .operations = (double)side * side * side * side * c * 4 });
    }
}

void trials_of_looking(bool are_large, udump_dtype dtype, trial_each_fn each, void *user) {
    if (are_large) {
        large(dtype, each, user);
        return;
    }
    small_attended(dtype, each, user);
    small_components(dtype, each, user);
    small_differences(dtype, each, user);
    small_tiles(dtype, each, user);
}
