/* From chunks of tokens to a context's values. */
#ifndef UDUMP_PIPELINE_TEXT_H
#define UDUMP_PIPELINE_TEXT_H

#include "pipeline/session.h"
#include "text/chunks.h"

/* The width of a context's rows: the text encoders' together. */
int32_t udump_text_width(const udump_model *model);

/* Fills context (as many tokens as chunks has, udump_text_width wide) and gives it a pooled vector where the family has one;
 * its columns' ids become those of the first encoder, padding included. skip: of the
 * text encoder's last layers, where the family lets the user choose. Sizes the arena first; no run may be going on.
 * Errors: MEMORY, DEVICE. */
udump_status udump_text_encode(
    udump_session *session, const udump_chunks *chunks, int32_t skip, udump_context *context, udump_error *error);

#endif
