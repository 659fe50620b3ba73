/* The one file that includes dnnl.h. Versions 2.6 and 3.x differ in three things: memory descriptors are structs or opaque handles
 * (here always handles), operation descriptors exist or not, and post-ops lost their scale. */
#include "backend/cpu/onednn.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/status.h"

struct udump_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

/* ---------------------------------------------------------------- both versions */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t const_layout;

static dnnl_status_t layout_new(layout *made, int rank, const dnnl_dims_t dims, dnnl_data_type_t dtype, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(made, rank, dims, dtype, tag);
}
static dnnl_status_t layout_copy(layout *made, const_layout from) { return dnnl_memory_desc_clone(made, from); }
static void layout_free(layout l) { dnnl_memory_desc_destroy(l); }

static dnnl_status_t append_activation(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, 0);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef); }
#else
typedef dnnl_memory_desc_t *layout;
typedef const dnnl_memory_desc_t *const_layout;

static dnnl_status_t layout_new(layout *made, int rank, const dnnl_dims_t dims, dnnl_data_type_t dtype, dnnl_format_tag_t tag) {
    *made = malloc(sizeof **made);
    return *made ? dnnl_memory_desc_init_by_tag(*made, rank, dims, dtype, tag) : dnnl_out_of_memory;
}
static dnnl_status_t layout_copy(layout *made, const_layout from) {
    *made = malloc(sizeof **made);
    if (*made) **made = *from;
    return *made ? dnnl_success : dnnl_out_of_memory;
}
static void layout_free(layout l) { free(l); }

static dnnl_status_t append_activation(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha) {
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, 0);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1); }
#endif

/* The tensors of one product. */
struct operands {
    layout in, weights, bias, out, other; /* bias, other: NULL without one */
};

struct geometry { /* of a convolution, in oneDNN's order: height, width */
    dnnl_dims_t stride, dilation, pad_begin, pad_end;
};

static dnnl_status_t convolution_describe(dnnl_primitive_desc_t *made, dnnl_engine_t engine, const struct operands *o,
    const struct geometry *g, const_dnnl_primitive_attr_t attr) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_convolution_forward_primitive_desc_create(made, engine, dnnl_forward_inference, dnnl_convolution_direct, o->in, o->weights,
        o->bias, o->out, g->stride, g->dilation, g->pad_begin, g->pad_end, attr);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_inference, dnnl_convolution_direct, o->in,
        o->weights, o->bias, o->out, g->stride, g->dilation, g->pad_begin, g->pad_end);
    return status ? status : dnnl_primitive_desc_create(made, &op, attr, engine, NULL);
#endif
}

static dnnl_status_t matmul_describe(
    dnnl_primitive_desc_t *made, dnnl_engine_t engine, const struct operands *o, const_dnnl_primitive_attr_t attr) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(made, engine, o->in, o->weights, o->bias, o->out, attr);
#else
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, o->in, o->weights, o->bias, o->out);
    return status ? status : dnnl_primitive_desc_create(made, &op, attr, engine, NULL);
#endif
}

static dnnl_status_t reorder_describe(
    dnnl_primitive_desc_t *made, dnnl_engine_t engine, const_layout from, const_layout to, const_dnnl_primitive_attr_t attr) {
    return dnnl_reorder_primitive_desc_create(made, from, engine, to, engine, attr);
}

bool udump_dnn_has_bf16(void) {
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx)
        == dnnl_cpu_isa_avx512_core_amx; /* instruction sets are sets of bits */
}

/* ---------------------------------------------------------------- engine and errors */

static udump_status failed(udump_error *error, dnnl_status_t status, const char *doing) {
    if (status == dnnl_out_of_memory) return udump_fail(error, UDUMP_ERROR_MEMORY, "oneDNN", "out of memory %s", doing);
    if (status == dnnl_unimplemented) return udump_fail(error, UDUMP_ERROR_UNSUPPORTED, "oneDNN", "no implementation %s", doing);
    return udump_fail(error, UDUMP_ERROR_DEVICE, "oneDNN", "status %d %s", (int)status, doing);
}

