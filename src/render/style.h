/* From a style's strings to the program that a device runs. */
#ifndef UDUMP_RENDER_STYLE_H
#define UDUMP_RENDER_STYLE_H

#include "backend/style.h"
#include "unetdump.h"

/* What stands for NULL. */
#define UDUMP_STYLE_COLOR "hsl:(2+v)/3;1.0;0.5"
#define UDUMP_STYLE_TRANSFORM "auto01"

/* color: "white-black", "red-blue", "rgb:R;G;B", "hsl:H;S;L" with expressions of v (expression.h). transform: "auto01", "auto11", "auto01:canvas", "auto11:canvas",
 * "linear" or "linear:MIN,MAX", "sigmoid" or "sigmoid:GAIN,OFFSET". style NULL, or a string NULL, means the default.
 * average: what the style asks for beside all tiles.
 * Errors: ARGUMENT (an unknown name, a minimum that is not below the maximum, a bad average or struct_bytes), SYNTAX. */
udump_status udump_style_compile(const udump_style *style, udump_style_program *program, udump_average *average, udump_error *error);

#endif
