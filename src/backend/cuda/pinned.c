/* What crosses to the device by way of pinned memory: from other memory the driver may first wait for the stream, and a step would stand still; nor does it say when
 * that has been read. Two halves: one is filled while the other crosses. */
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

/* Room for so many bytes, HALF_BYTES at most, until all that the stream holds now has been done. */
static cudaError_t reserve(udump_cuda_pinned *pinned, size_t bytes, cudaStream_t stream, char **room) {
    cudaError_t result = cudaSuccess;
    if (pinned->used_bytes + bytes > HALF_BYTES) { /* on to the other half, once what was in it has crossed */
        result = cudaEventRecord(pinned->crossed[pinned->half], stream);
        pinned->half ^= 1;
        if (result == cudaSuccess) result = cudaEventSynchronize(pinned->crossed[pinned->half]);
        pinned->used_bytes = 0;
    }
    *room = pinned->memory + (size_t)pinned->half * HALF_BYTES + pinned->used_bytes;
    pinned->used_bytes += (bytes + 63) / 64 * 64; /* HALF_BYTES is a multiple of it */
    return result;
}

cudaError_t udump_cuda_pinned_cross(udump_cuda_pinned *pinned, void *to, const void *host, size_t bytes, cudaStream_t stream) {
    cudaError_t result = cudaSuccess;
    for (size_t done = 0, piece; done < bytes && result == cudaSuccess; done += piece) {
        char *room;
        piece = bytes - done < HALF_BYTES ? bytes - done : HALF_BYTES;
        result = reserve(pinned, piece, stream, &room);
        if (result != cudaSuccess) break;
        memcpy(room, (const char *)host + done, piece);
        result = cudaMemcpyAsync((char *)to + done, room, piece, cudaMemcpyHostToDevice, stream);
    }
    return result;
}
