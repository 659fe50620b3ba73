/* Matrix products by cuBLASLt. Row by row, ours are the transposes of what the library, column by column, is asked for: out^T = weight * in^T. */
#include "backend/cuda/gemm.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/library.h"
#include "base/hash.h"
#include "base/status.h"

static const size_t WORKSPACE_BYTES = (size_t)32 << 20; /* what NVIDIA advises for Hopper; less elsewhere */

struct udump_gemm_library {
    cublasLtHandle_t handle;
    __typeof__(&cublasLtCreate) create;
    __typeof__(&cublasLtDestroy) destroy;
    __typeof__(&cublasLtMatmulDescCreate) desc_create;
    __typeof__(&cublasLtMatmulDescDestroy) desc_destroy;
    __typeof__(&cublasLtMatmulDescSetAttribute) desc_set;
    __typeof__(&cublasLtMatrixLayoutCreate) layout_create;
    __typeof__(&cublasLtMatrixLayoutDestroy) layout_destroy;
    __typeof__(&cublasLtMatmulPreferenceCreate) preference_create;
    __typeof__(&cublasLtMatmulPreferenceDestroy) preference_destroy;
    __typeof__(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    __typeof__(&cublasLtMatmulAlgoGetHeuristic) heuristic;
    __typeof__(&cublasLtMatmul) matmul;
    __typeof__(&cublasLtGetStatusString) text;
    __typeof__(&cublasLtGetVersion) version;
};

/* How a product of one shape is made. */
typedef struct plan {
    udump_gemm_call call; /* all but the addresses and the scale */
    bool biased;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t weight, in, out;
    cublasLtMatmulAlgo_t algorithm;
} plan;

struct udump_gemm {
    udump_gemm_library *library;
    void *workspace;
    udump_plans *kept; /* or NULL */
    plan *plans;
    int32_t count, room;
};

udump_status udump_gemm_library_open(const char *folder, udump_gemm_library **library, udump_error *error) {
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12" };
    udump_gemm_library *l = *library = calloc(1, sizeof *l);
    if (!l) return udump_fail_memory(error, "cuBLASLt", sizeof *l);
    const udump_symbol symbols[] = { { "cublasLtCreate", (void **)&l->create }, { "cublasLtDestroy", (void **)&l->destroy },
        { "cublasLtMatmulDescCreate", (void **)&l->desc_create }, { "cublasLtMatmulDescDestroy", (void **)&l->desc_destroy },
        { "cublasLtMatmulDescSetAttribute", (void **)&l->desc_set }, { "cublasLtMatrixLayoutCreate", (void **)&l->layout_create },
        { "cublasLtMatrixLayoutDestroy", (void **)&l->layout_destroy }, { "cublasLtMatmulPreferenceCreate", (void **)&l->preference_create },
        { "cublasLtMatmulPreferenceDestroy", (void **)&l->preference_destroy }, { "cublasLtMatmulPreferenceSetAttribute", (void **)&l->preference_set },
        { "cublasLtMatmulAlgoGetHeuristic", (void **)&l->heuristic }, { "cublasLtMatmul", (void **)&l->matmul },
        { "cublasLtGetStatusString", (void **)&l->text }, { "cublasLtGetVersion", (void **)&l->version } };
    udump_status status = udump_library_load(folder, names, 2, symbols, sizeof symbols / sizeof *symbols, error);
    cublasStatus_t result = status ? CUBLAS_STATUS_NOT_INITIALIZED : l->create(&l->handle);
    if (!status && result != CUBLAS_STATUS_SUCCESS) status = udump_fail(error, UDUMP_ERROR_DEVICE, "cuBLASLt", "%s", l->text(result));
    if (!status) return UDUMP_OK;
    udump_gemm_library_close(l);
    *library = NULL;
    return status;
}

size_t udump_gemm_library_version(const udump_gemm_library *library) { return library->version(); }

void udump_gemm_library_close(udump_gemm_library *library) {
    if (!library) return;
    if (library->handle) library->destroy(library->handle);
    free(library);
}

udump_status udump_gemm_open(udump_gemm_library *library, udump_plans *plans, udump_gemm **result, udump_error *error) {
    udump_gemm *gemm = *result = calloc(1, sizeof *gemm);
    if (!gemm) return udump_fail_memory(error, "products", sizeof *gemm);
    gemm->library = library;
    gemm->kept = plans;
    if (cudaMalloc(&gemm->workspace, WORKSPACE_BYTES) == cudaSuccess) return UDUMP_OK;
    cudaGetLastError();
    udump_gemm_close(gemm);
    *result = NULL;
    return udump_fail_memory(error, "products' workspace on the device", WORKSPACE_BYTES);
}

static void plan_free(const udump_gemm_library *library, plan *p) {
    if (p->desc) library->desc_destroy(p->desc);
    if (p->weight) library->layout_destroy(p->weight);
    if (p->in) library->layout_destroy(p->in);
    if (p->out) library->layout_destroy(p->out);
}

void udump_gemm_close(udump_gemm *gemm) {
    if (!gemm) return;
    for (int32_t i = 0; i < gemm->count; i++) plan_free(gemm->library, &gemm->plans[i]);
    free(gemm->plans);
    cudaFree(gemm->workspace);
    free(gemm);
}

static cudaDataType_t type_of(udump_dtype dtype) { return dtype == UDUMP_F32 ? CUDA_R_32F : dtype == UDUMP_F16 ? CUDA_R_16F : CUDA_R_16BF; }

static cublasStatus_t set_bias(const udump_gemm_library *l, const plan *p, const void *bias) {
    return l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
}

/* What is asked for: the product, its sums and its epilogue. bias: the library looks at how its address is aligned; all weights' are alike. */
static cublasStatus_t describe(const udump_gemm_library *l, plan *p, const void *bias) {
    const udump_gemm_call *c = &p->call;
    cudaDataType_t type = type_of(c->dtype);
    cublasOperation_t turned = c->weight_by_k ? CUBLAS_OP_N : CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = p->biased ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    uint64_t n = (uint64_t)c->n, k = (uint64_t)c->k, rows = (uint64_t)c->rows;
    cublasStatus_t result = l->desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!result) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned);
    if (!result) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!result && p->biased) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    if (!result && p->biased) result = set_bias(l, p, bias);
    if (!result) result = l->layout_create(&p->weight, type, c->weight_by_k ? n : k, c->weight_by_k ? k : n, c->weight_row);
    if (!result) result = l->layout_create(&p->in, type, k, rows, c->in_row);
    if (!result) result = l->layout_create(&p->out, type_of(c->out_dtype), n, rows, c->out_row);
    return result;
}