udump_dnn *udump_dnn_open(udump_error *error) {
    udump_dnn *dnn = calloc(1, sizeof *dnn);
    if (!dnn) {
        udump_fail_memory(error, "oneDNN", sizeof *dnn);
        return NULL;
    }
    dnnl_status_t status = dnnl_engine_create(&dnn->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags);
    if (!status) return dnn;
    failed(error, status, "opening the engine");
    udump_dnn_close(dnn);
    return NULL;
}

void udump_dnn_close(udump_dnn *dnn) {
    if (!dnn) return;
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    free(dnn);
}

/* oneDNN takes the calling thread's OpenMP setting, when it makes a primitive and when it runs one. Returns the setting to restore. */
static int threads_set(int threads) {
    int before = omp_get_max_threads();
    if (threads != before) omp_set_num_threads(threads);
    return before;
}

/* ---------------------------------------------------------------- describing a product */

typedef enum method {
    METHOD_CONVOLUTION,
    METHOD_MATMUL,
    METHOD_POINTWISE /* a linear layer as a 1x1 convolution over one tall image: without AVX-512, matmul does not use packed weights, and this is half as fast again */
} method;

static dnnl_data_type_t dtype_of(udump_dtype dtype) { return dtype == UDUMP_BF16 ? dnnl_bf16 : dnnl_f32; }

static void operands_free(struct operands *o) {
    if (o->in) layout_free(o->in);
    if (o->weights) layout_free(o->weights);
    if (o->bias) layout_free(o->bias);
    if (o->out) layout_free(o->out);
    if (o->other) layout_free(o->other);
}

static int32_t output_size(int32_t in, const udump_conv_shape *s) { return (in + s->pad_begin + s->pad_end - s->kernel) / s->stride + 1; }

/* A linear layer as a convolution: rows stand one above another. */
static udump_conv_shape pointwise(const udump_conv_shape *linear) {
    return (udump_conv_shape){ .in = linear->in, .out = linear->out, .kernel = 1, .stride = 1, .n = 1, .h = linear->n, .w = 1 };
}

/* The weights as the caller has them: [out, in, k, k], or [out, in] read as [in, out]. */
static dnnl_status_t source_layout(layout *made, const udump_conv_shape *s, method how, dnnl_data_type_t dtype, bool any) {
    int32_t k = how == METHOD_CONVOLUTION ? s->kernel : 1;
    if (how == METHOD_MATMUL) return layout_new(made, 2, (dnnl_dims_t){ s->in, s->out }, dtype, any ? dnnl_format_tag_any : dnnl_ba);
    return layout_new(made, 4, (dnnl_dims_t){ s->out, s->in, k, k }, dtype, any ? dnnl_format_tag_any : dnnl_oihw);
}

/* packed: the weights' layout, or NULL to let oneDNN choose. */
static dnnl_status_t operands_make(struct operands *o, const udump_conv_shape *s, method how, udump_dtype dtype, const_layout packed,
    bool bias, const udump_dnn_epilogue *e) {
    udump_conv_shape column = pointwise(s);
    const udump_conv_shape *c = how == METHOD_CONVOLUTION ? s : &column;
    bool flat = how == METHOD_MATMUL;
    int rank = flat ? 2 : 4;
    dnnl_dims_t in = { c->n, c->in, c->h, c->w }, out = { c->n, c->out, output_size(c->h, c), output_size(c->w, c) };
    if (flat) memcpy(in, (dnnl_dims_t){ s->n, s->in }, sizeof in), memcpy(out, (dnnl_dims_t){ s->n, s->out }, sizeof out);
    dnnl_format_tag_t tag = flat ? dnnl_ab : dnnl_nhwc;
    memset(o, 0, sizeof *o);
    dnnl_status_t status = layout_new(&o->in, rank, in, dtype_of(dtype), tag);
    if (!status) status = packed ? layout_copy(&o->weights, packed) : source_layout(&o->weights, s, how, dtype_of(dtype), true);
    if (!status && bias && flat) status = layout_new(&o->bias, 2, (dnnl_dims_t){ 1, s->out }, dnnl_f32, dnnl_ab);
    if (!status && bias && !flat) status = layout_new(&o->bias, 1, (dnnl_dims_t){ s->out }, dnnl_f32, dnnl_a);
    if (!status) status = layout_new(&o->out, rank, out, dtype_of(e->out), tag);
    if (!status && e->join >= UDUMP_DNN_ADD) status = layout_new(&o->other, rank, out, dtype_of(e->other), tag);
    return status;
}

