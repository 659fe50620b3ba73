/* Small texts in pictures: a fixed 5 x 7 face of all that ASCII prints, but for small letters. */
#ifndef UDUMP_OUTPUT_LABEL_H
#define UDUMP_OUTPUT_LABEL_H

#include <stdint.h>

enum { UDUMP_LABEL_ADVANCE = 6, UDUMP_LABEL_HEIGHT = 7 }; /* pixels, at scale 1 */

/* Draws text in one shade of grey, its upper left corner at x, y of an RGB picture [height, width, 3] that it need not fit. Small letters are drawn
 * as capitals, what the face has not as "?", one for each character of UTF-8. What would pass right_px is left out, the last two that fit then being
 * dots. */
void udump_label_draw(uint8_t *pixels, int32_t width_px, int32_t height_px, int32_t x, int32_t y, int32_t right_px, int32_t scale, uint8_t grey,
    const char *text);

#endif
