/* Standard normal noise as users know it: torch.randn on CUDA (nv) and on the CPU (cpu), the same bits on every machine.
 * A batch has one generator for each image: image i starts from seed + i, and each draw is one image's [channels, h, w] in C order,
 * so that an image of a batch equals a single run. */
#ifndef UDUMP_SAMPLE_RANDOM_H
#define UDUMP_SAMPLE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unetdump.h"

enum { UDUMP_MT19937_WORDS = 624 };

typedef struct udump_mt19937 {
    uint32_t words[UDUMP_MT19937_WORDS];
    int32_t next; /* the word that comes next; UDUMP_MT19937_WORDS: all are used up */
    bool has_spare;
    double spare; /* the second of a pair of normals, for the next short draw */
} udump_mt19937;

/* A generator's state: plain data, the caller's; one thread at a time. */
typedef struct udump_random {
    udump_rng kind;
    uint64_t seed;
    uint32_t draws;    /* nv: finished calls of udump_random_normal */
    udump_mt19937 cpu; /* cpu alone */
} udump_random;

void udump_random_init(udump_random *random, udump_rng kind, uint64_t seed);

/* Draws count values. Draws are not continuous: two draws of n differ from one of 2 n, as in torch. */
void udump_random_normal(udump_random *random, float *values, size_t count);

/* philox.c: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the key seed and the counter
 * (draw, 0, element, 0), then Box-Muller's first value of the first two words: torch.randn on CUDA where each thread makes one value,
 * computed in double and rounded once, as the webui's "NV" source does. A GPU's own values lie around these: its Box-Muller is
 * float32 with the hardware's fast sine (2^-21 off), so that the last digits differ by some 1e-7, seldom more than 1e-6. */
void udump_philox_normal(uint64_t seed, uint32_t draw, float *values, size_t count);

/* mt19937.c: Matsumoto and Nishimura's generator seeded with the seed's low 32 bits, and torch's normal transforms: pairs from 16
 * float32 uniforms at a time for count >= 16, one at a time in double below. Within 1e-6 of torch, whose vectorised log, sin and
 * cos differ from the nearest float32 in the last bit. */
void udump_mt19937_init(udump_mt19937 *generator, uint64_t seed);
void udump_mt19937_normal(udump_mt19937 *generator, float *values, size_t count);

#endif