static dnnl_status_t append_epilogue(dnnl_post_ops_t ops, const udump_dnn_epilogue *e, const_layout other) {
    dnnl_status_t status = dnnl_success;
    if (e->activation == UDUMP_ACTIVATION_SILU) status = append_activation(ops, dnnl_eltwise_swish, 1.0f);
    if (e->activation == UDUMP_ACTIVATION_QUICK_GELU) status = append_activation(ops, dnnl_eltwise_swish, 1.702f);
    if (e->activation == UDUMP_ACTIVATION_GELU) status = append_activation(ops, dnnl_eltwise_gelu_erf, 0.0f);
    if (!status && e->join == UDUMP_DNN_ADD_IN_PLACE) status = append_sum(ops);
    if (!status && e->join == UDUMP_DNN_ADD) status = dnnl_post_ops_append_binary(ops, dnnl_binary_add, other);
    if (!status && e->join == UDUMP_DNN_MULTIPLY) status = dnnl_post_ops_append_binary(ops, dnnl_binary_mul, other);
    return status;
}

static dnnl_status_t attributes_make(dnnl_primitive_attr_t *attr, const udump_dnn_epilogue *e, const_layout other) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (!status) status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!status) status = dnnl_post_ops_create(&ops);
    if (!status) status = append_epilogue(ops, e, other);
    if (!status) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return status;
}

/* A primitive descriptor, with its operands (to be freed). */
static dnnl_status_t describe(udump_dnn *dnn, dnnl_primitive_desc_t *made, struct operands *o, const udump_conv_shape *s, method how,
    udump_dtype dtype, const_layout packed, bool bias, const udump_dnn_epilogue *e) {
    dnnl_primitive_attr_t attr = NULL;
    *made = NULL;
    dnnl_status_t status = operands_make(o, s, how, dtype, packed, bias, e);
    if (!status) status = attributes_make(&attr, e, o->other);
    if (!status && how == METHOD_MATMUL) status = matmul_describe(made, dnn->engine, o, attr);
    else if (!status) {
        udump_conv_shape column = pointwise(s);
        const udump_conv_shape *c = how == METHOD_CONVOLUTION ? s : &column;
        struct geometry g = {
            .stride = { c->stride, c->stride }, .pad_begin = { c->pad_begin, c->pad_begin }, .pad_end = { c->pad_end, c->pad_end }
        };
        status = convolution_describe(made, dnn->engine, o, &g, attr);
    }
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status) operands_free(o), memset(o, 0, sizeof *o);
    return status;
}

static const char *name_of(const_dnnl_primitive_desc_t d) {
    const char *name = NULL;
    return dnnl_primitive_desc_query(d, dnnl_query_impl_info_str, 0, &name) || !name ? "" : name;
}

/* oneDNN's plain loops, hundreds of times slower than its generated code. */
static bool is_slow(const_dnnl_primitive_desc_t d) { return strstr(name_of(d), "ref") != NULL; }

/* ---------------------------------------------------------------- weights */

struct udump_dnn_weights {
    method how;
    udump_dtype dtype;
    layout packed;
    size_t bytes;
    void *values;
    float *bias; /* NULL: none */
};

