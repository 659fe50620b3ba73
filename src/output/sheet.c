#include "output/sheet.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "output/label.h"

enum {
    MOST_PX = 64 << 20,
    TILE_PX = 128,
    LEAST_TILE_PX = 32,
    IN_A_LINE = 13, /* base and IN00..IN11; M00 and OUT00..OUT11 */
    GAP = 6,
    BACKGROUND = 24, /* shades of grey */
    EMPTY = 12,
    INK = 230
};

static int32_t text_height(const udump_sheet *sheet) { return UDUMP_LABEL_HEIGHT * sheet->scale + GAP; }

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* Everything but how many bands. */
static void lay_out(udump_sheet *sheet, int32_t most_px, int32_t width_px, int32_t height_px, int32_t longest_label) {
    int32_t longest = width_px > height_px ? width_px : height_px, side = smaller(most_px, longest);
    sheet->lines = (sheet->tiles + IN_A_LINE - 1) / IN_A_LINE;
    sheet->columns = (sheet->tiles + sheet->lines - 1) / sheet->lines;
    sheet->tile_width_px = (int32_t)((int64_t)width_px * side / longest);
    sheet->tile_height_px = (int32_t)((int64_t)height_px * side / longest);
    if (sheet->tile_width_px < 1) sheet->tile_width_px = 1;
    if (sheet->tile_height_px < 1) sheet->tile_height_px = 1;
    sheet->scale = longest_label * UDUMP_LABEL_ADVANCE * 2 <= sheet->tile_width_px + 2 ? 2 : 1;
    sheet->band_height_px = text_height(sheet) + GAP + sheet->lines * (text_height(sheet) + sheet->tile_height_px + GAP);
    sheet->width_px = GAP + sheet->columns * (sheet->tile_width_px + GAP);
}

static void fill(udump_sheet *sheet, int32_t x, int32_t y, int32_t width, int32_t height, uint8_t grey) {
    for (int32_t row = y; row < y + height; row++)
        memset(sheet->pixels + ((size_t)row * (size_t)sheet->width_px + (size_t)x) * 3, grey, (size_t)width * 3);
}

udump_status udump_sheet_create(
    int32_t bands, int32_t tiles, int32_t width_px, int32_t height_px, int32_t longest_label, udump_sheet *sheet, udump_error *error) {
    *sheet = (udump_sheet){ .tiles = tiles };
    int32_t room = 0;
    for (int32_t most = TILE_PX; most >= LEAST_TILE_PX && room < bands; most /= 2) {
        lay_out(sheet, most, width_px, height_px, longest_label);
        room = MOST_PX / sheet->width_px / sheet->band_height_px;
    }
    sheet->bands = smaller(bands, room);
    sheet->height_px = GAP + sheet->bands * sheet->band_height_px;
    size_t bytes = (size_t)sheet->width_px * (size_t)sheet->height_px * 3;
    sheet->pixels = malloc(bytes);
    if (!sheet->pixels) return udump_fail_memory(error, "sheet", bytes);
    fill(sheet, 0, 0, sheet->width_px, sheet->height_px, BACKGROUND);
    return UDUMP_OK;
}

void udump_sheet_free(udump_sheet *sheet) {
    free(sheet->pixels);
    *sheet = (udump_sheet){ 0 };
}

void udump_sheet_title(udump_sheet *sheet, int32_t band, const char *text) {
    int32_t y = GAP + band * sheet->band_height_px + GAP / 2;
    udump_label_draw(sheet->pixels, sheet->width_px, sheet->height_px, GAP, y, sheet->width_px - GAP, sheet->scale, INK, text);
}

static udump_status copy(udump_sheet *sheet, int32_t x, int32_t y, const udump_picture *picture, udump_error *error) {
    udump_image small = { 0 };
    udump_status status = udump_picture_resize(picture, sheet->tile_width_px, sheet->tile_height_px, &small, error);
    for (int32_t row = 0; !status && row < sheet->tile_height_px; row++)
        memcpy(sheet->pixels + ((size_t)(y + row) * (size_t)sheet->width_px + (size_t)x) * 3, small.picture.pixels + (size_t)row * small.picture.row_bytes,
            (size_t)sheet->tile_width_px * 3);
    udump_image_free(&small);
    return status;
}

udump_status udump_sheet_place(udump_sheet *sheet, int32_t band, int32_t tile, const char *label, const udump_picture *picture, udump_error *error) {
    int32_t line = tile / sheet->columns, x = GAP + tile % sheet->columns * (sheet->tile_width_px + GAP),
            y = GAP + band * sheet->band_height_px + text_height(sheet) + GAP + line * (text_height(sheet) + sheet->tile_height_px + GAP);
    udump_label_draw(sheet->pixels, sheet->width_px, sheet->height_px, x, y, x + sheet->tile_width_px, sheet->scale, INK, label);
    y += text_height(sheet) - GAP / 3;
    if (picture) return copy(sheet, x, y, picture, error);
    fill(sheet, x, y, sheet->tile_width_px, sheet->tile_height_px, EMPTY);
    return UDUMP_OK;
}
