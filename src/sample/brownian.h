/* Brownian paths as the webui draws them for k-diffusion's SDE samplers: torchsde's BrownianTree (Li et al. 2020, "Scalable gradients
 * for stochastic differential equations"; torchsde 0.2.6) with time = sigma, one path for each image, from that image's seed.
 *
 * The path over [smallest, largest sigma] begins as one normal draw. Where a time inside is asked for, intervals are halved (Levy's
 * construction: the midpoint is normal around the ends' mean) until the time is a midpoint, all times rounded to 6 decimals. The
 * draw of an interval comes from a generator of its own, seeded by numpy's SeedSequence from the image's seed and the interval's
 * place in the tree: a path does not depend on which stretches are asked for, nor on their order.
 *
 * The tree, its seeds and the float32 roundings are torchsde's, so the values are those of the generators (random.h): with UDUMP_RNG_NV
 * what the webui computes with its "NV" source to the bit (but for a last bit where a build of torch does not round sqrt correctly, as
 * MKL's), with UDUMP_RNG_CPU within 2e-6, from that generator's 1e-6. The path itself is rough: a time that is rounded to another sixth
 * decimal moves a value by about 1e-3. Times are therefore float32, and the schedules (schedule.h) round as torch does. Where they still
 * differ from a build of torch in the last bit, whole runs of the SDE samplers may differ by up to 1e-3 of the latent; otherwise they
 * agree to 1e-5 like those of the other samplers. */
#ifndef UDUMP_SAMPLE_BROWNIAN_H
#define UDUMP_SAMPLE_BROWNIAN_H

#include "sample/random.h"

/* The tree's times, and scratch for one path after the other. One thread at a time. */
typedef struct udump_brownian {
    udump_rng rng;
    size_t count;             /* values of a path at each time: one image's c * h * w */
    double smallest, largest; /* as given */
    double start, end;        /* rounded: the whole interval */
    int32_t depth_most;       /* halvings until an interval has no time inside */
    float *scratch;           /* [depth_most + 2][count]: an interval's draw; the increments of the intervals that enclose one another */
} udump_brownian;

/* 0 < smallest <= largest. Errors: MEMORY; brownian is empty then. Free accepts that. */
udump_status udump_brownian_init(udump_brownian *brownian, udump_rng rng, size_t count, float smallest, float largest, udump_error *error);
void udump_brownian_free(udump_brownian *brownian);

/* values [count]: (W(to) - W(from)) / sqrt(|to - from|) on the path of seed; zeros where the times round to one. Times outside are
 * moved to the ends. This is k-diffusion's BrownianTreeNoiseSampler. */
void udump_brownian_noise(udump_brownian *brownian, uint64_t seed, float from, float to, float *values);

/* seed_sequence.c: the first word of numpy's SeedSequence(seed, spawn_key=key, pool_size=24).generate_state (O'Neill 2015, "Developing a
 * seed_seq alternative"); key_count 0 means without a spawn key. */
uint32_t udump_seed_sequence(uint64_t seed, const uint64_t *key, int32_t key_count);

#endif
