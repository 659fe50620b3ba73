/* Numbers in texts of ours: with a point, whatever the program's locale is. */
#ifndef UDUMP_BASE_DECIMAL_H
#define UDUMP_BASE_DECIMAL_H

#include <stdbool.h>

/* As strtod. *end: where it ends; text, if it does not begin with a number. False if memory is wanting. */
bool udump_decimal_read(const char *text, char **end, double *number);

#endif