/* What a tensor's begin is a multiple of, rows and heads in the middle of one included: a power of two, 16 at most, which is all that kernels ask for. */
static uint32_t alignment_bytes(int64_t row, int64_t columns, udump_dtype dtype) {
    uint32_t bytes = (uint32_t)(row | columns) * (uint32_t)udump_dtype_bytes(dtype);
    return bytes % 16 ? bytes & -bytes : 16;
}

/* How much workspace there is; that parts of a sum are added in fp32, out of place, in an order that is always the same; and how tensors lie: by itself the
 * library takes them to begin at multiples of 256 bytes, which only weights do. */
static cublasStatus_t prefer(const udump_gemm_library *l, cublasLtMatmulPreference_t preference, const udump_gemm_call *c) {
    size_t workspace_bytes = WORKSPACE_BYTES;
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* besides undivided ones, which are 0 */
    uint32_t weight = alignment_bytes(c->weight_row, c->weight_by_k ? c->n : c->k, c->dtype), in = alignment_bytes(c->in_row, c->k, c->dtype),
             out = alignment_bytes(c->out_row, c->n, c->out_dtype);
    cublasStatus_t result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &weight, sizeof weight);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &in, sizeof in);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &out, sizeof out);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &out, sizeof out);
    return result;
}

/* The library's own order, the best first. */
static cublasStatus_t list_algorithms(const udump_gemm_library *l, const plan *p, cublasLtMatmulAlgo_t algorithms[UDUMP_CANDIDATES_MOST], int32_t *count) {
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t results[UDUMP_CANDIDATES_MOST] = { 0 };
    int found = 0;
    cublasStatus_t result = l->preference_create(&preference);
    if (!result) result = prefer(l, preference, &p->call);
    if (!result) result = l->heuristic(l->handle, p->desc, p->weight, p->in, p->out, p->out, preference, UDUMP_CANDIDATES_MOST, results, &found);
    if (!result && !found) result = CUBLAS_STATUS_NOT_SUPPORTED;
    *count = 0;
    for (int i = 0; !result && i < found; i++)
        if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms[(*count)++] = results[i].algo;
    if (!result && !*count) result = CUBLAS_STATUS_NOT_SUPPORTED;
    if (preference) l->preference_destroy(preference);
    return result;
}

