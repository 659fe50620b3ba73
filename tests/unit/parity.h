/* Golden tensors (tests/parity/goldens: what diffusers computed in fp32 on the demo model, see tests/parity/make_goldens.py), and how
 * near to them ours must be. Included after cmocka.h. */
#ifndef UDUMP_TEST_PARITY_H
#define UDUMP_TEST_PARITY_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unetdump.h"
#include "tensor/view.h"
#include "weights/safetensors.h"

/* The project's promise for fp32: largest error over the tensor's largest magnitude. What is seen is about 5e-6, from sums in another order. */
#define PARITY_FP32 1e-4

/* The run that the goldens HxW and attention-HxW are of; the steps depend on the size. */
#define PARITY_PROMPT "a red circle on a blue background"
#define PARITY_NEGATIVE "blurry"

/* A golden file, held open. */
typedef struct goldens {
    udump_weight_file file;
    udump_safetensors header;
} goldens;

/* A tensor of one, in memory. */
typedef struct golden {
    float *values; /* NULL: the file has none of that name */
    size_t count;
    int32_t rank;
    int64_t shape[6];
} golden;

static inline goldens open_goldens(const char *name) {
    goldens g;
    char path[1024];
    udump_error error;
    snprintf(path, sizeof path, "%s/tests/parity/goldens/%s.safetensors", TEST_ROOT, name);
    if (udump_weight_file_open(path, &g.file, &error) || udump_safetensors_read(&g.file, &g.header, &error))
        fail_msg("%s: %s", error.where, error.what);
    return g;
}

static inline void close_goldens(goldens *g) {
    udump_safetensors_free(&g->header);
    udump_weight_file_close(&g->file);
}

/* fp32; its values are to be freed. */
static inline golden read_golden(const goldens *g, const char *name) {
    golden found = { NULL, 0, 0, { 0 } };
    const udump_safetensors_entry *entry = NULL;
    for (int64_t i = 0; i < g->header.count && !entry; i++)
        if (strcmp(g->header.entries[i].name, name) == 0) entry = &g->header.entries[i];
    if (!entry) return found;
    assert_int_equal(entry->dtype, UDUMP_F32);
    found.values = malloc(entry->size_bytes);
    assert_non_null(found.values);
    assert_int_equal(udump_weight_file_read(&g->file, entry->offset_bytes, found.values, entry->size_bytes, name, NULL), UDUMP_OK);
    found.count = entry->size_bytes / sizeof *found.values;
    found.rank = entry->rank;
    memcpy(found.shape, entry->shape, sizeof found.shape);
    return found;
}

/* The same; missing is a failure. */
static inline golden need_golden(const goldens *g, const char *name) {
    golden found = read_golden(g, name);
    if (!found.values) fail_msg("no golden tensor is called %s", name);
    return found;
}

/* A view's values in C order, to be freed. */
static inline float *values_of(const udump_view *view) {
    float *values = malloc((size_t)udump_view_count(view) * sizeof *values);
    assert_non_null(values);
    udump_view_read_f32(view, values);
    return values;
}

static inline void assert_shape(const char *name, const udump_view *view, int32_t rank, const int64_t *shape) {
    char found[128], expected[128];
    udump_shape_format(found, sizeof found, view->rank, view->shape);
    udump_shape_format(expected, sizeof expected, rank, shape);
    if (strcmp(found, expected) != 0) fail_msg("%s: shape %s, expected %s", name, found, expected);
}

static inline double largest_magnitude(const float *values, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs((double)values[i]));
    return most;
}

static inline double largest_error(const float *found, const float *expected, size_t count) {
    double error = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(found[i])) return INFINITY;
        error = fmax(error, fabs((double)found[i] - (double)expected[i]));
    }
    return error;
}

static inline double relative_error(const float *found, const float *expected, size_t count) {
    double error = largest_error(found, expected, count);
    return error == 0 ? 0 : error / largest_magnitude(expected, count);
}

/* [c, h, w] to [h, w, c] */
static inline void to_channels_last(float *out, const float *in, size_t c, size_t pixels) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < c; k++) out[i * c + k] = in[k * pixels + i];
}

/* The options of the goldens' runs; noise and prompts are still to be set. */
static inline udump_generate_options parity_options(int width, int height, int steps) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.width_px = width;
    o.height_px = height;
    o.steps = steps;
    o.sampler = "Euler";
    o.schedule = "Uniform";
    o.cfg = 7;
    o.want_tensors = o.no_canvas = 1;
    return o;
}

static inline udump_model *load_demo(udump_device device, udump_precision precision) {
    udump_model_options options;
    udump_model *model = NULL;
    udump_error error;
    udump_model_options_init(&options);
    options.device = device;
    options.precision = precision;
    if (udump_model_load(TEST_ROOT "/models/demo", &options, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    return model;
}

#endif
