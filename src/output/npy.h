/* Tensors as .npy files. Reading is udump_npy_read of the public header. */
#ifndef UDUMP_OUTPUT_NPY_H
#define UDUMP_OUTPUT_NPY_H

#include "output/file.h"

/* The whole file in memory: version 1.0, '<f4', C order, byte for byte what numpy.save writes. tensor: any dtype and strides.
 * bytes is set only on success. Errors: ARGUMENT (not a valid view), MEMORY. */
udump_status udump_npy_encode(const udump_view *tensor, udump_bytes *bytes, udump_error *error);

#endif