static cublasStatus_t begin(udump_gemm *gemm, const plan *p, const cublasLtMatmulAlgo_t *algorithm, const udump_gemm_call *c, cudaStream_t stream) {
    const udump_gemm_library *l = gemm->library;
    const float beta = c->residual ? 1 : 0;
    cublasStatus_t result = CUBLAS_STATUS_SUCCESS;
    if (c->bias) result = set_bias(l, p, c->bias);
    if (result) return result;
    return l->matmul(l->handle, p->desc, &c->scale, c->weight, p->weight, c->in, p->in, &beta, c->residual ? c->residual : c->out, p->out, c->out, p->out, algorithm,
        gemm->workspace, WORKSPACE_BYTES, stream);
}

struct contest {
    udump_gemm *gemm;
    const plan *p;
    const cublasLtMatmulAlgo_t *algorithms;
    udump_gemm_call call;
    cudaStream_t stream;
};

static bool begin_candidate(void *user, int32_t i) {
    const struct contest *contest = user;
    return begin(contest->gemm, contest->p, &contest->algorithms[i], &contest->call, contest->stream) == CUBLAS_STATUS_SUCCESS;
}

/* Bytes of a matrix, up to where another may begin. */
static size_t matrix_bytes(int64_t rows, int64_t row, udump_dtype dtype) { return ((size_t)rows * (size_t)row * udump_dtype_bytes(dtype) + 255) / 256 * 256; }

/* On matrices of zeros. -1 where it cannot be measured. */
static int32_t measure(udump_gemm *gemm, const plan *p, const cublasLtMatmulAlgo_t *algorithms, int32_t count, const udump_gemm_call *c, cudaStream_t stream) {
    struct contest contest = { gemm, p, algorithms, *c, stream };
    size_t in_bytes = matrix_bytes(c->rows, c->in_row, c->dtype), out_bytes = matrix_bytes(c->rows, c->out_row, c->out_dtype),
           bytes = in_bytes + out_bytes + (c->weight ? 0 : matrix_bytes(c->weight_by_k ? c->k : c->n, c->weight_row, c->dtype));
    char *memory = NULL;
    if (cudaMalloc((void **)&memory, bytes) != cudaSuccess || cudaMemsetAsync(memory, 0, bytes, stream) != cudaSuccess) return cudaGetLastError(), cudaFree(memory), -1;
    contest.call.in = memory;
    contest.call.out = memory + in_bytes;
    contest.call.residual = NULL;
    if (!c->weight) contest.call.weight = memory + in_bytes + out_bytes;
    int32_t fastest = udump_fastest(stream, count, begin_candidate, &contest);
    cudaFree(memory);
    return fastest;
}

