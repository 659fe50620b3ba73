/* Principal components of a self-attention map by orthogonal iteration (src/backend/reference/components.c), without a word to the host: a pass more
 * is two products with the map and one block that centres, diagonalises, tests and orthonormalises. Once the test is passed, later passes find that
 * there is nothing to do. Orthonormal columns come of the Cholesky factor of their products, in double and twice over (Yamamoto et al. 2015); pairs of a
 * sweep of Jacobi's method are rotated all at once (Golub and Van Loan, Matrix Computations, 8.5.6). */
#include "attention_logs.cuh"
#include "attention_times.cuh"

enum { COLUMNS = UDUMP_KERNEL_LOOK_COLUMNS_MOST, THREADS = 512, SLICES = THREADS / (COLUMNS * COLUMNS), SWEEPS_MOST = 30, PASSES_MOST = 12, COMPONENTS = 3 };

typedef double matrix[COLUMNS][COLUMNS];

/* What one pass leaves the next. */
struct iteration {
    int done;
    double vector[COLUMNS][COLUMNS]; /* a column each, that of the largest eigenvalue first */
};

/* products = a^T b, a and b [n, k] and k up to COLUMNS; zeros beyond. In a block's shared memory, for all threads to read. */
static __device__ __forceinline__ void multiply(matrix products, const float *a, const float *b, int n, int k) {
    __shared__ double slices[SLICES][COLUMNS][COLUMNS];
    int j = (int)threadIdx.x % COLUMNS, i = (int)threadIdx.x / COLUMNS % COLUMNS, slice = (int)threadIdx.x / (COLUMNS * COLUMNS);
    double sum = 0;
    for (int p = slice; p < n && i < k && j < k; p += SLICES) sum += (double)a[(int64_t)p * k + i] * (double)b[(int64_t)p * k + j];
    slices[slice][i][j] = sum;
    __syncthreads();
    if (slice == 0) {
        for (int s = 1; s < SLICES; s++) sum += slices[s][i][j];
        products[i][j] = sum;
    }
    __syncthreads();
}

/* From products = L L^T to the inverse of L^T, upper triangular. A column that depends on those before it gives zeros. By the first warp. */
static __device__ __forceinline__ void invert_factor(matrix inverse, matrix products) {
    __shared__ matrix factor;
    __shared__ double scale[COLUMNS], norm[COLUMNS];
    int lane = (int)threadIdx.x;
    if (lane < UDUMP_WARP) {
        if (lane < COLUMNS) norm[lane] = products[lane][lane];
        __syncwarp();
        for (int j = 0; j < COLUMNS; j++) {
            double left = products[j][j];
            __syncwarp();
            if (lane == j) scale[j] = left > 1e-12 * norm[j] ? 1 / sqrt(left) : 0;
            __syncwarp();
            if (lane >= j && lane < COLUMNS) factor[lane][j] = products[lane][j] * scale[j];
            __syncwarp();
            if (lane > j && lane < COLUMNS)
                for (int m = j + 1; m <= lane; m++) products[lane][m] -= factor[lane][j] * factor[m][j];
            __syncwarp();
        }
        for (int i = lane; i >= 0 && lane < COLUMNS; i--) { /* column `lane`, from below */
            double sum = i == lane ? 1 : 0;
            for (int m = i + 1; m <= lane; m++) sum -= factor[m][i] * inverse[m][lane];
            inverse[i][lane] = sum * scale[i];
        }
        for (int i = lane + 1; i < COLUMNS && lane < COLUMNS; i++) inverse[i][lane] = 0;
    }
    __syncthreads();
}

/* v = the columns of z made orthonormal; v may be z. */
static __device__ __forceinline__ void orthonormalise(float *v, const float *z, int n, int k) {
    __shared__ matrix products, inverse;
    for (int time = 0; time < 2; time++) {
        const float *from = time ? v : z;
        multiply(products, from, from, n, k);
        invert_factor(inverse, products);
        for (int p = (int)threadIdx.x; p < n; p += THREADS) {
            float row[COLUMNS];
#pragma unroll
            for (int i = 0; i < COLUMNS; i++) row[i] = i < k ? from[(int64_t)p * k + i] : 0;
            for (int j = 0; j < k; j++) {
                double sum = 0;
#pragma unroll
                for (int i = 0; i < COLUMNS; i++) sum += i <= j ? (double)row[i] * inverse[i][j] : 0;
                v[(int64_t)p * k + j] = (float)sum;
            }
        }
        __syncthreads();
    }
}

