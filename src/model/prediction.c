#include "model/prediction.h"

#include <stdlib.h>

#include "base/status.h"

enum { SIDE = 8, TOKENS = 2, CHANNELS = 4 /* loading takes no others */ };
static const float INPUT = 0.5f, TIMESTEP = 999;

/* What the pass works on; its tensors are allocated anew in the dry pass and in the true one. */
struct pass {
    udump_exec x;
    const udump_unet *unet;
    udump_tensor *times, *keys; /* [resnet_count], [attention_count] */
    udump_kv *kvs;              /* [attention_count] */
    float *input;               /* as many values of INPUT as the larger of both inputs has */
    float output[SIDE * SIDE * CHANNELS];
};

static void forward(struct pass *pass) {
    static const int32_t span[] = { 0, TOKENS }; /* first, count */
    udump_exec *x = &pass->x;
    const udump_unet *unet = pass->unet;
    udump_tensor latent = udump_tensor_new(x, x->compute, 1, SIDE, SIDE, CHANNELS),
                 out = udump_tensor_new(x, x->compute, 1, SIDE, SIDE, CHANNELS),
                 context = udump_tensor_new(x, x->compute, 1, TOKENS, 1, unet->context_dim), spans = udump_tensor_new(x, UDUMP_F32, 1, 1, 1, 2);
    udump_upload(x, latent, pass->input);
    udump_upload(x, context, pass->input);
    udump_unet_embed_times(x, unet, 1, &TIMESTEP, NULL, 1, pass->times);
    udump_unet_project_contexts(x, unet, context, pass->keys);
    const int32_t *placed = x->dry || x->status ? NULL : udump_tensor_data(x, spans);
    if (placed) x->backend->write(x, udump_tensor_data(x, spans), span, sizeof span);
    for (int32_t i = 0; i < unet->attention_count; i++) pass->kvs[i] = (udump_kv){ pass->keys[i], placed, placed ? placed + 1 : NULL };
    udump_unet_forward(x, unet, out, latent, &(udump_unet_inputs){ .kvs = pass->kvs, .times = pass->times });
    udump_download(x, pass->output, out);
}

static udump_status run(struct pass *pass, udump_error *error) {
    udump_exec_begin_dry(&pass->x);
    forward(pass);
    udump_status status = udump_exec_end_dry(&pass->x, error);
    if (status) return status;
    forward(pass);
    return udump_exec_status(&pass->x, error);
}

udump_status udump_prediction_measure(const udump_model *model, double *mean, udump_error *error) {
    const udump_unet *unet = &model->unet;
    size_t values = (size_t)SIDE * SIDE * CHANNELS, tokens = (size_t)TOKENS * (size_t)unet->context_dim,
           inputs = values > tokens ? values : tokens;
    struct pass *pass = calloc(1, sizeof *pass);
    if (!pass) return udump_fail_memory(error, "unet", sizeof *pass);
    udump_status status = udump_exec_open(&pass->x, model->backend, model->device, model->threads, model->compute, error);
    pass->unet = unet;
    pass->times = calloc((size_t)unet->resnet_count, sizeof *pass->times);
    pass->keys = calloc((size_t)unet->attention_count, sizeof *pass->keys);
    pass->kvs = calloc((size_t)unet->attention_count, sizeof *pass->kvs);
    pass->input = malloc(inputs * sizeof *pass->input);
    bool there = pass->times && pass->keys && pass->kvs && pass->input;
    if (!status && !there) status = udump_fail_memory(error, "unet", inputs * sizeof *pass->input);
    for (size_t i = 0; there && i < inputs; i++) pass->input[i] = INPUT;
    if (!status) status = run(pass, error);
    *mean = 0;
    for (size_t i = 0; !status && i < values; i++) *mean += ((double)pass->output[i] - INPUT) / (double)values;
    udump_exec_close(&pass->x);
    free(pass->times);
    free(pass->keys);
    free(pass->kvs);
    free(pass->input);
    free(pass);
    return status;
}
