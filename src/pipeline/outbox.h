/* What waits to be handed to the sink. Where the device's memory is the host's, nothing waits. Elsewhere bytes cross while the device goes on: memory on each side,
 * in two halves. One is filled, an evaluation's parcels one behind the other; at the evaluation's end, or where it is full, it crosses as a whole, and the
 * other, which has crossed meanwhile, is delivered and filled next. */
#ifndef UDUMP_PIPELINE_OUTBOX_H
#define UDUMP_PIPELINE_OUTBOX_H

#include "backend/ops.h"

enum { UDUMP_OUTBOX_PARCELS = 512 /* of a half */ };

struct udump_look;
typedef struct udump_parcel udump_parcel;

/* Hands over what the parcel holds; data: its bytes, the host's. Failures stick in x. */
typedef void (*udump_deliver_fn)(struct udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *data);

struct udump_parcel {
    udump_deliver_fn deliver;
    udump_place place;
    udump_image image; /* canvas: without pixels */
    bool average;
    udump_view view;   /* tensor, part: without data */
    udump_view whole;  /* part */
    int64_t first;
    /* the outbox's own */
    size_t begin_bytes; /* in its half */
};

/* A session's: pinning memory takes as long as some steps, so that the next run finds it. */
typedef struct udump_ring {
    uint8_t *device, *host; /* [bytes]; one and the same where memory is the host's */
    size_t bytes;
} udump_ring;
void udump_ring_free(udump_ring *ring, udump_exec *x);

typedef struct udump_outbox_half {
    udump_parcel parcels[UDUMP_OUTBOX_PARCELS];
    int32_t count;
    size_t used_bytes;
    udump_ticket ticket; /* of its crossing */
} udump_outbox_half;

/* Of some parcels. */
typedef struct udump_outbox_need {
    size_t bytes;
    int32_t count;
} udump_outbox_need;

typedef struct udump_outbox {
    size_t largest_bytes; /* of a parcel, found by the dry pass, as is what comes next */
    udump_outbox_need all; /* that an evaluation can make */
    udump_ring ring;      /* as much of the session's as is wanted */
    size_t half_bytes;
    udump_outbox_half halves[2];
    int32_t now; /* the half that is being filled */
} udump_outbox;

/* After the dry pass: how much device memory it will take; 0 without any. */
size_t udump_outbox_device_bytes(const udump_outbox *outbox, const udump_exec *x);
/* After the dry pass: makes the session's ring as large, if it is not. Errors: MEMORY. */
udump_status udump_outbox_create(udump_outbox *outbox, udump_ring *ring, udump_exec *x, udump_error *error);
/* The ring stays. */
void udump_outbox_free(udump_outbox *outbox, udump_exec *x);

/* Whether a half has room for all that an evaluation can make: then that lies where it lay two evaluations before, and nothing is delivered in between. */
bool udump_outbox_holds_all(const udump_outbox *outbox);
/* At the begin of an evaluation, and where it begins anew: what has been sent since is forgotten. */
void udump_outbox_begin(udump_outbox *outbox);

/* Room for a parcel's bytes, in the backend's memory; where there is none, the other half is delivered. NULL after a failure; in a dry pass too, which notes
 * the size. */
void *udump_outbox_reserve(struct udump_look *look, udump_exec *x, size_t bytes);
/* Sends what was written to the room reserved last. */
void udump_outbox_send(struct udump_look *look, udump_exec *x, const udump_parcel *parcel, size_t bytes);
/* Sends a copy of bytes anywhere in the backend's memory; nothing in a dry pass but to note the size. */
void udump_outbox_send_copy(struct udump_look *look, udump_exec *x, const udump_parcel *parcel, const void *from, size_t bytes);

/* At the end of an evaluation: lets what it made cross, and delivers what the one before left. */
void udump_outbox_sweep(struct udump_look *look, udump_exec *x);
/* Delivers everything. */
void udump_outbox_flush(struct udump_look *look, udump_exec *x);

#endif
