/* A session's plans: a hash map from (weights, shape, epilogue) to a oneDNN primitive. Filled by the dry pass, read while sampling. */
#ifndef UDUMP_CPU_PLANS_H
#define UDUMP_CPU_PLANS_H

#include "backend/cpu/onednn.h"

typedef struct udump_plans {
    struct udump_plans_entry *entries; /* [capacity], open addressing */
    size_t count, capacity;            /* capacity: 0 or a power of two */
} udump_plans;

/* The plan for weights, shape and epilogue, made now if there is none. Owned by plans. NULL on failure. */
udump_dnn_plan *udump_plans_get(udump_plans *plans, udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape,
    const udump_dnn_epilogue *epilogue, int32_t threads, udump_error *error);
void udump_plans_free(udump_plans *plans);

#endif
