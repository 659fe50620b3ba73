/* The principal components of a self-attention map, found without ever holding the map. */
#include <math.h>
#include <string.h>

#include "backend/reference/reference.h"

enum {
    COLUMNS = 16, /* that are iterated: the more beyond three, the fewer passes; a pass costs the same */
    PASSES_MOST = 12,
    SWEEPS_MOST = 30
};

/* Of an eigenvector's image, relative to its eigenvalue, and to the largest one: below the second, single precision says no more. */
static const double tolerance = 2e-5, floor_tolerance = 1e-6;

struct basis {
    size_t n, k;     /* positions, columns */
    float *v, *y, *z; /* [n, k]: orthonormal columns; (M - mu) v; (M - mu)^T (M - mu) v */
    float *mean;      /* [n]: mu */
    double value[COLUMNS], vector[COLUMNS][COLUMNS]; /* of v^T z; a column of vector each, largest value first */
};

static double dot(const float *a, const float *b, size_t n, size_t stride) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i * stride] * (double)b[i * stride];
    return sum;
}

/* Columns in [-1, 1) that look like nothing in particular, the same in every run. */
static void fill(struct basis *b) {
    uint32_t state = 1;
    for (size_t i = 0; i < b->n * b->k; i++) {
        state = state * 1664525u + 1013904223u;
        b->v[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

/* Gram and Schmidt, twice; a column that depends on those before it becomes 0. */
static void orthonormalise(struct basis *b) {
    for (size_t j = 0; j < b->k; j++) {
        double before = sqrt(dot(b->v + j, b->v + j, b->n, b->k));
        for (size_t pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < j; i++) {
                double shadow = dot(b->v + i, b->v + j, b->n, b->k);
                for (size_t p = 0; p < b->n; p++) b->v[p * b->k + j] -= (float)(shadow * (double)b->v[p * b->k + i]);
            }
        double norm = sqrt(dot(b->v + j, b->v + j, b->n, b->k));
        double scale = norm > 1e-6 * before ? 1 / norm : 0;
        for (size_t p = 0; p < b->n; p++) b->v[p * b->k + j] = (float)(scale * (double)b->v[p * b->k + j]);
    }
}

/* From M v and M^T M v to what they are with the rows' mean taken off. */
static void centre(struct basis *b) {
    for (size_t j = 0; j < b->k; j++) {
        double shift = 0;
        for (size_t p = 0; p < b->n; p++) shift += (double)b->mean[p] * (double)b->v[p * b->k + j];
        for (size_t p = 0; p < b->n; p++) {
            b->y[p * b->k + j] -= (float)shift;
            b->z[p * b->k + j] -= (float)((double)b->n * (double)b->mean[p] * shift);
        }
    }
}

/* One rotation of Jacobi's method that makes t[p][q] 0. */
static void rotate(struct basis *b, double t[COLUMNS][COLUMNS], size_t p, size_t q) {
    double theta = (t[q][q] - t[p][p]) / (2 * t[p][q]);
    double tangent = copysign(1 / (fabs(theta) + sqrt(theta * theta + 1)), theta);
    double c = 1 / sqrt(tangent * tangent + 1), s = tangent * c;
    for (size_t i = 0; i < b->k; i++) {
        double left = t[i][p], right = t[i][q];
        t[i][p] = c * left - s * right;
        t[i][q] = s * left + c * right;
    }
    for (size_t i = 0; i < b->k; i++) {
        double upper = t[p][i], lower = t[q][i], left = b->vector[i][p], right = b->vector[i][q];
        t[p][i] = c * upper - s * lower;
        t[q][i] = s * upper + c * lower;
        b->vector[i][p] = c * left - s * right;
        b->vector[i][q] = s * left + c * right;
    }
}

static void swap_columns(struct basis *b, size_t p, size_t q) {
    double value = b->value[p];
    b->value[p] = b->value[q];
    b->value[q] = value;
    for (size_t i = 0; i < b->k; i++) {
        double entry = b->vector[i][p];
        b->vector[i][p] = b->vector[i][q];
        b->vector[i][q] = entry;
    }
}

/* Eigenvalues and eigenvectors of v^T z, largest first. */
static void diagonalise(struct basis *b) {
    double t[COLUMNS][COLUMNS];
    memset(b->vector, 0, sizeof b->vector);
    for (size_t i = 0; i < b->k; i++) {
        b->vector[i][i] = 1;
        for (size_t j = 0; j <= i; j++)
            t[i][j] = t[j][i] = (dot(b->v + i, b->z + j, b->n, b->k) + dot(b->v + j, b->z + i, b->n, b->k)) / 2;
    }
    for (int sweep = 0; sweep < SWEEPS_MOST; sweep++)
        for (size_t p = 0; p < b->k; p++)
            for (size_t q = p + 1; q < b->k; q++)
                if (fabs(t[p][q]) > 1e-18 * (fabs(t[p][p]) + fabs(t[q][q]))) rotate(b, t, p, q);
    for (size_t i = 0; i < b->k; i++) b->value[i] = t[i][i];
    for (size_t i = 0; i < b->k; i++)
        for (size_t j = i + 1; j < b->k; j++)
            if (b->value[j] > b->value[i]) swap_columns(b, i, j);
}

/* Component j at position p, from one of the three matrices. */
static double mixed(const struct basis *b, const float *matrix, size_t p, size_t j) {
    double sum = 0;
    for (size_t i = 0; i < b->k; i++) sum += (double)matrix[p * b->k + i] * b->vector[i][j];
    return sum;
}

static bool converged(const struct basis *b) {
    for (size_t j = 0; j < UDUMP_COMPONENTS && j < b->k; j++) {
        double residual = 0;
        for (size_t p = 0; p < b->n; p++) {
            double off = mixed(b, b->z, p, j) - b->value[j] * mixed(b, b->v, p, j);
            residual += off * off;
        }
        if (!(sqrt(residual) <= fmax(tolerance * b->value[j], floor_tolerance * b->value[0]))) return false;
    }
    return true;
}

static void fill_scores(const struct basis *b, float *scores) {
    for (size_t j = 0; j < UDUMP_COMPONENTS; j++) {
        float *component = scores + j * b->n, extreme = 0;
        for (size_t p = 0; p < b->n; p++) {
            component[p] = j < b->k ? (float)mixed(b, b->y, p, j) : 0;
            if (fabsf(component[p]) > fabsf(extreme)) extreme = component[p];
        }
        for (size_t p = 0; p < b->n && extreme < 0; p++) component[p] = -component[p];
    }
}

static void average_heads(struct basis *b, const float *received, int32_t heads) {
    for (size_t p = 0; p < b->n; p++) {
        double sum = 0;
        for (size_t head = 0; head < (size_t)heads; head++) sum += (double)received[head * b->n + p];
        b->mean[p] = (float)(sum / heads);
    }
}

static void iterate(udump_exec *x, const udump_attended *a, struct basis *b) {
    fill(b);
    for (int pass = 0; pass < PASSES_MOST && !udump_exec_stopped(x); pass++) {
        orthonormalise(b);
        x->backend->attention_covariance(x, a, (int32_t)b->k, b->v, b->y, b->z);
        centre(b);
        diagonalise(b);
        if (converged(b)) break;
        if (pass + 1 < PASSES_MOST) memcpy(b->v, b->z, b->n * b->k * sizeof *b->v);
    }
}

/* With M the map and mu the mean of its rows: the eigenvectors v of (M - mu)^T (M - mu) by orthogonal iteration with Rayleigh-Ritz (Golub and Van
 * Loan, Matrix Computations, 8.2.4), one pass over the attention a step; then the scores (M - mu) v. */
void udump_reference_attention_components(udump_exec *x, const udump_attended *a, const float *received, float *scores) {
    struct basis b = { .n = (size_t)a->keys, .k = a->keys < COLUMNS ? (size_t)a->keys : COLUMNS };
    size_t mark = udump_arena_mark(x), matrix = b.n * b.k;
    udump_tensor values = udump_tensor_new(x, UDUMP_F32, 1, 4, 1, (int32_t)matrix);
    if (x->dry) x->backend->attention_covariance(x, a, (int32_t)b.k, NULL, NULL, NULL);
    else if (!x->status) {
        b.v = udump_tensor_data(x, values);
        b.y = b.v + matrix;
        b.z = b.y + matrix;
        b.mean = b.z + matrix;
        average_heads(&b, received, a->heads);
        iterate(x, a, &b);
        fill_scores(&b, scores);
    }
    udump_arena_release(x, mark);
}