/* Whether a product is made, and not by slow loops, as `how` with `dtype`; then its weights' layout. */
static bool weights_try(udump_dnn *dnn, udump_dnn_weights *w, const udump_conv_shape *s, method how, udump_dtype dtype, bool bias,
    bool take_slow, dnnl_status_t *status) {
    struct operands o;
    dnnl_primitive_desc_t d;
    *status = describe(dnn, &d, &o, s, how, dtype, NULL, bias, &(udump_dnn_epilogue){ .out = dtype });
    if (*status) return false;
    /* "gemm": a plain matrix multiplication that packs its operands anew at every call */
    bool good = take_slow || (!is_slow(d) && !(how == METHOD_MATMUL && strstr(name_of(d), "gemm:jit")));
    if (good) {
        *status = layout_copy(&w->packed, dnnl_primitive_desc_query_md(d, dnnl_query_weights_md, 0));
        w->how = how;
        w->dtype = dtype;
    }
    dnnl_primitive_desc_destroy(d);
    operands_free(&o);
    return good && !*status;
}

/* The first that is there: bf16 where it is wished for, then fp32; slow loops only for want of anything else. What fails for another reason than
 * that oneDNN has no such thing ends the search: which product is taken never depends on the memory that was left. */
static dnnl_status_t weights_choose(udump_dnn *dnn, udump_dnn_weights *w, const udump_conv_shape *s, udump_dtype wish, bool bias) {
    const udump_dtype dtypes[] = { UDUMP_BF16, UDUMP_F32 };
    const method methods[] = { s->kernel ? METHOD_CONVOLUTION : METHOD_MATMUL, METHOD_POINTWISE };
    dnnl_status_t status = dnnl_success;
    for (int d = wish == UDUMP_BF16 ? 0 : 1; d < 2; d++)
        for (int m = 0; m < (s->kernel ? 1 : 2); m++) {
            if (weights_try(dnn, w, s, methods[m], dtypes[d], bias, false, &status)) return dnnl_success;
            if (status && status != dnnl_unimplemented) return status;
        }
    weights_try(dnn, w, s, methods[0], UDUMP_F32, bias, true, &status);
    return status;
}

static dnnl_status_t reorder(udump_dnn *dnn, const_layout from, void *source, const_layout to, void *target) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t d = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t a = NULL, b = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (!status) status = reorder_describe(&d, dnn->engine, from, to, attr);
    if (!status) status = dnnl_primitive_create(&primitive, d);
    if (!status) status = dnnl_memory_create(&a, from, dnn->engine, source);
    if (!status) status = dnnl_memory_create(&b, to, dnn->engine, target);
    if (!status)
        status = dnnl_primitive_execute(primitive, dnn->stream, 2, (dnnl_exec_arg_t[]){ { DNNL_ARG_FROM, a }, { DNNL_ARG_TO, b } });
    if (!status) status = dnnl_stream_wait(dnn->stream);
    if (b) dnnl_memory_destroy(b);
    if (a) dnnl_memory_destroy(a);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (d) dnnl_primitive_desc_destroy(d);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* Source to packed; values_rounded: a copy rounded to bf16, for weights that stay fp32 though bf16 was asked for. */
static dnnl_status_t weights_fill(udump_dnn *dnn, udump_dnn_weights *w, const udump_conv_shape *s, bool round, const float *source) {
    size_t count = (size_t)s->in * (size_t)s->out * (size_t)(s->kernel ? s->kernel * s->kernel : 1);
    float *rounded = round ? malloc(count * sizeof *rounded) : NULL;
    layout plain = NULL;
    if (round && !rounded) return dnnl_out_of_memory;
    for (size_t i = 0; round && i < count; i++) rounded[i] = udump_bf16_to_f32(udump_f32_to_bf16(source[i]));
    union { const float *given; void *handle; } from = { .given = round ? rounded : source }; /* only read */
    dnnl_status_t status = source_layout(&plain, s, w->how, dnnl_f32, false);
    if (!status) status = reorder(dnn, plain, from.handle, w->packed, w->values);
    if (plain) layout_free(plain);
    free(rounded);
    return status;
}

