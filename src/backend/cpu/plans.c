#include "backend/cpu/plans.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"

struct plan_key { /* compared as bytes: no padding */
    uint64_t weights; /* the address */
    int32_t n, h, w;  /* of the input; the rest of the shape is the weights' */
    int32_t activation, join, out, other, threads;
};

struct udump_plans_entry {
    struct plan_key key;
    udump_dnn_plan *plan; /* NULL: free */
};

_Static_assert(sizeof(struct plan_key) == 40, "a hole in the key would be compared");

static size_t hash(const struct plan_key *key) {
    uint64_t h = udump_hash_add(UDUMP_HASH_START, key, sizeof *key);
    return (size_t)(h ^ h >> 32);
}

/* The key's entry, or the free one where it belongs. */
static struct udump_plans_entry *find(const udump_plans *plans, const struct plan_key *key) {
    size_t at = hash(key);
    for (;; at++) {
        struct udump_plans_entry *entry = plans->entries + (at & (plans->capacity - 1));
        if (!entry->plan || memcmp(&entry->key, key, sizeof *key) == 0) return entry;
    }
}

static bool grow(udump_plans *plans) {
    if (2 * (plans->count + 1) <= plans->capacity) return true;
    udump_plans larger = { .count = plans->count, .capacity = plans->capacity ? 2 * plans->capacity : 64 };
    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (!larger.entries) return false;
    for (size_t i = 0; i < plans->capacity; i++)
        if (plans->entries[i].plan) *find(&larger, &plans->entries[i].key) = plans->entries[i];
    free(plans->entries);
    *plans = larger;
    return true;
}

udump_dnn_plan *udump_plans_get(udump_plans *plans, udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape,
    const udump_dnn_epilogue *e, int32_t threads, udump_error *error) {
    struct plan_key key = { (uint64_t)(uintptr_t)weights, shape->n, shape->h, shape->w, (int32_t)e->activation, (int32_t)e->join,
        (int32_t)e->out, (int32_t)e->other, threads };
    struct udump_plans_entry *entry = plans->capacity ? find(plans, &key) : NULL;
    if (entry && entry->plan) return entry->plan;
    if (!grow(plans)) {
        udump_fail_memory(error, "plans", 2 * plans->capacity * sizeof *plans->entries);
        return NULL;
    }
    udump_dnn_plan *plan = udump_dnn_plan_new(dnn, weights, shape, e, threads, error);
    if (!plan) return NULL;
    *find(plans, &key) = (struct udump_plans_entry){ key, plan };
    plans->count++;
    return plan;
}

void udump_plans_free(udump_plans *plans) {
    for (size_t i = 0; i < plans->capacity; i++) udump_dnn_plan_free(plans->entries[i].plan);
    free(plans->entries);
    *plans = (udump_plans){ 0 };
}
