#include "pipeline/outbox.h"

#include <string.h>

#include "base/status.h"
#include "pipeline/look.h"

static const size_t RING_BYTES = (size_t)64 << 20; /* at least: a step's canvases of SD 1.5 at 512 x 512 are 51 MB */
enum { ALIGNMENT_BYTES = 256 };

static size_t padded(size_t bytes) { return (bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES; }

static size_t ring_bytes(const udump_outbox *outbox, const udump_exec *x) {
    size_t bytes = padded(outbox->largest_bytes);
    if (x->backend->host_memory || !bytes) return bytes;
    return 2 * bytes < RING_BYTES ? RING_BYTES : 2 * bytes; /* two of the largest, so that one can be made while another crosses */
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
    if (!status) outbox->ring = (udump_ring){ ring->device, ring->host, bytes };
    return status;
}

void udump_outbox_free(udump_outbox *outbox, udump_exec *x) {
    for (; outbox->count; outbox->count--, outbox->oldest = (outbox->oldest + 1) % UDUMP_OUTBOX_PARCELS)
        udump_await(x, outbox->parcels[outbox->oldest].ticket); /* what still crosses needs its memory */
    memset(outbox, 0, sizeof *outbox);
}

static void deliver_oldest(udump_look *look, udump_exec *x) {
    udump_outbox *outbox = &look->outbox;
    udump_parcel *parcel = &outbox->parcels[outbox->oldest];
    udump_await(x, parcel->ticket);
    if (!udump_exec_stopped(x)) parcel->deliver(look, x, parcel, outbox->ring.host + parcel->begin_bytes);
    outbox->oldest = (outbox->oldest + 1) % UDUMP_OUTBOX_PARCELS;
    outbox->count--;
}

/* Where a parcel of so many bytes can begin; false where older ones are in the way. The ring is free from the newest's end to the oldest's
 * begin; a parcel does not go over the ring's end. */
static bool find_room(udump_outbox *outbox, size_t bytes) {
    if (outbox->count == UDUMP_OUTBOX_PARCELS) return false;
    if (!outbox->count) return outbox->reserved_bytes = 0, true;
    size_t begin = outbox->parcels[outbox->oldest].begin_bytes,
           end = outbox->parcels[(outbox->oldest + outbox->count - 1) % UDUMP_OUTBOX_PARCELS].end_bytes;
    outbox->reserved_bytes = end;
    if (end <= begin) return bytes <= begin - end; /* the newest lies before the oldest */
    if (bytes <= outbox->ring.bytes - end) return true;
    outbox->reserved_bytes = 0;
    return bytes <= begin;
}

void *udump_outbox_reserve(udump_look *look, udump_exec *x, size_t bytes) {
    udump_outbox *outbox = &look->outbox;
    if (x->dry && bytes > outbox->largest_bytes) outbox->largest_bytes = bytes;
    if (x->dry || udump_exec_stopped(x)) return NULL;
    if (bytes > outbox->ring.bytes) {
        udump_exec_fail(x, UDUMP_ERROR_INTERNAL, "outbox", "%zu bytes, the dry pass saw at most %zu", bytes, outbox->largest_bytes);
        return NULL;
    }
    while (!find_room(outbox, padded(bytes))) deliver_oldest(look, x);
    return outbox->ring.device + outbox->reserved_bytes;
}

void udump_outbox_send(udump_look *look, udump_exec *x, const udump_parcel *parcel, size_t bytes) {
    udump_outbox *outbox = &look->outbox;
    if (x->dry || udump_exec_stopped(x)) return;
    if (x->backend->host_memory) {
        parcel->deliver(look, x, parcel, outbox->ring.host + outbox->reserved_bytes);
        return;
    }
    udump_parcel *sent = &outbox->parcels[(outbox->oldest + outbox->count++) % UDUMP_OUTBOX_PARCELS];
    *sent = *parcel;
    sent->begin_bytes = outbox->reserved_bytes;
    sent->end_bytes = outbox->reserved_bytes + padded(bytes);
    sent->evaluation = outbox->evaluation;
    sent->ticket = x->backend->fetch(x, outbox->ring.host + sent->begin_bytes, outbox->ring.device + sent->begin_bytes, bytes);
}

void udump_outbox_send_copy(udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *from, size_t bytes) {
    if (x->backend->host_memory) {
        if (!x->dry && !udump_exec_stopped(x)) parcel->deliver(look, x, parcel, from);
        return;
    }
    void *to = udump_outbox_reserve(look, x, bytes);
    if (!to) return;
    x->backend->copy(x, to, from, bytes);
    udump_outbox_send(look, x, parcel, bytes);
}

void udump_outbox_sweep(udump_look *look, udump_exec *x) {
    udump_outbox *outbox = &look->outbox;
    while (outbox->count && outbox->parcels[outbox->oldest].evaluation < outbox->evaluation) deliver_oldest(look, x);
    outbox->evaluation++;
}

void udump_outbox_flush(udump_look *look, udump_exec *x) {
    while (look->outbox.count) deliver_oldest(look, x);
}
