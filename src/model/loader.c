#include "model/loader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"

udump_name udump_name_format(const char *format, ...) {
    udump_name name;
    va_list args;
    va_start(args, format);
    vsnprintf(name.text, sizeof name.text, format, args);
    va_end(args);
    return name;
}

void udump_load_fail(udump_loader *l, udump_status status, const char *where, const char *format, ...) {
    if (l->status) return;
    char what[sizeof l->error.what];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    l->status = udump_fail(&l->error, status, where, "%s", what);
}

static const udump_weight *find(const udump_loader *l, const char *name, const char *kind) {
    return udump_weights_find(l->weights, udump_name_format("%s.%s", name, kind).text);
}

bool udump_load_has(const udump_loader *l, const char *name) { return find(l, name, "weight") != NULL; }

int32_t udump_load_size(udump_loader *l, const char *name, int rank, int axis) {
    const udump_weight *weight = find(l, name, "weight");
    udump_name full = udump_name_format("%s.weight", name), dimensions = udump_name_format("%d dimensions", rank);
    if (l->status) return 0;
    if (!weight) {
        l->status = udump_fail_values(&l->error, UDUMP_ERROR_WEIGHTS, full.text, "tensor is missing", dimensions.text, "");
        return 0;
    }
    bool pointwise = rank == 2 && weight->rank == 4 && weight->shape[2] == 1 && weight->shape[3] == 1;
    if ((weight->rank != rank && !pointwise) || weight->shape[axis] < 1 || weight->shape[axis] > 1 << 20) {
        char found[64];
        udump_shape_format(found, sizeof found, weight->rank, weight->shape);
        l->status = udump_fail_values(&l->error, UDUMP_ERROR_WEIGHTS, full.text, "tensor has the wrong shape", dimensions.text, found);
        return 0;
    }
    return (int32_t)weight->shape[axis];
}

int32_t udump_load_count(udump_loader *l, const char *part, const char *key, int32_t otherwise, int32_t most) {
    double value;
    if (!udump_weights_config_number(l->weights, part, key, 0, &value)) return otherwise;
    if (value >= 1 && value <= most && value == floor(value)) return (int32_t)value;
    udump_load_fail(
        l, UDUMP_ERROR_WEIGHTS, udump_name_format("%s/config.json", part).text, "%s is %g: expected 1 to %d", key, value, (int)most);
    return 1;
}

void udump_load_warn(void *loader, const char *line) {
    udump_loader *l = loader;
    char **grown = realloc(l->warnings, (l->warning_count + 1) * sizeof *grown);
    if (!grown) {
        if (!l->status) l->status = udump_fail_memory(&l->error, "warnings", (l->warning_count + 1) * sizeof *grown);
        return;
    }
    l->warnings = grown;
    if ((grown[l->warning_count] = strdup(line))) l->warning_count++;
    else if (!l->status) l->status = udump_fail_memory(&l->error, "warnings", strlen(line));
}

static void warn_bad(udump_loader *l, const udump_weight *weight, int64_t bad) {
    char line[512];
    snprintf(line, sizeof line, "%s: %lld values are NaN or infinite", weight->file_name, (long long)bad);
    udump_load_warn(l, line);
}

/* Equal shapes, where a 1x1 convolution's [out, in, 1, 1] is as good as a linear layer's [out, in], either way round. */
static bool shapes_match(const udump_weight *weight, int rank, const int64_t *shape) {
    for (int i = 0; i < rank || i < weight->rank; i++)
        if ((i < rank ? shape[i] : 1) != (i < weight->rank ? weight->shape[i] : 1)) return false;
    return true;
}

enum {
    SMALL_BYTES = 1 << 20
};

/* Room for a source; NULL without memory. Goes back by buffer_give. */
static float *buffer_take(udump_loader *l, size_t bytes) {
    struct udump_loader_buffer *best = NULL, *spare = NULL;
    for (struct udump_loader_buffer *b = l->buffers; b < l->buffers + UDUMP_LOADER_BUFFERS; b++) {
        if (b->lent) continue;
        if (b->bytes >= bytes && (!best || b->bytes < best->bytes)) best = b;
        if (!spare || b->bytes < spare->bytes) spare = b;
    }
    if (bytes < SMALL_BYTES || (!best && !spare)) return udump_aligned_alloc(bytes);
    if (!best) {
        udump_aligned_free(spare->values);
        *spare = (struct udump_loader_buffer){ .values = udump_aligned_alloc(bytes) };
        spare->bytes = spare->values ? bytes : 0;
        best = spare;
    }
    best->lent = best->values != NULL;
    return best->values;
}

static void buffer_give(udump_loader *l, float *values) {
    for (struct udump_loader_buffer *b = l->buffers; values && b < l->buffers + UDUMP_LOADER_BUFFERS; b++)
        if (b->values == values) {
            b->lent = false;
            return;
        }
    udump_aligned_free(values);
}

