#include "base/decimal.h"

#include <locale.h>
#include <stdlib.h>

bool udump_decimal_read(const char *text, char **end, double *number) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return false;
    *number = strtod_l(text, end, plain);
    freelocale(plain);
    return true;
}
