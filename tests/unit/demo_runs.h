/* The demo model, as users have it and on the device that sums every row by itself, and small runs of it. Included after cmocka.h. */
#ifndef UDUMP_TEST_DEMO_RUNS_H
#define UDUMP_TEST_DEMO_RUNS_H

#include "recording.h"

enum { SIDE_PX = 64, STEPS = 2, BLOCKS = 25, ATTENTIONS = 16 /* blocks with attention */ };

static udump_model *fast, *reference;

static inline int demo_load(void **state) {
    (void)state;
    return recording_load(UDUMP_DEVICE_AUTO, UDUMP_PRECISION_AUTO, &fast) ||
           recording_load(UDUMP_DEVICE_REFERENCE, UDUMP_PRECISION_FP32, &reference);
}

static inline int demo_unload(void **state) {
    (void)state;
    udump_model_release(fast);
    udump_model_release(reference);
    return 0;
}

static inline udump_generate_options demo_run(const char *prompt, const char *negative_prompt, const char *diff) {
    udump_generate_options o;
    udump_generate_options_init(&o);
    o.prompt = prompt;
    o.negative_prompt = negative_prompt;
    o.width_px = o.height_px = SIDE_PX;
    o.steps = STEPS;
    o.sampler = "Euler";
    o.seed = 21;
    o.diff = diff;
    o.want_tensors = 1;
    return o;
}

#endif