void udump_load_end(udump_loader *l) {
    for (struct udump_loader_buffer *b = l->buffers; b < l->buffers + UDUMP_LOADER_BUFFERS; b++) udump_aligned_free(b->values);
}

/* The tensor "<name>.<kind>", which has that shape; NULL after a failure, or if it is optional and not there. */
static const udump_weight *find_shaped(udump_loader *l, const char *name, const char *kind, int rank, const int64_t *shape, bool optional) {
    const udump_weight *weight = find(l, name, kind);
    if (l->status || (!weight && optional)) return NULL;
    udump_name full = udump_name_format("%s.%s", name, kind);
    char expected[64], found[64] = "";
    udump_shape_format(expected, sizeof expected, rank, shape);
    if (weight) udump_shape_format(found, sizeof found, weight->rank, weight->shape);
    if (weight && shapes_match(weight, rank, shape)) {
        udump_weights_use(l->weights, weight);
        return weight;
    }
    const char *what = weight ? "tensor has the wrong shape" : "tensor is missing";
    l->status = udump_fail_values(&l->error, UDUMP_ERROR_WEIGHTS, full.text, what, expected, found);
    return NULL;
}

/* The same as fp32; to be given back. NULL also where nothing is to be read. */
static float *read_tensor(udump_loader *l, const char *name, const char *kind, int rank, const int64_t *shape, bool optional) {
    const udump_weight *weight = find_shaped(l, name, kind, rank, shape, optional);
    if (!weight || l->dry) return NULL;
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
    float *values = buffer_take(l, count * sizeof *values);
    if (!values) {
        l->status = udump_fail_memory(&l->error, weight->name, count * sizeof *values);
        return NULL;
    }
    int64_t bad = 0;
    l->status = udump_weights_read(l->weights, weight, values, l->threads, &bad, &l->error);
    if (!l->status && bad) warn_bad(l, weight, bad);
    l->parameter_count += (int64_t)count;
    if (!l->status && strcmp(kind, "weight") == 0) l->status = udump_loras_merge(l->loras, name, rank, shape, values, &l->error);
    if (!l->status && strcmp(kind, "bias") == 0) l->status = udump_loras_merge_bias(l->loras, name, (int64_t)count, values, &l->error);
    return values;
}

static bool packs(const udump_loader *l) { return !l->status && !l->dry; }

/* Keeps packed for the model to free. */
static udump_packed *keep(udump_loader *l, const char *name, udump_packed *packed) {
    if (!packed) {
        if (!l->status) {
            l->status = l->error.status ? l->error.status : UDUMP_ERROR_MEMORY;
            if (!l->error.where[0]) snprintf(l->error.where, sizeof l->error.where, "%s", name);
        }
        return NULL;
    }
    if (l->packed_count == l->packed_capacity) {
        size_t capacity = l->packed_capacity ? 2 * l->packed_capacity : 256;
        udump_packed **grown = realloc(l->packed, capacity * sizeof(*grown));
        if (!grown) {
            l->backend->packed_free(packed);
            l->status = udump_fail_memory(&l->error, "weights", capacity * sizeof(*grown));
            return NULL;
        }
        l->packed = grown;
        l->packed_capacity = capacity;
    }
    return l->packed[l->packed_count++] = packed;
}

static udump_conv load_conv(udump_loader *l, const char *name, const udump_conv_shape *shape) {
    udump_conv conv = { .shape = *shape };
    float *weight = read_tensor(l, name, "weight", 4, (int64_t[]){ shape->out, shape->in, 3, 3 }, false);
    float *bias = read_tensor(l, name, "bias", 1, (int64_t[]){ shape->out }, false);
    if (packs(l)) conv.packed = keep(l, name, l->backend->pack_conv(l->device, shape, weight, bias, &l->error));
    buffer_give(l, weight);
    buffer_give(l, bias);
    return conv;
}

udump_conv udump_load_conv(udump_loader *l, const char *name, int32_t in, int32_t out, int32_t stride, int32_t latent_side) {
    if (!in) in = udump_load_size(l, name, 4, 1);
    if (!out) out = udump_load_size(l, name, 4, 0);
    return load_conv(l, name,
        &(udump_conv_shape){ .in = in,
            .out = out,
            .kernel = 3,
            .stride = stride,
            .pad_begin = 1,
            .pad_end = 1,
            .n = 2,
            .h = latent_side,
            .w = latent_side });
}

udump_conv udump_load_conv_halving(udump_loader *l, const char *name, int32_t c, int32_t side) {
    return load_conv(
        l, name, &(udump_conv_shape){ .in = c, .out = c, .kernel = 3, .stride = 2, .pad_end = 1, .n = 1, .h = side, .w = side });
}

