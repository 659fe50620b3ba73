/* Which products a picture's making asks of oneDNN where there is AMX, and what oneDNN makes of them.
 *   amx_products record MODEL SIDE   each product once, a line of numbers; nothing is computed
 *   amx_products check FILE          plans them, and says by which implementations; 1 where there is AMX and it is not used */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/onednn.h"
#include "unetdump.h"

/* What a plan is made from. The shape's n, h and w are the input's; packed_: of the shape that the weights were packed for. */
struct product {
    udump_conv_shape shape;
    int32_t packed_n, packed_h, packed_w, biased, threads;
    udump_dnn_epilogue e;
};

static struct weights {
    const udump_dnn_weights *weights;
    udump_conv_shape shape;
    bool biased;
} seen[4096];
static int seen_count;
static struct product products[4096];
static int product_count;
static bool recording;

/* The library's calls come here first: the linker's --wrap. */
bool __real_udump_dnn_has_bf16(void);
bool __wrap_udump_dnn_has_bf16(void);
udump_dnn_weights *__real_udump_dnn_weights_new(udump_dnn *dnn, const udump_conv_shape *shape, udump_dtype dtype, int32_t threads, const float *source,
    const float *bias, udump_error *error);
udump_dnn_weights *__wrap_udump_dnn_weights_new(udump_dnn *dnn, const udump_conv_shape *shape, udump_dtype dtype, int32_t threads, const float *source,
    const float *bias, udump_error *error);
udump_dnn_plan *__real_udump_dnn_plan_new(udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape, const udump_dnn_epilogue *e,
    int32_t threads, udump_error *error);
udump_dnn_plan *__wrap_udump_dnn_plan_new(udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape, const udump_dnn_epilogue *e,
    int32_t threads, udump_error *error);

bool __wrap_udump_dnn_has_bf16(void) { return recording || __real_udump_dnn_has_bf16(); }

udump_dnn_weights *__wrap_udump_dnn_weights_new(udump_dnn *dnn, const udump_conv_shape *shape, udump_dtype dtype, int32_t threads, const float *source,
    const float *bias, udump_error *error) {
    udump_dnn_weights *w = __real_udump_dnn_weights_new(dnn, shape, dtype, threads, source, bias, error);
    if (recording && seen_count < (int)(sizeof seen / sizeof *seen)) seen[seen_count++] = (struct weights){ w, *shape, bias != NULL };
    return w;
}

static void note(const struct weights *w, const udump_conv_shape *shape, const udump_dnn_epilogue *e, int32_t threads) {
    struct product p;
    memset(&p, 0, sizeof p); /* padding included: products are compared whole */
    p.shape = *shape;
    p.packed_n = w->shape.n;
    p.packed_h = w->shape.h;
    p.packed_w = w->shape.w;
    p.biased = w->biased;
    p.threads = threads;
    p.e = *e;
    for (int i = 0; i < product_count; i++)
        if (!memcmp(&products[i], &p, sizeof p)) return;
    if (product_count < (int)(sizeof products / sizeof *products)) products[product_count++] = p;
}

udump_dnn_plan *__wrap_udump_dnn_plan_new(udump_dnn *dnn, const udump_dnn_weights *weights, const udump_conv_shape *shape, const udump_dnn_epilogue *e,
    int32_t threads, udump_error *error) {
    for (int i = 0; recording && i < seen_count; i++)
        if (seen[i].weights == weights) note(&seen[i], shape, e, threads);
    return __real_udump_dnn_plan_new(dnn, weights, shape, e, threads, error);
}

static int failed(const udump_error *error) {
    fprintf(stderr, "amx_products: %s: %s\n", error->where, error->what);
    return 1;
}

