/* Trials of the network's and the samplers' operations. */
#include <math.h>

#include "harness.h"

static udump_packed *make_conv(udump_exec *x, const trial *t, udump_error *error) {
    size_t patch = (size_t)(t->in * t->kernel * t->kernel);
    udump_conv_shape shape = { t->in, t->out, t->kernel, t->stride, t->pad_begin, t->pad_end, t->n, t->h, t->w };
    const float *weight = trial_noise(patch * (size_t)t->out, patch), *bias = t->biased ? trial_noise((size_t)t->out, 1) : NULL;
    return x->backend->pack_conv(x->device, &shape, weight, bias, error);
}

static udump_tensor conv2d(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->kind ? UDUMP_F32 : t->dtype, t->n, t->h, t->w, t->in);
    udump_conv conv = { { t->in, t->out, t->kernel, t->stride, t->pad_begin, t->pad_end, t->n, t->h, t->w }, trial_packed(x, t, make_conv) };
    int32_t h = (t->h + t->pad_begin + t->pad_end - t->kernel) / t->stride + 1, w = (t->w + t->pad_begin + t->pad_end - t->kernel) / t->stride + 1;
    if (!t->residual) return udump_conv2d(x, in, &conv);
    udump_tensor residual = trial_input(x, t, t->dtype, t->n, h, w, t->out), out = udump_tensor_new(x, t->dtype, t->n, h, w, t->out);
    udump_into_conv2d(x, out, in, &conv, &residual);
    return out;
}

static udump_packed *make_linear(udump_exec *x, const trial *t, udump_error *error) {
    int32_t half = t->out / 2;
    udump_linear_part parts[2] = { { trial_noise((size_t)t->in * (size_t)half, (size_t)t->in), t->biased ? trial_noise((size_t)half, 1) : NULL, half },
        { trial_noise((size_t)t->in * (size_t)(t->out - half), (size_t)t->in), NULL, t->out - half } };
    return x->backend->pack_linear(x->device, t->in, t->n * t->h * t->w, 2, parts, error);
}

static udump_tensor linear(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in);
    udump_linear layer = { t->in, t->out, trial_packed(x, t, make_linear) };
    if (!t->residual) return udump_apply_linear(x, in, &layer, (udump_activation)t->kind);
    udump_tensor out = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->out);
    udump_into_linear(x, out, in, &layer, &out);
    return out;
}

static udump_packed *make_geglu(udump_exec *x, const trial *t, udump_error *error) {
    size_t count = (size_t)t->in * (size_t)t->out;
    udump_linear_part parts[2] = { { trial_noise(count, (size_t)t->in), trial_noise((size_t)t->out, 1), t->out },
        { trial_noise(count, (size_t)t->in), trial_noise((size_t)t->out, 1), t->out } };
    return x->backend->pack_geglu(x->device, t->in, t->n * t->h * t->w, parts, error);
}

static udump_tensor geglu(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in);
    return udump_linear_geglu(x, in, &(udump_linear){ t->in, t->out, trial_packed(x, t, make_geglu) });
}

static udump_packed *make_norm(udump_exec *x, const trial *t, udump_error *error) {
    return x->backend->pack_vectors(x->device, 2, t->in, trial_noise(2 * (size_t)t->in, 1), error);
}

static udump_tensor group_norm(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in), row = { .n = 0 };
    if (t->row) row = trial_input(x, t, t->dtype, t->kind ? t->n : 1, 1, 1, t->in);
    udump_norm norm = { t->in, t->groups, 1e-5f, trial_packed(x, t, make_norm) };
    return udump_group_norm(x, in, &norm, t->silu, t->row ? &row : NULL);
}

static udump_tensor layer_norm(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in);
    return udump_layer_norm(x, in, &(udump_norm){ t->in, 0, 1e-5f, trial_packed(x, t, make_norm) });
}

