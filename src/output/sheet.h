/* A contact sheet: bands of small pictures, each under its label; a line of text above every band. */
#ifndef UDUMP_OUTPUT_SHEET_H
#define UDUMP_OUTPUT_SHEET_H

#include "unetdump.h"

typedef struct udump_sheet {
    uint8_t *pixels; /* [height_px, width_px, 3] */
    int32_t width_px, height_px;
    int32_t bands; /* that found room */
    int32_t tiles, columns, lines; /* of a band: at most 13 in a line */
    int32_t tile_width_px, tile_height_px, band_height_px;
    int32_t scale; /* of labels */
} udump_sheet;

/* Tiles keep the pictures' shape: at most 128 pixels each way, less where there are many; what passes 64 million pixels even then is left out.
 * longest_label: in characters. Everything begins as background, tiles that stay empty darker. Errors: MEMORY. */
udump_status udump_sheet_create(
    int32_t bands, int32_t tiles, int32_t width_px, int32_t height_px, int32_t longest_label, udump_sheet *sheet, udump_error *error);
void udump_sheet_free(udump_sheet *sheet);
/* band below sheet->bands. */
void udump_sheet_title(udump_sheet *sheet, int32_t band, const char *text);
/* picture (RGB; NULL: it is not there) is resized. Errors: MEMORY. */
udump_status udump_sheet_place(udump_sheet *sheet, int32_t band, int32_t tile, const char *label, const udump_picture *picture, udump_error *error);

#endif
