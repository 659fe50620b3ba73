/* Pictures on their way to the writers. */
#ifndef UDUMP_OUTPUT_PICTURE_JOB_H
#define UDUMP_OUTPUT_PICTURE_JOB_H

#include "output/writers.h"

/* Copies the picture and parameters (may be NULL) and queues them as folder/name, a PNG. Errors: ARGUMENT (a picture that is none),
 * MEMORY, and the writers' first. */
udump_status udump_picture_submit(const char *folder, const char *name, udump_writers *writers, const udump_picture *picture,
    const char *parameters, udump_error *error);

#endif