udump_dnn_weights *udump_dnn_weights_new(udump_dnn *dnn, const udump_conv_shape *s, udump_dtype dtype, int32_t threads, const float *source,
    const float *bias, udump_error *error) {
    udump_dnn_weights *w = calloc(1, sizeof *w);
    if (!w) {
        udump_fail_memory(error, "weights", sizeof *w);
        return NULL;
    }
    int before = threads_set(udump_threads_start(threads));
    dnnl_status_t status = weights_choose(dnn, w, s, dtype, bias != NULL);
    if (!status) {
        w->bytes = dnnl_memory_desc_get_size(w->packed);
        w->values = udump_aligned_alloc(w->bytes);
        w->bias = bias ? udump_aligned_alloc((size_t)s->out * sizeof *bias) : NULL;
        if (!w->values || (bias && !w->bias)) status = dnnl_out_of_memory;
    }
    if (!status) status = weights_fill(dnn, w, s, dtype == UDUMP_BF16 && w->dtype == UDUMP_F32, source);
    if (!status && bias) memcpy(w->bias, bias, (size_t)s->out * sizeof *bias);
    threads_set(before);
    if (!status) return w;
    failed(error, status, "packing weights");
    udump_dnn_weights_free(w);
    return NULL;
}

void udump_dnn_weights_free(udump_dnn_weights *w) {
    if (!w) return;
    if (w->packed) layout_free(w->packed);
    udump_aligned_free(w->values);
    udump_aligned_free(w->bias);
    free(w);
}

udump_dtype udump_dnn_weights_dtype(const udump_dnn_weights *w) { return w->dtype; }
size_t udump_dnn_weights_bytes(const udump_dnn_weights *w) { return w->bytes; }

/* ---------------------------------------------------------------- plans */

struct udump_dnn_plan {
    int32_t threads;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_memory_t in, weights, bias, out, other, scratch; /* bias, other: NULL without one */
    int other_argument;
    size_t scratch_bytes;
    void *own_weights; /* NULL: the packed ones are used */
};

/* Describes the product with the packed layout, or, where there is none or only a slow one, with one of its own. */
static dnnl_status_t plan_describe(udump_dnn *dnn, udump_dnn_plan *p, struct operands *o, const udump_dnn_weights *w,
    const udump_conv_shape *s, const udump_dnn_epilogue *e) {
    dnnl_status_t status = describe(dnn, &p->description, o, s, w->how, w->dtype, w->packed, w->bias != NULL, e);
    if (status ? status != dnnl_unimplemented : !is_slow(p->description)) return status;
    dnnl_primitive_desc_t other;
    struct operands other_operands;
    dnnl_status_t other_status = describe(dnn, &other, &other_operands, s, w->how, w->dtype, NULL, w->bias != NULL, e);
    if (other_status) return other_status == dnnl_unimplemented ? status : other_status;
    bool better = status || !is_slow(other);
    if (!status) dnnl_primitive_desc_destroy(better ? p->description : other), operands_free(better ? o : &other_operands);
    if (!better) return dnnl_success;
    p->description = other;
    *o = other_operands;
    return dnnl_success;
}

static dnnl_status_t plan_weights(udump_dnn *dnn, udump_dnn_plan *p, const udump_dnn_weights *w) {
    const_layout wanted = dnnl_primitive_desc_query_md(p->description, dnnl_query_weights_md, 0);
    if (dnnl_memory_desc_equal(wanted, w->packed)) return dnnl_memory_create(&p->weights, wanted, dnn->engine, w->values);
    p->own_weights = udump_aligned_alloc(dnnl_memory_desc_get_size(wanted));
    if (!p->own_weights) return dnnl_out_of_memory;
    dnnl_status_t status = reorder(dnn, w->packed, w->values, wanted, p->own_weights);
    return status ? status : dnnl_memory_create(&p->weights, wanted, dnn->engine, p->own_weights);
}

