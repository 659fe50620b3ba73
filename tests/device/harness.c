#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"

enum { NOISES_MOST = 64, REPEATS = 20, DTYPES = 3 };
enum { EXPECTED, FOUND, SIDES };

/* Sums in fp32 in another order, or one rounding of the result to 16 bits; inputs and weights are rounded alike on both sides. */
static double tolerance_of(udump_dtype dtype) { return dtype == UDUMP_F32 ? 2e-5 : dtype == UDUMP_F16 ? 0x1p-9 : 0x1p-6; }

static float *noises[NOISES_MOST];
static size_t noise_count;
static uint32_t noise_state;
static udump_dtype noise_dtype;     /* that all inputs and weights are rounded to, on both sides */
static udump_packed *packed[SIDES]; /* a trial's */
static bool inputs_are_there;       /* while timing */
static double copy_rate;            /* bytes a second, read and written: what the trial "copy" came to */

/* A device and a session for each side and type; kept from trial to trial, but for the arena. */
static struct opened {
    const udump_backend *backend;
    void *device;
    udump_exec x;
} opened[SIDES][DTYPES];

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

float trial_rounded(float value) {
    if (noise_dtype == UDUMP_F32) return value;
    return noise_dtype == UDUMP_F16 ? udump_f16_to_f32(udump_f32_to_f16(value)) : udump_bf16_to_f32(udump_f32_to_bf16(value));
}

const float *trial_noise(size_t count, size_t sum) {
    float *values = noise_new(count), scale = sqrtf(3.0f / (float)sum);
    for (size_t i = 0; i < count; i++) values[i] = trial_rounded(noise() * scale);
    return values;
}

bool trial_is_timed(void) { return inputs_are_there; }

udump_tensor trial_input(udump_exec *x, const trial *t, udump_dtype dtype, int32_t n, int32_t h, int32_t w, int32_t c) {
    udump_tensor tensor = udump_tensor_new(x, dtype, n, h, w, c);
    size_t count = udump_tensor_count(tensor);
    if (x->dry || inputs_are_there) return tensor;
    float *values = noise_new(count), gain = t->gain != 0 ? t->gain : 1;
    for (size_t i = 0; i < count; i++) values[i] = trial_rounded(noise() * gain + t->offset);
    for (size_t i = 0; t->strange != 0 && noise_count == 1 && i < 3; i++) values[i * (count - 1) / 2] = t->strange;
    udump_upload(x, tensor, values);
    return tensor;
}

