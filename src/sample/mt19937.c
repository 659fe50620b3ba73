#include <math.h>

#include "sample/elementary.h"
#include "sample/random.h"

enum { WORDS = UDUMP_MT19937_WORDS, MIDDLE = 397, GROUP = 16, PAIRS = GROUP / 2 };

/* torch seeds the engine with 32 of the seed's 64 bits. */
void udump_mt19937_init(udump_mt19937 *generator, uint64_t seed) {
    generator->words[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t previous = generator->words[i - 1];
        generator->words[i] = 1812433253u * (previous ^ previous >> 30) + i;
    }
    generator->next = WORDS;
    generator->has_spare = false;
    generator->spare = 0;
}

static void twist(uint32_t *words) {
    for (int i = 0; i < WORDS; i++) {
        uint32_t mixed = (words[i] & 0x80000000u) | (words[(i + 1) % WORDS] & 0x7FFFFFFFu);
        words[i] = words[(i + MIDDLE) % WORDS] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908B0DFu : 0);
    }
}

static uint32_t next_word(udump_mt19937 *generator) {
    if (generator->next == WORDS) {
        twist(generator->words);
        generator->next = 0;
    }
    uint32_t word = generator->words[generator->next++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9D2C5680u;
    word ^= word << 15 & 0xEFC60000u;
    return word ^ word >> 18;
}

/* In [0, 1), multiples of 2^-24 and 2^-53. */
static float uniform_f32(udump_mt19937 *generator) { return (float)(next_word(generator) & 0xFFFFFFu) * 0x1p-24f; }

static double uniform_f64(udump_mt19937 *generator) {
    uint64_t high = next_word(generator), low = next_word(generator);
    return (double)((high << 32 | low) & (((uint64_t)1 << 53) - 1)) * 0x1p-53;
}

/* torch's normal_fill: 8 uniforms for radii, 8 for angles; cosines first, then sines. The roundings to float32 in between are
 * torch's: above all the angle's, which moves a value by up to 1e-6. */
static void normal_group(float *values) {
    for (int i = 0; i < PAIRS; i++) {
        float logarithm = (float)udump_exact_log(1.0 - (double)values[i]); /* of (0, 1] */
        float radius = sqrtf(-2 * logarithm), angle = (float)(2 * M_PI) * values[i + PAIRS];
        double sine, cosine;
        udump_exact_sin_cos((double)angle, &sine, &cosine);
        values[i] = radius * (float)cosine;
        values[i + PAIRS] = radius * (float)sine;
    }
}

static void uniforms(udump_mt19937 *generator, float *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = uniform_f32(generator);
}

/* torch's normal_distribution<double>: a pair from two uniforms, the sine kept for the next call, even where a long draw lies
 * between. */
static double normal_single(udump_mt19937 *generator) {
    if (generator->has_spare) {
        generator->has_spare = false;
        return generator->spare;
    }
    double turns = uniform_f64(generator), u = uniform_f64(generator), sine, cosine;
    double radius = sqrt(-2 * udump_exact_log(1 - u));
    udump_exact_sin_cos(2 * M_PI * turns, &sine, &cosine);
    generator->spare = radius * sine;
    generator->has_spare = true;
    return radius * cosine;
}

void udump_mt19937_normal(udump_mt19937 *generator, float *values, size_t count) {
    if (count < GROUP) {
        for (size_t i = 0; i < count; i++) values[i] = (float)normal_single(generator);
        return;
    }
    uniforms(generator, values, count);
    for (size_t i = 0; i + GROUP <= count; i += GROUP) normal_group(values + i);
    if (count % GROUP == 0) return;
    uniforms(generator, values + count - GROUP, GROUP); /* the last 16 anew: some of them were groups' already */
    normal_group(values + count - GROUP);
}