static dnnl_status_t plan_memories(udump_dnn *dnn, udump_dnn_plan *p, const struct operands *o, const udump_dnn_weights *w) {
    const_layout scratch = dnnl_primitive_desc_query_md(p->description, dnnl_query_scratchpad_md, 0);
    p->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    dnnl_status_t status = dnnl_memory_create(&p->in, o->in, dnn->engine, DNNL_MEMORY_NONE);
    if (!status) status = dnnl_memory_create(&p->out, o->out, dnn->engine, DNNL_MEMORY_NONE);
    if (!status && o->bias) status = dnnl_memory_create(&p->bias, o->bias, dnn->engine, w->bias);
    if (!status && o->other) status = dnnl_memory_create(&p->other, o->other, dnn->engine, DNNL_MEMORY_NONE);
    if (!status && p->scratch_bytes) status = dnnl_memory_create(&p->scratch, scratch, dnn->engine, DNNL_MEMORY_NONE);
    return status ? status : plan_weights(dnn, p, w);
}

udump_dnn_plan *udump_dnn_plan_new(udump_dnn *dnn, const udump_dnn_weights *w, const udump_conv_shape *s, const udump_dnn_epilogue *e,
    int32_t threads, udump_error *error) {
    udump_dnn_plan *p = calloc(1, sizeof *p);
    if (!p) {
        udump_fail_memory(error, "plan", sizeof *p);
        return NULL;
    }
    struct operands o = { 0 };
    p->threads = threads;
    p->other_argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(e->activation != UDUMP_ACTIVATION_NONE)
        | DNNL_ARG_SRC_1; /* the post-op's place: after the activation */
    int before = threads_set(udump_threads_start(threads));
    dnnl_status_t status = plan_describe(dnn, p, &o, w, s, e);
    if (!status) status = dnnl_primitive_create(&p->primitive, p->description);
    if (!status) status = plan_memories(dnn, p, &o, w);
    threads_set(before);
    operands_free(&o);
    if (!status) return p;
    failed(error, status, s->kernel ? "for a convolution" : "for a linear layer");
    udump_dnn_plan_free(p);
    return NULL;
}

void udump_dnn_plan_free(udump_dnn_plan *p) {
    if (!p) return;
    dnnl_memory_t memories[] = { p->in, p->weights, p->bias, p->out, p->other, p->scratch };
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->description) dnnl_primitive_desc_destroy(p->description);
    udump_aligned_free(p->own_weights);
    free(p);
}

size_t udump_dnn_plan_scratch_bytes(const udump_dnn_plan *p) { return p->scratch_bytes; }
const char *udump_dnn_plan_name(const udump_dnn_plan *p) { return name_of(p->description); }

/* Appends an argument; data NULL: the memory keeps what it points to. */
static dnnl_status_t bind(dnnl_exec_arg_t *args, int *count, int argument, dnnl_memory_t memory, const void *data) {
    union { const void *given; void *handle; } pointer = { .given = data }; /* oneDNN has no read-only memories */
    if (!memory) return dnnl_success;
    args[(*count)++] = (dnnl_exec_arg_t){ argument, memory };
    return data ? dnnl_memory_set_data_handle(memory, pointer.handle) : dnnl_success;
}

udump_status udump_dnn_plan_run(
    udump_dnn *dnn, udump_dnn_plan *p, const void *in, void *out, const void *other, void *scratch, udump_error *error) {
    dnnl_exec_arg_t args[6];
    int count = 0;
    dnnl_status_t status = bind(args, &count, DNNL_ARG_SRC, p->in, in);
    if (!status) status = bind(args, &count, DNNL_ARG_WEIGHTS, p->weights, NULL);
    if (!status) status = bind(args, &count, DNNL_ARG_BIAS, p->bias, NULL);
    if (!status) status = bind(args, &count, DNNL_ARG_DST, p->out, out);
    if (!status) status = bind(args, &count, p->other_argument, p->other, other);
    if (!status) status = bind(args, &count, DNNL_ARG_SCRATCHPAD, p->scratch, scratch);
    int before = threads_set(udump_threads_start(p->threads));
    if (!status) status = dnnl_primitive_execute(p->primitive, dnn->stream, count, args);
    if (!status) status = dnnl_stream_wait(dnn->stream);
    threads_set(before);
    return status ? failed(error, status, "running a product") : UDUMP_OK;
}
