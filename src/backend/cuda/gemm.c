/* Matrix products by cuBLASLt. Row by row, ours are the transposes of what the library, column by column, is asked for: out^T = weight * in^T. */
#include "backend/cuda/gemm.h"

#include <cublasLt.h>
#include <stdlib.h>

#include "backend/cuda/library.h"
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
};

/* How a product of one shape is made. */
typedef struct plan {
    int64_t rows;
    int32_t n, k;
    udump_dtype dtype;
    bool biased;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t weight, in, out;
    cublasLtMatmulAlgo_t algorithm;
} plan;

struct udump_gemm {
    udump_gemm_library *library;
    void *workspace;
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
        { "cublasLtGetStatusString", (void **)&l->text } };
    udump_status status = udump_library_load(folder, names, 2, symbols, sizeof symbols / sizeof *symbols, error);
    cublasStatus_t result = status ? CUBLAS_STATUS_NOT_INITIALIZED : l->create(&l->handle);
    if (!status && result != CUBLAS_STATUS_SUCCESS) status = udump_fail(error, UDUMP_ERROR_DEVICE, "cuBLASLt", "%s", l->text(result));
    if (!status) return UDUMP_OK;
    udump_gemm_library_close(l);
    *library = NULL;
    return status;
}

void udump_gemm_library_close(udump_gemm_library *library) {
    if (!library) return;
    if (library->handle) library->destroy(library->handle);
    free(library);
}

udump_status udump_gemm_open(udump_gemm_library *library, udump_gemm **result, udump_error *error) {
    udump_gemm *gemm = *result = calloc(1, sizeof *gemm);
    if (!gemm) return udump_fail_memory(error, "products", sizeof *gemm);
    gemm->library = library;
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

/* What is asked for: the product, its sums and its epilogue. */
static cublasStatus_t describe(const udump_gemm_library *l, plan *p) {
    cudaDataType_t type = type_of(p->dtype);
    cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = p->biased ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    uint64_t n = (uint64_t)p->n, k = (uint64_t)p->k, rows = (uint64_t)p->rows;
    cublasStatus_t result = l->desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!result) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (!result) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!result && p->biased) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    if (!result) result = l->layout_create(&p->weight, type, k, n, (int64_t)k);
    if (!result) result = l->layout_create(&p->in, type, k, rows, (int64_t)k);
    if (!result) result = l->layout_create(&p->out, type, n, rows, (int64_t)n);
    return result;
}

static cublasStatus_t choose(const udump_gemm_library *l, plan *p) {
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    size_t workspace_bytes = WORKSPACE_BYTES;
    cublasStatus_t result = l->preference_create(&preference);
    if (!result) result = l->preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes);
    if (!result) result = l->heuristic(l->handle, p->desc, p->weight, p->in, p->out, p->out, preference, 1, &best, &found);
    if (!result && !found) result = CUBLAS_STATUS_NOT_SUPPORTED;
    if (!result) p->algorithm = best.algo;
    if (preference) l->preference_destroy(preference);
    return result;
}

static udump_status failed(const udump_gemm_library *l, cublasStatus_t result, const udump_gemm_call *c, udump_error *error) {
    return udump_fail(error, UDUMP_ERROR_DEVICE, "linear", "cuBLASLt: %s, for [%lld, %d] times [%d, %d]", l->text(result), (long long)c->rows, (int)c->k,
        (int)c->k, (int)c->n);
}

static udump_status find_plan(udump_gemm *gemm, const udump_gemm_call *c, plan **found, udump_error *error) {
    for (int32_t i = 0; i < gemm->count; i++) {
        plan *p = &gemm->plans[i];
        if (p->rows == c->rows && p->n == c->n && p->k == c->k && p->dtype == c->dtype && p->biased == (c->bias != NULL)) return *found = p, UDUMP_OK;
    }
    if (gemm->count == gemm->room) {
        int32_t room = 2 * gemm->room + 32;
        plan *grown = realloc(gemm->plans, (size_t)room * sizeof *grown);
        if (!grown) return udump_fail_memory(error, "products", (size_t)room * sizeof *grown);
        gemm->plans = grown;
        gemm->room = room;
    }
    plan *p = &gemm->plans[gemm->count];
    *p = (plan){ .rows = c->rows, .n = c->n, .k = c->k, .dtype = c->dtype, .biased = c->bias != NULL };
    cublasStatus_t result = describe(gemm->library, p);
    if (!result) result = choose(gemm->library, p);
    if (result) return plan_free(gemm->library, p), failed(gemm->library, result, c, error);
    gemm->count++;
    *found = p;
    return UDUMP_OK;
}

udump_status udump_gemm_run(udump_gemm *gemm, const udump_gemm_call *c, bool dry, cudaStream_t stream, udump_error *error) {
    const udump_gemm_library *l = gemm->library;
    const float one = 1, beta = c->residual ? 1 : 0;
    plan *p = NULL;
    udump_status status = find_plan(gemm, c, &p, error);
    if (status || dry) return status;
    cublasStatus_t result = CUBLAS_STATUS_SUCCESS;
    if (c->bias) result = l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &c->bias, sizeof c->bias);
    if (!result)
        result = l->matmul(l->handle, p->desc, &one, c->weight, p->weight, c->in, p->in, &beta, c->residual ? c->residual : c->out, p->out, c->out, p->out,
            &p->algorithm, gemm->workspace, WORKSPACE_BYTES, stream);
    return result ? failed(l, result, c, error) : UDUMP_OK;
}
