/* Resizing maps. */
#ifndef UDUMP_TENSOR_RESIZE_H
#define UDUMP_TENSOR_RESIZE_H

#include <stdint.h>

/* Bicubic with a = -0.75, pixel centres, borders repeated, no antialiasing (Keys 1981; as torch's interpolate, which DAAM uses). */
void udump_resize_bicubic(const float *in /* [h, w] */, int32_t h, int32_t w, float *out /* [out_h, out_w] */, int32_t out_h, int32_t out_w);

#endif