static udump_packed *make_square(udump_exec *x, const trial *t, udump_error *error) {
    const udump_linear_part part = { trial_noise((size_t)t->in * (size_t)t->in, (size_t)t->in), NULL, t->in };
    return x->backend->pack_linear(x->device, t->in, t->n * t->h * t->w, 1, &part, error);
}

/* Some attention is products, whose library comes with the first weights. */
static udump_tensor attention(udump_exec *x, const trial *t) {
    trial_packed(x, t, make_square);
    return udump_attention(x, trial_input(x, t, t->dtype, t->n, t->h, t->w, 3 * t->in), t->heads, t->causal);
}

/* Rows attend to stretches of unequal lengths. */
static udump_tensor attention_cross(udump_exec *x, const trial *t) {
    int32_t spans[2][128]; /* first, count */
    udump_tensor q = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in), kv = trial_input(x, t, t->dtype, 1, t->keys, 1, 2 * t->in),
                 table = udump_tensor_new(x, UDUMP_F32, 2, 1, 1, 128);
    for (int32_t row = 0; row < t->n; row++) {
        spans[0][row] = row * 5 % (t->keys / 2 + 1);
        spans[1][row] = row % 3 == 1 ? 1 : t->keys - spans[0][row];
    }
    const int32_t *first = x->dry ? NULL : udump_tensor_data(x, table);
    if (first) x->backend->write(x, udump_tensor_data(x, table), spans, sizeof spans);
    return udump_attention_cross(x, q, &(udump_kv){ kv, first, first ? first + 128 : NULL }, t->heads);
}

static udump_tensor upsample(udump_exec *x, const trial *t) {
    return udump_upsample_nearest(x, trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in), 2 * t->h - t->kind, 2 * t->w - t->kind);
}

static udump_tensor concat(udump_exec *x, const trial *t) {
    udump_tensor a = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in);
    return udump_concat_channels(x, a, trial_input(x, t, t->dtype, t->n, t->h, t->w, t->out));
}

static udump_tensor activation(udump_exec *x, const trial *t) {
    return udump_activate(x, trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in), (udump_activation)t->kind);
}

static udump_tensor convert(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, t->dtype, t->n, t->h, t->w, t->in), out = udump_tensor_new(x, (udump_dtype)t->kind, t->n, t->h, t->w, t->in);
    udump_into_convert(x, out, in);
    return out;
}

static udump_tensor combine(udump_exec *x, const trial *t) {
    udump_tensor in[6];
    float coefficients[6];
    for (int32_t i = 0; i < t->count; i++) {
        in[i] = trial_input(x, t, UDUMP_F32, t->n, t->h, t->w, t->in);
        coefficients[i] = 0.3f * (float)i - 1;
    }
    udump_into_linear_combination(x, in[0], t->count, in, coefficients);
    return in[0];
}

static udump_tensor cfg(udump_exec *x, const trial *t) {
    udump_tensor both = trial_input(x, t, t->dtype, 2 * t->n, t->h, t->w, t->in), out = udump_tensor_new(x, UDUMP_F32, t->n, t->h, t->w, t->in);
    udump_into_cfg_combine(x, out, both, 7.5f);
    return out;
}

/* Three tensors' rows at once, one of them of bytes that are no multiple of 4. */
static udump_tensor gather(udump_exec *x, const trial *t) {
    static const int32_t widths[] = { 8, 3, 40 };
    udump_tensor in[3], out[3], all = udump_tensor_new(x, t->dtype, t->n, 1, 1, 51);
    int32_t rows[70];
    const int32_t *const which[] = { rows, rows + 1, rows };
    for (int32_t i = 0, at = 0; i < 3; at += t->n * widths[i++]) {
        in[i] = trial_input(x, t, t->dtype, 5, 1, 1, widths[i]);
        out[i] = (udump_tensor){ all.offset_bytes + (size_t)at * udump_dtype_bytes(t->dtype), t->n, 1, 1, widths[i], t->dtype };
    }
    for (int32_t i = 0; i < 70; i++) rows[i] = i * 7 % 4;
    udump_gather_rows(x, 3, out, in, 1, which);
    return all;
}