udump_packed *trial_packed(udump_exec *x, const trial *t, trial_make_fn make) {
    udump_packed **place = &packed[x >= &opened[FOUND][0].x];
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

static const double LONG_S = 0.5;

/* The seconds of one run, inputs not counted: the shortest of some, each of many; of what takes long, fewer. */
static double time_run(udump_exec *x, const trial *t) {
    double best = INFINITY;
    inputs_are_there = true;
    double spent = 0;
    int repeats = 1; /* the first round warms up, and tells how long it takes */
    for (int round = 0; round < 6 && spent < LONG_S; round++) {
        double begin = now_seconds();
        for (int i = 0; i < repeats; i++) {
            udump_exec_reset(x);
            t->run(x, t);
        }
        udump_await(x, udump_mark(x));
        double each = (now_seconds() - begin) / repeats;
        spent += each * repeats;
        if (round || each >= LONG_S) best = each < best ? each : best;
        repeats = each * REPEATS < LONG_S / 4 ? REPEATS : 2;
    }
    inputs_are_there = false;
    return best;
}

/* As a model does: weights first, for which the vendors' libraries are loaded, then a session. */
static udump_status open_side(struct opened *o, const udump_backend *backend, const udump_device_request *request, udump_error *error) {
    static const float weight[64];
    const udump_linear_part part = { weight, NULL, 8 };
    udump_packed *first = NULL;
    o->backend = backend;
    udump_status status = backend->device_open(request, &o->device, error);
    if (!status && !(first = backend->pack_linear(o->device, 8, 8, 1, &part, error))) status = error->status;
    if (first) backend->packed_free(first);
    return status ? status : udump_exec_open(&o->x, backend, o->device, request->threads, request->compute, error);
}

static udump_status measure(udump_exec *x, const trial *t, udump_error *error) {
    udump_exec_begin_dry(x);
    t->run(x, t);
    return udump_exec_end_dry(x, error);
}

/* The result as fp32; NULL after a failure, which is printed. */
static float *run_on(struct opened *o, const udump_backend *backend, const udump_device_request *request, const trial *t, size_t *count, double *seconds) {
    udump_error error = { .status = UDUMP_OK };
    float *values = NULL;
    udump_exec *x = &o->x;
    udump_status status = o->backend ? UDUMP_OK : open_side(o, backend, request, &error);
    if (!status) status = measure(x, t, &error);
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
    udump_packed **own = &packed[o >= opened[FOUND]]; /* opened is one array: its second half */
    if (*own) backend->packed_free(*own);
    *own = NULL;
    if (x->arena) backend->memory_free(o->device, x->arena); /* the next trial's is new: what it forgets to write is not what this one left */
    x->arena = NULL;
    x->arena_bytes = 0;
    return values;
}

bool trials_may_be_many(udump_dtype dtype) {
#ifdef UDUMP_PLAIN_THREADS
    (void)dtype;
    return false;
#else
    return dtype == UDUMP_F16;
#endif
}

void trials_end(void) {
    for (int i = 0; i < SIDES * DTYPES; i++) {
        struct opened *o = &opened[i / DTYPES][i % DTYPES];
        if (!o->backend) continue;
        udump_exec_close(&o->x);
        if (o->device) o->backend->device_close(o->device);
        o->backend = NULL;
    }
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
    if (seconds > 0 && t->bytes > 0 && copy_rate > 0) printf(", %.0f %% of a copy's", 100 * t->bytes / seconds / copy_rate);
    printf("%s\n", difference <= tolerance ? "" : "  DIFFERS");
}

/* Plain C is too slow for the shapes of real models: there it is the CPU backend in fp32, which the unit tests check against plain C. */
static const udump_backend *judge(bool timed) {
#ifndef UDUMP_PLAIN_THREADS
    if (timed) return udump_backend_cpu();
#endif
    (void)timed;
    return udump_backend_reference();
}

/* After a bad address, say, every call of the process fails. */
static bool is_lost(const struct opened *o) {
    size_t free_bytes, total_bytes;
    return o->device && o->backend->memory_left && !o->backend->memory_left(o->device, &free_bytes, &total_bytes);
}

bool trial_check(const udump_backend *backend, const udump_device_request *request, const trial *t, bool timed, trial_result *result) {
    size_t counts[SIDES] = { 0, 0 };
    *result = (trial_result){ .tolerance = t->tolerance > 0 ? t->tolerance : tolerance_of(t->dtype), .difference = INFINITY };
    udump_device_request own = *request, other = *request;
    trial expecting = *t;
    own.compute = noise_dtype = t->dtype;
    if (timed) expecting.dtype = UDUMP_F32;
    other.compute = expecting.dtype;
    float *expected = run_on(&opened[EXPECTED][expecting.dtype], judge(timed), &other, &expecting, &counts[EXPECTED], NULL);
    forget_noise();
    float *found = expected ? run_on(&opened[FOUND][t->dtype], backend, &own, t, &counts[FOUND], timed ? &result->seconds : NULL) : NULL;
    forget_noise();
    result->ran = found && counts[EXPECTED] == counts[FOUND];
    result->lost = !found && is_lost(&opened[FOUND][t->dtype]);
    if (result->ran) result->difference = largest_difference(found, expected, counts[EXPECTED]);
    bool fine = result->ran && result->difference <= result->tolerance;
    if (result->ran && strcmp(t->name, "copy") == 0) copy_rate = t->bytes / result->seconds;
    if (result->ran && (timed || !fine)) print_line(t, result->difference, result->tolerance, result->seconds);
    free(expected);
    free(found);
    return fine;
}