/* Of all that it is: its own number is many tiles'. */
static int32_t number_of(const cublasLtMatmulAlgo_t *algorithm) { return (int32_t)(udump_hash_add(UDUMP_HASH_START, algorithm, sizeof *algorithm) % 1000000000); }

/* The kept one, or the fastest, or where nothing is measured the first. */
static cublasStatus_t choose(udump_gemm *gemm, plan *p, const udump_gemm_call *c, cudaStream_t stream) {
    cublasLtMatmulAlgo_t algorithms[UDUMP_CANDIDATES_MOST];
    udump_plan_choice kept;
    int32_t count = 0, chosen = 0;
    char key[UDUMP_PLANS_KEY_MOST];
    cublasStatus_t result = list_algorithms(gemm->library, p, algorithms, &count);
    if (result) return result;
    snprintf(key, sizeof key, "%s %s [%lld, %d] to %d%s", c->name, udump_dtype_name(c->dtype), (long long)c->rows, (int)c->k, (int)c->n, c->bias ? ", bias" : "");
    bool known = udump_plans_find(gemm->kept, key, &kept) && kept.rank < count && number_of(&algorithms[kept.rank]) == kept.engine;
    if (known) chosen = kept.rank;
    else if (gemm->kept) chosen = measure(gemm, p, algorithms, count, c, stream);
    if (!known && chosen >= 0) udump_plans_keep(gemm->kept, key, (udump_plan_choice){ chosen, number_of(&algorithms[chosen]) });
    p->algorithm = algorithms[chosen < 0 ? 0 : chosen];
    return CUBLAS_STATUS_SUCCESS;
}

static udump_status failed(const udump_gemm_library *l, cublasStatus_t result, const udump_gemm_call *c, udump_error *error) {
    return udump_fail(error, UDUMP_ERROR_DEVICE, c->name, "cuBLASLt: %s, for [%lld, %d] times [%d, %d]", l->text(result), (long long)c->rows, (int)c->k,
        (int)c->k, (int)c->n);
}

static bool is_for(const plan *p, const udump_gemm_call *c) {
    const udump_gemm_call *of = &p->call;
    return of->rows == c->rows && of->n == c->n && of->k == c->k && of->in_row == c->in_row && of->weight_row == c->weight_row && of->out_row == c->out_row
        && of->weight_by_k == c->weight_by_k && of->dtype == c->dtype && of->out_dtype == c->out_dtype && p->biased == (c->bias != NULL);
}

static udump_status find_plan(udump_gemm *gemm, const udump_gemm_call *c, plan **found, cudaStream_t stream, udump_error *error) {
    for (int32_t i = 0; i < gemm->count; i++)
        if (is_for(&gemm->plans[i], c)) return *found = &gemm->plans[i], UDUMP_OK;
    if (gemm->count == gemm->room) {
        int32_t room = 2 * gemm->room + 32;
        plan *grown = realloc(gemm->plans, (size_t)room * sizeof *grown);
        if (!grown) return udump_fail_memory(error, "products", (size_t)room * sizeof *grown);
        gemm->plans = grown;
        gemm->room = room;
    }
    plan *p = &gemm->plans[gemm->count];
    *p = (plan){ .call = *c, .biased = c->bias != NULL };
    cublasStatus_t result = describe(gemm->library, p, c->bias);
    if (!result) result = choose(gemm, p, c, stream);
    if (result) return plan_free(gemm->library, p), failed(gemm->library, result, c, error);
    gemm->count++;
    *found = p;
    return UDUMP_OK;
}

udump_status udump_gemm_run(udump_gemm *gemm, const udump_gemm_call *c, bool dry, cudaStream_t stream, udump_error *error) {
    plan *p = NULL;
    udump_status status = find_plan(gemm, c, &p, stream, error);
    if (status || dry) return status;
    cublasStatus_t result = begin(gemm, p, &p->algorithm, c, stream);
    return result ? failed(gemm->library, result, c, error) : UDUMP_OK;
}
