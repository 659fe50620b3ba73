/* Checks and times a backend's operations against the plain C ones: the same inputs, rounded to the same type, through both. */
#ifndef UDUMP_DEVICE_HARNESS_H
#define UDUMP_DEVICE_HARNESS_H

#include "backend/ops.h"

typedef struct trial trial;

/* Makes inputs and weights with the functions below, runs the operation, returns its result. Called for both backends, in a dry pass and then in a
 * real one. */
typedef udump_tensor (*trial_fn)(udump_exec *x, const trial *t);

struct trial {
    const char *name;
    trial_fn run;
    udump_dtype dtype;
    int32_t n, h, w, in, out;        /* of the input; channels in and out */
    int32_t kernel, stride, pad_begin, pad_end;
    int32_t heads, groups, keys, count, kind;
    bool residual, biased, silu, causal, row;
    float gain, offset;              /* of inputs: noise in [-1, 1) * gain + offset; gain 0 means 1 */
    float strange;                   /* if not 0: a few of the first input's values */
    double tolerance;                /* of the largest result; 0: the dtype's */
    double bytes, operations;        /* moved and done: for the table; 0: not told */
};

/* An input tensor of noise; the same in every call order. */
udump_tensor trial_input(udump_exec *x, const trial *t, udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c);
/* Noise for weights: [count], scaled so that a sum of `sum` products is about 1. Lives until the trial ends. */
const float *trial_noise(size_t count, size_t sum);
/* As the trial's inputs are, on both sides. */
float trial_rounded(float value);
/* Whether the clock runs: inputs are there, and results stay where they are. */
bool trial_is_timed(void);
/* The weight of the trial on x's backend: made once by `make`, freed when the trial ends. */
typedef udump_packed *(*trial_make_fn)(udump_exec *x, const trial *t, udump_error *error);
udump_packed *trial_packed(udump_exec *x, const trial *t, trial_make_fn make);

/* What a trial came to. */
typedef struct trial_result {
    double difference, tolerance, seconds; /* seconds 0: not timed */
    bool ran;                              /* on both backends */
    bool lost;                             /* it did not, and on its device nothing will any more */
} trial_result;

/* Runs it; prints a line where it is timed, where the results differ or a backend failed. False in the last two cases. */
bool trial_check(const udump_backend *backend, const udump_device_request *request, const trial *t, bool timed, trial_result *result);

/* Whether trials that fill a card have their turn: in one type, and not where every CUDA thread is one of ThreadSanitizer's, as they take minutes there. */
bool trials_may_be_many(udump_dtype dtype);

/* Closes what the trials kept open. */
void trials_end(void);

/* Every operation of the vocabulary: odd shapes and extremes, or, large, the shapes of real models. Calls `each` with every trial. */
typedef void (*trial_each_fn)(void *user, const trial *t);
void trials_of_network(bool large, udump_dtype dtype, trial_each_fn each, void *user);
void trials_of_looking(bool large, udump_dtype dtype, trial_each_fn each, void *user);

#endif
