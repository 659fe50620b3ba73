/* A heat map over a picture. */
#ifndef UDUMP_RENDER_OVERLAY_H
#define UDUMP_RENDER_OVERLAY_H

#include "unetdump.h"

/* With t the heat scaled from its lowest to its highest value to 0..1: t * jet(t) + (1 - t) * picture, as DAAM draws it (Tang et al. 2022;
 * jet is MATLAB's colour map of that name, with corners at odd eighths; matplotlib's, which DAAM takes, has some of them a little elsewhere). picture has 3 channels. heat that is flat leaves the picture as it is. */
void udump_overlay_draw(
    const udump_picture *picture, const float *heat /* [height, width] */, uint8_t *pixels /* [height, width, 3] */);

#endif
