/* What a misspelled name may have meant. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { NAME_MOST = 64 };

static size_t least_of(size_t a, size_t b) { return a < b ? a : b; }

/* How many letters are to be added, left out, changed or swapped with their neighbours (Damerau; each place once). */
static size_t distance(const char *a, const char *b) {
    size_t rows = strlen(a), columns = strlen(b), cost[NAME_MOST][NAME_MOST];
    if (rows >= NAME_MOST || columns >= NAME_MOST) return SIZE_MAX;
    for (size_t i = 0; i <= rows; i++)
        for (size_t j = 0; j <= columns; j++) {
            if (!i || !j) {
                cost[i][j] = i + j;
                continue;
            }
            cost[i][j] = least_of(cost[i - 1][j] + 1, cost[i][j - 1] + 1);
            cost[i][j] = least_of(cost[i][j], cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) cost[i][j] = least_of(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    return cost[rows][columns];
}

void choose_nearest(const char *given, const char *name, const char **nearest, size_t *least) {
    size_t length = strlen(given), away = distance(given, name);
    bool begins = length > 3 && strncmp(given, name, length) == 0; /* "--feature" */
    if (begins) away = 1;
    if (away >= *least || away > (length < 6 ? 1 : 2)) return;
    *nearest = name;
    *least = away;
}
