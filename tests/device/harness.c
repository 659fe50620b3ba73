#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"

enum { NOISES_MOST = 64, REPEATS = 20 };

/* Sums in fp32 in another order, or one rounding of the result to 16 bits; inputs and weights are rounded alike on both sides. */
static double tolerance_of(udump_dtype dtype) { return dtype == UDUMP_F32 ? 2e-5 : dtype == UDUMP_F16 ? 0x1p-9 : 0x1p-6; }

static float *noises[NOISES_MOST];
static size_t noise_count;
static uint32_t noise_state;
static udump_packed *packed[2]; /* reference's, the other's */
static bool inputs_are_there;   /* while timing */

static float noise(void) {
    noise_state = noise_state * 1664525u + 1013904223u;
    return (float)(int32_t)noise_state * 0x1p-31f;
}

static float *noise_new(size_t count) {
    float *values = malloc((count + 1) * sizeof *values);
    if (!values || noise_count == NOISES_MOST) abort();
    noises[noise_count++] = values;
    return values;
}

const float *trial_noise(size_t count, size_t sum) {
    float *values = noise_new(count), scale = sqrtf(3.0f / (float)sum);
    for (size_t i = 0; i < count; i++) values[i] = noise() * scale;
    return values;
}

udump_tensor trial_input(udump_exec *x, const trial *t, udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c) {
    udump_tensor tensor = udump_tensor_new(x, dtype, n, h, w, c);
    size_t count = udump_tensor_count(tensor);
    if (x->dry || inputs_are_there) return tensor;
    float *values = noise_new(count), gain = t->gain != 0 ? t->gain : 1;
    for (size_t i = 0; i < count; i++) values[i] = noise() * gain + t->offset;
    for (size_t i = 0; t->strange != 0 && noise_count == 1 && i < 3; i++) values[i * (count - 1) / 2] = t->strange;
    udump_upload(x, tensor, values);
    return tensor;
}

udump_packed *trial_packed(udump_exec *x, const trial *t, trial_make_fn make) {
    udump_packed **place = &packed[x->backend != udump_backend_reference()];
    udump_error error;
    uint32_t state = noise_state;
    noise_state = 99;
    if (!*place) *place = make(x, t, &error);
    noise_state = state;
    if (!*place) udump_exec_fail(x, UDUMP_ERROR_MEMORY, t->name, "%s", error.what);
    return *place;
}

static void forget_noise(void) {
    while (noise_count) free(noises[--noise_count]);
    noise_state = 7;
}

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The seconds of one run, inputs not counted: the shortest of some, each of many. */
static double time_run(udump_exec *x, const trial *t) {
    double best = INFINITY;
    inputs_are_there = true;
    for (int round = 0; round < 5; round++) {
        double begin = 0;
        for (int i = -2; i < REPEATS; i++) { /* the first two warm up */
            if (i == 0) {
                udump_await(x, udump_mark(x));
                begin = now_seconds();
            }
            udump_exec_reset(x);
            t->run(x, t);
        }
        udump_await(x, udump_mark(x));
        double each = (now_seconds() - begin) / REPEATS;
        best = each < best ? each : best;
    }
    inputs_are_there = false;
    return best;
}

/* The result as fp32; NULL after a failure, which is printed. */
static float *run_on(const udump_backend *backend, const udump_device_request *request, const trial *t, size_t *count, double *seconds) {
    udump_exec *x = calloc(1, sizeof *x);
    udump_error error = { .status = UDUMP_OK };
    void *device = NULL;
    float *values = NULL;
    if (!x) abort();
    udump_status status = backend->device_open(request, &device, &error);
    if (!status) status = udump_exec_open(x, backend, device, request->threads, t->dtype, &error);
    if (!status) {
        udump_exec_begin_dry(x);
        t->run(x, t);
        status = udump_exec_end_dry(x, &error);
    }
    if (!status) {
        forget_noise();
        udump_tensor out = t->run(x, t);
        *count = udump_tensor_count(out);
        values = malloc((*count + 1) * sizeof *values);
        if (!values) abort();
        udump_download(x, values, out);
        status = udump_exec_status(x, &error);
        if (!status && seconds) *seconds = time_run(x, t);
    }
    if (status) {
        printf("FAILED %s: %s: %s\n", t->name, error.where, error.what);
        free(values);
        values = NULL;
    }
    udump_packed **own = &packed[backend != udump_backend_reference()];
    if (*own) backend->packed_free(*own);
    *own = NULL;
    udump_exec_close(x);
    if (device) backend->device_close(device);
    free(x);
    return values;
}

/* The largest difference, relative to the largest expected; infinity where one is NaN or infinite and the other is not the same. */
static double largest_difference(const float *found, const float *expected, size_t count) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(expected[i]) != isnan(found[i])) return INFINITY;
        if (isinf(expected[i]) || isinf(found[i])) {
            if (expected[i] != found[i]) return INFINITY;
            continue;
        }
        if (isnan(expected[i])) continue;
        most = fmax(most, fabs((double)found[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    return largest > 0 ? most / largest : most;
}

static void print_line(const trial *t, double difference, double tolerance, double seconds) {
    printf("%-22s %-4s [%d, %d, %d, %d]", t->name, udump_dtype_name(t->dtype), (int)t->n, (int)t->h, (int)t->w, (int)t->in);
    if (t->out) printf(" -> %d", (int)t->out);
    printf("  off by %.1e of %.1e", difference, tolerance);
    if (seconds > 0) printf("  %.1f us", seconds * 1e6);
    if (seconds > 0 && t->operations > 0) printf("  %.1f TFLOP/s", t->operations / seconds / 1e12);
    if (seconds > 0 && t->bytes > 0) printf("  %.0f GB/s", t->bytes / seconds / 1e9);
    printf("%s\n", difference <= tolerance ? "" : "  DIFFERS");
}

bool trial_check(const udump_backend *backend, const udump_device_request *request, const trial *t, bool timed, trial_result *result) {
    size_t counts[2] = { 0, 0 };
    *result = (trial_result){ .tolerance = t->tolerance > 0 ? t->tolerance : tolerance_of(t->dtype), .difference = INFINITY };
    udump_device_request both = *request;
    both.compute = t->dtype;
    float *expected = run_on(udump_backend_reference(), &both, t, &counts[0], NULL);
    forget_noise();
    float *found = expected ? run_on(backend, &both, t, &counts[1], timed ? &result->seconds : NULL) : NULL;
    forget_noise();
    result->ran = found && counts[0] == counts[1];
    if (result->ran) result->difference = largest_difference(found, expected, counts[0]);
    bool fine = result->ran && result->difference <= result->tolerance;
    if (result->ran && (timed || !fine)) print_line(t, result->difference, result->tolerance, result->seconds);
    free(expected);
    free(found);
    return fine;
}
