#include "sample/random.h"

#include <string.h>

void udump_random_init(udump_random *random, udump_rng kind, uint64_t seed) {
    memset(random, 0, sizeof *random);
    random->kind = kind;
    random->seed = seed;
    if (kind == UDUMP_RNG_CPU) udump_mt19937_init(&random->cpu, seed);
}

void udump_random_normal(udump_random *random, float *values, size_t count) {
    if (random->kind == UDUMP_RNG_CPU) udump_mt19937_normal(&random->cpu, values, count);
    else udump_philox_normal(random->seed, random->draws++, values, count);
}