/* The mean of the rows, [n], and columns in [-1, 1) that look like nothing in particular: the host's numbers. */
static __global__ void begin(iteration *it, float *mean, float *v, const float *received, int heads, int n, int k) {
    if (threadIdx.x == 0) it->done = 0;
    for (int p = (int)threadIdx.x; p < n; p += THREADS) {
        double sum = 0;
        for (int head = 0; head < heads; head++) sum += (double)received[(int64_t)head * n + p];
        mean[p] = (float)(sum / heads);
        /* the generator's p * k-th state: its step, done so many times by squaring */
        uint32_t state = 1, factor = 1664525u, offset = 1013904223u;
        for (uint32_t steps = (uint32_t)p * (uint32_t)k; steps; steps /= 2) {
            if (steps % 2) state = state * factor + offset;
            offset = offset * factor + offset;
            factor *= factor;
        }
        for (int j = 0; j < k; j++) {
            state = state * 1664525u + 1013904223u;
            v[(int64_t)p * k + j] = (float)(int32_t)state * 0x1p-31f;
        }
    }
    __syncthreads();
    orthonormalise(v, v, n, k);
}

/* From M v and M^T M v to what they are with the rows' mean taken off. */
static __device__ __forceinline__ void centre(float *y, float *z, const float *v, const float *mean, int n, int k) {
    __shared__ double shift[COLUMNS];
    int column = (int)threadIdx.x / UDUMP_WARP, lane = (int)threadIdx.x % UDUMP_WARP; /* a warp a column */
    double sum = 0;
    for (int p = lane; p < n && column < k; p += UDUMP_WARP) sum += (double)mean[p] * (double)v[(int64_t)p * k + column];
    sum = udump_warp_sum(sum);
    if (lane == 0) shift[column] = sum;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < (int64_t)n * k; i += THREADS) {
        double off = shift[i % k];
        y[i] -= (float)off;
        z[i] -= (float)((double)n * (double)mean[i / k] * off);
    }
    __syncthreads();
}

/* The pair of rows and columns that thread `pair` turns in a round of a sweep: in all rounds every pair once. */
static __device__ __forceinline__ void pair_of(int round, int pair, int *p, int *q) {
    int a = pair == 0 ? COLUMNS - 1 : (round + pair) % (COLUMNS - 1), b = (round + COLUMNS - 1 - pair) % (COLUMNS - 1);
    *p = a < b ? a : b;
    *q = a < b ? b : a;
}

/* vector: of the symmetric t, which becomes diagonal; both shared. */
static __device__ __forceinline__ void diagonalise(matrix t, matrix vector) {
    enum { PAIRS = COLUMNS / 2 };
    __shared__ double cosines[PAIRS], sines[PAIRS];
    __shared__ int turned[PAIRS];
    int pair = (int)threadIdx.x % PAIRS, i = (int)threadIdx.x / PAIRS, p, q;
    bool mine = i < COLUMNS;
    if (mine)
        for (int j = pair; j < COLUMNS; j += PAIRS) vector[i][j] = i == j ? 1 : 0;
    for (int sweep = 0; sweep < SWEEPS_MOST; sweep++) {
        __syncthreads();
        if (i == 0) turned[pair] = 0;
        for (int round = 0; round < COLUMNS - 1; round++) {
            pair_of(round, pair, &p, &q);
            __syncthreads();
            if (i == 0) {
                cosines[pair] = 1;
                sines[pair] = 0;
                if (fabs(t[p][q]) > 1e-18 * (fabs(t[p][p]) + fabs(t[q][q]))) {
                    double theta = (t[q][q] - t[p][p]) / (2 * t[p][q]), tangent = copysign(1 / (fabs(theta) + sqrt(theta * theta + 1)), theta);
                    cosines[pair] = 1 / sqrt(tangent * tangent + 1);
                    sines[pair] = tangent * cosines[pair];
                    turned[pair] = 1;
                }
            }
            __syncthreads();
            double c = cosines[pair], s = sines[pair];
            if (mine) {
                double left = t[i][p], right = t[i][q];
                t[i][p] = c * left - s * right;
                t[i][q] = s * left + c * right;
                left = vector[i][p], right = vector[i][q];
                vector[i][p] = c * left - s * right;
                vector[i][q] = s * left + c * right;
            }
            __syncthreads();
            if (mine) {
                double upper = t[p][i], lower = t[q][i];
                t[p][i] = c * upper - s * lower;
                t[q][i] = s * upper + c * lower;
            }
        }
        __syncthreads();
        int more = 0;
        for (int at = 0; at < PAIRS; at++) more |= turned[at];
        if (!more) break;
    }
    __syncthreads();
}

/* The columns in the order of their eigenvalues. */
static __device__ __forceinline__ void sort_vectors(double *value, matrix vector, int k) {
    if (threadIdx.x == 0)
        for (int i = 0; i < k; i++)
            for (int j = i + 1; j < k; j++) {
                if (!(value[j] > value[i])) continue;
                double other = value[i];
                value[i] = value[j];
                value[j] = other;
                for (int row = 0; row < COLUMNS; row++) {
                    other = vector[row][i];
                    vector[row][i] = vector[row][j];
                    vector[row][j] = other;
                }
            }
    __syncthreads();
}

/* Whether the first three are eigenvectors: what (M - mu)^T (M - mu) makes of one, less its eigenvalue times itself, is small beside the eigenvalue, or
 * beside the largest: below the second, single precision says no more. The same answer in all threads. */
