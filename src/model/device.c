/* Which backend a model runs on, and in which precision. */
#include <stdio.h>
#include <string.h>

#include "backend/module.h"
#include "base/parallel.h"
#include "base/status.h"
#include "model/model.h"

/* How a backend comes to be used. */
struct choice {
    const udump_backend *backend;
    udump_dtype best; /* precision where none is asked for */
    char note[160];
};

static udump_status choose_cuda(const udump_model_options *options, struct choice *choice, udump_error *error) {
    const udump_module *module;
    char device[120];
    udump_status status = udump_module_load("cuda", options->cuda_module, &module, error);
    if (!status) status = module->probe(options->device_index, device, sizeof device, error);
    if (status) return status;
    choice->backend = module->backend;
    choice->best = UDUMP_F16;
    snprintf(choice->note, sizeof choice->note, "cuda: %s", device);
    return UDUMP_OK;
}

static udump_status choose_cpu(struct choice *choice, udump_error *error) {
#ifdef UDUMP_PLAIN_THREADS
    (void)choice;
    return udump_fail(error, UDUMP_ERROR_DEVICE, "device cpu", "this build has no oneDNN");
#else
    (void)error;
    bool bf16 = udump_backend_cpu_has_bf16();
    choice->backend = udump_backend_cpu();
    choice->best = bf16 ? UDUMP_BF16 : UDUMP_F32;
    snprintf(choice->note, sizeof choice->note, "%s", bf16 ? "cpu (with AMX for bf16)" : "cpu (no AMX for bf16)");
    return UDUMP_OK;
#endif
}

static void choose_reference(struct choice *choice, const char *why) {
    choice->backend = udump_backend_reference();
    choice->best = UDUMP_F32;
    snprintf(choice->note, sizeof choice->note, "reference: %s", why);
}

/* The fastest that is there; the note says why not a faster one. */
static void choose_best(const udump_model_options *options, struct choice *choice) {
    udump_error why;
    if (!choose_cuda(options, choice, &why)) return;
    if (choose_cpu(choice, NULL)) choose_reference(choice, "this build has no oneDNN");
    size_t length = strlen(choice->note);
    snprintf(choice->note + length, sizeof choice->note - length, "; no CUDA: %s", why.what);
}

static udump_status choose(const udump_model_options *options, struct choice *choice, udump_error *error) {
    switch (options->device) {
    case UDUMP_DEVICE_AUTO: choose_best(options, choice); return UDUMP_OK;
    case UDUMP_DEVICE_CPU: return choose_cpu(choice, error);
    case UDUMP_DEVICE_REFERENCE: choose_reference(choice, "plain C, as asked for"); return UDUMP_OK;
    case UDUMP_DEVICE_CUDA: return choose_cuda(options, choice, error);
    }
    return udump_fail(error, UDUMP_ERROR_ARGUMENT, "model options", "an unknown device");
}

udump_status udump_model_choose_device(udump_model *model, const udump_model_options *options, udump_current *before, udump_error *error) {
    static const udump_dtype dtypes[] = { [UDUMP_PRECISION_FP32] = UDUMP_F32, [UDUMP_PRECISION_BF16] = UDUMP_BF16, [UDUMP_PRECISION_FP16] = UDUMP_F16 };
    struct choice choice;
    if ((unsigned)options->precision > UDUMP_PRECISION_FP16)
        return udump_fail(error, UDUMP_ERROR_ARGUMENT, "model options", "an unknown precision");
    if (options->threads < 0 || options->threads > UDUMP_THREADS_MOST)
        return udump_fail(
            error, UDUMP_ERROR_ARGUMENT, "model options", "%d threads: 0 to %d are possible", (int)options->threads, UDUMP_THREADS_MOST);
    udump_status status = choose(options, &choice, error);
    if (status) return status;
    model->threads = options->threads > 0 ? options->threads : udump_core_count();
    model->backend = choice.backend;
    *before = udump_current_enter(model->backend, NULL);
    model->compute = options->precision == UDUMP_PRECISION_AUTO ? choice.best : dtypes[options->precision];
    memcpy(model->device_note, choice.note, sizeof model->device_note);
    udump_device_request request = { .threads = model->threads, .compute = model->compute, .ordinal = options->device_index,
        .library_path = options->cuda_libraries, .eager = options->cuda_eager != 0, .plan_cache = options->plan_cache };
    status = model->backend->device_open(&request, &model->device, error);
    request.compute = UDUMP_F32;
    if (!status && model->compute == UDUMP_F16) status = model->backend->device_open(&request, &model->wide_device, error);
    return status;
}
