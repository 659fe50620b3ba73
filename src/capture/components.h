/* The principal components of a self-attention map, found without ever holding the map. */
#ifndef UDUMP_CAPTURE_COMPONENTS_H
#define UDUMP_CAPTURE_COMPONENTS_H

#include "backend/exec.h"

enum { UDUMP_COMPONENTS = 3 };

/* With M the map (mean over the heads; a row for each query, what the keys receive of it) and mu the mean of its rows: the scores
 * (M - mu) v of all queries on the first three principal components v, that is, the eigenvectors of (M - mu)^T (M - mu) with the largest
 * eigenvalues. Found by orthogonal iteration with Rayleigh-Ritz (Golub and Van Loan, Matrix Computations, 8.2.4), one pass over the
 * attention a step. Signs are such that each component's largest score in magnitude is positive. Where the map has fewer components, 0.
 * a->queries equals a->keys. received: [heads, keys], from attention_summary; scores: [UDUMP_COMPONENTS, queries]; both in the arena. The basis is
 * iterated on the host; a dry pass makes the room for it. */
typedef struct udump_components_scratch {
    float *values;
    size_t count;
} udump_components_scratch;
void udump_components_scratch_free(udump_components_scratch *scratch);
void udump_components(udump_exec *x, const udump_attended *a, const float *received, float *scores, udump_components_scratch *scratch);

#endif
