#include "tensor/resize.h"

#include <math.h>
#include <stddef.h>

struct taps {
    int32_t at[4];
    float weight[4];
};

static int32_t inside(int32_t at, int32_t size) { return at < 0 ? 0 : at >= size ? size - 1 : at; }

/* The four inputs of output i, and Keys' weights at distances 1 + t, t, 1 - t, 2 - t. */
static struct taps taps_of(int32_t i, int32_t in, int32_t out) {
    const float a = -0.75f;
    float centre = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f, base = floorf(centre), t = centre - base, u = 1 - t;
    struct taps taps;
    for (int32_t k = 0; k < 4; k++) taps.at[k] = inside((int32_t)base + k - 1, in);
    taps.weight[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    taps.weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    taps.weight[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
    taps.weight[3] = ((a * (u + 1) - 5 * a) * (u + 1) + 8 * a) * (u + 1) - 4 * a;
    return taps;
}

void udump_resize_bicubic(const float *in, int32_t h, int32_t w, float *out, int32_t out_h, int32_t out_w) {
    for (int32_t y = 0; y < out_h; y++) {
        struct taps down = taps_of(y, h, out_h);
        for (int32_t i = 0; i < out_w; i++) {
            struct taps across = taps_of(i, w, out_w);
            float sum = 0;
            for (int r = 0; r < 4; r++) {
                const float *row = in + (size_t)down.at[r] * (size_t)w;
                float line = 0;
                for (int k = 0; k < 4; k++) line += across.weight[k] * row[across.at[k]];
                sum += down.weight[r] * line;
            }
            out[(size_t)y * (size_t)out_w + (size_t)i] = sum;
        }
    }
}
