#include <math.h>

#include "sample/elementary.h"
#include "sample/random.h"

/* The round's multipliers and the key's increments (golden ratio, sqrt(3) - 1), from the paper. */
static const uint32_t MULTIPLIER_0 = 0xD2511F53u, MULTIPLIER_1 = 0xCD9E8D57u;
static const uint32_t WEYL_0 = 0x9E3779B9u, WEYL_1 = 0xBB67AE85u;
enum { ROUNDS = 10 };

static void philox(uint32_t counter[4], uint64_t key) {
    uint32_t key_0 = (uint32_t)key, key_1 = (uint32_t)(key >> 32);
    for (int round = 0; round < ROUNDS; round++, key_0 += WEYL_0, key_1 += WEYL_1) {
        uint64_t product_0 = (uint64_t)MULTIPLIER_0 * counter[0], product_1 = (uint64_t)MULTIPLIER_1 * counter[2];
        counter[0] = (uint32_t)(product_1 >> 32) ^ counter[1] ^ key_0;
        counter[1] = (uint32_t)product_1;
        counter[2] = (uint32_t)(product_0 >> 32) ^ counter[3] ^ key_1;
        counter[3] = (uint32_t)product_0;
    }
}

/* curand's constants are float32, and 2 pi is the float32 above it: part of what users know, so kept. The halves keep the
 * logarithm's argument off 0; both products are exact or rounded once in double. */
static float box_muller(uint32_t x, uint32_t y) {
    static const double turn = (double)(float)(2 * M_PI);
    double u = (x + 0.5) * 0x1p-32, angle = (y + 0.5) * (turn * 0x1p-32), sine, cosine;
    udump_exact_sin_cos(angle, &sine, &cosine);
    return (float)(sqrt(-2 * udump_exact_log(u)) * sine);
}

void udump_philox_normal(uint64_t seed, uint32_t draw, float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t counter[4] = { draw, 0, (uint32_t)i, (uint32_t)((uint64_t)i >> 32) };
        philox(counter, seed);
        values[i] = box_muller(counter[0], counter[1]);
    }
}
