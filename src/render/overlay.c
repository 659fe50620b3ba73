#include "render/overlay.h"

#include <math.h>

/* A tooth of jet: 1 around its centre, falling to 0 on both sides. */
static float tooth(float t, float centre) {
    float v = 1.5f - fabsf(4 * t - centre);
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

void udump_overlay_draw(const udump_picture *picture, const float *heat, uint8_t *pixels) {
    size_t width = (size_t)picture->width_px, count = width * (size_t)picture->height_px;
    float lo = INFINITY, hi = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        lo = fminf(lo, heat[i]);
        hi = fmaxf(hi, heat[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *under = picture->pixels + i / width * picture->row_bytes + i % width * 3;
        float t = hi > lo ? (heat[i] - lo) / (hi - lo) : 0;
        for (int c = 0; c < 3; c++)
            pixels[3 * i + (size_t)c] = (uint8_t)(t * 255 * tooth(t, (float)(3 - c)) + (1 - t) * (float)under[c] + 0.5f);
    }
}
