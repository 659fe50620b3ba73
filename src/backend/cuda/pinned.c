/* What crosses to the device by way of pinned memory: from other memory the driver may first wait for the stream, and a step would stand still. Two halves: one
 * is filled while the other crosses. */
#include <string.h>

#include "backend/cuda/cuda.h"

enum { HALF_BYTES = 4 << 20 };

cudaError_t udump_cuda_pinned_open(udump_cuda_pinned *pinned) {
    cudaError_t result = cudaHostAlloc((void **)&pinned->memory, 2 * HALF_BYTES, 0);
    for (int i = 0; i < 2 && result == cudaSuccess; i++) result = cudaEventCreateWithFlags(&pinned->crossed[i], cudaEventDisableTiming);
    return result;
}

void udump_cuda_pinned_close(udump_cuda_pinned *pinned) {
    for (int i = 0; i < 2; i++)
        if (pinned->crossed[i]) cudaEventDestroy(pinned->crossed[i]);
    if (pinned->memory) cudaFreeHost(pinned->memory);
}

const void *udump_cuda_pinned_copy(udump_cuda_pinned *pinned, const void *host, size_t bytes, cudaStream_t stream) {
    if (bytes > HALF_BYTES) return NULL;
    if (pinned->used_bytes + bytes > HALF_BYTES) { /* on to the other half, once what was in it has crossed */
        if (cudaEventRecord(pinned->crossed[pinned->half], stream) != cudaSuccess) return NULL;
        pinned->half ^= 1;
        if (cudaEventSynchronize(pinned->crossed[pinned->half]) != cudaSuccess) return NULL;
        pinned->used_bytes = 0;
    }
    void *place = pinned->memory + (size_t)pinned->half * HALF_BYTES + pinned->used_bytes;
    pinned->used_bytes += (bytes + 63) / 64 * 64; /* HALF_BYTES is a multiple of it */
    return memcpy(place, host, bytes);
}
