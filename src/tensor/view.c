#include "tensor/view.h"

#include <stdio.h>
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

int64_t udump_view_count(const udump_view *view) {
    int64_t count = 1;
    for (int i = 0; i < view->rank; i++) count *= view->shape[i];
    return count;
}

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

static float element_f32(const udump_view *view, int64_t at) {
    float value;
    udump_convert_to_f32(&value, (const char *)view->data + at * (int64_t)udump_dtype_bytes(view->dtype), view->dtype, 1);
    return value;
}

void udump_view_read_f32(const udump_view *view, float *destination) {
    int64_t count = udump_view_count(view), index[6] = { 0 }, at = 0;
    for (int64_t i = 0; i < count; i++) {
        destination[i] = element_f32(view, at);
        for (int d = view->rank - 1; d >= 0; d--) { /* an odometer over the indices */
            at += view->stride[d];
            if (++index[d] < view->shape[d]) break;
            at -= view->stride[d] * view->shape[d];
            index[d] = 0;
        }
    }
}
