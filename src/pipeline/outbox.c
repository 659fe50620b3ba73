#include "pipeline/outbox.h"

#include <string.h>

#include "base/status.h"
#include "pipeline/look.h"

static const size_t HALF_BYTES = (size_t)32 << 20; /* at least */
static const size_t ALL_BYTES = (size_t)256 << 20; /* at most, for all of an evaluation: of features, SD 1.5 has 51 MB at 512 x 512 */
enum { ALIGNMENT_BYTES = 256 };

static size_t padded(size_t bytes) { return (bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES; }

static size_t ring_bytes(const udump_outbox *outbox, const udump_exec *x) {
    size_t bytes = padded(outbox->largest_bytes);
    if (x->backend->host_memory || !bytes) return bytes;
    if (bytes < HALF_BYTES) bytes = HALF_BYTES;
    if (bytes < outbox->all.bytes && outbox->all.bytes <= ALL_BYTES) bytes = outbox->all.bytes;
    return 2 * bytes;
}

size_t udump_outbox_device_bytes(const udump_outbox *outbox, const udump_exec *x) { return x->backend->host_memory ? 0 : ring_bytes(outbox, x); }

static udump_status make_ring(udump_ring *ring, udump_exec *x, size_t bytes, udump_error *error) {
    const udump_backend *backend = x->backend;
    udump_ring_free(ring, x);
    ring->host = backend->host_alloc(x->device, bytes);
    ring->device = backend->host_memory ? ring->host : backend->memory_alloc(x->device, bytes);
    ring->bytes = bytes;
    if (ring->host && ring->device) return UDUMP_OK;
    udump_ring_free(ring, x);
    return udump_fail_memory(error, "canvases", bytes);
}

void udump_ring_free(udump_ring *ring, udump_exec *x) {
    if (ring->device && ring->device != ring->host) x->backend->memory_free(x->device, ring->device);
    if (ring->host) x->backend->host_free(x->device, ring->host);
    memset(ring, 0, sizeof *ring);
}

udump_status udump_outbox_create(udump_outbox *outbox, udump_ring *ring, udump_exec *x, udump_error *error) {
    size_t bytes = ring_bytes(outbox, x);
    udump_status status = bytes > ring->bytes ? make_ring(ring, x, bytes, error) : UDUMP_OK;
    if (status) return status;
    outbox->ring = (udump_ring){ ring->device, ring->host, bytes };
    outbox->half_bytes = x->backend->host_memory ? bytes : bytes / 2;
    return UDUMP_OK;
}

void udump_outbox_free(udump_outbox *outbox, udump_exec *x) {
    for (int i = 0; i < 2; i++)
        if (outbox->halves[i].count) udump_await(x, outbox->halves[i].ticket); /* what still crosses needs its memory */
    memset(outbox, 0, sizeof *outbox);
}

bool udump_outbox_holds_all(const udump_outbox *outbox) {
    return outbox->all.bytes <= outbox->half_bytes && outbox->all.count <= UDUMP_OUTBOX_PARCELS;
}

void udump_outbox_begin(udump_outbox *outbox) { outbox->halves[outbox->now].count = 0, outbox->halves[outbox->now].used_bytes = 0; }

static void deliver_half(udump_look *look, udump_exec *x, int32_t which) {
    udump_outbox *outbox = &look->outbox;
    udump_outbox_half *half = &outbox->halves[which];
    if (!half->count) return;
    const uint8_t *data = outbox->ring.host + (size_t)which * outbox->half_bytes;
    udump_await(x, half->ticket);
    for (int32_t i = 0; i < half->count && !udump_exec_stopped(x); i++)
        half->parcels[i].deliver(look, x, &half->parcels[i], data + half->parcels[i].begin_bytes);
    half->count = 0;
    half->used_bytes = 0;
}

/* Lets the half that is being filled cross, delivers the other, and goes on with that. */
static void turn(udump_look *look, udump_exec *x) {
    udump_outbox *outbox = &look->outbox;
    udump_outbox_half *full = &outbox->halves[outbox->now];
    size_t begin = (size_t)outbox->now * outbox->half_bytes;
    if (full->count && !udump_exec_stopped(x))
        full->ticket = x->backend->fetch(x, outbox->ring.host + begin, outbox->ring.device + begin, full->used_bytes);
    outbox->now ^= 1;
    deliver_half(look, x, outbox->now);
}

void *udump_outbox_reserve(udump_look *look, udump_exec *x, size_t bytes) {
    udump_outbox *outbox = &look->outbox;
    if (x->dry) {
        if (bytes > outbox->largest_bytes) outbox->largest_bytes = bytes;
        outbox->all.bytes += padded(bytes);
        outbox->all.count++;
    }
    if (x->dry || udump_exec_stopped(x)) return NULL;
    if (bytes > outbox->half_bytes) {
        udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "outbox", "%zu bytes, the dry pass saw at most %zu", bytes, outbox->largest_bytes);
        return NULL;
    }
    const udump_outbox_half *half = &outbox->halves[outbox->now];
    if (half->count == UDUMP_OUTBOX_PARCELS || bytes > outbox->half_bytes - half->used_bytes) turn(look, x);
    return outbox->ring.device + (size_t)outbox->now * outbox->half_bytes + outbox->halves[outbox->now].used_bytes;
}

void udump_outbox_send(udump_look *look, udump_exec *x, const udump_parcel *parcel, size_t bytes) {
    udump_outbox *outbox = &look->outbox;
    udump_outbox_half *half = &outbox->halves[outbox->now];
    if (x->dry || udump_exec_stopped(x)) return;
    if (x->backend->host_memory) {
        parcel->deliver(look, x, parcel, outbox->ring.host);
        return;
    }
    half->parcels[half->count] = *parcel;
    half->parcels[half->count++].begin_bytes = half->used_bytes;
    half->used_bytes += padded(bytes);
}

void udump_outbox_send_copy(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *from, size_t bytes) {
    if (x->backend->host_memory) {
        if (!x->dry && !udump_exec_stopped(x)) parcel->deliver(look, x, parcel, from);
        return;
    }
    void *to = udump_outbox_reserve(look, x, bytes);
    if (!to) return;
    if (!x->replaying) x->backend->copy(x, to, from, bytes);
    udump_outbox_send(look, x, parcel, bytes);
}

void udump_outbox_sweep(udump_look *look, udump_exec *x) {
    const udump_outbox *outbox = &look->outbox;
    if (outbox->halves[0].count || outbox->halves[1].count) turn(look, x);
}

void udump_outbox_flush(udump_look *look, udump_exec *x) {
    udump_outbox_sweep(look, x);
    udump_outbox_sweep(look, x);
}
