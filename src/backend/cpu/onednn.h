/* oneDNN, behind the narrow door that this backend needs: convolutions and linear layers with an epilogue, on channels-last activations.
 * onednn.c is the only file that knows the library, in its versions 2.6 and 3.x.
 *
 * A product is described by udump_conv_shape; kernel 0 makes it a linear layer of n rows (h and w are 1).
 * Threads: one object belongs to one thread at a time; weights may be shared by plans of several sessions.
 * Errors: status and udump_error, or NULL and udump_error. */
#ifndef UDUMP_CPU_ONEDNN_H
#define UDUMP_CPU_ONEDNN_H

#include "backend/backend.h"

typedef struct udump_dnn udump_dnn;                 /* an engine and a stream */
typedef struct udump_dnn_weights udump_dnn_weights; /* in the layout that oneDNN chose for a representative shape */
typedef struct udump_dnn_plan udump_dnn_plan;       /* a primitive for one shape and epilogue */

/* What happens to a product's result, in this order: bias, activation, join with another tensor of the result's shape. */
typedef enum udump_dnn_join {
    UDUMP_DNN_ALONE,
    UDUMP_DNN_ADD_IN_PLACE, /* plus what stands in `out` */
    UDUMP_DNN_ADD,          /* plus `other` */
    UDUMP_DNN_MULTIPLY      /* times `other` */
} udump_dnn_join;

typedef struct udump_dnn_epilogue {
    udump_activation activation;
    udump_dnn_join join;
    udump_dtype out, other; /* dtype of the result and of the other tensor */
} udump_dnn_epilogue;

udump_dnn *udump_dnn_open(udump_error *error);
void udump_dnn_close(udump_dnn *dnn);

/* Whether oneDNN multiplies bf16 with AMX here. */
bool udump_dnn_has_bf16(void);

/* source: fp32, [out, in, kernel, kernel] or [out, in]; bias: [out] or NULL. Both stay the caller's.
 * dtype is a wish: where oneDNN has no fast bf16 implementation, the weights are rounded to bf16 but kept, and multiplied, in fp32. */
udump_dnn_weights *udump_dnn_weights_new(udump_dnn *dnn, const udump_conv_shape *shape, udump_dtype dtype, int32_t threads,
    const float *source, const float *bias, udump_error *error);
void udump_dnn_weights_free(udump_dnn_weights *weights);
udump_dtype udump_dnn_weights_dtype(const udump_dnn_weights *weights); /* what the product's input must be */
size_t udump_dnn_weights_bytes(const udump_dnn_weights *weights);

/* A plan borrows the weights. Where their layout would force a slow implementation on this shape, it holds a copy in another one. */
udump_dnn_plan *udump_dnn_plan_new(udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape,
    const udump_dnn_epilogue *epilogue, int32_t threads, udump_error *error);
void udump_dnn_plan_free(udump_dnn_plan *plan);
size_t udump_dnn_plan_scratch_bytes(const udump_dnn_plan *plan);
const char *udump_dnn_plan_name(const udump_dnn_plan *plan); /* oneDNN's name of the implementation */

/* Runs with as many threads as the plan was made for. other: NULL unless the epilogue reads it. scratch: plan_scratch_bytes, aligned to a cache line. */
udump_status udump_dnn_plan_run(
    udump_dnn *dnn, udump_dnn_plan *plan, const void *in, void *out, const void *other, void *scratch, udump_error *error);

#endif
