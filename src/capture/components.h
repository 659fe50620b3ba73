/* The principal components of a self-attention map, found without ever holding the map. */
#ifndef UDUMP_CAPTURE_COMPONENTS_H
#define UDUMP_CAPTURE_COMPONENTS_H

#include "backend/exec.h"

enum { UDUMP_COMPONENTS = 3 };

/* With M the map (mean over the heads; a row for each query, what the keys receive of it) and mu the mean of its rows: the scores
 * (M - mu) v of all queries on the first three principal components v, that is, the eigenvectors of (M - mu)^T (M - mu) with the largest
 * eigenvalues. Found by orthogonal iteration with Rayleigh-Ritz (Golub and Van Loan, Matrix Computations, 8.2.4), one pass over the
 * attention a step. Signs are such that each component's largest score in magnitude is positive. Where the map has fewer components, 0.
 * a->queries equals a->keys. received: [heads, keys], from attention_summary. scores: [UDUMP_COMPONENTS, queries].
 * Scratch from x's arena, in a dry pass too. */
void udump_components(udump_exec *x, const udump_attended *a, const float *received, float *scores);

#endif
