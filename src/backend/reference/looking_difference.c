/* How two tensors differ. */
#include <math.h>

#include "backend/reference/reference.h"

void udump_reference_subtract(
    udump_exec *x, udump_tensor out, udump_tensor a, udump_tensor b, bool absolute, udump_difference *difference) {
    const void *from_a = udump_tensor_data(x, a), *from_b = udump_tensor_data(x, b);
    float *target = udump_tensor_data(x, out);
    udump_difference sums = { 0 };
    for (size_t i = 0; i < udump_tensor_count(out); i++) {
        float left = udump_reference_get(from_a, a.dtype, i), right = udump_reference_get(from_b, b.dtype, i), off = left - right;
        sums.l2 += (double)off * (double)off;
        sums.a_l2 += (double)left * (double)left;
        sums.b_l2 += (double)right * (double)right;
        sums.dot += (double)left * (double)right;
        if (fabsf(off) > sums.max || isnan(off)) sums.max = fabsf(off); /* once NaN, always NaN */
        target[i] = absolute ? fabsf(off) : off;
    }
    *difference = (udump_difference){
        .l2 = sqrt(sums.l2), .a_l2 = sqrt(sums.a_l2), .b_l2 = sqrt(sums.b_l2), .dot = sums.dot, .max = sums.max
    };
}
