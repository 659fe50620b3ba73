#include "tensor/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

size_t udump_dtype_bytes(udump_dtype dtype) { return dtype == UDUMP_F32 ? 4 : 2; }

const char *udump_dtype_name(udump_dtype dtype) {
    return dtype == UDUMP_F32 ? "F32" : dtype == UDUMP_F16 ? "F16" : "BF16";
}

udump_view udump_view_make(void *data, udump_dtype dtype, int rank, const int64_t *shape) {
    udump_view view = { .data = data, .dtype = dtype, .rank = rank };
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        view.shape[i] = shape[i];
        view.stride[i] = stride;
        stride *= shape[i];
    }
    return view;
}

bool udump_view_valid(const udump_view *view) {
    if (view->rank < 0 || view->rank > 6 || (unsigned)view->dtype > UDUMP_BF16) return false;
    int64_t count = 1;
    for (int i = 0; i < view->rank; i++) {
        if (view->shape[i] < 0) return false;
        if (__builtin_mul_overflow(count, view->shape[i], &count)) return false;
    }
    return count <= INT64_MAX / 4 && (view->data || count == 0);
}

int64_t udump_shape_count(int rank, const int64_t *shape) {
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= shape[i];
    return count;
}

int64_t udump_view_count(const udump_view *view) { return udump_shape_count(view->rank, view->shape); }

void udump_shape_format(char *buffer, size_t size_bytes, int rank, const int64_t *shape) {
    size_t used = 0;
    for (int i = 0; i <= rank && used < size_bytes; i++) {
        int written = i == rank ? snprintf(buffer + used, size_bytes - used, rank ? "]" : "[]")
                                : snprintf(buffer + used, size_bytes - used, "%s%lld", i ? ", " : "[", (long long)shape[i]);
        used += written > 0 ? (size_t)written : 0;
    }
}

void udump_convert_to_f32(float *destination, const void *source, udump_dtype dtype, int64_t count) {
    const uint16_t *halves = source;
    if (dtype == UDUMP_F32) memcpy(destination, source, (size_t)count * sizeof *destination);
    else if (dtype == UDUMP_F16)
        for (int64_t i = 0; i < count; i++) destination[i] = udump_f16_to_f32(halves[i]);
    else
        for (int64_t i = 0; i < count; i++) destination[i] = udump_bf16_to_f32(halves[i]);
}

/* Bounds both how far apart the lines of a block lie in cache and how many are open at a time. */
enum { BLOCK = 32 };

/* Elements at `from`, `stride` apart, one after the other. */
static void gather(float *to, const char *from, udump_dtype dtype, int64_t stride, int64_t count) {
    const uint16_t *halves = (const uint16_t *)(const void *)from;
    const float *floats = (const float *)(const void *)from;
    if (stride == 1) udump_convert_to_f32(to, from, dtype, count);
    else if (dtype == UDUMP_F32)
        for (int64_t i = 0; i < count; i++) to[i] = floats[i * stride];
    else if (dtype == UDUMP_F16)
        for (int64_t i = 0; i < count; i++) to[i] = udump_f16_to_f32(halves[i * stride]);
    else
        for (int64_t i = 0; i < count; i++) to[i] = udump_bf16_to_f32(halves[i * stride]);
}

/* [rows, columns] in blocks: where the columns are far apart and the rows are not, lines are read whole while they are in cache. */
static void read_plane(float *to, const char *from, udump_dtype dtype, const int64_t shape[2], const int64_t stride[2], int64_t to_stride) {
    const int64_t size = (int64_t)udump_dtype_bytes(dtype), rows = shape[0], columns = shape[1];
    const int64_t wide = stride[1] == 1 ? columns : BLOCK;
    for (int64_t c = 0; c < columns; c += wide)
        for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
            for (int64_t r = r0; r < rows && r < r0 + BLOCK; r++)
                gather(to + r * to_stride + c, from + (r * stride[0] + c * stride[1]) * size, dtype, stride[1],
                    columns - c < wide ? columns - c : wide);
}

/* A view without dimensions of size 1, neighbours that lie in memory as one joined; rank at least 2. */
static udump_view simplify(const udump_view *view) {
    udump_view simple = { .data = view->data, .dtype = view->dtype };
    int32_t rank = 0;
    for (int32_t i = 0; i < view->rank; i++) {
        if (view->shape[i] == 1) continue;
        bool joins = rank && simple.stride[rank - 1] == view->stride[i] * view->shape[i];
        if (!joins) simple.shape[rank++] = 1;
        simple.shape[rank - 1] *= view->shape[i];
        simple.stride[rank - 1] = view->stride[i];
    }
    for (; rank < 2; rank++) {
        memmove(simple.shape + 1, simple.shape, (size_t)rank * sizeof *simple.shape);
        memmove(simple.stride + 1, simple.stride, (size_t)rank * sizeof *simple.stride);
        simple.shape[0] = 1;
        simple.stride[0] = 1;
    }
    simple.rank = rank;
    return simple;
}

void udump_view_read_f32(const udump_view *view, float *destination) {
    if (udump_view_count(view) == 0) return;
    const udump_view v = simplify(view);
    const int32_t inner = v.rank - 1;
    int32_t near = inner - 1; /* the plane's other dimension: the one closest in memory */
    for (int32_t i = 0; i < inner; i++)
        if (v.shape[i] > 1 && llabs(v.stride[i]) < llabs(v.stride[near])) near = i;
    int64_t dense[6], index[6] = { 0 }, from = 0, to = 0, planes = 1;
    dense[inner] = 1;
    for (int32_t i = inner; i-- > 0;) dense[i] = dense[i + 1] * v.shape[i + 1];
    for (int32_t i = 0; i < inner; i++) planes *= i == near ? 1 : v.shape[i];
    const int64_t shape[2] = { v.shape[near], v.shape[inner] }, stride[2] = { v.stride[near], v.stride[inner] };
    for (int64_t plane = 0; plane < planes; plane++) {
        read_plane(
            destination + to, (const char *)v.data + from * (int64_t)udump_dtype_bytes(v.dtype), v.dtype, shape, stride, dense[near]);
        for (int32_t d = inner - 1; d >= 0; d--) { /* an odometer over the other dimensions */
            if (d == near) continue;
            from += v.stride[d];
            to += dense[d];
            if (++index[d] < v.shape[d]) break;
            from -= v.stride[d] * v.shape[d];
            to -= dense[d] * v.shape[d];
            index[d] = 0;
        }
    }
}