udump_linear udump_load_merged(
    udump_loader *l, const char *prefix, const char *const *names, int32_t count, int32_t in, int32_t out, int32_t rows) {
    udump_linear_part parts[3] = { 0 };
    float *weights[3] = { 0 }, *biases[3] = { 0 };
    udump_linear linear = { .in = in, .out = count * out };
    for (int32_t i = 0; i < count && !l->status; i++) {
        udump_name name = udump_name_format("%s%s", prefix, names[i]);
        weights[i] = read_tensor(l, name.text, "weight", 2, (int64_t[]){ out, in }, false);
        biases[i] = read_tensor(l, name.text, "bias", 1, (int64_t[]){ out }, true);
        parts[i] = (udump_linear_part){ weights[i], biases[i], out };
    }
    if (packs(l)) linear.packed = keep(l, prefix, l->backend->pack_linear(l->device, in, rows, count, parts, &l->error));
    for (int32_t i = 0; i < count; i++) {
        buffer_give(l, weights[i]);
        buffer_give(l, biases[i]);
    }
    return linear;
}

udump_linear udump_load_linear(udump_loader *l, const char *name, int32_t in, int32_t out, int32_t rows) {
    if (!in) in = udump_load_size(l, name, 2, 1);
    if (!out) out = udump_load_size(l, name, 2, 0);
    return udump_load_merged(l, name, (const char *const[]){ "" }, 1, in, out, rows);
}

udump_linear udump_load_geglu(udump_loader *l, const char *name, int32_t in, int32_t rows) {
    int32_t both = udump_load_size(l, name, 2, 0), inner = both / 2;
    udump_linear linear = { .in = in, .out = inner };
    float *weight = read_tensor(l, name, "weight", 2, (int64_t[]){ both, in }, false);
    float *bias = read_tensor(l, name, "bias", 1, (int64_t[]){ both }, false);
    if (both % 2) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, name, "an odd number of outputs: %d", (int)both);
    if (packs(l)) {
        udump_linear_part parts[2] = { { weight, bias, inner }, { weight + (size_t)inner * (size_t)in, bias + inner, inner } };
        linear.packed = keep(l, name, l->backend->pack_geglu(l->device, in, rows, parts, &l->error));
    }
    buffer_give(l, weight);
    buffer_give(l, bias);
    return linear;
}

udump_norm udump_load_norm(udump_loader *l, const char *name, int32_t c, int32_t groups, float eps) {
    udump_norm norm = { .c = c, .groups = groups, .eps = eps };
    if (groups && c % groups) udump_load_fail(l, UDUMP_ERROR_WEIGHTS, name, "%d channels in %d groups", (int)c, (int)groups);
    float *scale = read_tensor(l, name, "weight", 1, (int64_t[]){ c }, false);
    float *shift = read_tensor(l, name, "bias", 1, (int64_t[]){ c }, false);
    float *both = packs(l) ? buffer_take(l, 2 * (size_t)c * sizeof *both) : NULL;
    if (both) {
        memcpy(both, scale, (size_t)c * sizeof *both);
        memcpy(both + c, shift, (size_t)c * sizeof *both);
        norm.packed = keep(l, name, l->backend->pack_vectors(l->device, 2, c, both, &l->error));
    } else if (packs(l)) {
        l->status = udump_fail_memory(&l->error, name, 2 * (size_t)c * sizeof *both);
    }
    buffer_give(l, scale);
    buffer_give(l, shift);
    buffer_give(l, both);
    return norm;
}

udump_packed *udump_load_embedding(udump_loader *l, const char *name, int32_t rows, int32_t c) {
    float *values = read_tensor(l, name, "weight", 2, (int64_t[]){ rows, c }, false);
    udump_packed *packed = packs(l) ? keep(l, name, l->backend->pack_vectors(l->device, rows, c, values, &l->error)) : NULL;
    buffer_give(l, values);
    return packed;
}

udump_packed *udump_load_tokens(udump_loader *l, const char *name, int32_t rows, int32_t c) {
    int encoder = strncmp(name, "text_encoder_2/", strlen("text_encoder_2/")) == 0;
    size_t own = (size_t)rows * (size_t)c, extra = (size_t)l->embeddings->vectors * (size_t)c;
    float *values = read_tensor(l, name, "weight", 2, (int64_t[]){ rows, c }, false);
    float *both = packs(l) ? buffer_take(l, (own + extra) * sizeof *both) : NULL;
    if (!both && packs(l)) l->status = udump_fail_memory(&l->error, name, (own + extra) * sizeof *both);
    if (both) {
        memcpy(both, values, own * sizeof *both);
        if (extra) memcpy(both + own, l->embeddings->rows[encoder], extra * sizeof *both);
    }
    buffer_give(l, values);
    udump_packed *packed = packs(l) ? keep(l, name, l->backend->pack_vectors(l->device, rows + l->embeddings->vectors, c, both, &l->error))
                                    : NULL;
    buffer_give(l, both);
    return packed;
}