static udump_packed *make_tokens(udump_exec *x, const trial *t, udump_error *error) {
    return x->backend->pack_vectors(x->device, 100, t->in, trial_noise(100 * (size_t)t->in, 1), error);
}

static udump_tensor embed(udump_exec *x, const trial *t) {
    int32_t ids[64];
    const udump_packed *table = trial_packed(x, t, make_tokens); /* positions are the table's first rows */
    for (int32_t i = 0; i < t->n * t->h; i++) ids[i] = i * 37 % 100;
    return udump_embed_tokens(x, t->n, t->h, t->in, table, table, ids);
}

static udump_tensor times(udump_exec *x, const trial *t) {
    float timesteps[5] = { 0, 1, 17.25f, 500, 999 };
    return udump_timestep_embedding(x, 5, t->in, timesteps);
}

/* fp32 sines of angles up to 999: CUDA's and libm's differ by some roundings, of the angle too. */
static const double SINE_TOLERANCE = 2e-4;

static void small_products(udump_dtype d, trial_each_fn each, void *user) {
    static const int32_t shapes[][8] = { /* n, h, w, in, out, kernel, stride, residual */
        { 2, 5, 7, 8, 16, 3, 1, 0 }, { 1, 8, 8, 16, 8, 3, 2, 1 }, { 3, 4, 3, 4, 24, 3, 1, 0 }, { 1, 6, 5, 16, 3, 3, 1, 0 }, { 2, 3, 3, 24, 40, 1, 1, 1 },
        { 1, 9, 4, 8, 8, 1, 2, 0 }, { 1, 3, 3, 300, 8, 3, 1, 0 }, { 1, 1, 1, 8, 8, 3, 1, 1 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t *s = shapes[i];
        trial t = { .name = "conv2d", .run = conv2d, .dtype = d, .n = s[0], .h = s[1], .w = s[2], .in = s[3], .out = s[4], .kernel = s[5], .stride = s[6],
            .pad_begin = s[5] / 2, .pad_end = s[5] / 2, .residual = s[7], .biased = i % 2 == 0, .kind = i == 2 };
        each(user, &t);
    }
    /* the models' own first and last: whole blocks and parts of them, more channels than are loaded at once, values that fill no step of 16 */
    static const int32_t ends[][5] = { /* n, h, w, in, out */
        { 2, 8, 8, 320, 4 }, { 1, 9, 17, 128, 3 }, { 1, 3, 5, 32, 4 }, { 1, 11, 8, 416, 4 }, { 2, 8, 9, 4, 320 }, { 1, 5, 13, 9, 320 }, { 1, 7, 7, 3, 128 }, { 1, 5, 3, 4, 512 },
        { 1, 9, 9, 5, 40 } };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const int32_t *s = ends[i];
        each(user, &(trial){ .name = "conv2d end", .run = conv2d, .dtype = d, .n = s[0], .h = s[1], .w = s[2], .in = s[3], .out = s[4], .kernel = 3, .stride = 1, .pad_begin = 1,
                       .pad_end = 1, .residual = i % 2 == 1, .biased = i % 3 != 1 });
    }
    each(user, &(trial){ .name = "conv2d end, unpadded", .run = conv2d, .dtype = d, .n = 1, .h = 12, .w = 11, .in = 64, .out = 4, .kernel = 3, .stride = 1, .biased = true });
    each(user, &(trial){ .name = "conv2d end, far apart", .run = conv2d, .dtype = d, .n = 1, .h = 12, .w = 11, .in = 4, .out = 64, .kernel = 5, .stride = 2, .pad_begin = 2, .pad_end = 1 });
    each(user, &(trial){ .name = "conv2d uneven", .run = conv2d, .dtype = d, .n = 1, .h = 6, .w = 6, .in = 8, .out = 8, .kernel = 3, .stride = 2, .pad_end = 1 });
    for (int32_t kind = 0; kind < 4; kind++)
        each(user, &(trial){ .name = "linear", .run = linear, .dtype = d, .n = 2, .h = 3, .w = 5, .in = 24, .out = 17, .biased = kind % 2, .kind = kind, .gain = 3 });
    each(user, &(trial){ .name = "linear residual", .run = linear, .dtype = d, .n = 1, .h = 77, .w = 1, .in = 40, .out = 40, .biased = true, .residual = true });
    each(user, &(trial){ .name = "linear_geglu", .run = geglu, .dtype = d, .n = 2, .h = 3, .w = 3, .in = 16, .out = 24 });
}

