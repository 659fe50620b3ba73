#include "sample/brownian.h"

enum { POOL = 24, WORDS_MOST = POOL + 4 };

/* The hash's constant changes at every use. */
static uint32_t hash(uint32_t value, uint32_t *constant) {
    value ^= *constant;
    *constant *= 0x931e8875u;
    value *= *constant;
    return value ^ value >> 16;
}

static uint32_t mix(uint32_t a, uint32_t b) {
    uint32_t mixed = 0xca01f9ddu * a - 0x4973f715u * b;
    return mixed ^ mixed >> 16;
}

/* An integer's 32-bit words, the lowest first; at least one. */
static int32_t append(uint32_t *words, int32_t count, uint64_t value) {
    words[count++] = (uint32_t)value;
    if (value >> 32) words[count++] = (uint32_t)(value >> 32);
    return count;
}

uint32_t udump_seed_sequence(uint64_t seed, const uint64_t *key, int32_t key_count) {
    uint32_t words[WORDS_MOST] = { 0 }, pool[POOL], constant = 0x43b0d7e5u;
    int32_t count = append(words, 0, seed);
    if (key_count > 0) count = POOL; /* a spawn key starts behind the pool: no other seed gives the same words */
    for (int32_t i = 0; i < key_count; i++) count = append(words, count, key[i]);

    for (int32_t i = 0; i < POOL; i++) pool[i] = hash(words[i], &constant);
    for (int32_t from = 0; from < POOL; from++)
        for (int32_t to = 0; to < POOL; to++)
            if (from != to) pool[to] = mix(pool[to], hash(pool[from], &constant));
    for (int32_t from = POOL; from < count; from++)
        for (int32_t to = 0; to < POOL; to++) pool[to] = mix(pool[to], hash(words[from], &constant));

    uint32_t word = pool[0] ^ 0x8b51f9ddu;
    word *= 0x8b51f9ddu * 0x58f38dedu;
    return word ^ word >> 16;
}
