/* Small models on the emulated device, and what that device counts. In fp32: emulated matrix units are slow. Include after cmocka.h. */
#ifndef UDUMP_EMULATED_H
#define UDUMP_EMULATED_H

#include <dlfcn.h>

#include "cuda_runtime_api.h"
#include "folders.h"
#include "recipe.h"
#include "recording.h"

/* A checkpoint below the test's folder. */
static inline const char *emulated_checkpoint(const char *name) {
    char path[512];
    if (exists(below(name))) return below(name);
    snprintf(path, sizeof path, "%s/tests/parity/models/%s.txt", TEST_ROOT, name);
    assert_int_equal(mkdir(below(name), 0777), 0);
    assert_true(recipe_make(path, below(name)));
    return below(name);
}

static inline udump_model_options emulated_options(void) {
    udump_model_options options;
    udump_model_options_init(&options);
    options.device = UDUMP_DEVICE_CUDA;
    options.precision = UDUMP_PRECISION_FP32;
    options.cuda_module = EMULATED_MODULE;
    options.prediction = UDUMP_PREDICTION_EPSILON;
    return options;
}

static inline udump_model *emulated_load(const char *name, const udump_model_options *options) {
    udump_model *model = NULL;
    udump_error error;
    if (udump_model_load(emulated_checkpoint(name), options, &model, &error)) fail_msg("%s: %s", error.where, error.what);
    return model;
}

/* After a model was loaded. */
static inline const udump_emulated_counts *emulated_counts(void) {
    void *module = dlopen(EMULATED_MODULE, RTLD_NOW | RTLD_NOLOAD);
    const udump_emulated_counts *(*get)(void) = NULL;
    if (module) *(void **)&get = dlsym(module, "udump_emulation_counts");
    assert_non_null(get);
    return get();
}

static inline udump_generate_options emulated_run(int32_t steps) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = "a red circle";
    o.negative_prompt = "green";
    o.width_px = o.height_px = 16;
    o.steps = steps;
    o.cfg = 3.5f;
    o.seed = 3;
    return o;
}

#endif