static __device__ __forceinline__ bool converged(const float *v, const float *z, const double *value, const matrix vector, int n, int k) {
    __shared__ double partial[THREADS / UDUMP_WARP];
    bool fine = true;
    for (int j = 0; j < COMPONENTS && j < k; j++) {
        double squares = 0;
        for (int p = (int)threadIdx.x; p < n; p += THREADS) {
            double off = 0;
            for (int i = 0; i < k; i++) off += ((double)z[(int64_t)p * k + i] - value[j] * (double)v[(int64_t)p * k + i]) * vector[i][j];
            squares += off * off;
        }
        double residual = sqrt(udump_block_sum(squares, partial)), own = 2e-5 * value[j], floor = 1e-6 * value[0];
        fine = fine && residual <= (own > floor ? own : floor);
    }
    return fine;
}

static __global__ void __launch_bounds__(THREADS) step(iteration *it, float *v, float *y, float *z, const float *mean, int n, int k, int last) {
    __shared__ matrix t, vector;
    __shared__ double value[COLUMNS];
    int i = (int)threadIdx.x / COLUMNS, j = (int)threadIdx.x % COLUMNS;
    if (it->done) return;
    centre(y, z, v, mean, n, k);
    multiply(t, v, z, n, k);
    double both = i < COLUMNS ? (t[i][j] + t[j][i]) / 2 : 0;
    __syncthreads();
    if (i < COLUMNS) t[i][j] = both;
    __syncthreads();
    diagonalise(t, vector);
    if (threadIdx.x < COLUMNS) value[threadIdx.x] = t[threadIdx.x][threadIdx.x];
    __syncthreads();
    sort_vectors(value, vector, k);
    if (i < COLUMNS) it->vector[i][j] = vector[i][j];
    bool ends = converged(v, z, value, vector, n, k) || last;
    if (threadIdx.x == 0) it->done = ends;
    if (!ends) orthonormalise(v, z, n, k);
}

/* Component j of all queries; its sign is the largest's. grid: [COMPONENTS] */
static __global__ void finish(float *scores, const iteration *it, const float *y, int n, int k) {
    __shared__ float most[THREADS];
    __shared__ int at[THREADS];
    int j = (int)blockIdx.x, thread = (int)threadIdx.x, own = n;
    float *component = scores + (int64_t)j * n, extreme = 0;
    for (int p = thread; p < n; p += THREADS) {
        double sum = 0;
        for (int i = 0; i < k && j < k; i++) sum += (double)y[(int64_t)p * k + i] * it->vector[i][j];
        component[p] = (float)sum;
        if (fabsf((float)sum) > fabsf(extreme)) extreme = (float)sum, own = p;
    }
    most[thread] = extreme;
    at[thread] = own;
    __syncthreads();
    for (int step = THREADS / 2; step; step /= 2) {
        if (thread < step) {
            float left = fabsf(most[thread]), right = fabsf(most[thread + step]);
            if (right > left || (right == left && at[thread + step] < at[thread])) most[thread] = most[thread + step], at[thread] = at[thread + step];
        }
        __syncthreads();
    }
    bool turn = most[0] < 0;
    for (int p = thread; p < n && turn; p += THREADS) component[p] = -component[p];
}

static int columns_of(const udump_kernel_attended *a) { return a->keys < COLUMNS ? a->keys : COLUMNS; }

/* What passes between passes; then logs, the mean, the three matrices, and the products' parts */
size_t udump_kernel_attention_components_scratch_bytes(const udump_kernel_attended *a) {
    size_t n = (size_t)a->keys, floats = (size_t)a->heads * n + n + 3 * n * (size_t)columns_of(a) + udump_attention_times_floats(a, columns_of(a));
    return sizeof(iteration) + floats * sizeof(float);
}

void udump_kernel_attention_components(float *scores, const float *received, void *scratch, const udump_kernel_attended *attended, udump_stream stream) {
    udump_kernel_attended a = *attended;
    int n = a.keys, k = columns_of(attended);
    iteration *it = (iteration *)scratch;
    float *logs = (float *)(it + 1), *mean = logs + (int64_t)a.heads * n, *v = mean + n, *y = v + (int64_t)n * k, *z = y + (int64_t)n * k, *parts = z + (int64_t)n * k;
    udump_launch_attention_logs(logs, NULL, a, stream);
    UDUMP_LAUNCH(begin, 1, THREADS, 0, stream, it, mean, v, received, a.heads, n, k);
    for (int pass = 0; pass < PASSES_MOST; pass++) {
        udump_launch_attention_times(y, parts, v, k, logs, 0, &it->done, a, stream);
        udump_launch_attention_times(z, parts, y, k, logs, 1, &it->done, a, stream);
        UDUMP_LAUNCH(step, 1, THREADS, 0, stream, it, v, y, z, (const float *)mean, n, k, pass + 1 == PASSES_MOST);
    }
    UDUMP_LAUNCH(finish, COMPONENTS, THREADS, 0, stream, scores, (const iteration *)it, (const float *)y, n, k);
}