static void small_norms(udump_dtype d, trial_each_fn each, void *user) {
    /* held by a block, in few registers and in many, by two channels and by four; cut up, within groups and through them, in whole vectors and in single
     * channels, in strips that a thread takes at once; longer ones come below */
    static const int32_t shapes[][5] = { { 1, 1, 1, 8, 4 }, { 2, 7, 5, 32, 8 }, { 1, 33, 31, 40, 4 }, { 3, 2, 2, 64, 32 },
        { 1, 8, 8, 12, 1 }, { 1, 47, 45, 20, 2 }, { 1, 24, 25, 80, 2 }, { 2, 65, 64, 16, 1 }, { 1, 67, 66, 120, 4 }, { 2, 3, 7, 2064, 3 },
        { 1, 5, 2, 303, 3 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t *s = shapes[i];
        for (int32_t kind = 0; kind < 4; kind++)
            each(user, &(trial){ .name = "group_norm", .run = group_norm, .dtype = d, .n = s[0], .h = s[1], .w = s[2], .in = s[3], .groups = s[4],
                           .silu = kind % 2, .row = kind > 0, .kind = kind / 2, .gain = 2 });
        each(user, &(trial){ .name = "layer_norm", .run = layer_norm, .dtype = d, .n = s[0], .h = s[1], .w = s[2], .in = s[3] });
    }
    each(user,
        &(trial){ .name = "group_norm of many pixels", .run = group_norm, .dtype = d, .n = 6, .h = 110, .w = 100, .in = 17, .groups = 1 });
    static const int32_t wide[] = { 256, 320, 640, 768, 1280, 1281, 3104 };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        each(user, &(trial){ .name = "layer_norm wide", .run = layer_norm, .dtype = d, .n = 1, .h = 17, .w = 1, .in = wide[i] });
    /* A mean 1000 times the deviation: fp32 sums lose what is not taken off first. 16-bit inputs hold nothing of such a deviation. */
    if (d == UDUMP_F32) {
        for (int32_t c = 12; c <= 16; c += 4) /* groups cut up, as their rows are no whole pieces, and groups by one block */
            each(user, &(trial){ .name = "group_norm far from 0", .run = group_norm, .dtype = d, .n = 1, .h = 40, .w = 40, .in = c, .groups = 4, .offset = 1000, .tolerance = 2e-4 });
        each(user, &(trial){ .name = "layer_norm far from 0", .run = layer_norm, .dtype = d, .n = 1, .h = 3, .w = 1, .in = 320, .offset = 1000, .tolerance = 2e-4 });
    }
    each(user, &(trial){ .name = "group_norm of NaN", .run = group_norm, .dtype = d, .n = 2, .h = 4, .w = 4, .in = 16, .groups = 4, .strange = NAN });
    each(user, &(trial){ .name = "group_norm of infinity", .run = group_norm, .dtype = d, .n = 2, .h = 9, .w = 40, .in = 16, .groups = 4, .silu = true, .strange = INFINITY });
    each(user, &(trial){ .name = "group_norm of infinity", .run = group_norm, .dtype = d, .n = 2, .h = 9, .w = 40, .in = 24, .groups = 8, .silu = true, .strange = INFINITY });
    each(user, &(trial){ .name = "group_norm of large", .run = group_norm, .dtype = d, .n = 1, .h = 70, .w = 9, .in = 24, .groups = 3, .row = true, .gain = 3e4f });
    each(user, &(trial){ .name = "group_norm of a constant", .run = group_norm, .dtype = d, .n = 1, .h = 9, .w = 9, .in = 24, .groups = 3, .gain = 1e-30f, .offset = 3 });
    each(user, &(trial){ .name = "layer_norm of NaN", .run = layer_norm, .dtype = d, .n = 1, .h = 3, .w = 1, .in = 64, .strange = NAN });
}

static void small_attention(udump_dtype d, trial_each_fn each, void *user) {
    static const int32_t shapes[][4] = { { 1, 1, 1, 8 }, { 2, 3, 2, 16 }, { 1, 70, 2, 40 }, { 2, 65, 1, 64 }, { 1, 40, 2, 80 }, { 1, 33, 1, 160 }, { 1, 20, 1, 24 },
        { 1, 20, 1, 10 }, { 1, 17, 1, 512 }, { 1, 130, 1, 32 }, { 1, 250, 1, 160 }, { 1, 200, 1, 80 }, { 2, 161, 2, 48 }, { 1, 77, 2, 64 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t *s = shapes[i];
        trial t = { .name = "attention", .run = attention, .dtype = d, .n = s[0], .h = s[1], .w = 1, .in = s[2] * s[3], .heads = s[2], .gain = 2 };
        each(user, &t);
        t.causal = true;
        t.name = "attention causal";
        each(user, &t);
    }
    for (int32_t keys = 1; keys <= 154; keys = keys * 2 + 13)
        each(user, &(trial){ .name = "attention_cross", .run = attention_cross, .dtype = d, .n = 4, .h = 9, .w = 3, .in = 80, .heads = 2, .keys = keys, .gain = 2 });
    /* heads of up to 160 channels, whose keys two or four warps share or none; of fewer, two tiles of queries by blocks that keep the keys, or cannot */
    for (int32_t keys = 13; keys <= 154; keys = keys * 2 + 51)
        each(user, &(trial){ .name = "attention_cross of wide heads", .run = attention_cross, .dtype = d, .n = 2, .h = 35, .w = 2, .in = 320, .heads = 2, .keys = keys, .gain = 2 });
    for (int32_t n = 8; n <= 16 && trials_may_be_many(d); n += 8)
        each(user, &(trial){ .name = "attention_cross of many wide heads", .run = attention_cross, .dtype = d, .n = n, .h = n == 8 ? 65 : 17, .w = 1, .in = 704, .heads = 8, .keys = 40, .gain = 2 });
    if (trials_may_be_many(d))
        each(user, &(trial){ .name = "attention_cross of many queries", .run = attention_cross, .dtype = d, .n = 32, .h = 129, .w = 1, .in = 64, .heads = 8, .keys = 100, .gain = 2 });
    each(user, &(trial){ .name = "attention_cross rows", .run = attention_cross, .dtype = d, .n = 70, .h = 2, .w = 1, .in = 16, .heads = 1, .keys = 20 });
    each(user, &(trial){ .name = "attention fused", .run = attention, .dtype = d, .n = 2, .h = 32, .w = 33, .in = 16, .heads = 2, .gain = 2 }); /* long enough for the vendor's */
    /* products: heads and rows of a batch, an odd number of tokens; more queries than are made at once; in fp32 any head's */
    each(user, &(trial){ .name = "attention wide", .run = attention, .dtype = d, .n = 2, .h = 7, .w = 37, .in = 336, .heads = 2, .gain = 2 });
    each(user, &(trial){ .name = "attention wide", .run = attention, .dtype = d, .n = 1, .h = 2, .w = 515, .in = d == UDUMP_F32 ? 12 : 168, .heads = 1, .gain = 4 });
    each(user, &(trial){ .name = "attention wide of NaN", .run = attention, .dtype = d, .n = 1, .h = 4, .w = 65, .in = 168, .heads = 1, .strange = NAN });
    each(user, &(trial){ .name = "attention large", .run = attention, .dtype = d, .n = 1, .h = 40, .w = 1, .in = 40, .heads = 1, .gain = 30 });
    each(user, &(trial){ .name = "attention of NaN", .run = attention, .dtype = d, .n = 1, .h = 70, .w = 1, .in = 160, .heads = 1, .strange = NAN });
    each(user, &(trial){ .name = "attention of NaN", .run = attention, .dtype = d, .n = 2, .h = 20, .w = 1, .in = 40, .heads = 1, .strange = NAN });
}

static void small_others(udump_dtype d, trial_each_fn each, void *user) {
    for (int32_t kind = 0; kind < 2; kind++) { /* words of 16 bytes, more than there are lanes; of 2 */
        each(user, &(trial){ .name = "upsample_nearest wide", .run = upsample, .dtype = d, .n = 1, .h = 3, .w = 2, .in = 296 + kind, .kind = kind });
        each(user, &(trial){ .name = "concat_channels wide", .run = concat, .dtype = d, .n = 1, .h = 3, .w = 3, .in = 296 + kind, .out = 320 });
        each(user, &(trial){ .name = "upsample_nearest", .run = upsample, .dtype = d, .n = 2, .h = 3, .w = 5, .in = kind ? 3 : 16, .kind = kind });
        each(user, &(trial){ .name = "concat_channels", .run = concat, .dtype = d, .n = 2, .h = 3, .w = 5, .in = kind ? 3 : 16, .out = kind ? 6 : 32 });
    }
    for (int32_t kind = 0; kind < 4; kind++)
        each(user, &(trial){ .name = "activation", .run = activation, .dtype = d, .n = 1, .h = 9, .w = 31, .in = 5, .kind = kind, .gain = 12, .strange = NAN });
    for (int32_t kind = 0; kind < 3; kind++)
        each(user, &(trial){ .name = "convert", .run = convert, .dtype = d, .n = 1, .h = 9, .w = 31, .in = 5, .kind = kind, .gain = 1e-6f, .strange = 70000, .tolerance = 1e-9 });
    each(user, &(trial){ .name = "cfg_combine", .run = cfg, .dtype = d, .n = 2, .h = 3, .w = 5, .in = 4, .tolerance = 1e-6 });
    each(user, &(trial){ .name = "gather_rows", .run = gather, .dtype = d, .n = 2, .tolerance = 1e-9 });
    each(user, &(trial){ .name = "gather_rows", .run = gather, .dtype = d, .n = 60, .tolerance = 1e-9 }); /* in more than one launch */
    each(user, &(trial){ .name = "embed_tokens", .run = embed, .dtype = d, .n = 3, .h = 7, .in = 24 });
    each(user, &(trial){ .name = "timestep_embedding", .run = times, .dtype = d, .in = 32, .tolerance = d == UDUMP_F32 ? SINE_TOLERANCE : 0 });
    for (int32_t count = 1; count <= 6 && d == UDUMP_F32; count++) /* to the bit: all devices step alike */
        each(user, &(trial){ .name = "linear_combination", .run = combine, .dtype = d, .n = 2, .h = 7, .w = 5, .in = 4, .count = count, .tolerance = 1e-7 });
}

/* What the card's memory gives: bytes that are read and written once. */
static udump_tensor copy(udump_exec *x, const trial *t) {
    udump_tensor in = trial_input(x, t, UDUMP_F32, t->n, t->h, t->w, t->in), out = udump_tensor_new(x, UDUMP_F32, t->n, t->h, t->w, t->in);
    if (!x->dry && !x->status) x->backend->copy(x, udump_tensor_data(x, out), udump_tensor_data(x, in), udump_tensor_bytes(in));
    return out;
}

/* Where a U-Net's time goes. level: side and channels; heads as in the family. */
static void large_level(udump_dtype d, int32_t side, int32_t c, int32_t d_head, int32_t context, trial_each_fn each, void *user) {
    double pixels = 2.0 * side * side, tokens = side * side;
    each(user, &(trial){ .name = "conv2d", .run = conv2d, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .out = c, .kernel = 3, .stride = 1, .pad_begin = 1,
                   .pad_end = 1, .biased = true, .residual = true, .operations = pixels * c * c * 18 });
    each(user, &(trial){ .name = "linear", .run = linear, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .out = 3 * c, .operations = pixels * c * c * 6 });
    each(user, &(trial){ .name = "linear_geglu", .run = geglu, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .out = 4 * c, .operations = pixels * c * c * 16 });
    each(user, &(trial){ .name = "group_norm", .run = group_norm, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .groups = 32, .silu = true, .row = true, .bytes = pixels * c * 6 /* read twice */ });
    each(user, &(trial){ .name = "layer_norm", .run = layer_norm, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .bytes = pixels * c * 4 });
    each(user, &(trial){ .name = "attention", .run = attention, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .heads = c / d_head, .operations = 2 * tokens * tokens * c * 4 });
    each(user, &(trial){ .name = "attention_cross", .run = attention_cross, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .heads = c / d_head, .keys = context, .operations = 2 * tokens * context * c * 4 });
    each(user, &(trial){ .name = "concat_channels", .run = concat, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .out = c, .bytes = pixels * c * 8 });
    each(user, &(trial){ .name = "upsample_nearest", .run = upsample, .dtype = d, .n = 2, .h = side / 2, .w = side / 2, .in = c, .bytes = pixels * c * 2.5 });
    each(user, &(trial){ .name = "activation", .run = activation, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .kind = UDUMP_ACTIVATION_SILU, .bytes = pixels * c * 4 });
    each(user, &(trial){ .name = "convert", .run = convert, .dtype = d, .n = 2, .h = side, .w = side, .in = c, .kind = UDUMP_F32, .bytes = pixels * c * 6 });
}

static void large(udump_dtype d, trial_each_fn each, void *user) {
    each(user, &(trial){ .name = "copy", .run = copy, .dtype = d, .n = 1, .h = 4096, .w = 256, .in = 32, .bytes = 4096.0 * 256 * 32 * 8 });
    for (int32_t level = 0; level < 3; level++) large_level(d, 64 >> level, 320 << level, 40 << level, 77, each, user); /* SD 1.5 at 512 */
    for (int32_t level = 0; level < 3; level++) large_level(d, 96 >> level, 320 << level, 64, 77, each, user);          /* SD 2.1 at 768 */
    for (int32_t level = 1; level < 3; level++) large_level(d, 128 >> level, 320 << level, 64, 77, each, user);         /* SDXL at 1024 */
    each(user, &(trial){ .name = "conv2d in", .run = conv2d, .dtype = d, .n = 2, .h = 64, .w = 64, .in = 4, .out = 320, .kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1, .biased = true });
    each(user, &(trial){ .name = "conv2d out", .run = conv2d, .dtype = d, .n = 2, .h = 64, .w = 64, .in = 320, .out = 4, .kernel = 3, .stride = 1, .pad_begin = 1, .pad_end = 1, .biased = true });
    for (int32_t side = 64; side <= 128; side += 32) /* the autoencoder's, of one head */
        each(user, &(trial){ .name = "attention, autoencoder", .run = attention, .dtype = d, .n = 1, .h = side, .w = side, .in = 512, .heads = 1, .operations = 4.0 * side * side * side * side * 512 });
    each(user, &(trial){ .name = "conv2d half", .run = conv2d, .dtype = d, .n = 2, .h = 64, .w = 64, .in = 320, .out = 320, .kernel = 3, .stride = 2, .pad_begin = 1, .pad_end = 1, .biased = true });
}

void trials_of_network(bool are_large, udump_dtype dtype, trial_each_fn each, void *user) {
    if (are_large) {
        large(dtype, each, user);
        return;
    }
    small_products(dtype, each, user);
    small_norms(dtype, each, user);
    small_attention(dtype, each, user);
    small_others(dtype, each, user);
}
