/* Views of tensors (udump_view, in the public header): sizes, strides, checks, conversion to fp32. */
#ifndef UDUMP_TENSOR_VIEW_H
#define UDUMP_TENSOR_VIEW_H

#include <stdbool.h>

#include "unetdump.h"

size_t udump_dtype_bytes(udump_dtype dtype);
const char *udump_dtype_name(udump_dtype dtype); /* "F32", "F16", "BF16": safetensors' names */

/* A C-order view of data. */
udump_view udump_view_make(void *data, udump_dtype dtype, int rank, const int64_t *shape);

/* Rank in 0..6, no negative size, the product fits; data may be NULL only where a size is 0. */
bool udump_view_valid(const udump_view *view);
int64_t udump_view_count(const udump_view *view); /* elements; the view must be valid */

/* The product of the sizes, which fits; 1 for a rank of 0 or less. */
int64_t udump_shape_count(int rank, const int64_t *shape);
/* "[2, 320, 64, 64]" */
void udump_shape_format(char *buffer, size_t size_bytes, int rank, const int64_t *shape);

/* destination: fp32, C order, udump_view_count(view) elements. */
void udump_view_read_f32(const udump_view *view, float *destination);

/* count consecutive elements of dtype to fp32. */
void udump_convert_to_f32(float *destination, const void *source, udump_dtype dtype, int64_t count);

#endif
