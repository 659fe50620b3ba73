/* From a tapped tensor to what the sink gets: pictures and tensors of the wanted rows. */
#ifndef UDUMP_PIPELINE_LOOK_H
#define UDUMP_PIPELINE_LOOK_H

#include "capture/selection.h"
#include "render/render.h"

typedef struct udump_look {
    udump_selection selection;
    udump_style_program style;
    udump_average average;
    bool canvases, tensors;
    int32_t batch;
    udump_render_buffer buffer;
} udump_look;

/* Errors: SYNTAX, ARGUMENT, MEMORY. */
udump_status udump_look_create(udump_look *look, const udump_model *model, const udump_generate_options *options, int32_t evaluations,
    int32_t batch, udump_error *error);
void udump_look_free(udump_look *look);

/* Hands the sink what is wanted of a block's output, [rows, h, w, c]. place: without image and side. Failures, and a sink that says
 * stop, stick in x. infotexts: [batch]. */
void udump_look_at(
    udump_look *look, udump_exec *x, const udump_place *place, udump_tensor tensor, const udump_sink *sink, char *const *infotexts);

#endif
