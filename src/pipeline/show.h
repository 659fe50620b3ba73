/* What the parts of a look share: which rows are wanted, and how one tensor is handed to the sink. */
#ifndef UDUMP_PIPELINE_SHOW_H
#define UDUMP_PIPELINE_SHOW_H

#include "pipeline/look.h"

/* A tensor of one row, as it is shown. */
typedef struct udump_shown {
    udump_place place;
    udump_tiles tiles;
    int32_t columns; /* of the canvas; 0: the webui extension's grid */
    int32_t heads;   /* tiles are [heads, tiles of each]: the average is over heads. 0: over all tiles */
    bool rgb;        /* three tiles are one picture's colours */
    bool no_average; /* an average would mean nothing */
    int32_t rank;
    int64_t shape[6], stride[6]; /* of the tensor, at tiles.data */
    int32_t times;   /* dry pass: at how many evaluations */
} udump_shown;

/* Where row `row` of the batch is; what depends on the tap alone is copied from `tap`. */
udump_place udump_place_of_row(const udump_look *look, const udump_place *tap, int32_t row);
/* Whether the side of that row is shown, and its variant has that part. */
bool udump_row_wanted(const udump_look *look, int32_t row);

/* The tensor [heads, n, h, w] or, with n 0, [heads, h, w] of floats, C order; columns as in udump_shown. */
udump_shown udump_shown_maps(const udump_place *place, const float *maps, int32_t heads, int32_t n, int32_t h, int32_t w);
/* Row `row` of an activation [rows, h, w, c] as [c, h, w]. */
udump_shown udump_shown_channels(const udump_exec *x, const udump_place *place, udump_tensor tensor, int32_t row);

/* Average and canvas, as far as they are asked for; the tensor likewise; both. In a dry pass counts them. */
void udump_show_canvases(udump_look *look, udump_exec *x, const udump_shown *shown);
void udump_show_tensor(udump_look *look, udump_exec *x, const udump_shown *shown);
void udump_show(udump_look *look, udump_exec *x, const udump_shown *shown);
/* A picture made by hand. */
void udump_show_picture(udump_look *look, udump_exec *x, const udump_place *place, const udump_picture *picture);
/* What a callback answers. */
void udump_obey(udump_exec *x, udump_flow flow);

/* How often a block is shown: in a dry pass at how many evaluations, else now (1) or not (0). */
int32_t udump_look_times(const udump_exec *x, const udump_selection *selection, const udump_place *tap);

/* The parts. evaluation and block of `tap` are set. */
void udump_look_at_block(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap);
void udump_look_at_cross(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap);
void udump_look_at_self(udump_look *look, udump_exec *x, const udump_tapped *tapped, const udump_place *tap);

/* The words of one row: adds them to its heat and shows them. maps: what udump_shown_maps made of QK; place.context is set. */
void udump_look_at_words(udump_look *look, udump_exec *x, const udump_shown *maps, int32_t row);
/* A bit for each word that the row ever sees in that block. */
uint64_t udump_row_words(const udump_look *look, int32_t block, int32_t row);
/* Memory for the heat of all rows, on the device too. Errors: MEMORY, DEVICE. */
udump_status udump_heat_create(udump_heat *heat, const udump_look *look, udump_exec *x, udump_error *error);
void udump_heat_free(udump_heat *heat, udump_exec *x);

#endif