static int record(const char *path, int side) {
    const udump_sink sink = { .struct_bytes = sizeof sink };
    udump_model_options model_options;
    udump_generate_options options;
    udump_model *model;
    udump_session *session = NULL;
    udump_error error;
    recording = true;
    udump_model_options_init(&model_options);
    udump_generate_options_init(&options);
    model_options.device = UDUMP_DEVICE_CPU;
    model_options.precision = UDUMP_PRECISION_BF16;
    model_options.threads = 2;
    options.prompt = "a red circle";
    options.width_px = options.height_px = side;
    if (udump_model_load(path, &model_options, &model, &error)) return failed(&error);
    udump_status status = udump_session_create(model, &session, &error);
    if (!status) status = udump_begin(session, &options, NULL, &sink, &error);
    udump_session_destroy(session);
    udump_model_release(model);
    if (status) return failed(&error);
    for (int i = 0; i < product_count; i++) {
        const struct product *p = &products[i];
        const udump_conv_shape *s = &p->shape;
        printf("%d %d %d %d %d %d  %d %d %d  %d %d %d  %d %d %d %d %d %d\n", s->in, s->out, s->kernel, s->stride, s->pad_begin, s->pad_end, s->n, s->h, s->w,
            p->packed_n, p->packed_h, p->packed_w, p->biased, p->threads, (int)p->e.activation, (int)p->e.join, (int)p->e.out, (int)p->e.other);
    }
    return 0;
}

static bool read_product(FILE *file, struct product *p) {
    udump_conv_shape *s = &p->shape;
    int activation, join, out, other;
    memset(p, 0, sizeof *p);
    if (fscanf(file, "%d %d %d %d %d %d  %d %d %d  %d %d %d  %d %d %d %d %d %d", &s->in, &s->out, &s->kernel, &s->stride, &s->pad_begin, &s->pad_end, &s->n, &s->h,
            &s->w, &p->packed_n, &p->packed_h, &p->packed_w, &p->biased, &p->threads, &activation, &join, &out, &other)
        != 18)
        return false;
    p->e = (udump_dnn_epilogue){ (udump_activation)activation, (udump_dnn_join)join, (udump_dtype)out, (udump_dtype)other };
    return true;
}

/* The implementation's name, "" on failure. */
static void name_of(udump_dnn *dnn, const struct product *p, char name[64], udump_error *error) {
    udump_conv_shape packed = p->shape;
    size_t count = (size_t)p->shape.in * (size_t)p->shape.out * (size_t)(p->shape.kernel ? p->shape.kernel * p->shape.kernel : 1);
    float *source = calloc(count, sizeof *source), *bias = calloc((size_t)p->shape.out, sizeof *bias);
    packed.n = p->packed_n;
    packed.h = p->packed_h;
    packed.w = p->packed_w;
    name[0] = 0;
    udump_dnn_weights *w = source && bias ? udump_dnn_weights_new(dnn, &packed, UDUMP_BF16, p->threads, source, p->biased ? bias : NULL, error) : NULL;
    udump_dnn_plan *plan = w ? udump_dnn_plan_new(dnn, w, &p->shape, &p->e, p->threads, error) : NULL;
    if (plan) snprintf(name, 64, "%s", udump_dnn_plan_name(plan));
    udump_dnn_plan_free(plan);
    udump_dnn_weights_free(w);
    free(source);
    free(bias);
}

static int check(const char *path) {
    struct { char name[64]; int count; } names[32] = { { "", 0 } };
    FILE *file = fopen(path, "r");
    udump_error error;
    udump_dnn *dnn = udump_dnn_open(&error);
    bool amx = udump_dnn_has_bf16();
    struct product p;
    int bad = 0;
    if (!file || !dnn) return fprintf(stderr, "amx_products: %s\n", dnn ? path : error.what), 1;
    while (read_product(file, &p)) {
        char name[64];
        int i = 0;
        name_of(dnn, &p, name, &error);
        while (i < 31 && names[i].count && strcmp(names[i].name, name) != 0) i++;
        memcpy(names[i].name, name, sizeof name);
        names[i].count++;
        if (!name[0]) bad++, failed(&error);
        if (amx && p.shape.in > 4 && !strstr(name, "amx")) /* four channels: the latent's, a thousandth of the work */
            bad++, printf("not by AMX: %d to %d channels, kernel %d, [%d, %d, %d]: %s\n", p.shape.in, p.shape.out, p.shape.kernel, p.shape.n, p.shape.h, p.shape.w, name);
    }
    for (int i = 0; i < 32 && names[i].count; i++) printf("%d products by %s\n", names[i].count, names[i].name);
    fclose(file);
    udump_dnn_close(dnn);
    return bad || !names[0].count;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "record")) return record(argv[2], atoi(argv[3]));
    if (argc == 3 && !strcmp(argv[1], "check")) return check(argv[2]);
    return fputs("usage: amx_products record MODEL SIDE | check FILE\n", stderr), 2;
}
