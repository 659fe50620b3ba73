#include <math.h>

#include "sample/elementary.h"
#include "sample/sampler.h"

/* One column of one channel: [h] values, stride apart. */
typedef struct column {
    float *noise;
    const float *other;
    size_t h, stride;
} column;

/* The cosine between the two, as torch: both brought to unit length in float32 first. */
static float cosine_of(const column *c) {
    double noise = 0, other = 0, dot = 0;
    for (size_t y = 0; y < c->h; y++) {
        noise += (double)c->noise[y * c->stride] * (double)c->noise[y * c->stride];
        other += (double)c->other[y * c->stride] * (double)c->other[y * c->stride];
    }
    float noise_norm = (float)sqrt(noise), other_norm = (float)sqrt(other);
    for (size_t y = 0; y < c->h; y++) dot += (double)(c->noise[y * c->stride] / noise_norm * (c->other[y * c->stride] / other_norm));
    return (float)dot;
}

static void mix(const column *c, float low, float high) {
    for (size_t y = 0; y < c->h; y++) c->noise[y * c->stride] = low * c->noise[y * c->stride] + high * c->other[y * c->stride];
}

static float sine_of(float angle) {
    double sine, cosine;
    udump_exact_sin_cos((double)angle, &sine, &cosine);
    return (float)sine;
}

/* A column of one value has no angle between 0 and half a turn: there a straight line, where the webui divides by 0. */
static void turn(const column *c, double amount) {
    static const float sine_least = 1e-6f;
    float omega = (float)acos(fmin(fmax((double)cosine_of(c), -1), 1)), sine = sine_of(omega);
    if (sine > sine_least) mix(c, sine_of((float)(1 - amount) * omega) / sine, sine_of((float)amount * omega) / sine);
    else mix(c, (float)(1 - amount), (float)amount);
}

static column column_at(float *noise, const float *other, size_t i, size_t h, size_t w) {
    size_t first = i / w * h * w + i % w;
    return (column){ noise + first, other + first, h, w };
}

void udump_noise_turn(float *noise, const float *other, size_t c, size_t h, size_t w, double amount) {
    double sum = 0;
    for (size_t i = 0; i < c * w; i++) {
        column one = column_at(noise, other, i, h, w);
        sum += (double)cosine_of(&one);
    }
    bool aligned = sum / (double)(c * w) > 0.9995;
    for (size_t i = 0; i < c * w; i++) {
        column one = column_at(noise, other, i, h, w);
        if (aligned) mix(&one, (float)amount, (float)(1 - amount));
        else turn(&one, amount);
    }
}
